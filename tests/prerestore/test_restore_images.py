"""Still-image models over a film: tiles that do not show, masks, grain, steadiness, sizes."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vldm_core.errors import SettingsError, VLDMError
from vldm_core.prerestore.image_model import FrameSettings, first_tile, output_size, working_size
from vldm_core.prerestore.restore_images import ImageModelSettings, restore_images
from vldm_core.video.shots import Shot

from ..testers import interrupt_comes_out

PLAIN = ImageModelSettings(keep_grain=0, temporal=0)


class Model:
    """What a descriptor of spandrel looks like, around any function of a picture."""

    def __init__(self, function, scale=1, channels=3, tiling="SUPPORTED", most_pixels=None):
        self.function, self.scale, self.most_pixels = function, scale, most_pixels
        self.input_channels = self.output_channels = channels
        self.tiling = SimpleNamespace(name=tiling)
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, image: Tensor) -> Tensor:
        assert image.shape[:2] == (1, self.input_channels)
        height, width = image.shape[-2:]
        if self.most_pixels is not None and height * width > self.most_pixels:
            raise torch.OutOfMemoryError("no memory")
        self.sizes.append((height, width))
        return self.function(image)


def identity(image):
    return image.clone()


def nearest(factor):
    return lambda image: image.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def darker(image):
    return image - 0.1


def film(frames=3, height=40, width=52, seed=0):
    """A picture that pans by a pixel a frame."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.rand(1, 3, height // 4 + 8, width // 4 + 8, generator=generator)
    picture = functional.interpolate(picture, scale_factor=4, mode="bicubic")[0].clamp(0.15, 0.85)
    return torch.stack([picture[:, 4 : 4 + height, t : t + width] for t in range(frames)])


class TestTiles:
    def test_an_identity_model_changes_nothing_across_seams(self):
        frames = film(2, 200, 330)
        model = Model(identity)
        made = restore_images(frames, model, ImageModelSettings(temporal=0, tile=128))
        assert len(model.sizes) > 8 and max(max(size) for size in model.sizes) <= 128
        assert torch.allclose(made, frames, atol=1e-6)
        # In one piece it is the same to the bit.
        assert torch.equal(restore_images(frames, Model(identity), ImageModelSettings(temporal=0)), frames)

    @pytest.mark.parametrize("scale", [1, 2])
    def test_tiles_of_a_local_network_are_the_whole(self, scale):
        torch.manual_seed(0)
        layers = nn.Sequential(*(nn.Conv2d(3, 3, 5, padding=2) for _ in range(4)))
        enlarge = nearest(scale)

        @torch.no_grad()
        def network(image):
            return enlarge(0.5 + 0.3 * layers(image))

        frames = film(1, 180, 260)
        settings = ImageModelSettings(keep_grain=0, temporal=0, keep_scale=True)
        whole = restore_images(frames, Model(network, scale), settings)
        tiled = restore_images(frames, Model(network, scale), settings, tile=128)
        assert whole.shape == (1, 3, 180 * scale, 260 * scale) and whole.std() > 0.01
        assert torch.allclose(tiled, whole, atol=1e-5)

    def test_out_of_memory_halves_the_tiles_and_remembers(self, caplog):
        frames = film(3, 160, 600)
        model = Model(darker, most_pixels=200 * 200)
        made = restore_images(frames, model, PLAIN)
        assert torch.allclose(made, frames - 0.1, atol=1e-5)
        assert max(max(size) for size in model.sizes) <= 256
        # Found out once, not for every frame.
        assert len([r for r in caplog.records if "memory ran out" in r.message]) == 2

    def test_memory_that_never_suffices_is_an_error(self):
        with pytest.raises(VLDMError, match="tiles of 128 pixels"):
            restore_images(film(1, 160, 600), Model(identity, most_pixels=100), PLAIN)
        with pytest.raises(VLDMError, match="whole frames"):
            restore_images(film(1, 160, 600), Model(identity, most_pixels=9000, tiling="INTERNAL"), PLAIN)

    def test_another_exception_for_memory_and_none_else(self):
        class HostMemoryError(Exception):
            pass

        def full(image):
            if image.shape[-1] > 300:
                raise HostMemoryError
            return image

        frames = film(1, 160, 600)
        made = restore_images(frames, Model(full), PLAIN, out_of_memory=HostMemoryError)
        assert torch.allclose(made, frames, atol=1e-6)
        with pytest.raises(HostMemoryError):
            restore_images(frames, Model(full), PLAIN)

    def test_the_first_tile_fits_the_memory(self):
        model = Model(identity)
        per_pixel = 4608
        assert first_tile(1000, 1000, model, 1e6 * per_pixel, FrameSettings()) is None
        assert first_tile(1000, 1001, model, 1e6 * per_pixel, FrameSettings()) == 960
        assert first_tile(1000, 1000, model, 10, FrameSettings()) == 128
        assert first_tile(1000, 1000, model, 1e12, FrameSettings(tile=256)) == 256
        assert first_tile(100, 100, Model(identity, 4), 1e4 * per_pixel, FrameSettings()) == 128
        # Enlarged before it goes in.
        assert first_tile(100, 100, model, 1e5 * per_pixel, FrameSettings(short_side=512)) == 256


