"""The nodes about what a film shows, with models of the host's classes: key frames, tags and era, pictures."""

from dataclasses import replace

from semantics_common import *
from decode_common import image_vae

import folder_paths
import comfy.latent_formats
import comfy.model_base
import comfy.model_patcher
import comfy.t2i_adapter.adapter
from pack.nodes.semantics.choose_key_frames import KeyFrames
from pack.nodes.semantics.shot_conditioning import ShotConditioning
from pack.nodes.semantics.clip_models import CONNECTED
from pack.nodes.semantics.era import Era
from pack.nodes.semantics.tag_shots import TagShots
from pack.vldm_core.ageing import PRESETS
from pack.vldm_core.semantics.recognition.shared_space import COLOURS, colour_cards, colour_names
from pack.vldm_core.semantics.recognition.tags import TEMPLATES

# Previews go there.
temporary = tempfile.TemporaryDirectory()
folder_paths.set_temp_directory(temporary.name)
torch.set_grad_enabled(False)
vision, clip = tiny_vision(), tiny_clip()


def cards(*names):
    """Frames of plain colours as an IMAGE, 48×64, with a little structure that differs from frame to frame."""
    flat = torch.tensor([COLOURS[name] for name in names])[:, None, None, :].expand(-1, 48, 64, -1)
    return (flat + 0.004 * torch.rand(flat.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


def execute(node, *arguments, **values):
    with torch.inference_mode():
        return node.execute(*arguments, **values).result


# Key frames: one for a still shot, two for one that changes, none where the mask says damaged; by whatever compares.
images = cards(*["red"] * 6, *["blue"] * 4, *["yellow"] * 4)
shots = (Shot(0, 6), Shot(6, 14))
mask = torch.zeros(14, 48, 64)
mask[:3] = 1.0
found = {}
for name, model in (("look", {}), ("vision", {"clip_vision": vision}), ("latents", {"vae": image_vae()})):
    table_, pictures, report = execute(KeyFrames, images, 4, 0.01, shots=shots, mask=mask, **model)
    assert table_.shots == shots and set(table_[0].key_frames) <= {3, 4, 5}, (name, table_)
    assert len(table_[0].key_frames) == 1, (name, table_)
    assert len(pictures) == sum(len(row.key_frames) for row in table_) and report.count("\n") == 1
    chosen = [frame for row in table_ for frame in row.key_frames]
    assert (pictures - images[chosen]).abs().max() < 1e-6
    again = execute(KeyFrames, images, 4, 0.01, shots=shots, mask=mask, **model)[0]
    assert again == table_, "same film, same table"
    found[name] = table_
assert all(len(row[1].key_frames) == 2 for row in found.values()), found
table_ = found["vision"]
key_frames = images[[frame for row in table_ for frame in row.key_frames]]

# Tags and era: a text encoder without projection into the pictures' space is refused, so is one of another width.
tag = {"model": CONNECTED, "most": 3, "least": 0.1, "margin": 0.0, "words": "a ball\na sky\na field"}
refused(lambda: execute(TagShots, table_, key_frames, clip=clip, clip_vision=vision, **tag), "plain colours")
narrow = tiny_vision()
narrow.model.visual_projection = torch.nn.Linear(CONTEXT, 32, bias=False)
refused(lambda: execute(TagShots, table_, key_frames, clip=clip, clip_vision=narrow, **tag), "32 numbers", "64")
refused(lambda: execute(TagShots, table_, key_frames, clip=None, clip_vision=vision, **tag), "no text encoder")


def projected(meanings):
    """Give a CLIP the projection that takes each text to the embedding of its colour."""
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


meanings = dict(zip(colour_names(), COLOURS, strict=True))
for word, colour in (("a ball", "red"), ("a sky", "blue"), ("a field", "yellow")):
    meanings |= {form.format(word): colour for form in TEMPLATES}
tagged, tags = execute(TagShots, table_, key_frames, clip=projected(meanings), clip_vision=vision, **tag)
assert tagged[0].tags[:1] == ("ball",) and set(tagged[1].tags[:2]) == {"sky", "field"}, tags
assert tags.split("\n")[0].startswith("ball") and tagged.shots == table_.shots
# All frames of the clip serve as well as the key frames.
every = execute(TagShots, table_, images, clip=projected(meanings), clip_vision=vision, **tag)
assert every[0] == tagged

era = {"model": CONNECTED, "confidence": 0.5, "otherwise": "worn", "era_map": ""}
dated, eras, preset, report = execute(Era, tagged, key_frames, clip=projected(meanings), clip_vision=vision, **era)
assert len(eras.split("\n")) == 2 and preset in PRESETS and report.count("shot ") == 2
assert [row.tags for row in dated] == [row.tags for row in tagged], "what the table had stays"

# One conditioning per shot from the table: written prompts, words around them, one encoding each.
counted = Counted(clip)
words = {"template": "plain", "before": "", "after": "sharp", "negative": "blurry"}
positive, negative, prompts = execute(ShotConditioning, counted, tagged, **words)
assert counted.texts == [*prompts.split("\n"), "blurry"] and prompts.startswith("ball"), counted.texts
assert positive[0][0].shape == (14, 77, CONTEXT) and negative[0][0].shape == (1, 77, CONTEXT)
assert torch.equal(positive[0][0][0], positive[0][0][5]) and torch.equal(positive[0][0][6], positive[0][0][13])
assert not torch.equal(positive[0][0][5], positive[0][0][6])

# Pictures as tokens: a style model's, the same for all frames of a shot.
output = vision.encode_image(key_frames)
adapter = comfy.t2i_adapter.adapter.StyleAdapter(width=CONTEXT, context_dim=CONTEXT, num_head=4, n_layes=1, num_token=4)
style = comfy.sd.StyleModel(filled(adapter))
styled = execute(ShotConditioning, clip, tagged, **words, clip_vision_output=output, style_model=style)[0]
assert styled[0][0].shape == (14, 81, CONTEXT)
assert torch.equal(styled[0][0][:, :77], positive[0][0])
with torch.inference_mode():
    tokens = style.get_cond(output)
added = styled[0][0][:, 77:]
assert all(torch.equal(item, added[0]) for item in added[:6]) and all(torch.equal(item, added[6]) for item in added[6:])
torch.testing.assert_close(added[[0, 6]], torch.stack([tokens[0], tokens[1:].mean(0)]))
bare = ShotTable(descriptions=(tagged[0], replace(tagged[1], key_frames=())))
refused(lambda: execute(ShotConditioning, clip, bare, **words, clip_vision_output=output), "shot 2 has no key frame")
other = vision.encode_image(images[:2])
refused(
    lambda: execute(ShotConditioning, clip, tagged, **words, clip_vision_output=other), "2 pictures", "3 key frames"
)
refused(lambda: execute(ShotConditioning, clip, tagged, **words, style_model=style), "style_model needs pictures")


def tiny_unclip():
    """Return a MODEL of the host's class that takes embeddings of pictures beside the text."""
    plain, _ = tiny_pair()
    config = {**plain.model.model_config.unet_config, "num_classes": "sequential", "adm_in_channels": 2 * CONTEXT}
    settings = comfy.supported_models_base.BASE(dict(config))
    settings.unet_config, settings.latent_format = config, comfy.latent_formats.SD15()
    noise = {
        "noise_schedule_config": {"timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"},
        "timestep_dim": CONTEXT,
    }
    model = comfy.model_base.SD21UNCLIP(settings, noise, model_type=comfy.model_base.ModelType.EPS, device="cpu").eval()
    filled(model.diffusion_model)
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


# Pictures as unCLIP takes them: constant inside a shot, another exactly at the cut, and no work for other shots.
positive = execute(ShotConditioning, clip, tagged, **words, clip_vision_output=output)[0]
assert [entry[1]["vldm_shot_span"] for entry in positive] == [(0, 6), (6, 14)]
model = tiny_unclip()
results = {}
for name, patched in (
    ("whole", model),
    ("windows", with_shots(with_regions(model, WindowSettings(length=4, overlap=1), None), shots)),
):
    seen = []
    noise, latent = random(14, 4, 8, 8), random(14, 4, 8, 8, seed=6)
    results[name] = sample(spied(patched, seen), positive, negative, noise, latent, steps=1, cfg=2.0)
    by_shot = [{}, {}]
    for kind, frames, _, embedding in seen:
        if kind == 0 and name == "windows":
            for frame, one in zip(frames, embedding, strict=True):
                by_shot[frame >= 6][frame] = one
            assert (frames[0] >= 6) == (frames[-1] >= 6)
    if name == "windows":
        first, second = ([items[frame] for frame in sorted(items)] for items in by_shot)
        assert (len(first), len(second)) == (6, 8)
        assert all(torch.equal(one, first[0]) for one in first) and all(torch.equal(one, second[0]) for one in second)
        assert not torch.equal(first[0], second[0])
        calls = [frames for kind, frames, *_ in seen if kind == 0]
        assert len(calls) == len(set(calls)), "a window is evaluated for its own shot alone"
difference = (results["whole"] - results["windows"]).abs().max() / results["whole"].abs().max()
assert difference < 1e-4, float(difference)
