"""Whether a tokenizer can serve a text encoder: found out before a film is touched, not after hours of work."""

from typing import Any

from ...errors import SettingsError

# Two prompts that any tokenizer of a language model tells apart.
_PROBES = ("a street at night", "the sea")
_ADVICE = "get the model's tokenizer folder again, or give another model's with --prior-config"


def check_tokenizer(tokenizer: Any, text_encoder: Any) -> None:
    """Check that prompts arrive at the text encoder.

    A tokenizer whose vocabulary is missing is opened by transformers without a word, and then reads every prompt as a
    row of unknown tokens.

    Args:
        tokenizer: Of transformers.
        text_encoder: Of transformers.

    Raises:
        SettingsError: It reads different prompts alike, or its tokens are not those of the text encoder.
    """
    longest = text_encoder.config.max_position_embeddings
    if tokenizer.model_max_length > longest:
        raise SettingsError(
            f"the tokenizer gives up to {tokenizer.model_max_length} tokens and the text encoder takes {longest}; "
            f"{_ADVICE}"
        )
    texts = [tokenizer(text, truncation=True).input_ids for text in _PROBES]
    marks = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}
    if any(set(ids) <= marks for ids in texts):
        raise SettingsError(
            f"the tokenizer does not know the words of {_PROBES[0]!r}: its vocabulary of {len(tokenizer)} tokens is "
            f"incomplete; {_ADVICE}"
        )
    size, largest = text_encoder.config.vocab_size, max(max(ids) for ids in (*texts, [len(tokenizer) - 1]))
    if largest >= size:
        raise SettingsError(
            f"the tokenizer has tokens up to number {largest} and the text encoder {size} of them; {_ADVICE}"
        )
