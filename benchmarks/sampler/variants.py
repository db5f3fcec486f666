"""What the sampler benchmark measures: one entry per way to sample or decode, and what it is compared with.

Variants of one group share a process, their weights and every round, in which they run one after the other. So a ratio
never compares two processes, two moments or two sets of weights.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

STOCK = "stock"

Clip = Literal["short", "long", "decoded"]
"""Which clip of the settings a variant works on."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to sample or decode.

    Attributes:
        description: One line for the report.
        clip: What it works on.
        against: What its time is divided by; None for what others are divided by.
        also: Further references to give a ratio to.
        equal_to: Variant that must give the same picture, or None.
        target: Largest ratio that is good enough, or None. Windows of the whole UNet have a target that follows from
            the settings instead, see `SamplerBenchmarkSettings.target`.
        ours: Whether the figure is this package's.
        control: Published restoration control that looks at the clip, or None.
        family: Of the UNet: Stable Diffusion 1.x or 2.x.
        reuse: Steps that one look of the control serves.
        longer: Factor on the steps of the settings.
    """

    description: str
    clip: Clip = "short"
    against: str | None = STOCK
    also: tuple[str, ...] = ()
    equal_to: str | None = None
    target: float | None = None
    ours: bool = True
    control: str | None = None
    family: Literal["sd1", "sd2"] = "sd1"
    reuse: int = 1
    longer: int = 1


CONTROLS: tuple[tuple[str, str, Literal["sd1", "sd2"]], ...] = (
    ("diffbir", "DiffBIR", "sd2"),
    ("pasd", "PASD", "sd1"),
    ("pasd_light", "PASD light", "sd1"),
    ("seesr", "SeeSR", "sd2"),
    ("stablesr", "StableSR", "sd2"),
    ("coser", "CoSeR", "sd2"),
)
"""Published controls: variant, name and family of the UNet."""

_PUBLISHED = {
    "diffbir": 1.335,
    "pasd": 1.758,
    "pasd_light": 1.488,
    "seesr": 2.033,
    "stablesr": 1.200,
    "coser": 1.842,
}
"""Arithmetic of a UNet under the original control over that of the UNet alone, at 64×64 latents, without guidance."""


_REUSE = {"diffbir": 2, "pasd": 4, "pasd_light": 3, "seesr": 6, "stablesr": 2, "coser": 5}
"""Steps that one look serves, so that a control stays within `_DEAREST_REUSED`."""

_DEAREST_REUSED = 1.2


def _controls() -> dict[str, Variant]:
    """Return the references and the variants of restoration controls."""
    found = {"stock_sd2": Variant(description="the host's KSampler, 2.x", against=None, ours=False, family="sd2")}
    for name, title, family in CONTROLS:
        found[name] = Variant(
            description=f"with {title}'s control",
            against=_stock(family),
            target=_PUBLISHED[name],
            control=name,
            family=family,
        )
        reuse = _REUSE[name]
        found[_stock(family, reuse)] = Variant(
            description=f"the host's KSampler, {'2.x, ' if family == 'sd2' else ''}{reuse} times the steps",
            against=None,
            ours=False,
            family=family,
            longer=reuse,
        )
        found[f"{name}_reused"] = Variant(
            description=f"with {title}'s control, which looks in one of {reuse} steps",
            against=_stock(family, reuse),
            target=_DEAREST_REUSED,
            control=name,
            family=family,
            reuse=reuse,
            longer=reuse,
        )
    return found


def _stock(family: str, longer: int = 1) -> str:
    """Return the name of the host's own sampling with a UNet of a family."""
    name = STOCK if family == "sd1" else "stock_sd2"
    return name if longer == 1 else f"{name}_x{longer}"


VARIANTS: Mapping[str, Variant] = {
    STOCK: Variant(description="the host's KSampler", against=None, ours=False),
    "temporal_layers": Variant(description="with our temporal layers, convolution and attention", target=1.25),
    "motion_v2": Variant(description="with motion modules of AnimateDiff v2", target=1.36),
    "motion_v3": Variant(description="with motion modules of AnimateDiff v3"),
    "shot_lora": Variant(description="with a LoRA of rank 16 on all attention, a strength per frame"),
    "stock_long": Variant(description="the host's KSampler, long clip", clip="long", against=None, ours=False),
    "windows": Variant(
        description="whole-UNet context windows", clip="long", against="stock_long", equal_to="stock_long"
    ),
    "control_long": Variant(
        description="the host's KSampler with a control hint per frame", clip="long", against=None, ours=False
    ),
    "hints_windows": Variant(
        description="the same in whole-UNet context windows",
        clip="long",
        against="control_long",
        equal_to="control_long",
    ),
    "motion_long": Variant(
        description="motion modules that attend over the whole long clip", clip="long", against=None
    ),
    "attention_windows": Variant(
        description="the same with windows inside the temporal attention only",
        clip="long",
        against="motion_long",
        target=1.06,
    ),
    "diffusers_unet": Variant(description="diffusers' StableDiffusionPipeline", equal_to=STOCK, ours=False),
    # Not equal to motion_v2: its motion modules take their group norms over all frames together.
    "diffusers_animatediff": Variant(
        description="diffusers' AnimateDiffPipeline, v2", also=("diffusers_unet",), ours=False
    ),
    "ade_v2": Variant(description="ComfyUI-AnimateDiff-Evolved, v2", equal_to="motion_v2", ours=False),
    **_controls(),
    "frame_by_frame": Variant(description="the host's VAE, frame by frame", clip="decoded", against=None, ours=False),
    "decode_chunks": Variant(
        description="our decode with its defaults",
        clip="decoded",
        against="frame_by_frame",
        equal_to="frame_by_frame",
        target=1.05,
    ),
    "decode_batch": Variant(
        description="the host's VAEDecode",
        clip="decoded",
        against="frame_by_frame",
        equal_to="frame_by_frame",
        ours=False,
    ),
    "decode_tiles": Variant(
        description="our tiled decode, two tiles", clip="decoded", against="frame_by_frame", target=1.2
    ),
    "decode_host_tiles": Variant(
        description="the host's VAEDecodeTiled", clip="decoded", against="frame_by_frame", ours=False
    ),
}
"""All variants, in the order of the report."""

WINDOWED = ("windows", "hints_windows")

GROUPS: Mapping[str, tuple[str, ...]] = {
    "temporal_layers": (STOCK, "temporal_layers"),
    "motion_v2": (STOCK, "motion_v2"),
    "motion_v3": (STOCK, "motion_v3"),
    "shot_lora": (STOCK, "shot_lora"),
    "windows": ("stock_long", "windows"),
    "hints_windows": ("control_long", "hints_windows"),
    "attention_windows": ("motion_long", "attention_windows"),
    "diffusers_animatediff": (STOCK, "motion_v2", "diffusers_unet", "diffusers_animatediff"),
    "ade_v2": (STOCK, "motion_v2", "ade_v2"),
    **{name: (_stock(family), name) for name, _, family in CONTROLS},
    **{f"{name}_reused": (_stock(family, _REUSE[name]), f"{name}_reused") for name, _, family in CONTROLS},
    "decode": ("frame_by_frame", "decode_chunks", "decode_batch", "decode_tiles", "decode_host_tiles"),
}
"""Processes and the variants that run in each; references come before what is compared with them."""


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of variants once each, in the order of the report."""
    wanted = set(names)
    return tuple(name for name in VARIANTS if name in wanted)
