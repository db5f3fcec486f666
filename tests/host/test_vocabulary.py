"""The vocabulary that ships with the package is the one that the host reads prompts with."""

import json

from vldm_core.prior.checkpoints.family_files import clip_merges, clip_tokens


def test_the_vocabulary_is_that_of_the_host(host_folder):
    folder = host_folder / "comfy" / "sd1_tokenizer"
    theirs = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert {token: number for number, token in enumerate(clip_tokens())} == theirs
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    assert lines[1:] == list(clip_merges())
