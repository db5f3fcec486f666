"""What cannot be read is told for what it is: a download that broke off, a page in its place, code, a folder."""

import pytest
import torch

from vldm_core.files.weights import WeightFileError, read_contents


class Hostile:
    """Names a function that is to be called where it is unpickled without care."""

    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_download_that_broke_off_is_not_called_hostile(tmp_path, mapped, zipped) -> None:
    path = tmp_path / "net.pth"
    torch.save({"weight": torch.arange(100.0)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(WeightFileError, match=r"damaged, or was not downloaded whole; download it again"):
        read_contents(path, mapped=mapped)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html><html>Sign in</html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
    ],
)
def test_what_is_no_network_at_all_is_not_called_hostile(tmp_path, content) -> None:
    for name in ("net.pth", "net.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightFileError, match="download it again"):
            read_contents(tmp_path / name)


def test_code_is_refused_and_not_run(tmp_path, capsys) -> None:
    path = tmp_path / "net.ckpt"
    torch.save({"weight": torch.zeros(3), "more": Hostile()}, path)
    with pytest.raises(WeightFileError, match=r"may run code and is refused: get it as \.safetensors"):
        read_contents(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (PermissionError(13, "Permission denied"), WeightFileError),
        (MemoryError(), MemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), RuntimeError),
    ],
)
def test_what_is_no_fault_of_the_file_is_not_put_on_it(tmp_path, monkeypatch, raised, told) -> None:
    path = tmp_path / "net.pth"
    torch.save({"weight": torch.zeros(3)}, path)

    def load(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(told) as caught:
        read_contents(path)
    assert "download" not in str(caught.value) and "code" not in str(caught.value)


def test_folders_and_what_is_not_there(tmp_path) -> None:
    with pytest.raises(WeightFileError, match="is a folder; name a file"):
        read_contents(tmp_path)
    with pytest.raises(WeightFileError, match=r"net\.pth does not exist"):
        read_contents(tmp_path / "net.pth")
    with pytest.raises(WeightFileError, match="does not end in"):
        read_contents(tmp_path / "net.onnx")
