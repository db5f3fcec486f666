"""CLIP and CLIP Vision of the host embed as transformers' CLIP with the same weights: in one space."""

import pytest
import torch
from inside.models import CLIP_CONFIG, CONTEXT, VISION_CONFIG, filled, tiny_clip, tiny_vision
from pack.nodes.host.semantics import text_encoder, vision_encoder
from pack.vldm_core.semantics.recognition.clip import prepare_pictures
from torch.nn.functional import normalize
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

pytestmark = pytest.mark.usefixtures("without_gradients")

# In tags brackets are letters, no weights.
TEXTS = ["a horse", "a (street:1.3) with houses in the rain", "snow"]


def load(module, weights):
    missing, unexpected = module.load_state_dict(weights, strict=False)
    assert not missing and all("position_ids" in key for key in unexpected), (missing, unexpected)


@pytest.fixture
def texts_of_both():
    """CLIP of the host, and of transformers."""
    tokens = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    config = CLIPTextConfig(**CLIP_CONFIG, vocab_size=49408, projection_dim=CONTEXT, **tokens)
    theirs = filled(CLIPTextModelWithProjection(config).eval(), seed=4)
    clip = tiny_clip()
    load(clip.cond_stage_model.clip_l.transformer, theirs.state_dict())
    return clip, theirs


def test_texts(texts_of_both):
    clip, theirs = texts_of_both
    tokens = [[token for token, *_ in clip.tokenize(text, disable_weights=True)["l"][0]] for text in TEXTS]
    wanted = normalize(theirs(input_ids=torch.tensor(tokens)).text_embeds, dim=1)
    torch.testing.assert_close(text_encoder(clip, CONTEXT)(TEXTS), wanted, atol=1e-5, rtol=1e-4)


def test_prompts_encoded_afterwards_are_as_before(texts_of_both):
    """Without projection, as Stable Diffusion 1.x has it."""
    clip, _ = texts_of_both
    before = clip.encode_from_tokens(clip.tokenize("a horse"), return_pooled=True)
    text_encoder(clip, CONTEXT)(TEXTS)
    after = clip.encode_from_tokens(clip.tokenize("a horse"), return_pooled=True)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_pictures(tmp_path):
    settings = {key: value for key, value in VISION_CONFIG.items() if key != "model_type"}
    theirs = filled(CLIPVisionModelWithProjection(CLIPVisionConfig(**settings)).eval(), seed=5)
    vision = tiny_vision(tmp_path)
    load(vision.model, theirs.state_dict())
    # Of CLIP's own size and in whole levels, so that both prepare them alike.
    frames = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(2)) / 255
    wanted = normalize(theirs(pixel_values=prepare_pictures(frames, 32)).image_embeds, dim=1)
    found = normalize(vision_encoder(vision)(frames), dim=1)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
