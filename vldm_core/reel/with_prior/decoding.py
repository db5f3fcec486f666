"""What takes part in decoding a film beside the model: a temporal VAE, feature wrapping, a trained fusion, latents."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from ...decode.fused_clip import TrainedFusion
from ...decode.fusion_decoder import KIND as FUSION
from ...decode.temporal_vae import load_temporal_decoder
from ...decode.wrapping.headless import wrap
from ...decode.wrapping.network import read_feature_wrapping
from ...prerestore.clip import OwnLatents
from ...prerestore.network import PreRestorer
from ...prerestore.run import PreRestoreSettings
from ...prerestore.shipped import PreRestoration, load_prerestorer
from .settings import PriorReelSettings

_HOW = tuple(each.name for each in fields(PreRestoreSettings))


def decoding_parts(
    pipeline: Any, settings: PriorReelSettings, network: PreRestorer | None
) -> dict[str, nn.Module | TrainedFusion | OwnLatents | None]:
    """Read what takes part in decoding beside the model, so that files that cannot be used cost no time.

    Args:
        pipeline: A `VideoRestorationPipeline`, or what is called as one.
        settings: How the film is restored.
        network: A pre-restorer on its device, in the place of the one that the settings name.

    Returns:
        Arguments of the pipeline's call by name.

    Raises:
        WeightFileError: A file cannot be used.
        SettingsError: They do not belong together.
    """
    decoder = None if settings.temporal_vae is None else load_temporal_decoder(settings.temporal_vae)
    wrapping = None if settings.feature_wrapping is None else read_feature_wrapping(settings.feature_wrapping)
    if wrapping is not None:
        wrap(pipeline.vae, wrapping, fidelity=settings.finish.fidelity, temporal_decoder=decoder)
    file = settings.trained_fusion
    found: dict[str, nn.Module | TrainedFusion | OwnLatents | None] = {
        "temporal_decoder": decoder,
        "feature_wrapping": wrapping,
        "trained_fusion": None if file is None else _trained_fusion(settings, file, network),
    }
    if settings.own_latents:
        found["own_latents"] = _own_latents(settings, network)
    return found


def _trained_fusion(settings: PriorReelSettings, file: Path, network: PreRestorer | None) -> TrainedFusion:
    """Read a fusion and the pre-restorer that it works with.

    Raises:
        WeightFileError: A file cannot be used.
        SettingsError: They do not belong together.
    """
    chosen, how = _pre_restoring(settings, network)
    return TrainedFusion(fusion=FUSION.load(file), network=chosen, settings=how, weight=settings.fusion_weight)


def _own_latents(settings: PriorReelSettings, network: PreRestorer | None) -> OwnLatents:
    """Read the pre-restorer whose latents sampling begins with.

    Raises:
        WeightFileError: Its file cannot be used.
        SettingsError: It has no latent head.
    """
    chosen, how = _pre_restoring(settings, network)
    return OwnLatents(network=chosen, settings=how)


def _pre_restoring(settings: PriorReelSettings, network: PreRestorer | None) -> tuple[PreRestorer, PreRestoreSettings]:
    """Return the pre-restorer of the prior's part, and how it is applied."""
    chosen = settings.reel.prerestore or PreRestoration(keep_grain=0.0)
    how = PreRestoreSettings(**{name: getattr(chosen, name) for name in _HOW})
    return network or load_prerestorer(chosen), how
