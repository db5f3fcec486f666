"""What the resolution study measures: a pre-restorer, a published restorer of stills, or a Stable Diffusion prior."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from vldm_core.errors import VLDMError
from vldm_core.files.weights import read_header
from vldm_core.machine.devices import chosen_device
from vldm_core.prerestore.network import KIND, SCALE
from vldm_core.prerestore.published import read_stage1
from vldm_core.prerestore.restore_images import ImageModelSettings, restore_images
from vldm_core.prerestore.run import pre_restore
from vldm_core.prerestore.shipped import SHIPPED, PreRestoration, load_prerestorer

from ..prerestore.methods import FULL

if TYPE_CHECKING:
    from vldm_core.prior.controls.control import ControlSystem
    from vldm_core.sampling.restoration import RestorationSettings

SHIPPED_NAME = "prerestore"
"""Name of the pre-restorer that ships, in the place of a file."""

_PRIOR_MULTIPLE = 64


@dataclass(frozen=True, kw_only=True)
class Restorer:
    """Something that restores a clip at whatever size it is given.

    Attributes:
        name: For the report.
        description: One line for the report.
        multiple: The sides of the frames that it is given are divisible by this.
        run: Frames (T, 3, H, W) in [0, 1] and masks (T, H, W) → frames of the same size.
        beside: Whether it gets what the restorer before it got, to be compared with it, and not what that made.
    """

    name: str
    description: str
    multiple: int
    run: Callable[[Tensor, Tensor], Tensor]
    beside: bool = False


@dataclass(frozen=True, kw_only=True)
class PriorSampling:
    """How the prior samples.

    Attributes:
        prompt: What the film shows.
        negative: What it shall not show.
        steps: Of the whole schedule.
        strength: How far the clip is noised, 0 … 1.
        sampler: As in the pipeline.
        noise_schedule: Likewise.
        start: What sampling begins with.
        cfg: Scale of text guidance.
        seed: Same seed, same result.
        control_strength: Of the controls.
    """

    prompt: str = ""
    negative: str = ""
    steps: int = 20
    strength: float = 0.4
    sampler: str = "scheduler"
    noise_schedule: str = "auto"
    start: Literal["latent", "added_noise", "noise"] = "latent"
    cfg: float = 4.0
    seed: int = 0
    control_strength: float = 1.0

    def restoration(self) -> "RestorationSettings":
        """Return how clips are sampled: the defaults, without keeping what masks leave out."""
        from vldm_core.sampling.cfg import CfgSettings
        from vldm_core.sampling.restoration import default_restoration
        from vldm_core.sampling.start import StartSettings

        return replace(
            default_restoration(),
            cfg=CfgSettings(scale=self.cfg),
            start=StartSettings(mode=self.start),
            # The restorers before see the masks; here they tell controls where the film is a guess.
            consistency=None,
        )


def open_restorer(name: str, *, device: str = "auto") -> Restorer:
    """Open a restorer: all that it takes off, no grain put back.

    Args:
        name: "prerestore", the one that ships; or a file of a pre-restorer or of a stage-1 restorer of DiffBIR.
        device: A device of PyTorch, or "auto".

    Raises:
        WeightFileError: The file is missing, damaged, or holds neither.
    """
    path = SHIPPED if name == SHIPPED_NAME else Path(name)
    if path.suffix.lower() == ".safetensors" and KIND.name not in read_header(path).metadata:
        return _stills(path, device)
    if path.suffix.lower() in (".pth", ".pt", ".ckpt"):
        return _stills(path, device)
    network = load_prerestorer(PreRestoration(weights=path, device=device))

    def run(frames: Tensor, masks: Tensor) -> Tensor:
        return pre_restore(frames, network, FULL, masks=masks)[0]

    return Restorer(
        name="pre-restorer",
        description=f"the pre-restorer {path.name} at strength 1 without grain put back",
        multiple=SCALE,
        run=run,
    )


def _stills(path: Path, device: str) -> Restorer:
    model = read_stage1(path).to(chosen_device(device))
    settings = ImageModelSettings(keep_grain=0)

    def run(frames: Tensor, masks: Tensor) -> Tensor:
        return restore_images(frames, model, settings, masks=masks)

    return Restorer(
        name=path.stem,
        description=f"the restorer of stills {path.name} over time, at strength 1 without grain put back",
        multiple=SCALE,
        run=run,
    )


def open_prior_restorers(
    path: str | os.PathLike[str],
    options: PriorSampling | None = None,
    *,
    controls: Sequence[Path] = (),
    prediction: Literal["eps", "v"] | None = None,
    device: str = "auto",
) -> tuple[Restorer, ...]:
    """Open a Stable Diffusion prior with the defaults of restoration, alone and, beside that, with controls.

    Args:
        path: Folder in diffusers' layout, or a checkpoint.
        options: How it samples, both times.
        controls: Files of restoration controls; all of them act at once.
        prediction: What the model predicts; None takes it from the model.
        device: A device of PyTorch, or "auto".

    Raises:
        SettingsError: A control was made for another family.
        VLDMError: Nothing is there, it is another kind of model, or diffusers cannot be imported.
        WeightFileError: A control's file cannot be read, or one is missing.
    """
    from vldm_core.prior.checkpoints.opening import open_prior
    from vldm_core.prior.controls.control import check_needs
    from vldm_core.prior.controls.grouping import find_controls, outline_of
    from vldm_core.prior.controls.reading import read_control

    options = options or PriorSampling()
    found = find_controls(controls)
    outlines = [outline_of(each) for each in found]
    for outline in outlines:
        check_needs(outline, tokens=False, reference=False)
    pipeline = open_prior(path, prediction=prediction, controls=outlines, device=device)
    pipeline.set_progress_bar_config(disable=True)
    systems = [read_control(tuple(dict.fromkeys(each.parts.values()))).eval() for each in found]

    def restorer(name: str, systems: "Sequence[ControlSystem]", description: str) -> Restorer:
        from vldm_core.prior.controls.settings import ControlSettings
        from vldm_core.prior.controls.use import ControlUse

        settings = ControlSettings(strength=options.control_strength)
        uses = tuple(ControlUse(system=system, settings=settings) for system in systems)

        def run(frames: Tensor, masks: Tensor) -> Tensor:
            made: Tensor | None = pipeline(
                frames,
                prompt=options.prompt,
                negative_prompt=options.negative,
                settings=options.restoration(),
                num_inference_steps=options.steps,
                strength=options.strength,
                sampler=options.sampler,
                noise_schedule=options.noise_schedule,
                seed=options.seed,
                masks=masks,
                controls=uses,
                fitting=None,
            ).frames
            if made is None:
                raise VLDMError("the prior gave latents where frames were asked for")
            return made

        return Restorer(name=name, description=description, multiple=_PRIOR_MULTIPLE, run=run, beside=bool(systems))

    how = (
        f"the Stable Diffusion prior {Path(path).name}, {options.steps} steps at strength {options.strength:g}, "
        f"seed {options.seed}"
    )
    alone = restorer("prior", (), how)
    if not systems:
        return (alone,)
    names = " and ".join(system.name for system in systems)
    return alone, restorer(
        f"prior with {names}", systems, f"{how}, under the control of {names} at strength {options.control_strength:g}"
    )
