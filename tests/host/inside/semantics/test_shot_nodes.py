"""The nodes about what a film shows, with models of the host's classes: key frames, tags and era, pictures."""

from dataclasses import replace

import comfy.latent_formats
import comfy.model_base
import comfy.sd
import comfy.supported_models_base
import comfy.t2i_adapter.adapter
import pytest
import torch
from inside.models import CONTEXT, filled, image_vae, patcher, tiny_clip, tiny_pair, tiny_vision
from inside.sampling import assert_same, random, sample
from inside.semantics.prompts import Counted, spied
from pack.nodes.host.prior.attachments import with_shots
from pack.nodes.host.prior.regions import with_regions
from pack.nodes.semantics.choose_key_frames import KeyFrames
from pack.nodes.semantics.clip_models import CONNECTED
from pack.nodes.semantics.era import Era
from pack.nodes.semantics.shot_conditioning import ShotConditioning
from pack.nodes.semantics.tag_shots import TagShots
from pack.vldm_core.ageing import PRESETS
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.semantics.recognition.shared_space import COLOURS, colour_cards, colour_names
from pack.vldm_core.semantics.recognition.tags import TEMPLATES
from pack.vldm_core.semantics.table.table import ShotTable
from pack.vldm_core.video.shots import Shot

pytestmark = pytest.mark.usefixtures("without_gradients")

FRAMES, CUT = 14, 6
SHOTS = (Shot(0, CUT), Shot(CUT, FRAMES))
TAG = {"model": CONNECTED, "most": 3, "least": 0.1, "margin": 0.0, "words": "a ball\na sky\na field"}
WORDS = {"template": "plain", "before": "", "after": "sharp", "negative": "blurry"}


