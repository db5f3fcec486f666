"""CLIP and CLIP Vision of the host embed as transformers' CLIP with the same weights: in one space."""

from semantics_common import *

from torch.nn.functional import normalize
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

from pack.nodes.host.semantics import text_encoder, vision_encoder
from pack.vldm_core.semantics.recognition.clip import prepare_pictures

torch.set_grad_enabled(False)
torch.manual_seed(0)
TEXTS = ["a horse", "a (street:1.3) with houses in the rain", "snow"]

config = CLIPTextConfig(
    **SMALL, vocab_size=49408, projection_dim=CONTEXT, bos_token_id=49406, eos_token_id=49407, pad_token_id=49407
)
theirs = filled(CLIPTextModelWithProjection(config).eval(), seed=4)
clip = tiny_clip()
inner = clip.cond_stage_model.clip_l
missing, unexpected = inner.transformer.load_state_dict(theirs.state_dict(), strict=False)
assert not missing and all("position_ids" in key for key in unexpected), (missing, unexpected)
# In tags brackets are letters, no weights.
tokens = torch.tensor([[token for token, *_ in clip.tokenize(text, disable_weights=True)["l"][0]] for text in TEXTS])
wanted = normalize(theirs(input_ids=tokens).text_embeds, dim=1)
torch.testing.assert_close(text_encoder(clip, CONTEXT)(TEXTS), wanted, atol=1e-5, rtol=1e-4)
# What the host encodes for prompts afterwards is as before: without projection, as Stable Diffusion 1.x has it.
before = clip.encode_from_tokens(clip.tokenize("a horse"), return_pooled=True)
text_encoder(clip, CONTEXT)(TEXTS)
after = clip.encode_from_tokens(clip.tokenize("a horse"), return_pooled=True)
assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))

settings = {key: value for key, value in VISION.items() if key != "model_type"}
seeing = filled(CLIPVisionModelWithProjection(CLIPVisionConfig(**settings)).eval(), seed=5)
vision = tiny_vision()
missing, unexpected = vision.model.load_state_dict(seeing.state_dict(), strict=False)
assert not missing and all("position_ids" in key for key in unexpected), (missing, unexpected)
# Of CLIP's own size and in whole levels, so that both prepare them alike.
frames = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(2)) / 255
wanted = normalize(seeing(pixel_values=prepare_pictures(frames, 32)).image_embeds, dim=1)
found = normalize(vision_encoder(vision)(frames), dim=1)
torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
