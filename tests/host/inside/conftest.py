"""What tests inside the host share. The host's modules are imported late: the other side reads this file as well."""

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _host_as_it_came(tmp_path, monkeypatch):
    """Give every test the same host: seeds, folders of its own, no interrupt waiting, and nothing left behind."""
    import comfy.model_management as management
    import folder_paths

    for kind in ("temp", "output", "input"):
        (tmp_path / "host" / kind).mkdir(parents=True)
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / "host" / kind))
    monkeypatch.setattr(
        folder_paths,
        "folder_names_and_paths",
        {name: (list(paths), kinds) for name, (paths, kinds) in folder_paths.folder_names_and_paths.items()},
    )
    torch.manual_seed(0)
    np.random.seed(0)
    with torch.enable_grad():
        yield
    management.interrupt_current_processing(False)
    management.unload_all_models()


@pytest.fixture
def without_gradients():
    """As the host calls nodes, but with tensors that later code may change."""
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def model():
    """A tiny MODEL of Stable Diffusion 1.x."""
    from inside.models import tiny_pair

    return tiny_pair()[0]
