"""Inputs and outputs of published implementations, with weights that a rule regenerates (see the oracles' README)."""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

ORACLES = Path(__file__).resolve().parents[2] / "shared" / "oracles"


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """One oracle: what went in, what must come out, and how the weights are made."""

    name: str
    about: dict[str, Any]
    tensors: dict[str, Tensor]

    def input(self, name: str) -> Tensor:
        return self.tensors[f"in.{name}"]

    def output(self, name: str) -> Tensor:
        return self.tensors[f"out.{name}"]

    def weights(self, module: str) -> dict[str, Tensor]:
        """State dict of a module in the published key layout, without buffers."""
        spec = self.about["weights"][module]
        return {key: self._weight(spec["hash_prefix"] + key, shape) for key, shape in spec["keys"].items()}

    def _weight(self, name: str, shape: list[int]) -> Tensor:
        digest = hashlib.sha256(f"{self.about['seed']}:{name}".encode()).digest()
        values = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little"))).standard_normal(shape)
        if len(shape) >= 2:
            values = values * (0.5 / math.sqrt(math.prod(shape[1:])))
        else:
            values = 1 + 0.05 * values if name.endswith(".weight") else 0.05 * values
        return torch.from_numpy(np.asarray(values, dtype=np.float32))

    def check(self, name: str, found: Tensor, kind: str = "out") -> None:
        """Compare with an output (or with ``kind="mid"`` an intermediate) at its own tolerance."""
        wanted = self.tensors[f"{kind}.{name}"]
        about = self.about["outputs" if kind == "out" else "intermediates"][name]
        assert found.shape == wanted.shape, f"{name}: shape {tuple(found.shape)}, wanted {tuple(wanted.shape)}"
        if not wanted.is_floating_point():
            assert torch.equal(found.to(wanted), wanted), f"{name} differs"
            return
        error = (found.to(wanted) - wanted).abs().max().item()
        assert error <= about["atol"], f"{name}: largest difference {error:.3g}, allowed {about['atol']:.3g}"


def load_oracle(name: str) -> Oracle:
    """Load an oracle; skip where the set is absent, fail in CI, which is promised to have it."""
    path = ORACLES / f"{name}.json"
    if not path.exists():
        message = f"oracle not found: ../shared/oracles/{name}.json"
        if os.environ.get("CI") == "true" and ORACLES.parent.exists():
            pytest.fail(f"{message}; CI is expected to have it")
        pytest.skip(message)
    about = json.loads(path.read_text(encoding="utf-8"))
    return Oracle(name=name, about=about, tensors=load_file(path.with_suffix(".safetensors")))
