"""Keys change with what a result depends on, and with nothing else."""

import pytest
import torch
from torch import nn

from vldm_core.errors import FilmFileError
from vldm_core.reel.resumable.keys import film_key, key_of, network_key, pack_key, sampled_network_key, stages_key
from vldm_core.reel.resumable.parts import facts_of
from vldm_core.stages.settings import StageSettings


class Network(nn.Module):
    """Parameters and a buffer of every kind: a single number, half precision, integers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 400)
        self.brief = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
        self.register_buffer("scale", torch.tensor(2.0))
        self.register_buffer("steps", torch.arange(5))


@pytest.mark.parametrize("key", [network_key, sampled_network_key])
def test_a_network_is_known_by_its_weights(key):
    network = Network()
    before = key(network)
    assert key(network) == before
    for change in (network.scale.add_, network.brief.data.mul_, network.layer.weight.data.sub_):
        change(3)
        assert key(network) != before
        before = key(network)


def test_a_film_is_known_by_its_contents(tmp_path):
    film, other = tmp_path / "a.mkv", tmp_path / "b.mkv"
    film.write_bytes(b"one" * 1000)
    other.write_bytes(b"one" * 1000)
    assert film_key(film) == film_key(other)
    other.write_bytes(b"one" * 999 + b"two")
    assert film_key(film) != film_key(other)
    assert film_key(object()) is None
    with pytest.raises(FilmFileError, match="cannot be read"):
        film_key(tmp_path / "nowhere" / "c.mkv")


def test_a_large_film_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("vldm_core.reel.resumable.keys._SAMPLE_BYTES", 16)
    film = tmp_path / "a.mkv"
    contents = bytearray(range(256)) * 100
    film.write_bytes(contents)
    before = film_key(film)
    contents[-1] ^= 1
    film.write_bytes(contents)
    assert film_key(film) != before, "the end is read"
    contents[0] ^= 1
    film.write_bytes(contents)
    assert film_key(film) != before


def test_pictures_are_known_by_names_sizes_and_contents(tmp_path):
    for number in range(3):
        (tmp_path / f"{number:03d}.png").write_bytes(bytes([number]) * 10)
    before = film_key(tmp_path)
    (tmp_path / "001.png").write_bytes(b"x" * 10)
    after = film_key(tmp_path)
    assert before != after
    (tmp_path / "003.png").write_bytes(b"y")
    assert film_key(tmp_path) != after


def test_settings_and_the_pack_have_keys():
    assert stages_key(StageSettings()) == stages_key(StageSettings())
    assert stages_key(StageSettings()) != stages_key(StageSettings.of_quality("fast"))
    assert pack_key() == pack_key() and "+" in pack_key()
    assert key_of(a=1, b=2) == key_of(b=2, a=1) != key_of(a=2, b=1)


def test_facts_name_what_files_hold(tmp_path):
    path = tmp_path / "hint.png"
    path.write_bytes(b"one")
    before = facts_of({"hint": path, "values": (1, None, torch.ones(2))})
    assert before == facts_of({"hint": path, "values": (1, None, torch.ones(2))})
    path.write_bytes(b"two")
    assert facts_of({"hint": path, "values": (1, None, torch.ones(2))}) != before
