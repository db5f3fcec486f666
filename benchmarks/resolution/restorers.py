"""What the resolution study measures: a pre-restorer, a published restorer of stills, or a Stable Diffusion prior."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
    """

    name: str
    description: str
    multiple: int
    run: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class PriorSampling:
    """How the prior samples.

    Attributes:
        prompt: What the film shows.
        steps: Of the whole schedule.
        strength: How far the clip is noised, 0 … 1.
        seed: Same seed, same result.
    """

    prompt: str = ""
    steps: int = 20
    strength: float = 0.4
    seed: int = 0


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


def open_prior_restorer(
    path: str | os.PathLike[str], options: PriorSampling | None = None, *, device: str = "auto"
) -> Restorer:
    """Open a Stable Diffusion prior with the defaults of restoration.

    Args:
        path: Folder in diffusers' layout.
        options: How it samples.
        device: A device of PyTorch, or "auto".

    Raises:
        VLDMError: Nothing is there, it is another kind of model, or diffusers cannot be imported.
    """
    from vldm_core.prior.checkpoints.opening import open_prior

    options = options or PriorSampling()
    pipeline = open_prior(path, device=device)
    pipeline.set_progress_bar_config(disable=True)

    def run(frames: Tensor, _masks: Tensor) -> Tensor:
        made: Tensor | None = pipeline(
            frames,
            prompt=options.prompt,
            num_inference_steps=options.steps,
            strength=options.strength,
            seed=options.seed,
            fitting=None,
        ).frames
        if made is None:
            raise VLDMError("the prior gave latents where frames were asked for")
        return made

    return Restorer(
        name="prior",
        description=(
            f"the Stable Diffusion prior {Path(path).name}, {options.steps} steps at strength {options.strength:g}, "
            f"seed {options.seed}"
        ),
        multiple=_PRIOR_MULTIPLE,
        run=run,
    )
