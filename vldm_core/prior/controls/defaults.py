"""What the authors of each system ship as its prompts, steps, guidance, sampler and start.

One place for workflows, tooltips, the command line and prompt templates. The values are those of the published code:
DiffBIR's `inference.py`, PASD's `test_pasd.py`, SeeSR's `test_seesr.py`, StableSR's README and scripts, and CoSeR's
endorsed reproduction.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PublishedDefaults:
    """How a version of a system is run where it is published.

    Attributes:
        version: Its name, short; empty where there is only one.
        prompt_added: Text after what is seen; empty adds nothing.
        prompt_replaced: (word, other word) that captions are cleaned by.
        negative: Negative prompt.
        steps: Of the sampler.
        cfg: Scale of classifier-free guidance; 1 is off.
        sampler: As its authors call it.
        start: What sampling begins with, as in `StartSettings`.
    """

    version: str = ""
    prompt_added: str = ""
    prompt_replaced: tuple[tuple[str, str], ...] = ()
    negative: str = ""
    steps: int
    cfg: float
    sampler: str
    start: Literal["noise", "latent", "added_noise"]


_PASD = PublishedDefaults(
    prompt_added="clean, high-resolution, 8k",
    prompt_replaced=(("blurry", "clear"), ("noisy", "clean")),
    negative="blurry, dotted, noise, raster lines, unclear, lowres, over-smoothed",
    steps=20,
    cfg=9.0,
    sampler="UniPC",
    start="added_noise",
)

DEFAULTS = MappingProxyType(
    {
        "DiffBIR": (
            PublishedDefaults(
                version="v2.1",
                prompt_added=(
                    "Cinematic, High Contrast, highly detailed, taken using a Canon EOS R camera, "
                    "hyper detailed photo - realistic maximum detail, 32k, Color Grading, ultra HD, "
                    "extreme meticulous detailing, skin pore detailing, hyper sharpness, perfect without deformations."
                ),
                negative=(
                    "painting, oil painting, illustration, drawing, art, sketch, oil painting, cartoon, CG Style, "
                    "3D render, unreal engine, blurring, dirty, messy, worst quality, low quality, frames, watermark, "
                    "signature, jpeg artifacts, deformed, lowres, over-smooth."
                ),
                steps=10,
                cfg=6.0,
                sampler="edm_dpm++_3m_sde",
                start="noise",
            ),
            PublishedDefaults(
                version="v2",
                negative="low quality, blurry, low-resolution, noisy, unsharp, weird textures",
                steps=50,
                cfg=4.0,
                sampler="spaced DDPM",
                start="noise",
            ),
            PublishedDefaults(version="v1", steps=50, cfg=1.0, sampler="spaced DDPM", start="noise"),
        ),
        "PASD": (_PASD,),
        "PASD light": (_PASD,),
        "SeeSR": (
            PublishedDefaults(
                prompt_added="clean, high-resolution, 8k",
                negative="dotted, noise, blur, lowres, smooth",
                steps=50,
                cfg=5.5,
                sampler="DDPM",
                start="latent",
            ),
        ),
        "StableSR": (
            PublishedDefaults(steps=200, cfg=1.0, sampler="spaced DDPM", start="latent"),
            PublishedDefaults(
                version="negative prompts",
                negative="3d, cartoon, anime, sketches, (worst quality:2), (low quality:2)",
                steps=200,
                cfg=7.0,
                sampler="DDIM",
                start="latent",
            ),
            PublishedDefaults(version="turbo", steps=4, cfg=1.0, sampler="spaced DDPM", start="latent"),
        ),
        "CoSeR": (
            PublishedDefaults(
                negative=(
                    "worst quality, normal quality, low quality, low res, blurry, text, watermark, logo, banner, "
                    "extra digits, cropped, jpeg artifacts, signature, username, error, sketch ,duplicate, ugly, "
                    "monochrome, horror, geometry, mutation, disgusting"
                ),
                steps=50,
                cfg=3.0,
                sampler="spaced DDPM",
                start="latent",
            ),
        ),
    }
)
"""By name of the system; the version that is recommended comes first."""
