"""The options of `restore --prior` that are about control: ControlNets, and the controls of restoration systems."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SettingsError
from ..wording import counted

if TYPE_CHECKING:
    from ..prior.controls.control import ControlSystem
    from ..reel.prior_company import ReelControl
    from ..reel.prior_controls import ReelRestorationControl

_control = partial(typer.Option, rich_help_panel="Prior: control")

_SHARED = ("control_strength", "control_start", "control_end", "control_hint")
"""Options of whichever control there is."""

_OWN = (
    "control_mix",
    "control_in_damage",
    "control_reuse",
    "control_pixel_window",
    "control_over_steps",
    "control_over_frames",
    "control_tokens",
    "control_clip",
    "control_reference",
)
"""Options of restoration controls."""


@dataclass(frozen=True, kw_only=True)
class ControlOptions:
    """What the command line says about control; the help of each option says what it is."""

    controlnet: Annotated[Path | None, _control(help="ControlNet of the model's family: diffusers folder or file.")] = (
        None
    )
    control: Annotated[
        list[Path] | None,
        _control(
            metavar="FILE",
            help="Control of a restoration system: DiffBIR, PASD, SeeSR, StableSR or CoSeR, told from the file, or a "
            "folder of its files. Several times for systems in two files, or to mix systems.",
        ),
    ] = None
    control_strength: Annotated[float, _control(min=0, max=10, help="Factor on what controls add.")] = 1.0
    control_start: Annotated[float, _control(min=0, max=1, help="Share of the schedule at which they begin.")] = 0.0
    control_end: Annotated[float, _control(min=0, max=1, help="Share of the schedule at which they end.")] = 1.0
    control_hint: Annotated[
        Path | None,
        _control(
            metavar="FILM",
            help="What they look at, a film or picture; else the film that goes into the prior. With --controlnet and "
            "--control it is the ControlNet's.",
        ),
    ] = None
    control_mix: Annotated[
        str, _control(metavar="A,B,…", help="--control only: a factor on the strength of each system, in their order.")
    ] = ""
    control_in_damage: Annotated[
        float,
        _control(min=0, max=1, help="--control only: factor inside damage, where the film is a guess of the repair."),
    ] = 0.5
    control_reuse: Annotated[
        int,
        _control(min=1, max=16, help="--control only: steps that one look serves; 2 halves its cost, and lags."),
    ] = 1
    control_pixel_window: Annotated[
        int,
        _control(
            min=0,
            help="--control only: side of the square that each place looks at with PASD, in latent pixels; 0: all.",
        ),
    ] = 96
    control_over_steps: Annotated[
        str, _control(metavar="POINTS", help="--control only: factor over the schedule, such as 0:1,0.6:1,1:0.3.")
    ] = ""
    control_over_frames: Annotated[
        str, _control(metavar="POINTS", help="--control only: factor over the film's frames, such as 0:1,24:0.5.")
    ] = ""
    control_tokens: Annotated[
        Path | None,
        _control(metavar="FILE", help="--control only: embeddings of SeeSR's tagger or CoSeR's tokens, .safetensors."),
    ] = None
    control_clip: Annotated[
        Path | None,
        _control(
            metavar="FOLDER", help="CoSeR only: its CLIP, laion/CLIP-ViT-H-14-laion2B-s32B-b79K, makes the tokens."
        ),
    ] = None
    control_reference: Annotated[
        Path | None,
        _control(
            metavar="PICTURE",
            help="--control only: picture of the scene in good condition for CoSeR; a folder with one for each shot of "
            "--shots-table. Else the least damaged frame of a shot serves.",
        ),
    ] = None

    def check_controls(self) -> None:
        """Check that no option of control is given without what it is for.

        Raises:
            SettingsError: One is.
        """
        default = {field.name: field.default for field in fields(ControlOptions)}

        def unused(names: Sequence[str]) -> str:
            return " and ".join(flag(name) for name in names if getattr(self, name) != default[name])

        if self.controlnet is None and not self.control and (said := unused(_SHARED)):
            raise SettingsError(f"{said}: give --controlnet PATH too, the net, or --control FILE")
        if not self.control and (said := unused(_OWN)):
            raise SettingsError(f"{said}: give --control FILE too, the control of a restoration system")

    def control_net(self) -> "ReelControl | None":
        """Return what the ControlNet looks at."""
        from ..reel.prior_company import ReelControl

        if self.controlnet is None:
            return None
        return ReelControl(
            hint=self.control_hint, strength=self.control_strength, start=self.control_start, end=self.control_end
        )

    def restoration_controls(self) -> "tuple[ReelRestorationControl, ...]":
        """Return the controls of restoration systems, told from their files; no weights are read.

        Raises:
            SettingsError: An option has a value that does not work, or a system lacks something or takes it not.
            WeightFileError: A file is none of a known system, or one is missing.
        """
        from ..prior.controls.grouping import find_controls, outline_of
        from ..prior.controls.settings import ControlSettings, points_of
        from ..prior.controls.tokens import read_tokens
        from ..reel.prior_controls import ReelRestorationControl

        if not self.control:
            return ()
        systems = find_controls(self.control)
        outlines = [outline_of(found) for found in systems]
        tokens = _taker(outlines, "takes_tokens", self.control_tokens, "--control-tokens")
        reference = _taker(outlines, "takes_reference", self.control_reference, "--control-reference")
        looking = {number for number, system in enumerate(outlines) if system.name == "CoSeR"}
        if self.control_clip is not None and not looking:
            raise SettingsError(f"--control-clip: {_names(outlines)} does not look through CLIP; leave it out")
        if self.control_tokens is not None:
            read_tokens(self.control_tokens)
        found = []
        for number, (files, factor) in enumerate(zip(systems, self._mix(len(systems)), strict=True)):
            control = ReelRestorationControl(
                files=tuple(dict.fromkeys(files.parts.values())),
                settings=ControlSettings(
                    strength=factor * self.control_strength,
                    start=self.control_start,
                    end=self.control_end,
                    over_steps=points_of(self.control_over_steps),
                    over_frames=points_of(self.control_over_frames),
                    in_damage=self.control_in_damage,
                    reuse=self.control_reuse,
                    pixel_window=self.control_pixel_window,
                ),
                hint=None if self.controlnet is not None else self.control_hint,
                tokens=self.control_tokens if number in tokens else None,
                clip=self.control_clip if number in looking else None,
                reference=self.control_reference if number in reference else None,
            )
            control.check(outlines[number])
            found.append(control)
        return tuple(found)

    def control_outlines(self) -> "tuple[ControlSystem, ...]":
        """Return the restoration systems without their weights."""
        from ..prior.controls.grouping import find_controls, outline_of

        return tuple(outline_of(found) for found in find_controls(self.control or ()))

    def _mix(self, systems: int) -> tuple[float, ...]:
        if not self.control_mix:
            return (1.0,) * systems
        try:
            factors = tuple(float(part) for part in self.control_mix.split(","))
        except ValueError as error:
            raise SettingsError(
                f"--control-mix is {self.control_mix!r}; give numbers with commas between them"
            ) from error
        if len(factors) != systems:
            raise SettingsError(
                f"--control-mix has {counted(len(factors), 'factor')} for {counted(systems, 'system')}; give one for "
                "each"
            )
        return factors


def flag(name: str) -> str:
    """Return an option as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def _taker(systems: "Sequence[ControlSystem]", need: str, given: Any, option: str) -> set[int]:
    """Return the numbers of the systems that take what an option gives.

    Raises:
        SettingsError: None of them does.
    """
    takers = {number for number, system in enumerate(systems) if getattr(system, need) != "none"}
    if given is not None and not takers:
        raise SettingsError(f"{option}: {_names(systems)} takes none; leave it out")
    return takers


def _names(systems: "Sequence[ControlSystem]") -> str:
    return " and ".join(system.name for system in systems)
