"""What the sampler benchmark runs: the host's real classes at any width, with random weights, and what joins them.

Random weights of the right size cost what trained ones cost. All variants of one process share their weights, the
diffusers twins too, so that what must be equal can be compared.

Imported by `host_worker` only, when the process already is a host and the pack is loaded as `pack`.
"""

import asyncio
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from host_controls import control_system, controlled
from host_decoders import decoders
from host_networks import (
    HEADS,
    LEVELS,
    SD_WIDTH,
    Options,
    Run,
    fill,
    host_model,
    host_nodes,
    text_width,
    unet_config,
)
from torch import Tensor

_TOKENS = 77
_SCALE = 0.18215
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_SMALL = 0.1
_LORA_RANK = 16
_ADE_FOLDER = "*AnimateDiff-Evolved*"
_ADE_LOADER = "ADE_AnimateDiffLoaderGen1"


class UnavailableError(RuntimeError):
    """A variant cannot run here; the message says why."""


Plan = dict[str, Any]
"""What a variant is beside its name: `control`, `family`, `reuse` and `longer` of `benchmarks.sampler.variants`."""


def build(group: str, plans: Mapping[str, Plan], options: Options) -> dict[str, Run]:
    """Make the variants of a group.

    Args:
        group: Name of the group.
        plans: Its variants by name.
        options: The settings.

    Raises:
        UnavailableError: Something that the group needs is not installed or does not fit the settings.
    """
    if group == "decode":
        return decoders(options)
    bench = _Bench(options, next(iter(plans.values()))["family"])
    if any(plan["control"] for plan in plans.values()):
        return {name: bench.restoring(plan) for name, plan in plans.items()}
    if group == "diffusers_animatediff":
        bench.require_diffusers()
    return {name: getattr(bench, name)() for name in plans}


