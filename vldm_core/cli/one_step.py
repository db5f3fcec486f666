"""The options of `restore --prior` that are about one-step restorers."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import SettingsError
from .controls import flag

if TYPE_CHECKING:
    from ..prior.onestep.run.settings import OneStepSettings
    from ..prior.onestep.system import OneStepSystem

_step = partial(typer.Option, rich_help_panel="Prior: one step")

_IN_STEPS = (
    "strength",
    "steps",
    "sampler",
    "cfg",
    "noise_schedule",
    "noise",
    "noise_mix",
    "start",
    "added_noise_level",
    "freeinit_rounds",
    "guidance",
    "guidance_space",
    "guidance_weighting",
    "guidance_start",
    "guidance_end",
    "keep_undamaged",
    "keep_until",
    "keep_margin",
    "propagation",
    "cfg_schedule",
    "cfg_rescale",
    "window_schedule",
    "window_stride",
    "window_fuse",
    "tile_weight",
    "move",
    "controlnet",
    "control",
)
"""Options of what is sampled in steps, or looked at by a control."""


@dataclass(frozen=True, kw_only=True)
class OneStepOptions:
    """What the command line says about one step; the help of each option says what it is."""

    one_step: Annotated[
        list[Path] | None,
        _step(
            metavar="FILE",
            help="Restore in a single step with a published restorer: OSEDiff, PiSA-SR, S3Diff, HYPIR or DLoRAL, told "
            "from the file. --prior is Stable Diffusion 2.1-base. Twice for S3Diff: s3diff.pkl and de_net.pth.",
        ),
    ] = None
    invention: Annotated[
        float | None,
        _step(min=0, max=1, help="PiSA-SR, DLoRAL: 0 keeps to the film, 1 adds detail as published, and the default."),
    ] = None
    encode: Annotated[
        Literal["mean", "sample"],
        _step(help="--one-step only: how frames are encoded; sample draws, with one noise for a shot."),
    ] = "mean"
    damage_scores: Annotated[
        str, _step(metavar="BLUR,NOISE", help="S3Diff: two numbers from 0 to 1; else measured over each shot.")
    ] = ""
    keep_outside: Annotated[
        bool, _step(help="--one-step only: outside the damage the film stays as it is, bit for bit.")
    ] = False

    def check_one_step(self, default: Any) -> None:
        """Check that no option is given that has no effect.

        Args:
            default: The options as they are where nothing is said.

        Raises:
            SettingsError: One is.
        """

        def said(names: Sequence[str]) -> str:
            return " and ".join(flag(name) for name in names if getattr(self, name) != getattr(default, name))

        own = [field.name for field in fields(OneStepOptions) if field.name != "one_step"]
        if not self.one_step and (unused := said(own)):
            raise SettingsError(f"{unused}: give --one-step FILE too, the restorer")
        if self.one_step and (unused := said(_IN_STEPS)):
            raise SettingsError(f"{unused}: with --one-step nothing is sampled in steps; leave out what is for that")
        if self.one_step and (unused := said(("trained_fusion", "own_latents"))):
            raise SettingsError(
                f"{unused}: one-step restorers were not trained with a fusion or with a pre-restorer's own latents; "
                "leave it out"
            )

    def one_step_system(self) -> "OneStepSystem | None":
        """Read the restorer; None where none is given.

        Raises:
            WeightFileError: A file is none of a known system, or does not fit.
        """
        from ..prior.onestep.reading import read_one_step

        return read_one_step(self.one_step) if self.one_step else None

    def one_step_settings(self, **regions: Any) -> "OneStepSettings":
        """Return how clips are restored.

        Args:
            **regions: Windows and tiles that were asked for.

        Raises:
            SettingsError: An option has a value that does not work.
        """
        from ..prior.onestep.run.settings import OneStepSettings

        return OneStepSettings(
            invention=self.invention,
            encode=self.encode,
            scores=self._scores(),
            keep_outside=self.keep_outside,
            **regions,
        )

    def _scores(self) -> tuple[float, float] | None:
        if not self.damage_scores:
            return None
        try:
            blur, noise = (float(part) for part in self.damage_scores.split(","))
        except ValueError as error:
            raise SettingsError(
                f"--damage-scores is {self.damage_scores!r}; give two numbers with a comma between, such as 0.3,0.5"
            ) from error
        return blur, noise
