"""By what the parts of checkpoints are told: a table with a row for each, read from the top.

A row names tensors that the part always has, and says which tensors are its own. Rows that add something to a network
stand before the network, so that what is left of it is compared with the plain one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ....prerestore.published import ARCHITECTURES
from .unet_keys import Shape

UNET, VAE = "model.diffusion_model.", "first_stage_model."


@dataclass(frozen=True, kw_only=True)
class PartSignature:
    """By what one kind of part is told.

    Attributes:
        part: Short name in the tables of this room.
        name: What it is, for people.
        marks: Tensors that it always has, without the prefix; none means that one of its own tensors is enough.
        prefixes: What may stand before its tensors in a file.
        sizes: Shapes that some of the marks must have; None is any size.
        owns: Pattern of its own tensors, without the prefix.
    """

    part: str
    name: str
    marks: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ("",)
    sizes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    owns: str = ".+"

    def prefixes_in(self, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
        """Return the prefixes under which a file has such a part."""
        return tuple(prefix for prefix in self.prefixes if self._found(prefix, shapes))

    def own_in(self, prefix: str, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Return the part's own tensors in a file, without the prefix."""
        own = re.compile(self.owns)
        return {
            key[len(prefix) :]: shape
            for key, shape in shapes.items()
            if key.startswith(prefix) and own.fullmatch(key, len(prefix))
        }

    def _found(self, prefix: str, shapes: Mapping[str, Shape]) -> bool:
        if not self.marks:
            return bool(self.own_in(prefix, shapes))
        return all(f"{prefix}{mark}" in shapes for mark in self.marks) and all(
            len(shapes[f"{prefix}{mark}"]) == len(sides)
            and all(side in (None, found) for side, found in zip(sides, shapes[f"{prefix}{mark}"], strict=True))
            for mark, sides in self.sizes.items()
        )


def stage1_part(architecture: str) -> str:
    """Return the short name of a stage-1 restorer: the first word of its architecture's."""
    return f"stage1_{architecture.split()[0].lower()}"


_OF_UNET = r"(time_embed|label_emb|input_blocks|middle_block|output_blocks|out)\..+"
_OF_DIFFUSERS = (
    r"(conv_in|time_embedding|add_embedding|class_embedding|down_blocks|mid_block|up_blocks|conv_norm_out|conv_out)\..+"
)
_OF_BRANCH = (
    r"(time_embed|label_emb|input_blocks|middle_block|middle_block_out|zero_convs|input_hint_block|hint_zero_conv)\..+"
)
_OF_CONTROLNET = r"(conv_in|time_embedding|add_embedding|down_blocks|mid_block|controlnet_\w+)\..+"
_OF_VAE = r"(encoder|decoder|quant_conv|post_quant_conv)\..+"
_OF_CLIP = (
    r"(transformer|visual|token_embedding|ln_final)\..+|positional_embedding|text_projection|logit_scale|attn_mask"
)
_OF_PEFT = (
    r"(unet|text_encoder(_2)?|base_model|transformer)\..+"
    r"(\.lora_[AB](\.\w+)?\.weight|_lora\.(down|up)\.weight|\.lora(_linear_layer)?\.(down|up)\.weight|\.alpha)"
)
_TABLES = (
    r"betas|alphas_cumprod(_prev)?|sqrt_(one_minus_|recip_|recipm1_)?alphas_cumprod|log_one_minus_alphas_cumprod|"
    r"posterior_(variance|log_variance_clipped|mean_coef[12])|lvlb_weights|logvar|scale_factor|"
    r"v_pred|ztsnr|sigmas|log_sigmas|denoiser\.sigmas|.+_ori|ori_timesteps"
)
_CONTROL_FIRST = "controlnet_cond_embedding.conv_in.weight"
_BRANCH_ENTRY, _BRANCH_END = "input_blocks.0.0.weight", "middle_block_out.0.weight"