class _Bench:
    """One UNet and the ways to sample with it; every public method makes the variant of its name."""

    def __init__(self, options: Options, family: str) -> None:
        self._options = options
        self._width, self._seed = options["width"], options["seed"]
        self._widths = tuple(self._width * level for level in LEVELS)
        self._model = host_model(self._width, self._seed, family)
        self._shared: dict[str, Any] = {}
        self._text = self._noise(1, _TOKENS, text_width(family, self._width), salt=1)
        self._no_text = self._noise(1, _TOKENS, text_width(family, self._width), salt=2)

    def _noise(self, *shape: int, salt: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(self._seed + salt))

    def _clip_noise(self, clip: str) -> Tensor:
        frames, side = self._options["frames" if clip == "short" else "long_frames"], self._options["latent"]
        return self._noise(frames, 4, side, side, salt=3)

    def _sampling(self, model: Any, clip: str = "short", *, steps: int | None = None, **conditioning: Any) -> Run:
        """Return the host's KSampler, as its node calls it, on a MODEL."""
        import comfy.sample

        noise = self._clip_noise(clip)
        latent = torch.zeros_like(noise)
        steps, cfg = steps or self._options["steps"], self._options["cfg"]

        def run() -> Tensor:
            positive, negative = [[self._text, dict(conditioning)]], [[self._no_text, dict(conditioning)]]
            return comfy.sample.sample(
                model, noise, steps, cfg, "euler", "normal", positive, negative, latent, disable_pbar=True, seed=0
            )

        return run

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def _motion(self, version: str, positions: int | None = None) -> Any:
        from pack.vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules

        def make() -> Any:
            config = MotionConfig.published(version, self._widths, heads=HEADS)
            if positions is not None:
                config = MotionConfig(version=version, channels=config.channels, positions=positions, heads=HEADS)
            modules = MotionModules(config)
            fill(modules, self._seed + 4, _SMALL)
            return modules.eval()

        return self._once(f"motion {version} {positions}", make)

    def _attached(self, attachment: Any, name: str) -> Any:
        from pack.nodes.host.prior.attachments import with_attachment

        return with_attachment(self._model, attachment, name)

    def _windowed(self) -> Any:
        from pack.nodes.host.prior.regions import with_regions
        from pack.vldm_core.sampling.regions.windows import WindowSettings

        length, overlap = self._options["window_length"], self._options["window_overlap"]
        return with_regions(self._model, WindowSettings(length=length, overlap=overlap), None)

    def stock(self) -> Run:
        return self._sampling(self._model)

    def restoring(self, plan: Plan) -> Run:
        """Make a variant with a restoration control, or what it is compared with."""
        steps = self._options["steps"] * plan["longer"]
        if plan["control"] is None:
            return self._sampling(self._model, steps=steps)
        name = plan["control"]
        system = self._once(name, lambda: control_system(name, self._model, self._width, self._seed + 10))
        frames, side = self._options["frames"], self._options["latent"]
        model = controlled(self._model, system, frames, side, self._seed, reuse=plan["reuse"])
        return self._sampling(model, steps=steps)

    def stock_long(self) -> Run:
        return self._sampling(self._model, "long")

    def windows(self) -> Run:
        return self._sampling(self._windowed(), "long")

    def temporal_layers(self) -> Run:
        from pack.nodes.host.prior.attachments import view_of
        from pack.vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers

        layers = TemporalLayers(TemporalConfig.for_unet(view_of(self._model), heads=HEADS))
        fill(layers, self._seed + 5, _SMALL)
        return self._sampling(self._attached(layers, "temporal"))

    def motion_v2(self) -> Run:
        return self._sampling(self._attached(self._motion("v2"), "motion"))

    def motion_v3(self) -> Run:
        return self._sampling(self._attached(self._motion("v3"), "motion"))

    def motion_long(self) -> Run:
        return self._long_motion(None)

    def attention_windows(self) -> Run:
        from pack.vldm_core.prior.temporal.attention import AttentionWindows

        length, stride = self._options["window_length"], self._options["attention_stride"]
        return self._long_motion(AttentionWindows(length=length, stride=stride))

    def _long_motion(self, windows: Any) -> Run:
        from pack.vldm_core.prior.temporal.animatediff import MotionModuleSettings

        # Published modules know 32 positions; these know the whole long clip, so that there is something to compare.
        modules = self._motion("v2", max(32, self._options["long_frames"]))
        return self._sampling(
            self._attached(modules.configured(MotionModuleSettings(windows=windows)), "motion"), "long"
        )

    def shot_lora(self) -> Run:
        from pack.nodes.host.prior.attachments import view_of
        from pack.vldm_core.prior.lora.per_frame import LowRank, ShotLora, named_layers

        pattern = re.compile(r"(down_blocks|mid_block|up_blocks)_.*_attn[12]_(to_[qkv]|to_out_0)")
        updates = {}
        for name, layer in named_layers(view_of(self._model)).items():
            if pattern.fullmatch(name):
                out, width = layer.weight.shape
                down, up = self._noise(_LORA_RANK, width, salt=6), self._noise(out, _LORA_RANK, salt=7)
                updates[name] = LowRank(down=down * width**-0.5, up=up * _SMALL * _LORA_RANK**-0.5, scale=1.0)
        frames = self._options["frames"]
        strengths = [1.0 if frame < frames // 2 else 0.5 for frame in range(frames)]
        return self._sampling(self._attached(ShotLora(updates, strengths), "lora"))

    def control_long(self) -> Run:
        return self._controlled(self._model)

    def hints_windows(self) -> Run:
        return self._controlled(self._windowed())

    def _controlled(self, model: Any) -> Run:
        return self._sampling(model, "long", control=self._once("control", self._control), control_apply_to_uncond=True)

    def _control(self) -> Any:
        import comfy.cldm.cldm
        import comfy.controlnet
        import comfy.ops

        config = unet_config(self._width)
        for key in ("out_channels", "transformer_depth_output", "use_temporal_attention", "use_temporal_resblock"):
            del config[key]
        net = comfy.cldm.cldm.ControlNet(
            **config, hint_channels=3, device="cpu", operations=comfy.ops.disable_weight_init
        ).eval()
        fill(net, self._seed + 8, 0.5)
        control = comfy.controlnet.ControlNet(net, load_device=torch.device("cpu"))
        side = 8 * self._options["latent"]
        hints = torch.rand(
            self._options["long_frames"], 3, side, side, generator=torch.Generator().manual_seed(self._seed + 9)
        )
        return control.set_cond_hint(hints, 1.0)

    def require_diffusers(self) -> None:
        try:
            import diffusers  # noqa: F401
        except ImportError as error:
            raise UnavailableError("diffusers is not installed in the host's Python") from error

    def _diffusers_weights(self) -> dict[str, Tensor]:
        """Return the host's weights under diffusers' names, without copying them."""
        import comfy.utils

        weights = self._model.model.diffusion_model.state_dict()
        names = comfy.utils.unet_to_diffusers(unet_config(self._width))
        return {theirs: weights[ours] for theirs, ours in names.items() if ours in weights}

    def _diffusers_scheduler(self) -> Any:
        from diffusers import EulerDiscreteScheduler

        # With these spacings both hosts visit the same noise levels.
        spacing = "linspace" if self._options["steps"] > 1 else "trailing"
        return EulerDiscreteScheduler(**_BETAS, timestep_spacing=spacing, steps_offset=1)

    def _diffusers_sampling(self, pipeline: Any, noise: Tensor, **arguments: Any) -> Run:
        pipeline.set_progress_bar_config(disable=True)
        side = 8 * self._options["latent"]
        scheduler = pipeline.scheduler
        scheduler.set_timesteps(self._options["steps"])
        # The pipelines begin at noise · init_noise_sigma, the host at noise · sqrt(1 + sigma²).
        begin = float((1 + scheduler.sigmas[0] ** 2).sqrt() / scheduler.init_noise_sigma)

        def run() -> Tensor:
            return pipeline(
                height=side,
                width=side,
                num_inference_steps=self._options["steps"],
                guidance_scale=self._options["cfg"],
                latents=noise * begin,
                output_type="latent",
                return_dict=False,
                **arguments,
            )[0]

        return run

    def diffusers_unet(self) -> Run:
        from diffusers import StableDiffusionPipeline, UNet2DConditionModel

        with torch.device("meta"):
            unet: Any = UNet2DConditionModel(
                sample_size=64,
                block_out_channels=self._widths,
                cross_attention_dim=text_width("sd1", self._width),
                attention_head_dim=HEADS,
            )
        unet.load_state_dict(self._diffusers_weights(), assign=True)
        unet.eval()
        pipeline = StableDiffusionPipeline(
            vae=None, text_encoder=None, tokenizer=None, unet=unet, scheduler=self._diffusers_scheduler(),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        frames = self._options["frames"]
        run = self._diffusers_sampling(
            pipeline,
            self._clip_noise("short"),
            prompt_embeds=self._text.expand(frames, -1, -1),
            negative_prompt_embeds=self._no_text.expand(frames, -1, -1),
        )
        return lambda: run() / _SCALE

    def diffusers_animatediff(self) -> Run:
        from diffusers import AnimateDiffPipeline, UNetMotionModel
        from pack.vldm_core.prior.temporal.animatediff_files import motion_state

        with torch.device("meta"):
            unet: Any = UNetMotionModel(
                block_out_channels=self._widths,
                cross_attention_dim=text_width("sd1", self._width),
                num_attention_heads=HEADS,
                motion_num_attention_heads=HEADS,
                motion_max_seq_length=32,
            )
        state = {**self._diffusers_weights(), **motion_state(self._motion("v2"), "diffusers")}
        unet.load_state_dict(state, assign=True)
        unet.eval()
        pipeline = AnimateDiffPipeline(
            vae=None, text_encoder=None, tokenizer=None, unet=unet, motion_adapter=None,
            scheduler=self._diffusers_scheduler(),
        )  # fmt: skip
        run = self._diffusers_sampling(
            pipeline,
            self._clip_noise("short").transpose(0, 1)[None],
            num_frames=self._options["frames"],
            prompt_embeds=self._text,
            negative_prompt_embeds=self._no_text,
        )
        return lambda: run()[0].transpose(0, 1) / _SCALE

    def ade_v2(self) -> Run:
        import folder_paths
        from pack.vldm_core.prior.temporal.animatediff_files import save_motion_modules

        nodes = host_nodes()
        folders = [folder for root in folder_paths.get_folder_paths("custom_nodes") for folder in find_ade(Path(root))]
        if not folders:
            raise UnavailableError("ComfyUI-AnimateDiff-Evolved is not in the host's custom_nodes")
        if self._width != SD_WIDTH:
            raise UnavailableError(f"ComfyUI-AnimateDiff-Evolved knows width {SD_WIDTH} only, this is {self._width}")
        if not asyncio.run(nodes.load_custom_node(str(folders[0]))) or _ADE_LOADER not in nodes.NODE_CLASS_MAPPINGS:
            raise UnavailableError("ComfyUI-AnimateDiff-Evolved does not load")
        with tempfile.TemporaryDirectory(prefix="vldm-motion-") as folder:
            save_motion_modules(self._motion("v2"), Path(folder) / "vldm_benchmark_v2.safetensors")
            folder_paths.add_model_folder_path("animatediff_models", folder)
            loader = nodes.NODE_CLASS_MAPPINGS[_ADE_LOADER]()
            (model,) = getattr(loader, loader.FUNCTION)(self._model, "vldm_benchmark_v2.safetensors", "use existing")
        return self._sampling(model)


def find_ade(custom_nodes: Path) -> list[Path]:
    """Return the folders of ComfyUI-AnimateDiff-Evolved in a folder of packs."""
    return sorted(path.parent for path in custom_nodes.glob(f"{_ADE_FOLDER}/__init__.py"))
