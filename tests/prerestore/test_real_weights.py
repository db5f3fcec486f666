"""A network that was really published, Real-ESRGAN's x4plus, through the loaders and over real film.

All other restorers in the tests have random weights; these show that what is computed is what was published.
"""

import av
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from vldm_core.files.weights import WeightFileError
from vldm_core.metrics.fidelity import psnr, texture
from vldm_core.prerestore.image_model import FrameRestorer, FrameSettings
from vldm_core.prerestore.published import read_stage1
from vldm_core.prerestore.restore_images import ImageModelSettings, restore_images
from vldm_core.video.shots import Shot

from .ncnn_weights import convolutions, installed, names, older_names, published_state

SCALE = 4
# Clean clips that are enlarged after they were reduced, each with a frame and a place (top, left) full of detail.
CLEAN = {"01_dog": (10, 200, 400), "03_blocks": (30, 300, 400), "bedroom": (20, 100, 300), "seeking": (20, 100, 300)}
HEIGHT, WIDTH = 256, 320


@pytest.fixture(scope="module")
def state():
    return published_state()


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    """As the published .pth file holds it."""
    path = tmp_path_factory.mktemp("weights") / "RealESRGAN_x4plus.pth"
    torch.save({"params_ema": state}, path)
    return path


@pytest.fixture(scope="module")
def model(file):
    """What the host's loader of image models gives."""
    spandrel = pytest.importorskip("spandrel")
    return spandrel.ModelLoader(torch.device("cpu")).load_from_file(str(file)).eval()


def frames_of(path, first, count, top, left, height, width):
    """Parts of frames of a film, (T, 3, H, W) in [0, 1]."""
    found = []
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == first + count:
                break
            if index >= first:
                found.append(torch.from_numpy(frame.to_ndarray(format="rgb24")))
    return (torch.stack(found).permute(0, 3, 1, 2) / 255)[..., top : top + height, left : left + width]


def sharpness(frames):
    """Mean squared step to the pixels right and below."""
    across, down = frames.diff(dim=-1)[..., :-1, :], frames.diff(dim=-2)[..., :-1]
    return float((across.square() + down.square()).mean())


def test_the_files_of_ncnn_hold_the_whole_network_and_nothing_else(state):
    # 64 channels, 23 blocks, growth 32: the sizes of the paper (X. Wang et al., ICCVW 2021).
    assert len(state) == 702 and sum(tensor.numel() for tensor in state.values()) == 16_697_987
    assert state["body.22.rdb3.conv5.weight"].shape == (64, 192, 3, 3)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())


def test_names_follow_the_order_in_which_the_network_runs():
    layers = list(convolutions(installed()[0].read_text(encoding="utf-8")))
    sizes = {name: layer.shape[:2] for name, layer in zip(names(len(layers)), layers, strict=True)}
    growing = [sizes[f"body.7.rdb2.conv{n}"] for n in range(1, 6)]
    assert growing == [(32, 64), (32, 96), (32, 128), (32, 160), (64, 192)]
    assert (sizes["conv_first"], sizes["conv_last"]) == ((64, 3), (3, 64))


def test_both_loaders_make_the_same_network_of_it(state, model, tmp_path):
    """spandrel reads today's names, and the reader of stage-1 restorers BSRNet's, for one architecture."""
    older = tmp_path / "x4plus.pth"
    torch.save(older_names(state), older)
    own = read_stage1(older)
    assert (model.scale, own.scale) == (SCALE, SCALE)
    assert (model.architecture.name, own.architecture.name) == ("ESRGAN", "ESRGAN")
    picture = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (model(picture) - own(picture)).abs().max() < 1e-5


@pytest.mark.parametrize("change", ["less", "more", "other"])
def test_it_is_taken_whole_or_not_at_all(state, tmp_path, change):
    older = older_names(state)
    key = "RRDB_trunk.11.RDB2.conv3.weight"
    if change == "less":
        del older[key]
    else:
        older |= {"unknown.weight": torch.zeros(1)} if change == "more" else {key: older[key][..., :1].contiguous()}
    save_file(older, tmp_path / "x4plus.safetensors")
    with pytest.raises(WeightFileError, match=key.replace(".", r"\.") if change != "more" else "unknown"):
        read_stage1(tmp_path / "x4plus.safetensors")


@pytest.mark.parametrize("clip", CLEAN)
def test_it_enlarges_better_than_bicubic(shared_data, model, clip):
    """On what was reduced by 4: several times as sharp, nearer to the original's sharpness and detail, for a few dB.

    A network trained with a discriminator loses PSNR by design (Blau and Michaeli, CVPR 2018); a wrong order of layers,
    of channels or of colours loses far more.
    """
    index, top, left = CLEAN[clip]
    truth = frames_of(shared_data(f"clips/{clip}.mp4"), index, 1, top, left, HEIGHT, WIDTH)
    small = functional.interpolate(truth, scale_factor=1 / SCALE, mode="bicubic", antialias=True).clamp(0, 1)
    bicubic = functional.interpolate(small, scale_factor=SCALE, mode="bicubic").clamp(0, 1)
    made = FrameRestorer(model, FrameSettings(keep_scale=True)).restore(small[0])[None]
    assert made.shape == truth.shape
    assert sharpness(made) > 3 * sharpness(bicubic)
    apart = [abs(torch.log(torch.tensor(sharpness(each) / sharpness(truth)))) for each in (made, bicubic)]
    assert apart[0] < apart[1]
    found, plain = texture(made, truth).detail, texture(bicubic, truth).detail
    assert found > 1.5 * plain and found - plain > 0.1
    assert psnr(made, truth) > psnr(bicubic, truth) - 6


def test_a_real_film_goes_through_it_as_through_the_node(shared_data, model):
    """Frames of 1906 in two shots, with the settings the node begins with: finite, sharper, and the same picture."""
    film = frames_of(shared_data("film/market_street_1906.mkv"), 10, 4, 200, 180, 48, 64)
    settings = ImageModelSettings(keep_scale=True)
    shots = [Shot(first=0, last=2), Shot(first=2, last=4)]
    made = restore_images(film, model, settings, shots=shots)
    assert made.shape == (4, 3, SCALE * 48, SCALE * 64) and bool(torch.isfinite(made).all())
    assert float(made.min()) >= 0 and float(made.max()) <= 1
    bicubic = functional.interpolate(film, scale_factor=SCALE, mode="bicubic").clamp(0, 1)
    assert sharpness(made) > 1.5 * sharpness(bicubic)
    # It is the same picture: brought back to the film's size it differs by little more than grain and noise.
    again = functional.interpolate(made, scale_factor=1 / SCALE, mode="bicubic", antialias=True).clamp(0, 1)
    assert psnr(again, film) > 30
    # A shot by itself gives the same.
    assert torch.equal(restore_images(film[2:], model, settings), made[2:])