_ADDITIONS = (
    PartSignature(
        part="stablesr_modulation",
        name="StableSR's spatial modulation of the UNet",
        prefixes=(UNET, ""),
        # Some extracts leave `.0.spade` out of the names.
        owns=r"((input|output)_blocks\.\d+|middle_block\.[02])(\.0)?(\.spade)?\."
        r"(param_free_norm|mlp_shared\.0|mlp_gamma|mlp_beta)\.(weight|bias)",
    ),
    PartSignature(
        part="coser_attention",
        name="CoSeR's All-in-Attention in the UNet",
        marks=("middle_block.1.norm_clr_lna.weight",),
        prefixes=(UNET, ""),
        owns=r".*_lna.*",
    ),
    PartSignature(
        part="pasd_attention",
        name="PASD's pixel-aware attention in the UNet",
        marks=("up_blocks.1.pixel_attentions.0.norm.weight",),
        prefixes=("", "unet."),
        owns=r"up_blocks\.\d+\.pixel_attentions\..+",
    ),
    PartSignature(
        part="pasd_light_attention",
        name="PASD light's third attention in the UNet",
        marks=("up_blocks.1.attentions.0.proj_in_plus.weight",),
        prefixes=("", "unet."),
        owns=r".+_plus\..+",
    ),
    PartSignature(
        part="stablesr_fusion",
        name="StableSR's feature wrapping in the VAE's decoder",
        marks=("decoder.fusion_layer_1.encode_enc_1.conv1.weight",),
        prefixes=(VAE, ""),
        owns=r"decoder\.fusion_layer_\d+\..+",
    ),
)
_CONTROLS = (
    PartSignature(
        part="seesr_control",
        name="SeeSR's ControlNet",
        marks=(_CONTROL_FIRST, "mid_block.image_attentions.0.norm.weight"),
        owns=_OF_CONTROLNET,
    ),
    PartSignature(
        part="pasd_control",
        name="ControlNet of PASD or PASD light",
        marks=(_CONTROL_FIRST, "controlnet_cond_embedding.to_rgbs.0.weight"),
        owns=_OF_CONTROLNET,
    ),
    PartSignature(
        part="controlnet_diffusers",
        name="ControlNet in diffusers' layout",
        marks=(_CONTROL_FIRST, "controlnet_mid_block.weight"),
        owns=_OF_CONTROLNET,
    ),
    PartSignature(
        part="seesr_attention",
        name="SeeSR's representation attention in the UNet",
        marks=("up_blocks.1.image_attentions.0.norm.weight",),
        prefixes=("", "unet."),
        owns=r".+\.image_attentions\..+",
    ),
    PartSignature(
        part="stablesr_structure",
        name="StableSR's structure encoder",
        marks=("fea_tran.0.in_layers.0.weight", _BRANCH_ENTRY),
        prefixes=("structcond_stage_model.", ""),
        owns=r"(time_embed|input_blocks|middle_block|fea_tran|out)\..+",
    ),
    PartSignature(
        part="coser_branch",
        name="CoSeR's control branch",
        marks=("hint_zero_conv.weight", _BRANCH_END),
        prefixes=("structcond_stage_model.", ""),
        owns=_OF_BRANCH,
    ),
    PartSignature(
        part="coser_pre_sr",
        name="CoSeR's pre-SR network",
        marks=("conv_first.weight",),
        prefixes=("pre_sr_model.",),
    ),
    PartSignature(
        part="coser_q_former", name="CoSeR's Q-Former", marks=("query_tokens",), prefixes=("global_adapter.",)
    ),
    PartSignature(
        part="controlnet_original",
        name="ControlNet in the original layout",
        marks=(_BRANCH_ENTRY, _BRANCH_END, "input_hint_block.0.weight"),
        prefixes=("control_model.", ""),
        owns=_OF_BRANCH,
    ),
    PartSignature(
        part="diffbir_control",
        name="DiffBIR's control branch",
        marks=(_BRANCH_ENTRY, _BRANCH_END),
        sizes={_BRANCH_ENTRY: (None, 8, None, None)},
        prefixes=("control_model.", ""),
        owns=_OF_BRANCH,
    ),
    PartSignature(
        part="diffbir_hint_encoder",
        name="DiffBIR's copy of the VAE's encoder, which reads the hint",
        marks=("encoder.conv_in.weight",),
        prefixes=("cond_encoder.",),
    ),
    *(
        PartSignature(
            part=stage1_part(kind.name),
            name=f"stage-1 restorer of DiffBIR ({kind.name})",
            marks=kind.signature,
            prefixes=("preprocess_model.", ""),
        )
        for kind in ARCHITECTURES
    ),
)
_ONE_STEP = (
    PartSignature(
        part="dloral_unet",
        name="DLoRAL's UNet with its adapters",
        marks=("conv_out.lora_A.default_decoder_consistency.weight",),
        prefixes=("state_dict_unet.", ""),
        owns=_OF_DIFFUSERS,
    ),
    PartSignature(
        part="dloral_frames",
        name="DLoRAL's retrieval from the frame before",
        marks=("spynet.basic_module.0.basic_module.0.conv.weight", "cross_attn_module.query_conv.weight"),
        prefixes=("state_dict_bpp.", ""),
    ),
    PartSignature(
        part="osediff_unet",
        name="OSEDiff's adapters of the UNet",
        marks=("conv_in.base_layer.weight", "conv_in.lora_A.default_encoder.weight"),
        prefixes=("state_dict_unet.", ""),
        owns=_OF_DIFFUSERS,
    ),
    PartSignature(
        part="osediff_vae",
        name="OSEDiff's adapters of the VAE",
        marks=("encoder.conv_in.lora_A.default_encoder.weight",),
        prefixes=("state_dict_vae.", ""),
        owns=_OF_VAE,
    ),
    PartSignature(
        part="pisasr_unet",
        name="PiSA-SR's adapters of the UNet",
        marks=("conv_in.lora_A.default_encoder_pix.weight",),
        prefixes=("state_dict_unet.", ""),
        owns=_OF_DIFFUSERS,
    ),
    PartSignature(
        part="s3diff_unet",
        name="S3Diff's adapters of the UNet",
        marks=("conv_in.weight", "conv_out.lora_A.default.weight"),
        prefixes=("state_dict_unet.", ""),
        owns=_OF_DIFFUSERS,
    ),
    PartSignature(
        part="s3diff_vae",
        name="S3Diff's adapters of the VAE",
        marks=("encoder.conv_in.lora_A.vae_skip.weight",),
        prefixes=("state_dict_vae.", ""),
        owns=_OF_VAE,
    ),
    PartSignature(
        part="s3diff_steering",
        name="S3Diff's steering of the adapters by the damage",
        marks=("state_dict_unet_fuse_mlp.weight", "w"),
        owns=r"state_dict_(vae|unet)_(de|block|fuse)_mlp\..+|state_embeddings\..+|w",
    ),
    PartSignature(
        part="s3diff_damage",
        name="S3Diff's estimator of the damage",
        marks=("conv_first.0.weight", "fc_degree.0.0.weight"),
    ),
    PartSignature(
        part="hypir_unet",
        name="HYPIR's adapters of the UNet",
        marks=("conv_out.lora_A.default.weight",),
        owns=_OF_DIFFUSERS,
    ),
)
_SMALL = (
    PartSignature(
        part="lora_kohya",
        name="LoRA in kohya's layout",
        owns=r"lora_(unet|te\d?)_[^.]+\.(lora_(down|up)\.weight|alpha)",
    ),
    PartSignature(part="lora_diffusers", name="LoRA in diffusers' layout", owns=_OF_PEFT),
    PartSignature(part="motion", name="AnimateDiff's motion modules", owns=r"(.+\.)?motion_modules\..+"),
)
_BASE = (
    PartSignature(part="sd3", name="transformer of Stable Diffusion 3", prefixes=(UNET, ""), owns=r"joint_blocks\..+"),
    PartSignature(
        part="flux",
        name="transformer of Flux, or of a model like it",
        prefixes=(UNET, ""),
        owns=r"(double_blocks|single_blocks|single_transformer_blocks)\..+",
    ),
    PartSignature(
        part="unet_original",
        name="UNet in the original layout",
        marks=(_BRANCH_ENTRY, "middle_block.0.in_layers.0.weight", "out.2.weight"),
        prefixes=(UNET, ""),
        owns=_OF_UNET,
    ),
    PartSignature(
        part="unet_diffusers",
        name="UNet in diffusers' layout",
        marks=("conv_in.weight", "mid_block.resnets.0.conv1.weight", "conv_out.weight"),
        prefixes=("", "unet."),
        owns=_OF_DIFFUSERS,
    ),
    PartSignature(
        part="temporal_vae",
        name="temporal VAE of Stable Video Diffusion",
        marks=("decoder.mid.block_1.time_stack.in_layers.0.weight",),
        prefixes=(VAE, ""),
        owns=_OF_VAE,
    ),
    PartSignature(
        part="vae_original",
        name="VAE in the original layout",
        marks=("decoder.conv_in.weight", "decoder.mid.block_1.conv1.weight"),
        prefixes=(VAE, "vae.", ""),
        owns=_OF_VAE,
    ),
    PartSignature(
        part="vae_diffusers",
        name="VAE in diffusers' layout",
        marks=("decoder.conv_in.weight", "decoder.mid_block.resnets.0.conv1.weight"),
        prefixes=("vae.", ""),
        owns=_OF_VAE,
    ),
    PartSignature(
        part="text_transformers",
        name="CLIP text encoder",
        marks=("text_model.embeddings.token_embedding.weight",),
        prefixes=("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.", "text_encoder.", ""),
        owns=r"(text_model|text_projection|vision_model|visual_projection)\..+|logit_scale",
    ),
    PartSignature(
        part="text_open_clip",
        name="OpenCLIP text encoder",
        marks=("token_embedding.weight", "transformer.resblocks.0.attn.in_proj_weight"),
        prefixes=(
            "cond_stage_model.model.",
            "conditioner.embedders.0.model.",
            "conditioner.embedders.1.model.",
            "",
        ),
        owns=_OF_CLIP,
    ),
    PartSignature(part="tables", name="tables of the noise schedule", owns=_TABLES),
    PartSignature(part="average", name="running average of the training", prefixes=("model_ema.",)),
    PartSignature(part="losses", name="networks of the training's losses", prefixes=("loss.",)),
)

SIGNATURES: tuple[PartSignature, ...] = (*_ADDITIONS, *_CONTROLS, *_ONE_STEP, *_SMALL, *_BASE)
"""Every part that is known; the first that fits has its tensors."""

OURS = {
    "vldm.temporal_layers": ("temporal_layers", "temporal layers that this pack trained"),
    "vldm.pre_restorer": ("pre_restorer", "pre-restorer that this pack trained"),
    "vldm.fusion_decoder": ("fusion_decoder", "fusion decoder that this pack trained"),
    "vldm.dirt_network": ("dirt_network", "dirt detector that this pack trained"),
    "vldm.line_network": ("scratch_network", "scratch detector that this pack trained"),
}
"""What files of this pack say of themselves: key of their metadata, short name and name."""
