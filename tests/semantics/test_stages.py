"""What a table gains step by step from its key frames; what it had stays."""

from dataclasses import replace

import pytest
import torch

from vldm_core.errors import SettingsError, VLDMError
from vldm_core.prior.lora.eras import parse_era_loras
from vldm_core.semantics.recognition.era import QUESTIONS, EraReader
from vldm_core.semantics.recognition.tags import Tagger
from vldm_core.semantics.stages import caption_shots, era_lines, film_preset, key_pictures, read_eras, tag_shots
from vldm_core.semantics.table.description import ShotDescription
from vldm_core.semantics.table.table import ShotTable

from .space import WordSpace, looks_like

TABLE = ShotTable(
    descriptions=(
        ShotDescription(first=0, last=3, key_frames=(0, 2), prompt="by hand", caption="old"),
        ShotDescription(first=3, last=5),
        ShotDescription(first=5, last=9, key_frames=(7,)),
    )
)
# Frame t is all t / 10, in colour.
FRAMES = torch.linspace(0, 0.8, 9)[:, None, None, None] * torch.tensor([1.0, 0.5, 0.2])[:, None, None]
FRAMES = FRAMES.expand(-1, -1, 16, 16)
WORDS = ("a street", "a tram", "snow")


def shown():
    return key_pictures(FRAMES, TABLE)


def by_light(features):
    """An encoder that takes a frame for the first, second or third features by its brightness."""
    return lambda frames: torch.cat([features[min(2, int(float(frame[0].mean()) * 10) // 3)] for frame in frames])


class TestKeyPictures:
    def test_from_all_frames_and_from_key_frames(self):
        every = shown()
        assert [len(part) for part in every] == [2, 0, 1]
        assert torch.equal(every[0], FRAMES[[0, 2]]) and torch.equal(every[2], FRAMES[[7]])
        alone = key_pictures(FRAMES[[0, 2, 7]], TABLE)
        assert all(torch.equal(a, b) for a, b in zip(every, alone, strict=True))

    def test_other_frames_are_refused(self):
        with pytest.raises(SettingsError, match="4 frames; the table is of 9 frames with 3 key frames"):
            key_pictures(FRAMES[:4], TABLE)


class TestCaptions:
    def test_key_frames_alone_are_captioned_and_what_was_written_stays(self):
        seen, told = [], []

        def captioner(frames):
            seen.append(round(float(frames[0, 0, 0, 0]) * 10))
            return [f"number {seen[-1]} of many things"]

        found = caption_shots(TABLE, shown(), captioner, lambda *report: told.append(report[:3]))
        assert seen == [0, 2, 7]
        assert [row.caption for row in found][1:] == ["", "number 7 of many things"]
        assert "number 0" in found[0].caption and found[0].prompt == "by hand"
        assert found[0].key_frames == (0, 2)
        assert told == [("caption", 1, 3), ("caption", 2, 3), ("caption", 3, 3)]

    @pytest.mark.parametrize("answer", [[], ["a", "b"], [None]])
    def test_no_caption(self, answer):
        with pytest.raises(VLDMError, match="must give one text"):
            caption_shots(TABLE, shown(), lambda frames: answer)


class TestRecognition:
    def test_tags(self):
        features = [looks_like(WORDS, {word: 1.0}) for word in WORDS]
        found = tag_shots(TABLE, shown(), by_light(features), Tagger(WordSpace(WORDS), WORDS))
        assert [row.tags for row in found] == [("street",), (), ("snow",)]
        assert found[0].caption == "old"

    def test_a_table_without_any_key_frame(self):
        bare = ShotTable(descriptions=(ShotDescription(first=0, last=9),))
        pictures = key_pictures(FRAMES, bare)
        assert tag_shots(bare, pictures, by_light([]), Tagger(WordSpace(WORDS), WORDS)) == bare
        assert read_eras(bare, pictures, by_light([]), EraReader(None)) == bare

    def test_eras(self):
        sentences = list(dict.fromkeys(s for q in QUESTIONS.values() for a in q.values() for s in a))
        wanted = dict.fromkeys((*QUESTIONS["era"]["1920s"], *QUESTIONS["medium"]["newsreel"]), 1.0)
        features = [looks_like(sentences, wanted), looks_like(sentences, {}), looks_like(sentences, {})]
        found = read_eras(TABLE, shown(), by_light(features), EraReader(WordSpace(sentences)))
        assert (found[0].era, found[0].medium, found[0].prompt) == ("1920s", "newsreel", "by hand")
        assert found[0].era_confidence > 0.9
        assert (found[1].era, found[1].era_confidence, found[2].era) == ("unknown", 0.0, "unknown")


class TestEra:
    NAMES = (("1920s", "newsreel"), ("unknown", "unknown"), ("1930s", "feature film"))
    DATED = ShotTable(
        descriptions=tuple(
            replace(row, era=era, medium=medium) for row, (era, medium) in zip(TABLE, NAMES, strict=True)
        )
    )

    def test_lines_for_shot_loras(self):
        assert era_lines(self.DATED) == "1920s, newsreel\nunknown\n1930s, feature film"
        known = parse_era_loras('{"1930S": {"file": "a.safetensors"}, "newsreel": {"file": "b.safetensors"}}')
        assert era_lines(self.DATED, known) == "newsreel\nunknown\n1930s"

    def test_preset_of_most_frames(self):
        # Three frames of newsreel, two unknown, four of the 1930s.
        assert film_preset(self.DATED) == "1930s"
        assert film_preset(ShotTable(descriptions=self.DATED[:2])) == "newsreel"
        assert film_preset(TABLE) is None
        longer = replace(TABLE[2], last=30)
        assert film_preset(ShotTable(descriptions=(*self.DATED[:2], longer))) is None
