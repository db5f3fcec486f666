"""The options of `restore --prior`: every field of `PriorOptions` is one, and becomes a part of the settings.

They are those of the nodes of the prior, with the same defaults.
"""

from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import SettingsError
from .controls import ControlOptions, flag
from .one_step import OneStepOptions

if TYPE_CHECKING:
    from ..prior.finish import FinishSettings
    from ..prior.onestep.tiles import PublishedTiles
    from ..reel.prior_company import ReelLoras
    from ..reel.restore import ReelSettings
    from ..reel.with_prior.settings import PriorReelSettings
    from ..sampling.regions.windows import WindowSettings
    from ..sampling.restoration import RestorationSettings
    from ..semantics.table.table import ShotTable

_LATENT_PIXEL = 8
_model = partial(typer.Option, rich_help_panel="Stable Diffusion prior")
_time = partial(typer.Option, rich_help_panel="Prior: temporal layers, LoRAs")
_start = partial(typer.Option, rich_help_panel="Prior: noise, start and faithfulness")
_parts = partial(typer.Option, rich_help_panel="Prior: windows and tiles")
_film = partial(typer.Option, rich_help_panel="Prior: from latents to film")


@dataclass(frozen=True, kw_only=True)
class PriorOptions(ControlOptions, OneStepOptions):
    """What the command line says about the prior; the help of each option says what it is."""

    prior: Annotated[
        Path | None,
        _model(help="Then restore with this Stable Diffusion 1.x or 2.x model: diffusers folder or checkpoint."),
    ] = None
    prior_config: Annotated[
        Path | None,
        _model(
            help="For a checkpoint: diffusers folder with another configuration and tokenizer than those that ship."
        ),
    ] = None
    prediction: Annotated[
        Literal["auto", "eps", "v"],
        _model(help="What the model predicts; auto: as its metadata, or the spread of its weights, say."),
    ] = "auto"
    prompt: Annotated[str, _model(help="What the film shows.")] = ""
    negative: Annotated[str, _model(help="What it shall not show.")] = ""
    shots_table: Annotated[
        Path | None,
        _model(metavar="FILE", help="Table of shots from describe: comes before --prompt; --negative is added."),
    ] = None
    strength: Annotated[
        float, _model(min=0, max=1, help="How far frames are noised: low keeps more, high adds more.")
    ] = 0.4
    steps: Annotated[int, _model(min=1, max=1000, help="Steps of the whole schedule; strength × steps are run.")] = 20
    sampler: Annotated[
        Literal["scheduler", "uni_pc", "ddim", "ddpm", "spaced_ddpm", "edm_dpm++_3m_sde", "edm_dpm++_2m"],
        _model(
            help="scheduler: the model's own; uni_pc: PASD's; spaced_ddpm: DiffBIR's; edm_…: DiffBIR 2.1's, from pure "
            "noise."
        ),
    ] = "scheduler"
    cfg: Annotated[float, _model(min=0, help="How strongly the prompts guide; 1 is fastest.")] = 4.0
    short_side: Annotated[int, _model(min=64, help="Smaller films are enlarged to this for the model.")] = 512
    max_frames: Annotated[int, _model(min=2, help="Longer shots are done in parts of this length.")] = 128
    seed: Annotated[int, _model(min=0, help="Same seed, same result.")] = 0

    temporal: Annotated[Path | None, _time(help="Temporal layers or AnimateDiff motion modules.")] = None
    temporal_strength: Annotated[float, _time(min=0, max=10, help="Factor on what they add; 0 is off.")] = 1.0
    attention_window: Annotated[
        int, _time(min=0, help="Longer shots attend in windows of so many frames inside them; 0: over whole shots.")
    ] = 16
    attention_stride: Annotated[int, _time(min=1, help="Frames from one attention window to the next.")] = 4
    noise_schedule: Annotated[
        Literal["auto", "model", "linear", "zero_snr"],
        _time(
            help="auto: linear betas for motion modules, which were trained with them, else the model's own. zero_snr: "
            "for checkpoints that predict v from pure noise on, as DiffBIR 2.1's model."
        ),
    ] = "auto"
    era_map: Annotated[
        Path | None, _time(metavar="FILE", help="JSON that says which era uses which LoRA file, and how strongly.")
    ] = None
    loras: Annotated[
        Path | None, _time(metavar="FOLDER", help="Where the files of the era map lie; else where the map itself does.")
    ] = None
    eras: Annotated[
        str, _time(help="Eras of the film, separated by commas; empty takes those of every shot from --shots-table.")
    ] = ""
    lora_strength: Annotated[float, _time(min=-10, max=10, help="Factor on the strengths of the era map.")] = 1.0

    noise: Annotated[
        Literal["independent", "shared", "freenoise", "warped"],
        _start(
            help="Start noise. warped: moves with the picture. shared: partly the same in all frames. freenoise: for "
            "temporal layers."
        ),
    ] = "warped"
    noise_mix: Annotated[float, _start(min=0, max=1, help="Noise shared only: share of the common noise.")] = 0.5
    start: Annotated[
        Literal["latent", "added_noise", "noise"],
        _start(
            help="What sampling begins with. latent: the noised film. added_noise: the same noised once more. noise: "
            "noise alone, for models with control."
        ),
    ] = "latent"
    added_noise_level: Annotated[
        int, _start(min=0, max=999, help="Start added_noise only: timestep of the second noise.")
    ] = 900
    own_latents: Annotated[
        bool,
        _start(
            help="Begin with the latents of the pre-restorer's own head, and show them to controls; its weights are of "
            "train control --latent-head or train prerestore --vae."
        ),
    ] = False
    freeinit_rounds: Annotated[
        int, _start(min=1, max=10, help="Samples so often, each time from the last one's low frequencies; 1 is off.")
    ] = 1
    guidance: Annotated[float, _start(min=0, help="Pull towards the pre-restored film in every step; 0 is off.")] = 0.1
    guidance_space: Annotated[
        Literal["latent", "rgb"],
        _start(help="Where the difference is measured; rgb takes several times as long."),
    ] = "latent"
    guidance_weighting: Annotated[
        Literal["mse", "edges"], _start(help="mse: everywhere alike. edges: less where there is texture.")
    ] = "mse"
    guidance_start: Annotated[float, _start(min=0, max=1, help="Share of the steps at which the pull begins.")] = 0.0
    guidance_end: Annotated[float, _start(min=0, max=1, help="Share of the steps after which it stops.")] = 1.0
    keep_undamaged: Annotated[
        float, _start(min=0, max=1, help="How strictly the picture outside the damage that was found is kept.")
    ] = 1.0
    damage_masks: Annotated[
        Path | None,
        _start(
            metavar="PATH", help="Film of masks, or the folder from detect, instead of the damage that restore finds."
        ),
    ] = None
    keep_until: Annotated[
        float, _start(min=0, max=1, help="Share of the schedule up to which the undamaged picture is kept.")
    ] = 0.7
    keep_margin: Annotated[
        int, _start(min=0, max=32, help="Latent pixels (8 of the picture each) by which the damage is widened.")
    ] = 1
    propagation: Annotated[
        float, _start(min=0, max=1, help="Share of the neighbouring frame, moved along the motion, late on.")
    ] = 0.5
    cfg_schedule: Annotated[
        Literal["constant", "diffbir"],
        _start(help="diffbir: from about 1 at the first step to 1 + cfg at the last."),
    ] = "constant"
    cfg_rescale: Annotated[
        float, _start(min=0, max=1, help="Takes back the contrast that a high cfg adds; 0 is off, 0.7 usual.")
    ] = 0.0

    window: Annotated[int, _parts(min=0, help="Frames sampled together; 0 takes a whole part at once.")] = 16
    overlap: Annotated[
        int | None, _parts(min=0, help="Frames that windows, and parts of long shots, share; else 4, or less.")
    ] = None
    window_schedule: Annotated[
        Literal["static", "uniform"],
        _parts(help="static: the same windows in every step. uniform: they move, and with a stride some skip."),
    ] = "static"
    window_stride: Annotated[
        int, _parts(min=1, max=64, help="uniform only: largest distance of neighbours in a window, a power of two.")
    ] = 1
    window_fuse: Annotated[
        Literal["pyramid", "flat", "linear"], _parts(help="How much a frame counts in a window.")
    ] = "pyramid"
    tile: Annotated[
        int,
        _parts(min=0, help="Side of a tile in pixels, a multiple of 64; 0: whole pictures, in one step as published."),
    ] = 0
    tile_overlap: Annotated[
        int | None, _parts(min=0, help="Pixels that tiles share; else 128, or a quarter of a small tile.")
    ] = None
    tile_weight: Annotated[
        Literal["gaussian", "hann", "uniform"], _parts(help="How much a pixel counts in each tile.")
    ] = "gaussian"
    move: Annotated[bool, _parts(help="Shift windows and tiles from step to step, so that no joint stays.")] = False

    temporal_vae: Annotated[
        Path | None, _film(help="VAE of Stable Video Diffusion, which decodes with less flicker: folder or file.")
    ] = None
    feature_wrapping: Annotated[
        Path | None,
        _film(
            metavar="FILE",
            help="VAE of StableSR (non-commercial weights), whose layers let the film steer the decoder.",
        ),
    ] = None
    fidelity: Annotated[
        float, _film(min=0, max=1, help="How much the film counts in that; 0 is the plain decoder.")
    ] = 0.5
    trained_fusion: Annotated[
        Path | None,
        _film(
            metavar="FILE",
            help="Fusion of train fusion, which gives the pictures of the prior's result and the pre-restored film.",
        ),
    ] = None
    trained_fusion_weight: Annotated[
        float, _film(min=0, max=1, help="Share that it takes over from the prior; 0 is the pre-restored film.")
    ] = 1.0
    decode_frames: Annotated[int, _film(min=0, max=256, help="Frames decoded at a time; 0: as memory allows.")] = 0
    decode_halo: Annotated[
        int, _film(min=0, max=32, help="Frames that a temporal VAE decodes along on each side and throws away.")
    ] = 4
    decode_tile: Annotated[
        int, _film(min=0, help="Largest side of a decoded tile in pixels; 0: whole pictures where memory allows.")
    ] = 0
    colour: Annotated[
        Literal["off", "wavelet", "adain", "lab"],
        _film(help="How the film's colours are given back."),
    ] = "wavelet"
    colour_statistics: Annotated[
        Literal["shot", "frame"],
        _film(help="Over each shot, so that flicker stays out, or frame by frame."),
    ] = "shot"
    colour_strength: Annotated[float, _film(min=0, max=1, help="Share of the correction that is applied.")] = 1.0
    colour_period: Annotated[
        int, _film(min=2, max=1000, help="wavelet over shots: slower changes than this many frames are followed.")
    ] = 48
    colour_lightness: Annotated[bool, _film(help="lab: match brightness and contrast too.")] = True
    monochrome: Annotated[
        Literal["auto", "on", "off"], _film(help="Make the result exactly grey; auto: where the film is.")
    ] = "auto"
    fusion: Annotated[
        Literal["off", "weight", "frequency", "mask"],
        _film(
            help="weight: a mean with the film that went in. frequency: its structure, the prior's detail. mask: the "
            "prior in damaged places only."
        ),
    ] = "off"
    fusion_weight: Annotated[float, _film(min=0, max=1, help="Share of the fused picture.")] = 1.0
    fusion_cutoff: Annotated[
        float, _film(min=0.3, max=128, help="frequency: pixels of the blur that separates structure from detail.")
    ] = 4.0
    fusion_detail: Annotated[float, _film(min=0, max=4, help="frequency: gain on the prior's detail.")] = 1.0
    fusion_grow: Annotated[int, _film(min=0, max=64, help="mask: pixels by which the damage is widened.")] = 4
    fusion_feather: Annotated[
        float, _film(min=0, max=64, help="mask: pixels over which the prior takes over, inside the widened damage.")
    ] = 4.0
    grain: Annotated[bool, _film(help="Give the result the grain of the film.")] = False
    grain_strength: Annotated[float, _film(min=0, max=2, help="1 is the grain of the film, 2 twice as much.")] = 1.0

    def check(self) -> None:
        """Check that no option is given without what it is for.

        Raises:
            SettingsError: One is.
        """
        needed = {
            "prior": (None, "PATH too, the model this is for"),
            "temporal": (("temporal_strength", "attention_window", "attention_stride"), "FILE too, the layers"),
            "era_map": (("loras", "eras", "lora_strength"), "FILE too, which says what an era uses"),
            "feature_wrapping": (("fidelity",), "FILE too, the layers"),
            "trained_fusion": (("trained_fusion_weight",), "FILE too, the fusion"),
        }
        self.check_controls()
        default = PriorOptions()
        self.check_one_step(default)
        for name, (dependent, what) in needed.items():
            if getattr(self, name) is not None:
                continue
            names = dependent or [field.name for field in fields(self) if field.name != name]
            unused = [flag(each) for each in names if getattr(self, each) != getattr(default, each)]
            if unused:
                raise SettingsError(f"{' and '.join(unused)}: give {flag(name)} {what}")

    def restoration(self) -> "RestorationSettings":
        """Return how clips are sampled."""
        from ..sampling.cfg import CfgSettings
        from ..sampling.consistency import ConsistencySettings
        from ..sampling.guidance import GuidanceSettings
        from ..sampling.noise.clip_noise import VideoNoiseSettings
        from ..sampling.noise.freeinit import FreeInitSettings
        from ..sampling.propagation import PropagationSettings
        from ..sampling.regions.tiles import TileSettings
        from ..sampling.regions.windows import WindowSettings
        from ..sampling.restoration import RestorationSettings
        from ..sampling.start import StartSettings

        windows, tiles = WindowSettings(), TileSettings()
        overlap = min(windows.overlap, self.window // 4) if self.overlap is None else self.overlap
        side = self.tile // _LATENT_PIXEL
        shared = min(tiles.overlap, side // 4) if self.tile_overlap is None else self.tile_overlap // _LATENT_PIXEL
        noise = VideoNoiseSettings()
        alone = self.window or noise.window
        return RestorationSettings(
            windows=WindowSettings(
                length=self.window,
                overlap=overlap,
                stride=self.window_stride,
                schedule=self.window_schedule,
                fuse=self.window_fuse,
                move=self.move,
            )
            if self.window
            else None,
            tiles=TileSettings(size=side, overlap=shared, weight=self.tile_weight, move=self.move)
            if self.tile
            else None,
            noise=replace(noise, mode=self.noise, mix=self.noise_mix, window=alone, stride=min(noise.stride, alone)),
            start=StartSettings(mode=self.start, added_noise_level=self.added_noise_level),
            cfg=CfgSettings(scale=self.cfg, rescale=self.cfg_rescale, schedule=self.cfg_schedule),
            guidance=GuidanceSettings(
                scale=self.guidance,
                space=self.guidance_space,
                weighting=self.guidance_weighting,
                start=self.guidance_start,
                end=self.guidance_end,
            ),
            consistency=ConsistencySettings(strength=self.keep_undamaged, end=self.keep_until, grow=self.keep_margin),
            propagation=PropagationSettings(blend=self.propagation),
            freeinit=FreeInitSettings(iterations=self.freeinit_rounds) if self.freeinit_rounds > 1 else None,
        )

    def finish(self) -> "FinishSettings":
        """Return what happens after sampling."""
        from ..decode.colour import ColourSettings
        from ..decode.fusion import FusionSettings
        from ..decode.memory_fallback import DecodeSettings
        from ..decode.regrain import RegrainSettings
        from ..prior.finish import FinishSettings

        return FinishSettings(
            decode=DecodeSettings(
                frames=self.decode_frames or None,
                halo=self.decode_halo,
                tile=self.decode_tile // _LATENT_PIXEL if self.decode_tile else None,
            ),
            colour=ColourSettings(
                method=self.colour,
                statistics=self.colour_statistics,
                strength=self.colour_strength,
                period=self.colour_period,
                lightness=self.colour_lightness,
                monochrome=self.monochrome,
            ),
            fusion=FusionSettings(
                mode=self.fusion,
                weight=self.fusion_weight,
                cutoff=self.fusion_cutoff,
                detail=self.fusion_detail,
                grow=self.fusion_grow,
                feather=self.fusion_feather,
            )
            if self.fusion != "off"
            else None,
            grain=RegrainSettings(strength=self.grain_strength) if self.grain else None,
            fidelity=self.fidelity,
        )

    def settings(self, reel: "ReelSettings") -> "PriorReelSettings":
        """Return everything that the reel is restored with.

        Args:
            reel: What comes before the prior.

        Raises:
            SettingsError: An option has a value that does not work, or a table or map cannot be read.
        """
        from ..reel.with_prior.settings import PriorReelSettings
        from ..video.geometry import FitSettings

        whole = PriorReelSettings(
            reel=reel,
            restoration=self.restoration(),
            finish=self.finish(),
            prompt=self.prompt,
            negative_prompt=self.negative,
            table=None if self.shots_table is None else _table_of_shots(self.shots_table),
            steps=self.steps,
            strength=self.strength,
            sampler=self.sampler,
            noise_schedule=self.noise_schedule,
            seed=self.seed,
            most_frames=self.max_frames,
            fitting=FitSettings(short_side=self.short_side),
            masks=self.damage_masks,
            control=self.control_net(),
            controls=self.restoration_controls(),
            loras=self._loras(),
            temporal_vae=self.temporal_vae,
            feature_wrapping=self.feature_wrapping,
            own_latents=self.own_latents,
            trained_fusion=self.trained_fusion,
            fusion_weight=self.trained_fusion_weight,
        )
        if self.keep_outside and not whole.finds_damage and self.damage_masks is None:
            raise SettingsError(
                "--keep-outside: nothing looks for damage; let the repair do it, or give --damage-masks"
            )
        return whole

    def _loras(self) -> "ReelLoras | None":
        from ..prior.lora.eras import read_era_loras
        from ..reel.prior_company import ReelLoras

        if self.era_map is None:
            return None
        return ReelLoras(
            loras=read_era_loras(self.era_map),
            folders=(self.loras or self.era_map.parent,),
            eras=tuple(name for name in (part.strip() for part in self.eras.split(",")) if name),
            strength=self.lora_strength,
        )

    def open(self, device: str) -> Any:
        """Open the model with what belongs to it.

        Args:
            device: A device of PyTorch, or "auto".
        """
        from ..prior.checkpoints.opening import open_prior
        from ..prior.temporal.attention import AttentionWindows

        assert self.prior is not None
        # Before the model, so that a file that cannot be used costs no time.
        system = self.one_step_system()
        how = None if system is None else self.one_step_settings(windows=self._windows(), tiles=self._one_step_tiles())
        attention = None
        if self.attention_window:
            attention = AttentionWindows(length=self.attention_window, stride=self.attention_stride)
        pipeline = open_prior(
            self.prior,
            config=self.prior_config,
            prediction=None if self.prediction == "auto" else self.prediction,
            temporal=self.temporal,
            temporal_strength=self.temporal_strength,
            attention=attention,
            controlnet=self.controlnet,
            controls=self.control_outlines(),
            device=device,
        )
        if system is None or how is None:
            return pipeline
        from ..reel.with_prior.one_step import OneStepPrior

        return OneStepPrior(pipeline, system, how, files=self.one_step or ())

    def _windows(self) -> "WindowSettings":
        """Return the windows of temporal layers in one step."""
        from ..sampling.regions.windows import WindowSettings

        default = WindowSettings()
        # Whole parts, which are no longer than this.
        length = self.window or self.max_frames
        overlap = min(default.overlap, length // 4) if self.overlap is None else self.overlap
        return WindowSettings(length=length, overlap=overlap)

    def _one_step_tiles(self) -> "PublishedTiles | None":
        from ..prior.onestep.tiles import PublishedTiles

        if not self.tile:
            return None
        side, default = self.tile // _LATENT_PIXEL, PublishedTiles()
        shared = min(default.overlap, side // 4) if self.tile_overlap is None else self.tile_overlap // _LATENT_PIXEL
        return PublishedTiles(size=side, overlap=shared)


def _table_of_shots(path: Path) -> "ShotTable":
    """Read what `describe` has written.

    Raises:
        SettingsError: It cannot be read, or says what is done to shots, and not what they show.
    """
    from ..reel.restore import ReelSettings
    from ..reel.shot_choices import read_choices
    from ..semantics.table.table_files import read_table

    try:
        return read_table(path)
    except SettingsError as error:
        try:
            # Any column may name a setting; whether there is one of the name, the settings say.
            read_choices(path).check(ReelSettings())
        except SettingsError:
            raise error from None
        raise SettingsError(
            f"{path} holds settings of single shots; give it to --shot-settings, which may hold the columns of "
            "describe besides, and give --shots-table the table of describe without them"
        ) from error
