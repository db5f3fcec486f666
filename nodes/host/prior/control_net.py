"""Controls that look at latents, as the host's CONTROL_NET.

Stock Apply ControlNet takes DiffBIR's control with a VAE. The host encodes a hint for every window and tile anew, and a
tile by itself has another latent than the same place of the whole picture. So here the whole picture is encoded once,
frame by frame, and windows and tiles take their part of the latents.
"""

from typing import Any

import comfy.controlnet
import torch
from comfy import model_management
from comfy.latent_formats import SD15
from comfy.utils import common_upscale
from torch import Tensor, nn

from ....vldm_core.errors import SettingsError
from ....vldm_core.prior.controls.control import ControlRequest, ControlSystem
from ....vldm_core.prior.controls.diffbir.branch import DiffBirControl
from ....vldm_core.prior.controls.material import PIXELS_PER_LATENT
from .attachments import CORNER_KEY, SIZE_KEY, bring, frames_of_pass
from .controls import LoadedControl, latents_of


class HostBranch(nn.Module):
    """A system's side network as the host calls one.

    Args:
        system: A system whose features are `residual.0` … and `middle`.
    """

    def __init__(self, system: ControlSystem) -> None:
        super().__init__()
        # Not a submodule: the host moves the system's weights through the model that all nodes share.
        self._system = (system,)

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of the weights, to which the host casts what it gives."""
        return next(self._system[0].parameters()).dtype

    def forward(self, x: Tensor, hint: Tensor, timesteps: Tensor, context: Tensor, **_: Any) -> dict[str, list[Tensor]]:
        """Return what is added to the skips, in the order of the way down, and to the middle.

        Args:
            x: (B, 4, h, w).
            hint: (1 or B, 4, h, w), scaled latents.
            timesteps: (B,).
            context: (B, L, D).
        """
        bring(self._system[0], x.device)
        request = ControlRequest(x=x, timesteps=timesteps, context=context, hint=hint.expand(len(x), -1, -1, -1))
        found = dict(self._system[0].features(request))
        middle = found.pop("middle")
        return {"output": [found[f"residual.{index}"] for index in range(len(found))], "middle": [middle]}


class LatentHintControl(comfy.controlnet.ControlNet):  # type: ignore[misc]
    """DiffBIR's control as a CONTROL_NET.

    Args:
        control: The loaded control.
    """

    def __init__(self, control: LoadedControl) -> None:
        super().__init__(None, compression_ratio=1, latent_format=SD15(), load_device=control.patcher.load_device)
        self._control = control
        self.control_model = HostBranch(control.system)
        self.control_model_wrapped = control.patcher
        self.extra_conds: list[str] = []
        # Shared by the copies for windows and tiles, so that every picture is encoded once in a sampling.
        self._latents: dict[tuple[int, int], Tensor] = {}

    def copy(self) -> "LatentHintControl":
        """Return the same control for another hint."""
        made = LatentHintControl(self._control)
        self.copy_to(made)
        return made

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: Any, batched_number: int, transformer_options: dict[str, Any]
    ) -> Any:
        """Return what the host adds to its UNet, for the frames and the tile that it evaluates.

        The host's own way of keeping hints, which differs from version to version, is not used.
        """
        acts = self.timestep_range is None or self.timestep_range[1] <= t[0] <= self.timestep_range[0]
        if acts and self.vae is None:
            # The host says what is missing.
            return super().get_control(x_noisy, t, cond, batched_number, transformer_options)
        before = None
        if self.previous_controlnet is not None:
            before = self.previous_controlnet.get_control(x_noisy, t, cond, batched_number, transformer_options)
        if not acts:
            return before
        sampling = self.model_sampling_current
        where: dict[str, Any] = {"device": x_noisy.device, "dtype": self.control_model.dtype}
        added = self.control_model(
            x=sampling.calculate_input(t, x_noisy).to(**where),
            hint=self._hint(x_noisy, batched_number, transformer_options).to(**where),
            timesteps=sampling.timestep(t).to(**where),
            context=cond.get("crossattn_controlnet", cond["c_crossattn"]).to(**where),
        )
        return self.control_merge(added, before, output_dtype=None)

    def cleanup(self) -> None:
        """Forget the latents of a sampling that has ended."""
        self._latents.clear()
        super().cleanup()

    def _hint(self, x: Tensor, chunks: int, options: dict[str, Any]) -> Tensor:
        latents = self._encoded(options.get(SIZE_KEY, tuple(x.shape[-2:])))
        if len(latents) > 1:
            frames = frames_of_pass(len(x), chunks, options)
            # Hints that are too few are repeated, as in the host.
            latents = latents[[frame % len(latents) for frame in frames] * chunks]
        top, left = options.get(CORNER_KEY, (0, 0))
        return latents[..., top : top + x.shape[-2], left : left + x.shape[-1]]

    def _encoded(self, size: tuple[int, int]) -> Tensor:
        if size not in self._latents:
            width, height = size[1] * PIXELS_PER_LATENT, size[0] * PIXELS_PER_LATENT
            pictures = common_upscale(self.cond_hint_original, width, height, self.upscale_algorithm, "center")
            loaded = model_management.loaded_models(only_currently_used=True)
            latents = latents_of(pictures[:, :3], self.vae, _interruptible)
            model_management.load_models_gpu(loaded)
            self._latents[size] = self.latent_format.process_in(latents)
        return self._latents[size]


class NoControlNet(comfy.controlnet.ControlBase):  # type: ignore[misc]
    """What stands in the place of a CONTROL_NET for systems that are more than one.

    Args:
        system: Its name.
    """

    def __init__(self, system: str) -> None:
        super().__init__()
        self._system = system

    def copy(self) -> "NoControlNet":
        """Say what to use instead.

        Raises:
            SettingsError: Always.
        """
        raise SettingsError(
            f"{self._system} changes the UNet in more places than a ControlNet does, so Apply ControlNet cannot apply "
            "it; connect the control output to Apply Restoration Control"
        )

    def set_cond_hint(self, *_: Any, **__: Any) -> "NoControlNet":
        """Say what to use instead.

        Raises:
            SettingsError: Always.
        """
        return self.copy()

    def get_control(self, *_: Any, **__: Any) -> Any:
        """Say what to use instead.

        Raises:
            SettingsError: Always.
        """
        return self.copy()


def control_net_of(control: LoadedControl) -> LatentHintControl | NoControlNet:
    """Return a control as the host's CONTROL_NET, or what explains why it is none."""
    if isinstance(control.system, DiffBirControl):
        return LatentHintControl(control)
    return NoControlNet(control.system.name)


def _interruptible(*_: Any) -> None:
    model_management.throw_exception_if_processing_interrupted()
