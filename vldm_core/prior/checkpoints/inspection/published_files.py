"""What files that were published consist of, what each needs beside it, and the licence of its weights.

The first row all of whose parts a file has says what the file is. Licences are
those of the published weights as their sources give them.
"""

from collections.abc import Collection
from dataclasses import dataclass

APACHE = "Apache-2.0"

_SD15 = "a checkpoint of Stable Diffusion 1.5, or a fine-tune of it"
_SD2 = "a checkpoint of Stable Diffusion 2-base (its text encoder and VAE)"
_SD21 = "a checkpoint of Stable Diffusion 2.1-base (its text encoder and VAE)"
_S3DIFF = "the rest of s3diff.pkl"
_TAGS = "tags of the picture as text"
_RAM = "the picture's tokens (145 × 512) and tags, from a tagger of RAM's kind"


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """What a set of parts makes up.

    Attributes:
        name: What the file is.
        kind: Its kind in one or two words.
        parts: Parts that it has.
        needs: What is needed beside it.
        system: Restoration control that it belongs to; the licence of its weights stands with its loader.
        licence: Of the weights; None where it is the model's own or not known.
        note: A further sentence for the user.
    """

    name: str
    kind: str
    parts: frozenset[str]
    needs: tuple[str, ...] = ()
    system: str | None = None
    licence: str | None = None
    note: str | None = None

    def fits(self, parts: Collection[str]) -> bool:
        """Tell whether a file with these parts is one."""
        return self.parts <= set(parts)


def _file(name: str, kind: str, *parts: str, **more: object) -> PublishedFile:
    return PublishedFile(name=name, kind=kind, parts=frozenset(parts), **more)  # type: ignore[arg-type]