class TestSizes:
    @pytest.mark.parametrize(
        ("scale", "settings", "given", "out"),
        [
            (1, {}, (30, 40), (30, 40)),
            (1, {"short_side": 60}, (60, 80), (30, 40)),
            (1, {"short_side": 60, "keep_scale": True}, (60, 80), (60, 80)),
            (1, {"short_side": 20, "keep_scale": True}, (30, 40), (30, 40)),
            (4, {}, (30, 40), (30, 40)),
            (4, {"short_side": 512}, (30, 40), (30, 40)),
            (4, {"keep_scale": True}, (30, 40), (120, 160)),
            (4, {"keep_scale": True, "short_side": 150}, (30, 40), (150, 200)),
        ],
    )
    def test_what_goes_in_and_comes_out(self, scale, settings, given, out):
        settings = FrameSettings(**settings)
        assert working_size(30, 40, scale, settings) == given
        assert output_size(30, 40, scale, settings) == out

    def test_a_model_that_enlarges_comes_back_to_the_film(self):
        frames = film(2)
        model = Model(nearest(4), 4)
        made = restore_images(frames, model, PLAIN)
        assert made.shape == frames.shape and model.sizes == [(40, 52)] * 2
        assert (made - frames).abs().max() < 0.04
        kept = restore_images(frames, model, ImageModelSettings(keep_grain=0.3, keep_scale=True))
        assert kept.shape == (2, 3, 160, 208)
        assert (functional.avg_pool2d(kept, 4) - frames).abs().max() < 0.05

    def test_small_frames_are_enlarged_first_where_that_is_asked_for(self):
        frames = film(1)
        model = Model(identity)
        made = restore_images(frames, model, ImageModelSettings(keep_grain=0, short_side=80))
        assert model.sizes == [(80, 104)] and made.shape == frames.shape
        assert (made - frames).abs().mean() < 0.01

    def test_a_grey_model_sees_one_channel_after_the_other(self):
        frames = film(1)
        model = Model(darker, channels=1)
        assert torch.allclose(restore_images(frames, model, PLAIN), frames - 0.1, atol=1e-6)
        assert len(model.sizes) == 3


class TestStrength:
    def test_nothing_half_and_all(self):
        frames = film(2)
        assert torch.equal(restore_images(frames, Model(darker), ImageModelSettings(strength=0)), frames)
        half = restore_images(frames, Model(darker), ImageModelSettings(strength=0.5, keep_grain=0, temporal=0))
        assert torch.allclose(half, frames - 0.05, atol=1e-6)

    @pytest.mark.parametrize("enlarged", [False, True])
    def test_grain_is_put_back(self, enlarged):
        grain = 0.05 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
        frames = (0.5 + grain)[None]
        model = Model(lambda image: torch.full_like(nearest(2)(image), 0.6), 2)
        spread = {}
        for share in (0.0, 1.0):
            settings = ImageModelSettings(keep_grain=share, keep_scale=enlarged, temporal=0)
            made = restore_images(frames, model, settings)
            small = functional.avg_pool2d(made, 2) if enlarged else made
            assert abs(float(made.mean()) - 0.6) < 2e-3, "the tone is the model's"
            spread[share] = float(small.std() / grain.std())
        # Enlarging and reducing takes off some of it.
        assert spread[0.0] < 0.02 and (0.35 if enlarged else 0.6) < spread[1.0] < 1.05


