"""Open a Stable Diffusion prior from local files. Nothing is ever fetched from the network."""

import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from ...errors import SettingsError, VLDMError
from ...files.weights import WeightFileError
from ...machine.companions import HEADLESS, first_cause, importing, told
from ...machine.devices import chosen_device
from ...sampling.schedule import Prediction
from ..attachment_files import read_attachment
from ..controls.control import ControlSystem
from ..temporal.attention import AttentionWindows
from ..unet import UNetView
from .families import check_prediction
from .family_files import PREDICTION_TYPES
from .single_file import checkpoint_configuration
from .tokens import check_tokenizer

_ATTENTION = AttentionWindows()


def open_prior(
    path: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | None = None,
    prediction: Prediction | None = None,
    temporal: str | os.PathLike[str] | None = None,
    temporal_strength: float = 1.0,
    attention: AttentionWindows | None = _ATTENTION,
    controlnet: str | os.PathLike[str] | None = None,
    controls: Sequence[ControlSystem] = (),
    device: str = "auto",
) -> Any:
    """Open a Stable Diffusion 1.x or 2.x model as a `VideoRestorationPipeline`.

    Args:
        path: Folder in diffusers' layout, or a checkpoint in the original layout (.safetensors or .ckpt).
        config: For a checkpoint: a folder in diffusers' layout whose configuration and tokenizer are to be used in the
            place of those that ship with the package; its weights are not read.
        prediction: What the network predicts; None takes it from the model, see :mod:`.families`.
        temporal: File of temporal layers or of AnimateDiff motion modules to attach.
        temporal_strength: Factor on what they add.
        attention: Windows inside them for shots longer than their length; None attends over whole shots.
        controlnet: Folder in diffusers' layout or file (.safetensors, .pth) of a ControlNet for this family.
        controls: Restoration systems that it is to work with, with or without weights: whether they were made for
            models of its shape is found out before any of its weights are read.
        device: A device of PyTorch, or "auto". On a GPU the models run in half precision.

    Raises:
        SettingsError: A control was made for another family.
        VLDMError: Nothing is there, it is another kind of model, its tokenizer cannot serve, or diffusers cannot be
            imported.
    """
    path = Path(path)
    check_prediction(prediction)
    if config is not None and not (Path(config) / "model_index.json").is_file():
        raise VLDMError(f"{config} is not a folder in diffusers' layout: it has no model_index.json")
    if path.is_dir():
        _check_folder(path)
    else:
        _check_suffix(path)
    attachment = (
        None if temporal is None else read_attachment(Path(temporal), strength=temporal_strength, windows=attention)
    )
    target = chosen_device(device)
    dtype = torch.float32 if target.type == "cpu" else torch.float16
    with importing("diffusers or transformers", HEADLESS):
        from ..pipeline import VideoRestorationPipeline

    for control in controls:
        _check_control(control, path, config)
    kind: Any = VideoRestorationPipeline
    if path.is_dir():
        with _told_of(path):
            opened = kind.from_pretrained(path, local_files_only=True, torch_dtype=dtype)
    else:
        with checkpoint_configuration(path, config=config, prediction=prediction) as folder, _told_of(path):
            opened = kind.from_single_file(str(path), config=str(folder), local_files_only=True, torch_dtype=dtype)
    if prediction is not None:
        opened.scheduler.register_to_config(prediction_type=PREDICTION_TYPES[prediction])
    check_tokenizer(opened.tokenizer, opened.text_encoder)
    if controlnet is not None:
        opened.register_modules(controlnet=_open_control(Path(controlnet), opened.unet))
    if attachment is not None:
        opened.attach(attachment)
    models = [opened.vae, opened.text_encoder, opened.unet]
    models += [] if opened.controlnet is None else [opened.controlnet]
    return opened.to(target) if all(model.dtype == dtype for model in models) else opened.to(target, dtype=dtype)


def _check_control(control: ControlSystem, path: Path, config: str | os.PathLike[str] | None) -> None:
    """Check a restoration system against the shape of a model's UNet."""
    with importing("diffusers", HEADLESS):
        from diffusers import UNet2DConditionModel

    with ExitStack() as stack:
        stack.enter_context(_told_of(path))
        folder = path if path.is_dir() else stack.enter_context(checkpoint_configuration(path, config=config))
        with torch.device("meta"):
            shape = UNet2DConditionModel.load_config(folder / "unet", local_files_only=True)
            unet: Any = UNet2DConditionModel.from_config(shape)
    list(control.places(UNetView(unet)))


def _open_control(path: Path, unet: Any) -> Any:
    """Open a ControlNet and check that it fits the UNet."""
    if not path.exists():
        raise VLDMError(f"there is no ControlNet at {path}; give a folder in diffusers' layout or a file")
    with importing("diffusers", HEADLESS):
        from diffusers import ControlNetModel
    with _told_of(path), tempfile.TemporaryDirectory(prefix="vldm-control-") as folder:
        if path.is_dir():
            net = ControlNetModel.from_pretrained(path, local_files_only=True)
        else:
            # What a file does not say is as in the UNet: a ControlNet is a copy of its first half.
            with torch.device("meta"):
                ControlNetModel.from_unet(unet, load_weights_from_unet=False).save_config(folder)
            net = ControlNetModel.from_single_file(str(path), config=folder, local_files_only=True)
    wanted, found = unet.config.cross_attention_dim, net.config.cross_attention_dim
    if wanted != found:
        raise SettingsError(
            f"{path} is made for text of {found} channels and the model has {wanted}; choose a ControlNet of its family"
        )
    return net.eval()


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # Newer versions of diffusers call it dtype; older ones do not know that name.
            warnings.filterwarnings("ignore", ".*torch_dtype.* is deprecated", FutureWarning)
            yield
    except VLDMError:
        raise
    except Exception as error:  # diffusers raises whatever an unfit file makes it raise
        raise VLDMError(f"{path} cannot be opened ({told(first_cause(error))})") from error


def _check_folder(path: Path) -> None:
    try:
        index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VLDMError(
            f"{path} is not a model in diffusers' layout: model_index.json is missing or unreadable ({error})"
        ) from error
    missing = [name for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler") if name not in index]
    if missing or "text_encoder_2" in index:
        raise VLDMError(f"{path} is a {index.get('_class_name')}; choose a model of Stable Diffusion 1.x or 2.x")


def _check_suffix(path: Path) -> None:
    if not path.exists():
        raise VLDMError(f"there is no model at {path}; give a folder in diffusers' layout or a checkpoint")
    if path.suffix.lower() not in (".safetensors", ".ckpt"):
        raise WeightFileError(
            f"{path} is not a model; give a folder in diffusers' layout, a .safetensors or a .ckpt file"
        )
