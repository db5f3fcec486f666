"""Names and shapes of every tensor of the one-step restorers: adapters beside the layers of Stable Diffusion 2.1.

All are LoRA in the names of peft (`X.lora_A.ADAPTER.weight`, `X.lora_B.ADAPTER.weight`). OSEDiff, PiSA-SR and DLoRAL
have one adapter for the way down, one for the way up and one for the rest; S3Diff and HYPIR one for all.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from ...onestep.adapters import side_of
from .unet_keys import SD2_UNET, Shape, pair, unet_shapes, with_inputs
from .vae_keys import encoder_shapes

# Ranks as published; no file says them but by its shapes.
_OSEDIFF, _PISASR, _DLORAL, _S3DIFF, _S3DIFF_VAE, _HYPIR = 4, 4, 4, 32, 16, 256
# Parts of the names of layers without an adapter: those of the time, which no system changes.
_PLAIN = ("time_emb",)
_S3DIFF_BLOCKS = {"vae": 6, "unet": 10}
# Width of S3Diff's embedding of a score and of a block, and of the layer behind the scores.
_EMBEDDED, _SCORES = 64, 256
# DLoRAL's optical flow (SPyNet), and the channels of its retrieval.
_FLOW_LEVELS, _FLOW_CHANNELS, _RETRIEVED = 6, (8, 32, 64, 32, 16, 2), 576


def osediff_unet() -> dict[str, Shape]:
    """OSEDiff's UNet entry: adapters, and its own first convolution beside one of them."""
    base = unet_shapes(SD2_UNET, "diffusers")
    first = {f"conv_in.base_layer.{kind}": base[f"conv_in.{kind}"] for kind in ("weight", "bias")}
    return first | adapters(base, _OSEDIFF, lambda layer: (f"default_{side_of(layer)}",))


def osediff_vae() -> dict[str, Shape]:
    """OSEDiff's VAE entry: adapters of the encoder and of the convolution behind it."""
    return adapters(encoder_shapes("diffusers"), _OSEDIFF, lambda _: ("default_encoder",))


def pisasr_unet() -> dict[str, Shape]:
    """PiSA-SR's UNet entry: adapters for pixels and for meaning."""
    base = unet_shapes(SD2_UNET, "diffusers")
    return adapters(base, _PISASR, lambda layer: (f"default_{side_of(layer)}_pix", f"default_{side_of(layer)}_sem"))


def s3diff_unet() -> dict[str, Shape]:
    """S3Diff's UNet entry: adapters, and its own first convolution instead of one."""
    base = unet_shapes(SD2_UNET, "diffusers")
    first = {f"conv_in.{kind}": base[f"conv_in.{kind}"] for kind in ("weight", "bias")}
    return first | adapters(base, _S3DIFF, _all_but_the_first)


def s3diff_vae() -> dict[str, Shape]:
    """S3Diff's VAE entry: adapters of the encoder alone."""
    base = {key: shape for key, shape in encoder_shapes("diffusers").items() if key.startswith("encoder.")}
    return adapters(base, _S3DIFF_VAE, lambda _: ("vae_skip",))


def s3diff_steering() -> dict[str, Shape]:
    """What turns S3Diff's two scores into a matrix for every block, entries of the file joined with dots."""
    found: dict[str, Shape] = {"w": (_EMBEDDED,)}
    for net, rank in (("vae", _S3DIFF_VAE), ("unet", _S3DIFF)):
        start = f"state_dict_{net}"
        found |= pair(f"{start}_de_mlp.0", (_SCORES, 4 * _EMBEDDED))
        found |= pair(f"{start}_block_mlp.0", (_EMBEDDED, _EMBEDDED))
        found |= pair(f"{start}_fuse_mlp", (rank**2, _SCORES + _EMBEDDED))
        found[f"state_embeddings.{start}_block.weight"] = (_S3DIFF_BLOCKS[net], _EMBEDDED)
    return found


def hypir_unet() -> dict[str, Shape]:
    """HYPIR's file for Stable Diffusion 2: adapters of every layer but the first convolution."""
    return adapters(unet_shapes(SD2_UNET, "diffusers"), _HYPIR, _all_but_the_first)


