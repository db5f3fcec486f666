"""A clip in memory becomes a film file and comes back."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.clip import write_clip


def clip(count=5, height=36, width=52, levels=255):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, levels + 1, (count, 3, height, width), generator=generator).float() / levels


@pytest.mark.parametrize("levels", [255, 65535])
def test_frames_and_rate_come_back_exactly(tmp_path, levels):
    frames = clip(levels=levels)
    write_clip(tmp_path / "a.mkv", frames, Fraction(24000, 1001))
    with open_film(tmp_path / "a.mkv") as film:
        read = torch.stack([frame.tensor() for frame in film])
        assert film.info.frame_rate == Fraction(24000, 1001)
        assert not film.info.has_audio
    assert torch.equal(torch.round(read * levels), torch.round(frames * levels))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_sound_is_kept_to_24_bits(tmp_path, channels):
    time = torch.arange(100_000) / 48000
    waveform = torch.stack([0.5 * torch.sin(2 * torch.pi * (220 + 110 * c) * time) for c in range(channels)])
    write_clip(tmp_path / "a.mkv", clip(count=50), Fraction(24), waveform=waveform, sample_rate=48000)
    with av.open(str(tmp_path / "a.mkv")) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
        assert container.streams.audio[0].rate == 48000
    samples = np.concatenate(blocks, axis=1).reshape(-1, channels).T / 2.0**31
    assert samples.shape == (channels, 100_000)
    assert np.abs(samples - waveform.numpy()).max() < 2.0**-22


def test_odd_channel_count_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(SettingsError, match="3 channels"):
        write_clip(tmp_path / "a.mkv", clip(), Fraction(24), waveform=torch.zeros(3, 10), sample_rate=48000)
    assert list(tmp_path.iterdir()) == []
