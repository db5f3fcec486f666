"""Helpers that run inside a process of their own, where the host's modules can be imported.

`run_in_host` starts a process that prepares itself as a host without a server (`prepare`) and runs one of the programs
beside this file. For them this module offers tiny models of the host's real classes beside their diffusers twins.
"""

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "programs"
CONTEXT = 64


def run_in_host(host_folder: Path, program: str, *arguments: str, timeout: float = 300) -> None:
    """Run tests/host/programs/PROGRAM.py in a process with the host's modules, the pack as `pack`, and this module."""
    command = [sys.executable, __file__, str(host_folder), str(PROGRAMS / f"{program}.py"), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if result.returncode != 0:
        # Progress bars write over their own line.
        errors = [line for line in result.stderr.splitlines() if "it/s]" not in line]
        pytest.fail(f"{program}.py failed in the host\n{result.stdout}\n" + "\n".join(errors[-40:]), pytrace=False)


def prepare(host_folder: str) -> ModuleType:
    """Make this process a host without a server, load the pack as the host would, and return it."""
    _load("vision_operators", ROOT / "vldm_core" / "machine" / "vision_operators.py").declare_missing_operators()
    sys.path.insert(0, host_folder)
    sys.argv = ["main.py", "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    return _load("pack", ROOT / "__init__.py", folder=ROOT)


def _load(name: str, path: Path, folder: Path | None = None) -> ModuleType:
    search = None if folder is None else [str(folder)]
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=search)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def tiny_pair(prediction: str = "eps", seed: int = 0) -> tuple[Any, Any]:
    """Return a MODEL of the host's classes and diffusers' UNet with the same weights.

    Args:
        prediction: "eps" or "v".
        seed: Of the weights.
    """
    import comfy.latent_formats
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models_base
    import comfy.utils
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    channels = (32, 64, 128, 128)
    kinds = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    twin = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=channels,
        down_block_types=tuple(kinds),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        layers_per_block=2,
        cross_attention_dim=CONTEXT,
        attention_head_dim=4,
    ).eval()
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.ndim >= 2:
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        # Predictions of the size a trained network's have: samples end near unit variance.
        twin.conv_out.weight.mul_(0.5)
    config = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 32,
        "channel_mult": [1, 2, 4, 4],
        "num_res_blocks": [2, 2, 2, 2],
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        "transformer_depth_middle": 1,
        "context_dim": CONTEXT,
        "num_heads": 4,
        "num_head_channels": -1,
        "use_linear_in_transformer": False,
        "use_spatial_transformer": True,
        "legacy": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
        "dtype": torch.float32,
    }
    settings = comfy.supported_models_base.BASE(dict(config))
    settings.unet_config = config
    settings.latent_format = comfy.latent_formats.SD15()
    kind = comfy.model_base.ModelType.EPS if prediction == "eps" else comfy.model_base.ModelType.V_PREDICTION
    model = comfy.model_base.BaseModel(settings, model_type=kind, device="cpu").eval()
    names = comfy.utils.unet_to_diffusers(config)
    weights = twin.state_dict()
    found = {names[key]: value.clone() for key, value in weights.items()}
    missing, unexpected = model.diffusion_model.load_state_dict(found, strict=False)
    assert not missing and not unexpected, (missing, unexpected)
    patcher = comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
    return patcher, twin


def random(*shape: int, seed: int = 1) -> Any:
    """Return unit noise from a generator of its own."""
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def conditioning(frames: int = 1, seed: int = 2, **extra: Any) -> list[Any]:
    """Return the host's CONDITIONING with `frames` different token sequences."""
    return [[random(frames, 7, CONTEXT, seed=seed), dict(extra)]]


def sample(
    model: Any, positive: Any, negative: Any, noise: Any, latent: Any, *, steps: int = 5, cfg: float = 3.0, **more: Any
) -> Any:
    """Run the host's own sampling with Euler; the latents go in and come out as the host has them, unscaled."""
    import comfy.sample
    import comfy.samplers
    import torch

    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
    with torch.inference_mode():
        return comfy.sample.sample_custom(
            model,
            noise,
            cfg,
            comfy.samplers.sampler_object(more.pop("sampler", "euler")),
            more.pop("sigmas", sigmas),
            positive,
            negative,
            latent,
            seed=more.pop("seed", 0),
            disable_pbar=True,
            **more,
        )


def tiny_control(seed: int = 7) -> Any:
    """Return a CONTROL_NET of the host's class that fits `tiny_pair`, with random weights."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops
    import torch

    torch.manual_seed(seed)
    net = comfy.cldm.cldm.ControlNet(
        image_size=32,
        in_channels=4,
        model_channels=32,
        hint_channels=3,
        num_res_blocks=[2, 2, 2, 2],
        channel_mult=[1, 2, 4, 4],
        transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0],
        transformer_depth_middle=1,
        context_dim=CONTEXT,
        num_heads=4,
        use_spatial_transformer=True,
        legacy=False,
        dtype=torch.float32,
        device="cpu",
        operations=comfy.ops.disable_weight_init,
    ).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            spread = parameter[0].numel() ** -0.5 if parameter.ndim >= 2 else 0.1
            torch.nn.init.normal_(parameter, std=spread)
    return comfy.controlnet.ControlNet(net, load_device=torch.device("cpu"))


if __name__ == "__main__":
    # The programs import this module by name; they must get this one, not a second copy.
    sys.modules["in_host"] = sys.modules["__main__"]
    host_argument, program_argument, *arguments = sys.argv[1:]
    prepare(host_argument)
    sys.path.insert(0, str(PROGRAMS))
    runpy.run_path(program_argument, {"ARGUMENTS": arguments}, run_name="program")