def dloral_unet() -> dict[str, Shape]:
    """DLoRAL's UNet entry: the whole UNet, of 8 channels, and adapters for quality and for consistency."""
    base = unet_shapes(with_inputs(SD2_UNET, 8), "diffusers")
    layers = set(adapted(base))
    found = {}
    for key, shape in base.items():
        layer, _, kind = key.rpartition(".")
        found[f"{layer}.base_layer.{kind}" if layer in layers else key] = shape
    both = ("quality", "consistency")
    return found | adapters(base, _DLORAL, lambda layer: tuple(f"default_{side_of(layer)}_{which}" for which in both))


def dloral_frames() -> dict[str, Shape]:
    """DLoRAL's retrieval from the frame before, with the parts that it holds and never runs."""
    found: dict[str, Shape] = {f"spynet.{kind}": (1, 3, 1, 1) for kind in ("mean", "std")}
    for level in range(_FLOW_LEVELS):
        for number, (inputs, outputs) in enumerate(pairwise(_FLOW_CHANNELS)):
            found |= pair(f"spynet.basic_module.{level}.basic_module.{number}.conv", (outputs, inputs, 7, 7))
    for name in ("query", "key", "value"):
        found |= pair(f"cross_attn_module.{name}_conv", (_RETRIEVED, 4, 1, 1))
    found |= pair("cross_attn_module.proj_out", (4, _RETRIEVED, 1, 1)) | pair("cross_attn_module.threshold_fc", (1, 64))
    chains = (
        ("feat_extract", 4, 64, 5),
        ("weight_predict", 3, 64, 5),
        ("weight_predict_final", 64, 1, 1),
        ("reconstruction_feat", 64, 64, 5),
    )
    for name, inputs, wide, blocks in chains:
        found |= pair(f"{name}.main.0", (wide, inputs, 3, 3))
        for block in range(blocks):
            for layer in ("conv1", "conv2"):
                found |= pair(f"{name}.main.2.{block}.{layer}", (wide, wide, 3, 3))
    return found | pair("conv_hr", (64, 64, 3, 3)) | pair("conv_last", (4, 64, 3, 3))


def s3diff_damage() -> dict[str, Shape]:
    """S3Diff's estimator of blur and noise: two branches of residual blocks, halved once, and two layers each."""
    found: dict[str, Shape] = {}
    for branch in range(2):
        found |= pair(f"conv_first.{branch}", (64, 3, 3, 3)) | pair(f"body.{branch}.6", (128, 64, 3, 3))
        for block in range(9):
            if block != 6:
                wide = 64 if block < 6 else 128
                for layer in ("conv1", "conv2"):
                    found |= pair(f"body.{branch}.{block}.{layer}", (wide, wide, 3, 3))
        found |= pair(f"fc_degree.{branch}.0", (512, 128)) | pair(f"fc_degree.{branch}.2", (1, 512))
    return found


def adapted(base: Mapping[str, Shape]) -> Iterable[str]:
    """Yield the layers that adapters stand beside: all with a matrix but those of the time."""
    for key, shape in base.items():
        if len(shape) > 1 and not any(part in key for part in _PLAIN):
            yield key.removesuffix(".weight")


def adapters(base: Mapping[str, Shape], rank: int, names: Callable[[str], tuple[str, ...]]) -> dict[str, Shape]:
    """Return the adapters of a network.

    Args:
        base: Its tensors.
        rank: Of all adapters.
        names: Names of the adapters of a layer; none leaves it alone.
    """
    found: dict[str, Shape] = {}
    for layer in adapted(base):
        outputs, inputs, *kernel = base[f"{layer}.weight"]
        for name in names(layer):
            found[f"{layer}.lora_A.{name}.weight"] = (rank, inputs, *kernel)
            found[f"{layer}.lora_B.{name}.weight"] = (outputs, rank, *(1 for _ in kernel))
    return found


def _all_but_the_first(layer: str) -> tuple[str, ...]:
    return () if layer == "conv_in" else ("default",)
