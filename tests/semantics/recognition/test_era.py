"""Era and medium in a constructed space of features, and what is measured instead of guessed."""

from typing import Any

import pytest
import torch

from vldm_core.ageing import PRESETS, SimulationSettings
from vldm_core.errors import SettingsError
from vldm_core.prior.lora.eras import era_loras_from, plan_loras
from vldm_core.semantics.recognition.era import QUESTIONS, Answer, EraReader, EraSettings, damage_preset, lora_eras
from vldm_core.semantics.recognition.tones import measure_tone
from vldm_core.semantics.table.description import UNKNOWN, ShotDescription
from vldm_core.semantics.table.table import ShotTable

from ..space import WordSpace, looks_like

SENTENCES = [sentence for answers in QUESTIONS.values() for sentences in answers.values() for sentence in sentences]
SPACE = list(dict.fromkeys(SENTENCES))


def picture(**weights: str | dict[str, float]) -> torch.Tensor:
    """Features of a picture that fits these answers, by question."""
    wanted: dict[str, float] = {}
    for question, answer in weights.items():
        for name, weight in (answer if isinstance(answer, dict) else {answer: 1.0}).items():
            for sentence in QUESTIONS[question][name]:
                wanted[sentence] = max(wanted.get(sentence, 0.0), weight)
    return looks_like(SPACE, wanted)


@pytest.fixture(scope="module")
def reader():
    return EraReader(WordSpace(SPACE))


@pytest.mark.parametrize("question", list(QUESTIONS))
def test_every_answer_is_found(reader, question):
    for name in QUESTIONS[question]:
        found = getattr(reader.read(picture(**{question: name})), question)
        assert found.name == name and found.confidence > 0.9


def test_answers_do_not_depend_on_each_other(reader):
    found = reader.read(picture(era="1920s", medium="newsreel", sound="silent", colour="hand-coloured"))
    assert (found.era.name, found.medium.name) == ("1920s", "newsreel")
    assert (found.sound.name, found.colour.name) == ("silent", "hand-coloured")


def test_a_picture_that_fits_nothing_is_unknown(reader):
    found = reader.read(looks_like(SPACE, {}))
    assert found.era == Answer(name=UNKNOWN, confidence=pytest.approx(1 / 12))  # type: ignore[arg-type]
    assert found.sound.name == UNKNOWN and found.sound.confidence == pytest.approx(0.5)


def test_equally_likely_answers_are_unknown_even_without_a_threshold():
    lenient = EraReader(WordSpace(SPACE), EraSettings(least=0))
    assert lenient.read(picture(era={"1910s": 1.0, "1920s": 1.0})).era.name == UNKNOWN
    assert lenient.read(picture(era={"1910s": 1.0, "1920s": 1.01})).era.name == "1920s"


def test_the_threshold_decides():
    near = picture(era={"1910s": 1.0, "1920s": 1.03})
    found = EraReader(WordSpace(SPACE)).read(near).era
    assert found.name == "1920s" and 0.5 < found.confidence < 0.95
    strict = EraReader(WordSpace(SPACE), EraSettings(least=0.95)).read(near).era
    assert strict == Answer(name=UNKNOWN, confidence=found.confidence)


def test_key_frames_are_heard_together(reader):
    frames = torch.cat([picture(era="1930s"), picture(era="1930s"), picture(era="1950s")])
    found = reader.read(frames).era
    assert found.name == "1930s" and found.confidence == pytest.approx(2 / 3, abs=0.01)
    assert reader.read(torch.cat([picture(era="1930s"), picture(era="1950s")])).era.name == UNKNOWN


def test_an_empty_shot_is_unknown(reader):
    for features in (torch.zeros(0, len(SPACE) + 1), torch.zeros(0, 0)):
        found = reader.read(features, torch.zeros(0, 3, 8, 8))
        assert found.era == found.medium == found.sound == found.colour == Answer()


def scene(seed: int = 3) -> torch.Tensor:
    small = torch.rand(2, 1, 6, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, size=(96, 128), mode="bilinear")


