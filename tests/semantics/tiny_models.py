"""Captioners and CLIP of the real classes at tiny sizes, with random weights, saved as their folders are laid out."""

import string
from pathlib import Path

import torch
from torch import nn

SIDE = 32
WORDS = ("a", "man", "tram", "street", "dog", "on", "the", "in", "black", "and", "white", "photo", "of", "walking")


def _spread(model: nn.Module, std: float = 0.3) -> nn.Module:
    """Weights large enough that different pictures give different words."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=std)
    return model.eval()


def save_blip(folder: Path, seed: int = 0) -> Path:
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *WORDS]
    tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(seed)
    config = BlipConfig(
        vision_config={**sizes, "image_size": SIDE, "patch_size": 16},
        text_config={
            **sizes,
            "vocab_size": len(tokens),
            "encoder_hidden_size": 32,
            "max_position_embeddings": 48,
            "bos_token_id": 5,
            "eos_token_id": 3,
            "sep_token_id": 3,
            "pad_token_id": 0,
        },
        projection_dim=16,
        image_text_hidden_size=16,
    )
    _spread(BlipForConditionalGeneration(config)).save_pretrained(folder)
    processor = BlipProcessor(BlipImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer)
    processor.save_pretrained(folder)
    return folder


def save_florence(folder: Path, seed: int = 0) -> Path:
    from transformers import (
        BartTokenizer,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
    )

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    letters = [*string.printable[:95], "\u0120", *(f"\u0120{word}" for word in WORDS)]
    vocabulary = {token: index for index, token in enumerate([*special, *letters])}
    tokenizer = BartTokenizer(vocab=vocabulary, merges=[], extra_special_tokens={"image_token": "<image>"})
    torch.manual_seed(seed)
    config = Florence2Config(
        vision_config={
            "depths": (1, 1),
            "patch_size": (7, 3),
            "patch_stride": (4, 2),
            "patch_padding": (3, 1),
            "patch_prenorm": (False, True),
            "embed_dim": (16, 32),
            "num_heads": (2, 2),
            "num_groups": (2, 2),
            "window_size": 4,
            "projection_dim": 32,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "max_position_embeddings": 128,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 2,
            "forced_eos_token_id": 2,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    _spread(Florence2ForConditionalGeneration(config)).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"height": SIDE, "width": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    # Places of the picture (SIDE / 8, squared) and their mean.
    pictures.image_seq_length = (SIDE // 8) ** 2 + 1
    Florence2Processor(pictures, tokenizer).save_pretrained(folder)
    return folder


def save_clip(folder: Path, seed: int = 0, *, vision_only: bool = False) -> Path:
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**sizes, "image_size": SIDE, "patch_size": 16, "projection_dim": 16}
    torch.manual_seed(seed)
    if vision_only:
        _spread(CLIPVisionModelWithProjection(CLIPVisionConfig(**vision))).save_pretrained(folder)
        return folder
    letters = [*string.ascii_lowercase, *(letter + "</w>" for letter in string.ascii_lowercase)]
    vocabulary = {token: index for index, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    count = len(vocabulary)
    config = CLIPConfig(
        vision_config=vision,
        text_config={
            **sizes,
            "vocab_size": count,
            "max_position_embeddings": 40,
            "projection_dim": 16,
            "bos_token_id": count - 2,
            "eos_token_id": count - 1,
            "pad_token_id": count - 1,
        },
        projection_dim=16,
    )
    _spread(CLIPModel(config)).save_pretrained(folder)
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=40).save_pretrained(folder)
    return folder
