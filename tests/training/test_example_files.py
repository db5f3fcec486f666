"""Examples kept as files: made once, whole or not at all, and of one making."""

import numpy as np
import pytest

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.training.example_files import claim, make_missing, read


def make(number):
    return {"values": np.full(4, number)}


def test_only_what_is_missing_is_made(tmp_path):
    files = [tmp_path / f"{number}.npz" for number in range(5)]
    make_missing(files, make, part=1, parts=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.npz", "3.npz"]
    asked, seen = [], []

    def noted(number):
        asked.append(number)
        return make(number)

    def progress(phase, done, total, preview=None):
        seen.append((done, total))

    make_missing(files, noted, compressed=True, progress=progress)
    assert asked == [0, 2, 4] and seen == [(done, 5) for done in range(1, 6)]
    assert [int(read(path, ["values"])["values"][0]) for path in files] == [0, 1, 2, 3, 4]


def test_a_file_is_whole_or_not_there(tmp_path):
    def broken(number):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_missing([tmp_path / "0.npz"], broken)
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "0.npz"
    make_missing([path], make)
    whole = path.read_bytes()
    for content in (b"", b"damaged", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(FilmFileError, match=r"0\.npz holds no examples"):
            read(path, ["values"])
    path.write_bytes(whole)
    with pytest.raises(FilmFileError, match="holds no examples"):
        read(path, ["labels"])


def test_a_folder_belongs_to_one_making(tmp_path):
    folder = tmp_path / "new"
    claim(folder, "so", [tmp_path / "b.mp4", tmp_path / "a.mp4"])
    claim(folder, "so", [tmp_path / "elsewhere" / "a.mp4", tmp_path / "b.mp4"])
    with pytest.raises(FilmFileError, match="made of other files"):
        claim(folder, "so", [tmp_path / "a.mp4"])
    with pytest.raises(SettingsError, match="made with other settings"):
        claim(folder, "otherwise", [tmp_path / "a.mp4", tmp_path / "b.mp4"])
    # Nobody knows how these were made.
    (folder / "settings.txt").unlink()
    (folder / "0.npz").touch()
    with pytest.raises(SettingsError, match="made with other settings"):
        claim(folder, "so", [tmp_path / "a.mp4", tmp_path / "b.mp4"])