_CONTROL, _ONE_STEP, _BASE = "restoration control", "one-step restorer", "base model"
_CONTROLS = (
    _file(
        "DiffBIR v1, complete: UNet, VAE, control branch and stage-1 restorer",
        _CONTROL,
        "diffbir_control",
        "unet_original",
        "stage1_swinir",
        system="DiffBIR",
        note="python -m vldm_core unpack parts it into a file for each loader",
    ),
    _file(
        "DiffBIR control (v1, v2 and v2.1 are of one shape)",
        _CONTROL,
        "diffbir_control",
        system="DiffBIR",
        needs=(
            f"{_SD21}; for v2.1 sd2.1-base-zsnr-laionaes5.ckpt, which predicts v with zero terminal SNR",
            "a stage-1 restorer for its hint: SwinIR, BSRNet or SCUNet of DiffBIR, or other cleaned frames",
        ),
    ),
    _file(
        "PASD's UNet with pixel-aware attention",
        _CONTROL,
        "pasd_attention",
        "unet_diffusers",
        system="PASD",
        needs=("PASD's ControlNet", f"{_SD15}, for text encoder and VAE"),
    ),
    _file(
        "PASD's additions to the UNet, without the UNet",
        _CONTROL,
        "pasd_attention",
        system="PASD",
        needs=(_SD15, "PASD's ControlNet"),
    ),
    _file(
        "PASD light's UNet with a third attention",
        _CONTROL,
        "pasd_light_attention",
        "unet_diffusers",
        system="PASD light",
        needs=("PASD light's ControlNet", f"{_SD15}, for text encoder and VAE"),
    ),
    _file(
        "PASD light's additions to the UNet, without the UNet",
        _CONTROL,
        "pasd_light_attention",
        system="PASD light",
        needs=(_SD15, "PASD light's ControlNet"),
    ),
    _file(
        "PASD's or PASD light's ControlNet (both are of one shape)",
        _CONTROL,
        "pasd_control",
        system="PASD",
        needs=("the UNet of the same PASD", f"{_SD15}, for text encoder and VAE"),
    ),
    _file(
        "SeeSR's UNet with representation attention",
        _CONTROL,
        "seesr_attention",
        "unet_diffusers",
        system="SeeSR",
        needs=("SeeSR's ControlNet", _SD2, _RAM),
    ),
    _file(
        "SeeSR's additions to the UNet, without the UNet",
        _CONTROL,
        "seesr_attention",
        system="SeeSR",
        needs=(_SD2, "SeeSR's ControlNet", _RAM),
    ),
    _file(
        "SeeSR's ControlNet",
        _CONTROL,
        "seesr_control",
        system="SeeSR",
        needs=("SeeSR's UNet", _SD2, _RAM),
    ),
    _file(
        "StableSR, complete: UNet with modulation, and structure encoder",
        _CONTROL,
        "stablesr_modulation",
        "stablesr_structure",
        "unet_original",
        system="StableSR",
        note="its feature wrapping (vqgan_cfw_00011.ckpt) is a file of its own, and optional",
    ),
    _file(
        "StableSR's extract for the web UI: modulation and structure encoder",
        _CONTROL,
        "stablesr_modulation",
        "stablesr_structure",
        system="StableSR",
        needs=(_SD21,),
        note="its feature wrapping (vqgan_cfw_00011.ckpt) is a file of its own, and optional",
    ),
    _file(
        "StableSR's structure encoder, without its modulation",
        _CONTROL,
        "stablesr_structure",
        system="StableSR",
        needs=("StableSR's modulation of the UNet", _SD21),
    ),
    _file(
        "StableSR's modulation of the UNet, without its structure encoder",
        _CONTROL,
        "stablesr_modulation",
        system="StableSR",
        needs=("StableSR's structure encoder", _SD21),
    ),
    _file(
        "StableSR's feature wrapping with its VAE",
        _CONTROL,
        "stablesr_fusion",
        "vae_original",
        system="StableSR",
        needs=("StableSR's checkpoint",),
    ),
    _file(
        "StableSR's feature wrapping, without its VAE",
        _CONTROL,
        "stablesr_fusion",
        system="StableSR",
        needs=("the VAE of Stable Diffusion", "StableSR's checkpoint"),
    ),
    _file(
        "CoSeR, complete: UNet with All-in-Attention, and control branch",
        _CONTROL,
        "coser_attention",
        "coser_branch",
        "unet_original",
        system="CoSeR",
    ),
    _file(
        "CoSeR's additions with its cognitive encoder, without the UNet",
        _CONTROL,
        "coser_attention",
        "coser_branch",
        "coser_q_former",
        system="CoSeR",
        needs=(_SD21, "a CLIP vision model ViT-H"),
    ),
    _file(
        "CoSeR's additions, without the UNet",
        _CONTROL,
        "coser_attention",
        "coser_branch",
        system="CoSeR",
        needs=(_SD21, "CoSeR's cognitive encoder"),
    ),
    _file(
        "CoSeR's All-in-Attention, without the UNet",
        _CONTROL,
        "coser_attention",
        system="CoSeR",
        needs=(_SD21, "CoSeR's control branch", "CoSeR's cognitive encoder"),
    ),
    _file(
        "CoSeR's control branch",
        _CONTROL,
        "coser_branch",
        system="CoSeR",
        needs=("CoSeR's All-in-Attention", _SD21, "CoSeR's cognitive encoder"),
    ),
    _file(
        "CoSeR's cognitive encoder",
        _CONTROL,
        "coser_q_former",
        system="CoSeR",
        needs=("CoSeR's complete checkpoint", "a CLIP vision model ViT-H"),
    ),
)
_ONE_STEPS = (
    _file("OSEDiff", _ONE_STEP, "osediff_unet", "osediff_vae", needs=(_SD21, _TAGS), licence=APACHE),
    _file("OSEDiff's UNet entry", _ONE_STEP, "osediff_unet", needs=("OSEDiff's VAE entry", _SD21), licence=APACHE),
    _file("OSEDiff's VAE entry", _ONE_STEP, "osediff_vae", needs=("OSEDiff's UNet entry", _SD21), licence=APACHE),
    _file("PiSA-SR", _ONE_STEP, "pisasr_unet", needs=(_SD21,), licence="Apache-2.0 as its readme says, without a file"),
    _file(
        "S3Diff",
        _ONE_STEP,
        "s3diff_unet",
        "s3diff_vae",
        "s3diff_steering",
        needs=("SD-Turbo", "its estimator of the damage, de_net.pth"),
        licence=APACHE,
    ),
    _file(
        "S3Diff's UNet entry", _ONE_STEP, "s3diff_unet", needs=("the rest of s3diff.pkl", "SD-Turbo"), licence=APACHE
    ),
    _file("S3Diff's VAE entry", _ONE_STEP, "s3diff_vae", needs=(_S3DIFF, "SD-Turbo"), licence=APACHE),
    _file("S3Diff's steering entries", _ONE_STEP, "s3diff_steering", needs=(_S3DIFF,), licence=APACHE),
    _file("S3Diff's estimator of the damage", _ONE_STEP, "s3diff_damage", needs=("s3diff.pkl",), licence=APACHE),
    _file(
        "DLoRAL",
        _ONE_STEP,
        "dloral_unet",
        "dloral_frames",
        needs=("text encoder and VAE of Stable Diffusion 2.1-base", _TAGS),
        licence="MIT",
    ),
    _file("DLoRAL's UNet entry", _ONE_STEP, "dloral_unet", needs=("DLoRAL's retrieval entry",), licence="MIT"),
    _file("DLoRAL's retrieval entry", _ONE_STEP, "dloral_frames", needs=("DLoRAL's UNet entry",), licence="MIT"),
    _file("HYPIR for Stable Diffusion 2", _ONE_STEP, "hypir_unet", needs=(_SD21,), licence="its own, non-commercial"),
)
_STAGE1 = tuple(
    _file(name, "stage-1 restorer", part, licence=licence)
    for name, part, licence in (
        ("DiffBIR's stage-1 restorer SwinIR", "stage1_swinir", APACHE),
        ("BSRNet, a stage-1 restorer of DiffBIR", "stage1_bsrnet", None),
        ("SCUNet, a stage-1 restorer of DiffBIR", "stage1_scunet", None),
    )
)
_OTHERS = (
    _file("ControlNet in diffusers' layout", "ControlNet", "controlnet_diffusers"),
    _file("checkpoint with a ControlNet", "ControlNet", "controlnet_original", "unet_original"),
    _file("ControlNet in the original layout", "ControlNet", "controlnet_original"),
    _file("LoRA in kohya's layout", "LoRA", "lora_kohya"),
    _file("LoRA in diffusers' layout", "LoRA", "lora_diffusers"),
    _file("UNet with AnimateDiff's motion modules", "motion modules", "motion", "unet_diffusers"),
    _file("AnimateDiff's motion modules", "motion modules", "motion"),
    _file("transformer of Stable Diffusion 3", _BASE, "sd3", note="this family is not supported here"),
    _file("transformer of Flux, or of a model like it", _BASE, "flux", note="this family is not supported here"),
    _file("Stable Video Diffusion", _BASE, "temporal_vae", "unet_original", note="its UNet is not supported here"),
    _file("temporal VAE of Stable Video Diffusion", "VAE", "temporal_vae"),
    *(
        _file("complete checkpoint", _BASE, "unet_original", "vae_original", text)
        for text in ("text_transformers", "text_open_clip")
    ),
    _file("UNet and VAE without a text encoder", _BASE, "unet_original", "vae_original", needs=("a text encoder",)),
    _file("UNet in the original layout", _BASE, "unet_original", needs=("a VAE", "a text encoder")),
    _file("UNet in diffusers' layout", _BASE, "unet_diffusers", needs=("a VAE", "a text encoder")),
    _file("VAE in the original layout", "VAE", "vae_original"),
    _file("VAE in diffusers' layout", "VAE", "vae_diffusers"),
    _file("CLIP text encoder", "text encoder", "text_transformers"),
    _file("OpenCLIP text encoder", "text encoder", "text_open_clip"),
    _file("temporal layers that this pack trained", "temporal layers", "temporal_layers"),
    _file("pre-restorer that this pack trained", "pre-restorer", "pre_restorer"),
    _file("fusion decoder that this pack trained", "fusion decoder", "fusion_decoder"),
    _file("dirt detector that this pack trained", "damage detector", "dirt_network"),
    _file("scratch detector that this pack trained", "damage detector", "scratch_network"),
)

PUBLISHED: tuple[PublishedFile, ...] = (*_CONTROLS, *_ONE_STEPS, *_STAGE1, *_OTHERS)
"""What files may be; the first that fits says it."""
