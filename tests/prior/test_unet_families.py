"""Motion modules join Stable Diffusion 1.x alone; video models are refused; headlessly as in the host."""

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetSpatioTemporalConditionModel

from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules
from vldm_core.prior.temporal.animatediff_files import motion_modules_from, motion_state
from vldm_core.prior.unet import UNetLayoutError, UNetView
from vldm_core.prior.unet_families import check_text, family_of


def unet(width):
    """A narrow UNet of diffusers with the text width of a family."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def modules():
    return MotionModules(MotionConfig(version="v3", channels=(("down.0.0", 32),), positions=32))


@pytest.mark.parametrize(
    ("width", "family"),
    [(768, "Stable Diffusion 1.x"), (1024, "Stable Diffusion 2.x"), (2048, "Stable Diffusion XL"), (24, None)],
)
def test_families_by_their_text_width(width, family):
    view = UNetView(unet(width))
    assert family_of(view) == family
    # The channels do not fit either; the family is what matters and comes first.
    expected = "but the UNet" if width in (768, 24) else f"this model is {family} .text {width} wide"
    with pytest.raises(SettingsError, match=expected):
        modules().attach(view)


def test_motion_modules_of_sdxl_are_told_by_their_file():
    config = MotionConfig(
        version="v3", channels=tuple((f"down.{level}.0", 320 * 2**level) for level in range(3)), positions=32
    )
    with torch.device("meta"):
        made = MotionModules(config)
    state = {key: torch.zeros(()).expand(value.shape) for key, value in motion_state(made).items()}
    with pytest.raises(WeightFileError, match="Stable Diffusion XL, which is not supported"):
        motion_modules_from(state)


def test_video_models_are_refused():
    video = UNetSpatioTemporalConditionModel(
        sample_size=8,
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        layers_per_block=1,
        cross_attention_dim=32,
        num_attention_heads=(2, 2),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
    )
    with pytest.raises(UNetLayoutError, match="temporal layers of its"):
        UNetView(video)


def test_what_was_made_for_another_text_is_refused_in_words_of_families():
    view = UNetView(unet(768))
    check_text(view, 768, "this file")
    with pytest.raises(
        SettingsError,
        match=r"this file was made for Stable Diffusion 2\.x \(text 1024 wide\), and this model is "
        r"Stable Diffusion 1\.x \(text 768 wide\); choose a Stable Diffusion 2\.x model",
    ):
        check_text(view, 1024, "this file")
    with pytest.raises(SettingsError, match=r"made for one with text 24 wide.*of the family that it was made for"):
        check_text(view, 24, "this file")
