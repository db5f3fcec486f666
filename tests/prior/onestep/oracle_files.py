"""Published files of the systems with the oracles' weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...oracles import Oracle

_RANKS: dict[str, dict[str, Any]] = {
    "osediff": {"rank_unet": 4, "rank_vae": 4, "unet_lora_encoder_modules": ["conv_in"]},
    "pisasr": {"lora_rank_unet_pix": 4, "lora_rank_unet_sem": 4, "unet_lora_others_modules_sem": []},
    "s3diff": {"rank_unet": 32, "rank_vae": 16, "unet_lora_target_modules": ["to_k"], "vae_lora_target_modules": "^x"},
    "dloral": {"lora_rank_unet_quality": 4, "lora_rank_unet_consistency": 4},
}
_EMBEDDINGS = "state_embeddings."


def contents_of(name: str, oracle: Oracle) -> dict[str, Any]:
    """What the published file would hold, but for de_net.pth."""
    entries = {
        entry: oracle.weights(entry) for entry in oracle.about["weights"] if entry not in ("unet", "vae", "de_net")
    }
    if name == "hypir":
        return entries["state_dict"]
    contents: dict[str, Any] = {**_RANKS[name]}
    for entry, table in entries.items():
        if entry.startswith(_EMBEDDINGS):
            contents.setdefault("state_embeddings", {})[entry.removeprefix(_EMBEDDINGS)] = table
        else:
            contents[entry] = table
    if name == "s3diff":
        contents["w"] = oracle.tensors["buffer.w"]
    if name == "dloral":
        contents["state_dict_bpp"] |= {
            "spynet.mean": torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1),
            "spynet.std": torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1),
        }
    return contents


def published_files(name: str, oracle: Oracle, folder: Path, contents: Mapping[str, Any] | None = None) -> list[Path]:
    """Write the files of a system."""
    paths = [folder / f"{name}.pkl"]
    torch.save(dict(contents or contents_of(name, oracle)), paths[0])
    if name == "s3diff":
        paths.append(folder / "de_net.pth")
        torch.save(oracle.weights("de_net"), paths[1])
    return paths
