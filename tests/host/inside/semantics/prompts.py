"""Tables of shots, a CLIP that counts, and what arrives at the network."""

from typing import Any

from comfy.patcher_extension import WrappersMP
from pack.nodes.host.prior.attachments import FRAMES_KEY


class Counted:
    """A CLIP that notes what it encodes."""

    def __init__(self, clip: Any) -> None:
        self.clip, self.texts = clip, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.clip, name)

    def tokenize(self, text: str, **more: Any) -> Any:
        self.texts.append(text)
        return self.clip.tokenize(text, **more)


def spied(model: Any, seen: list[Any]) -> Any:
    """Return a clone that notes in `seen` what arrives at the network: chunk kind, frames, context, y."""
    patched = model.clone()

    def look(executor, x, timesteps, context, y=None, *args, **kwargs):
        options = kwargs["transformer_options"] if "transformer_options" in kwargs else args[1]
        chunks = options["cond_or_uncond"]
        count = len(x) // len(chunks)
        frames = options.get(FRAMES_KEY, tuple(range(count)))
        parts = zip(chunks, context.split(count), (None,) * len(chunks) if y is None else y.split(count), strict=True)
        for kind, tokens, embedding in parts:
            seen.append((kind, frames, tokens.clone(), None if embedding is None else embedding.clone()))
        return executor(x, timesteps, context, y, *args, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "spy", look)
    return patched