def plain_colours(*names):
    """Return frames as an IMAGE, 48×64, with a little structure that differs from frame to frame."""
    flat = torch.tensor([COLOURS[name] for name in names])[:, None, None, :].expand(-1, 48, 64, -1)
    return (flat + 0.004 * torch.rand(flat.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


# A still shot, and one that changes once.
IMAGES = plain_colours(*["red"] * CUT, *["blue"] * 4, *["yellow"] * 4)
DAMAGED_FRAMES = 3
MASK = torch.zeros(FRAMES, 48, 64)
MASK[:DAMAGED_FRAMES] = 1.0


def execute(node, *arguments, **values):
    with torch.inference_mode():
        return node.execute(*arguments, **values).result


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    return tiny_vision(tmp_path_factory.mktemp("clip_vision"))


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


def key_frames_of(table):
    return [frame for row in table for frame in row.key_frames]


@pytest.mark.parametrize("by", ["look", "vision", "latents"])
def test_key_frames_of_a_still_shot_and_one_that_changes_and_none_of_damaged_frames(vision, by):
    models = {"look": {}, "vision": {"clip_vision": vision}, "latents": {"vae": image_vae()}}
    table, pictures, report = execute(KeyFrames, IMAGES, 4, 0.01, shots=SHOTS, mask=MASK, **models[by])
    assert table.shots == SHOTS
    assert len(table[0].key_frames) == 1 and DAMAGED_FRAMES <= table[0].key_frames[0] < CUT
    assert len(table[1].key_frames) == 2
    assert report.count("\n") == 1
    torch.testing.assert_close(pictures, IMAGES[key_frames_of(table)], atol=1e-6, rtol=0)
    again = execute(KeyFrames, IMAGES, 4, 0.01, shots=SHOTS, mask=MASK, **models[by])[0]
    assert again == table, "same film, same table"


@pytest.fixture(scope="module")
def table(vision):
    return execute(KeyFrames, IMAGES, 4, 0.01, shots=SHOTS, mask=MASK, clip_vision=vision)[0]


@pytest.fixture(scope="module")
def key_frames(table):
    return IMAGES[key_frames_of(table)]


def test_a_text_encoder_that_is_not_in_the_pictures_space_is_refused(table, key_frames, clip, vision, tmp_path):
    narrow = tiny_vision(tmp_path)
    narrow.model.visual_projection = torch.nn.Linear(CONTEXT, 32, bias=False)
    for text, pictures, said in (
        (clip, vision, ["plain colours"]),
        (clip, narrow, ["32 numbers", "64"]),
        (None, vision, ["no text encoder"]),
    ):
        with pytest.raises(SettingsError) as refusal:
            execute(TagShots, table, key_frames, clip=text, clip_vision=pictures, **TAG)
        assert all(part in str(refusal.value) for part in said)


def projected(meanings, vision):
    """Return a CLIP with the projection that takes each text to the embedding of its colour."""
    fitted = tiny_clip()
    inner = fitted.cond_stage_model.clip_l
    texts = list(meanings)
    with torch.inference_mode():
        tokens = [[token for token, *_ in fitted.tokenize(text)["l"][0]] for text in texts]
        plain = inner.encode(tokens)[1].double()
        seen = vision.encode_image(colour_cards().movedim(1, -1))["image_embeds"].double()
    # Directions that each fit one colour and no other.
    fitting = torch.linalg.pinv(torch.nn.functional.normalize(seen, dim=1)).T
    wanted = fitting[[list(COLOURS).index(meanings[text]) for text in texts]]
    weight = torch.linalg.lstsq(plain, wanted, driver="gelsd").solution
    assert (plain @ weight - wanted).abs().max() < 1e-3 * wanted.abs().max()
    inner.transformer.text_projection.weight = torch.nn.Parameter(weight.T.float(), requires_grad=False)
    return fitted


@pytest.fixture(scope="module")
def fitting_clip(vision):
    """A CLIP to which a ball is red, a sky blue and a field yellow."""
    meanings = dict(zip(colour_names(), COLOURS, strict=True))
    for word, colour in (("a ball", "red"), ("a sky", "blue"), ("a field", "yellow")):
        meanings |= {form.format(word): colour for form in TEMPLATES}
    with torch.no_grad():
        return projected(meanings, vision)


@pytest.fixture(scope="module")
def tagging(table, key_frames, fitting_clip, vision):
    """The tagged table, and the tags as text."""
    return execute(TagShots, table, key_frames, clip=fitting_clip, clip_vision=vision, **TAG)


@pytest.fixture(scope="module")
def tagged(tagging):
    return tagging[0]


def test_tags(table, tagging):
    tagged, tags = tagging
    assert tagged[0].tags[:1] == ("ball",) and set(tagged[1].tags[:2]) == {"sky", "field"}
    assert tags.split("\n")[0].startswith("ball") and tagged.shots == table.shots


def test_all_frames_of_the_clip_serve_as_well_as_the_key_frames(table, tagged, fitting_clip, vision):
    assert execute(TagShots, table, IMAGES, clip=fitting_clip, clip_vision=vision, **TAG)[0] == tagged


def test_era(tagged, key_frames, fitting_clip, vision):
    era = {"model": CONNECTED, "confidence": 0.5, "otherwise": "worn", "era_map": ""}
    dated, eras, preset, report = execute(Era, tagged, key_frames, clip=fitting_clip, clip_vision=vision, **era)
    assert len(eras.split("\n")) == 2 and preset in PRESETS and report.count("shot ") == 2
    assert [row.tags for row in dated] == [row.tags for row in tagged], "what the table had stays"


def test_one_conditioning_for_each_shot_from_the_table(tagged, clip):
    """Written prompts, words around them, one encoding each."""
    counted = Counted(clip)
    positive, negative, prompts = execute(ShotConditioning, counted, tagged, **WORDS)
    assert counted.texts == [*prompts.split("\n"), "blurry"] and prompts.startswith("ball")
    tokens = positive[0][0]
    assert tokens.shape == (FRAMES, 77, CONTEXT) and negative[0][0].shape == (1, 77, CONTEXT)
    assert torch.equal(tokens[0], tokens[CUT - 1]) and torch.equal(tokens[CUT], tokens[FRAMES - 1])
    assert not torch.equal(tokens[CUT - 1], tokens[CUT])


@pytest.fixture(scope="module")
def seen(vision, key_frames):
    """What CLIP Vision makes of the key frames."""
    return vision.encode_image(key_frames)


@pytest.fixture(scope="module")
def style():
    adapter = comfy.t2i_adapter.adapter.StyleAdapter(
        width=CONTEXT, context_dim=CONTEXT, num_head=4, n_layes=1, num_token=4
    )
    return comfy.sd.StyleModel(filled(adapter))


def test_pictures_as_tokens_are_the_same_for_all_frames_of_a_shot(clip, tagged, seen, style):
    plain = execute(ShotConditioning, clip, tagged, **WORDS)[0][0][0]
    styled = execute(ShotConditioning, clip, tagged, **WORDS, clip_vision_output=seen, style_model=style)[0][0][0]
    assert styled.shape == (FRAMES, 81, CONTEXT)
    assert torch.equal(styled[:, :77], plain)
    with torch.inference_mode():
        tokens = style.get_cond(seen)
    added = styled[:, 77:]
    assert all(torch.equal(item, added[0]) for item in added[:CUT])
    assert all(torch.equal(item, added[CUT]) for item in added[CUT:])
    torch.testing.assert_close(added[[0, CUT]], torch.stack([tokens[0], tokens[1:].mean(0)]))


def test_pictures_that_do_not_belong_to_the_table_are_refused(clip, tagged, seen, style, vision):
    bare = ShotTable(descriptions=(tagged[0], replace(tagged[1], key_frames=())))
    other = vision.encode_image(IMAGES[:2])
    for table, more, said in (
        (bare, {"clip_vision_output": seen}, ["shot 2 has no key frame"]),
        (tagged, {"clip_vision_output": other}, ["2 pictures", "3 key frames"]),
        (tagged, {"style_model": style}, ["style_model needs pictures"]),
    ):
        with pytest.raises(SettingsError) as refusal:
            execute(ShotConditioning, clip, table, **WORDS, **more)
        assert all(part in str(refusal.value) for part in said)


@pytest.fixture(scope="module")
def unclip():
    """A MODEL of the host's class that takes embeddings of pictures beside the text."""
    plain, _ = tiny_pair()
    config = {**plain.model.model_config.unet_config, "num_classes": "sequential", "adm_in_channels": 2 * CONTEXT}
    settings = comfy.supported_models_base.BASE(dict(config))
    settings.unet_config, settings.latent_format = config, comfy.latent_formats.SD15()
    schedule = {"timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"}
    noise = {"noise_schedule_config": schedule, "timestep_dim": CONTEXT}
    model = comfy.model_base.SD21UNCLIP(settings, noise, model_type=comfy.model_base.ModelType.EPS, device="cpu").eval()
    filled(model.diffusion_model)
    return patcher(model)


@pytest.fixture
def pictured(clip, tagged, seen):
    """Prompts and pictures of the shots as unCLIP takes them."""
    positive, negative, _ = execute(ShotConditioning, clip, tagged, **WORDS, clip_vision_output=seen)
    assert [entry[1]["vldm_shot_span"] for entry in positive] == [(0, CUT), (CUT, FRAMES)]
    return positive, negative


def unclip_sample(model, pictured, arrived):
    noise, latent = random(FRAMES, 4, 8, 8), random(FRAMES, 4, 8, 8, seed=6)
    return sample(spied(model, arrived), *pictured, noise, latent, steps=1, cfg=2.0)


def in_windows(model):
    return with_shots(with_regions(model, WindowSettings(length=4, overlap=1), None), SHOTS)


def test_embeddings_change_exactly_at_the_cut_and_no_window_is_evaluated_for_another_shot(unclip, pictured):
    arrived = []
    unclip_sample(in_windows(unclip), pictured, arrived)
    windows = [(frames, embedding) for kind, frames, _, embedding in arrived if kind == 0]
    assert all((frames[0] >= CUT) == (frames[-1] >= CUT) for frames, _ in windows)
    assert len(windows) == len({frames for frames, _ in windows})
    of_frame = {frame: item for frames, embedding in windows for frame, item in zip(frames, embedding, strict=True)}
    assert sorted(of_frame) == list(range(FRAMES))
    assert all(torch.equal(of_frame[frame], of_frame[0 if frame < CUT else CUT]) for frame in of_frame)
    assert not torch.equal(of_frame[0], of_frame[CUT])


def test_embeddings_of_shots_give_the_same_sample_with_and_without_windows(unclip, pictured):
    assert_same(unclip_sample(in_windows(unclip), pictured, []), unclip_sample(unclip, pictured, []), 1e-4)