def test_tones():
    grey = scene().expand(-1, 3, -1, -1)
    grain = 0.03 * torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    assert measure_tone(grey) == "monochrome"
    assert measure_tone(grey + grain) == "monochrome"
    sepia = torch.cat([scene() ** 0.8, scene(), scene() ** 1.4], 1)
    assert measure_tone(sepia) == "tinted" and measure_tone((sepia + grain).clamp(0, 1)) == "tinted"
    assert measure_tone(scene() * torch.tensor([0.4, 0.5, 1.0]).view(1, 3, 1, 1)) == "tinted"
    assert measure_tone(torch.cat([scene(1), scene(2), scene(4)], 1)) == "coloured"
    patch = grey.clone()
    patch[:, 0, 20:50, 20:60] += 0.2
    assert measure_tone(patch.clamp(0, 1)) == "coloured"
    assert measure_tone(torch.zeros(0, 3, 8, 8)) is None
    with pytest.raises(SettingsError, match="T, 3, H, W"):
        measure_tone(torch.zeros(2, 1, 8, 8))


def test_a_film_without_colour_has_no_colour_process(reader):
    grey = scene().expand(-1, 3, -1, -1)
    found = reader.read(picture(colour="technicolor"), grey).colour
    assert found == Answer(name="monochrome", confidence=1.0)
    coloured = torch.cat([scene(1), scene(2), scene(4)], 1)
    assert reader.read(picture(colour="technicolor"), coloured).colour.name == "technicolor"


def test_without_clip_only_what_is_measured_is_told():
    found = EraReader(None).read(torch.rand(2, 320), scene().expand(-1, 3, -1, -1))
    assert found.colour.name == "monochrome"
    assert found.era == found.medium == found.sound == Answer()


def test_eras_and_media_pick_the_preset_of_damage():
    for name in QUESTIONS["era"]:
        assert (damage_preset(described(era=name)) == name) == (name != UNKNOWN)
    assert damage_preset(described(era="1930s", medium="newsreel")) == "newsreel"
    assert damage_preset(described(era="1930s", medium="8mm amateur")) == "8mm amateur"
    assert damage_preset(described(era="1930s", medium="feature film")) == "1930s"
    assert damage_preset(described()) is None
    assert damage_preset(described(era="1730s")) is None
    assert isinstance(SimulationSettings.preset(damage_preset(described(era="1910s")) or ""), SimulationSettings)
    # The wear presets are no eras.
    assert set(QUESTIONS["era"]) | set(QUESTIONS["medium"]) >= set(PRESETS) - {"light", "worn", "heavy"}
    # From the first films to the last that were shot without a digital step.
    decades = [f"{year}s" for year in range(1890, 2000, 10)]
    assert [name for name in QUESTIONS["era"] if name != UNKNOWN] == decades
    assert [damage_preset(described(0, 4, era=decade)) for decade in decades] == decades


def described(first: int = 0, last: int = 4, **fields: Any) -> ShotDescription:
    return ShotDescription(first=first, last=last, **fields)


def test_eras_and_media_pick_the_lora():
    loras = era_loras_from({"1900s": {"file": "a.safetensors"}, "Newsreel": {"file": "b.safetensors", "strength": 0.5}})
    table = ShotTable(
        descriptions=(
            described(0, 4, era="1900s", medium="newsreel"),
            described(4, 6),
            described(6, 9, era="1950s", medium="newsreel"),
        )
    )
    eras = lora_eras(table, loras)
    assert eras == (("1900s", "newsreel"), (), ("newsreel",))
    plan = plan_loras(table.shots, eras, loras)
    assert [[choice.file for choice in shot.loras] for shot in plan] == [
        ["a.safetensors", "b.safetensors"],
        [],
        ["b.safetensors"],
    ]


def test_nothing_follows_from_unknown_even_where_a_map_has_it():
    loras = era_loras_from({"unknown": {"file": "a.safetensors"}})
    assert lora_eras(ShotTable(descriptions=(described(),)), loras) == ((),)


def test_other_questions_are_refused():
    with pytest.raises(SettingsError, match="give era, medium, sound, colour"):
        EraReader(None, questions={"era": QUESTIONS["era"]})