class TestMasks:
    def invented(self, frames, mask, **options):
        """A model that raises the tone and draws stripes."""
        stripes = 0.1 * torch.tensor([1.0, -1.0]).repeat(frames.shape[-1] // 2)
        model = Model(lambda image: image + 0.05 + stripes)
        settings = ImageModelSettings(keep_grain=0, temporal=0, **options)
        return restore_images(frames, model, settings, masks=mask) - frames

    def frames_and_mask(self):
        frames = torch.full((1, 3, 96, 128), 0.5)
        mask = torch.zeros(1, 96, 128)
        mask[0, 30:60, 40:80] = 1
        return frames, mask

    def test_under_a_mask_there_is_the_tone_but_no_structure(self):
        frames, mask = self.frames_and_mask()
        change = self.invented(frames, mask)
        under, far = change[0, :, 30:60, 40:80], change[0, :, :20]
        assert far.std() > 0.09
        assert under.std() < 0.012
        assert abs(float(under.mean()) - 0.05) < 0.01
        # Away from the mask the change is what it is without one.
        free = self.invented(frames, None)
        assert torch.equal(change[0, :, :24], free[0, :, :24])

    def test_it_can_be_asked_for(self):
        frames, mask = self.frames_and_mask()
        assert torch.equal(self.invented(frames, mask, in_masks=1), self.invented(frames, None))
        half = self.invented(frames, mask, in_masks=0.5)[0, :, 30:60, 40:80]
        assert 0.04 < half.std() < 0.06

    def test_an_empty_mask_is_none_and_a_full_one_leaves_the_frame(self):
        frames, mask = self.frames_and_mask()
        assert torch.equal(self.invented(frames, 0 * mask), self.invented(frames, None))
        assert self.invented(frames, torch.ones_like(mask)).abs().max() < 1e-6

    def test_masks_are_enlarged_with_the_frame(self):
        frames, mask = self.frames_and_mask()
        stripes = 0.1 * torch.tensor([1.0, -1.0]).repeat(128)
        model = Model(lambda image: nearest(2)(image) + stripes, 2)
        settings = ImageModelSettings(keep_grain=0, temporal=0, keep_scale=True)
        change = restore_images(frames, model, settings, masks=mask) - 0.5
        assert change[0, :, 60:120, 80:160].abs().max() < 0.01 and change[0, :, :40].std() > 0.09


class Crawling(Model):
    """Adds texture that is new on every frame."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)
        super().__init__(self.crawl)

    def crawl(self, image):
        return image + 0.04 * torch.randn(image.shape, generator=self.generator)


class TestSteadiness:
    def crawl(self, temporal, **more):
        frames = film(8, 96, 128)
        settings = ImageModelSettings(keep_grain=0, temporal=temporal)
        return restore_images(frames, Crawling(), settings, **more) - frames

    def test_what_is_new_on_every_frame_is_taken_out_along_the_motion(self):
        free, steady = self.crawl(0), self.crawl(0.5)
        assert torch.equal(free[0], steady[0]), "the first frame has none before it"
        inner = (slice(5, None), slice(None), slice(8, -8), slice(8, -8))
        power = float(steady[inner].square().mean() / free[inner].square().mean())
        # (1 - s) / (1 + s) = 1/3 in theory; interpolation takes out some more, bad flow less.
        assert 0.2 < power < 0.45

    def test_nothing_crosses_a_cut(self):
        frames = torch.cat([film(4, 64, 64), film(4, 64, 64, seed=5)])
        shots = (Shot(0, 4), Shot(4, 8))
        settings = ImageModelSettings(keep_grain=0)
        both = restore_images(frames, Model(identity), settings, shots=shots)
        second = restore_images(frames[4:], Model(identity), settings)
        assert torch.equal(both[4:], second)

    def test_masked_pixels_neither_give_nor_take(self):
        frames = film(2, 64, 64).mean((1, 2, 3), keepdim=True).expand(2, 3, 64, 64).clone()
        mask = torch.zeros(2, 64, 64)
        mask[0, 10:20, 10:20] = mask[1, 40:50, 40:50] = 1
        # `in_masks` lets the model's texture through, so that only steadying can change it.
        settings: dict[str, Any] = {"keep_grain": 0, "in_masks": 1}
        free = restore_images(frames, Crawling(), ImageModelSettings(temporal=0, **settings), masks=mask)
        steady = restore_images(frames, Crawling(), ImageModelSettings(temporal=0.5, **settings), masks=mask)
        same = (free[1] - steady[1]).abs().amax(0) < 1e-7
        assert same[10:20, 10:20].all() and same[40:50, 40:50].all() and not same[25:35].any()

    def test_light_that_changes_is_not_dragged_along(self):
        frames = film(1, 64, 64).repeat(2, 1, 1, 1)
        frames[1] = frames[1] + 0.14
        made = restore_images(frames, Model(identity), ImageModelSettings(keep_grain=0, temporal=0.9))
        assert (made[1] - frames[1]).abs().max() < 0.01

    def test_enlarged_frames_are_steadied_in_their_size(self):
        frames = film(6, 64, 96)
        generator = torch.Generator().manual_seed(1)

        def crawl(image):
            enlarged = functional.interpolate(image, scale_factor=2, mode="bicubic", antialias=True)
            return enlarged + 0.04 * torch.randn(enlarged.shape, generator=generator)

        spread = {}
        base = functional.interpolate(frames, scale_factor=2, mode="bicubic", antialias=True)
        for temporal in (0, 0.6):
            settings = ImageModelSettings(keep_grain=0, temporal=temporal, keep_scale=True)
            change = restore_images(frames, Model(crawl, 2), settings) - base
            spread[temporal] = float(change[4:, :, 16:-16, 16:-16].square().mean())
        assert spread[0.6] < 0.5 * spread[0]


class TestBatch:
    def test_progress_and_a_given_output(self):
        frames = film(3)
        image = torch.empty(3, 40, 52, 3)
        calls = []
        made = restore_images(
            frames,
            Model(darker),
            PLAIN,
            shots=(Shot(0, 1), Shot(1, 3)),
            output=image.movedim(-1, 1),
            progress=lambda phase, done, total, preview=None: calls.append((phase, done, total)),
        )
        # Before every call of the model, and after every frame.
        assert calls == [("restore images", n, 3) for n in (0, 1, 1, 2, 2, 3)]
        assert made.data_ptr() == image.data_ptr() and torch.allclose(image, (frames - 0.1).movedim(1, -1), atol=1e-6)


def test_an_interrupt_is_heard_between_tiles():
    model = Model(identity)
    interrupt_comes_out(
        lambda progress: restore_images(film(1, 200, 330), model, PLAIN, tile=128, progress=progress), at=3
    )
    assert len(model.sizes) == 2


def test_wrong_input_is_named():
    frames = film(2)
    with pytest.raises(SettingsError, match="needs frames"):
        restore_images(frames[:, :1], Model(identity))
    with pytest.raises(SettingsError, match="masks are"):
        restore_images(frames, Model(identity), masks=torch.zeros(1, 40, 52))
    with pytest.raises(SettingsError, match="output is"):
        restore_images(frames, Model(identity), output=torch.empty(2, 3, 80, 104))
    with pytest.raises(SettingsError, match="channels"):
        restore_images(frames, Model(identity, channels=4))
    with pytest.raises(SettingsError, match="scale"):
        restore_images(frames, Model(identity, scale=0))
    with pytest.raises(SettingsError, match="shots"):
        restore_images(frames, Model(identity), shots=(Shot(0, 1),))
    with pytest.raises(SettingsError, match="makes"):
        restore_images(frames, Model(nearest(2)))
    spoilt = frames.clone()
    spoilt[1] = float("nan")
    with pytest.raises(VLDMError, match="not finite on frame 1"):
        restore_images(spoilt, Model(identity), ImageModelSettings(temporal=0))
    for wrong in ({"strength": 1.5}, {"keep_grain": -1}, {"temporal": 1}, {"in_masks": 2}):
        with pytest.raises(SettingsError, match=f"image model {next(iter(wrong))}"):
            ImageModelSettings(**wrong)  # type: ignore[arg-type]
    for wrong in ({"tile": 64}, {"short_side": -1}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            ImageModelSettings(**wrong)  # type: ignore[arg-type]
