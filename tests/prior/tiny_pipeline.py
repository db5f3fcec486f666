"""The pipeline with Stable Diffusion's real classes at tiny sizes."""

import string

import torch
from torch import nn

from .tiny_models import CONTEXT, tiny_unet

TOKENS = 12


def tiny_tokenizer():
    """CLIP's tokenizer with one token per letter."""
    from transformers import CLIPTokenizer

    letters = [*string.ascii_lowercase, *(letter + "</w>" for letter in string.ascii_lowercase)]
    vocabulary = {token: index for index, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=TOKENS)


def tiny_text_encoder(vocabulary: int, seed: int = 1):
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=CONTEXT,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    model = CLIPTextModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=0.3)
    return model


def tiny_vae(seed: int = 2):
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
    ).eval()
    with torch.no_grad():
        # Latents of unit variance after scaling, and pictures that depend on them.
        vae.quant_conv.weight.mul_(20)
        vae.decoder.conv_out.weight.mul_(0.5)
    return vae


def tiny_pipeline(scheduler: str = "EulerDiscreteScheduler", prediction: str = "epsilon", **more):
    import diffusers

    from vldm_core.prior.pipeline import VideoRestorationPipeline

    tokenizer = tiny_tokenizer()
    unet = tiny_unet(block_out_channels=(32, 64))
    with torch.no_grad():
        unet.conv_out.weight.mul_(0.5)
    pipeline = VideoRestorationPipeline(
        vae=tiny_vae(),
        text_encoder=tiny_text_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=getattr(diffusers, scheduler)(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction
        ),
        **more,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
