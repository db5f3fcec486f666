"""The view finds every place, and attachments come and go without a trace."""

import pytest
import torch
from torch import nn

from vldm_core.errors import SettingsError
from vldm_core.prior.attachment import Attachment, calling
from vldm_core.prior.call import UNetCall, segments_of
from vldm_core.prior.unet import UNetLayoutError, UNetView
from vldm_core.video.shots import Shot

from .tiny_models import CONTEXT, tiny_unet, whole_clip


class Doubling(Attachment):
    """Doubles the output of every transformer."""

    def changes(self, view):
        return [(site.module, lambda x, call: 2 * x) for site in view.of_kind("attn")]


@pytest.fixture(scope="module")
def unet():
    return tiny_unet()


def run(unet: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 4, 8, 16, generator=generator)
    context = torch.randn(3, 7, CONTEXT, generator=generator)
    with torch.no_grad():
        return unet(x, torch.tensor([500]), context).sample


def test_all_blocks_are_found(unet) -> None:
    view = UNetView(unet)
    assert view.layout == "diffusers" and view.context_dim == CONTEXT
    assert len(view.of_kind("res")) == 22 and len(view.of_kind("attn")) == 16
    assert len(view.layers()) == 21 and len(view.resblock_norms()) == 45
    assert view["down.0.1.attn"].channels == 32 and view["down.3.0.res"].channels == 128
    assert view["down.3.0.res"].last and not view["down.0.0.res"].last
    assert [view[name].scale for name in ("down.0.0.res", "down.3.1.res", "mid.attn", "up.0.2.res", "up.3.0.res")] == [
        1,
        8,
        8,
        8,
        1,
    ]
    assert view["up.1.2.attn"].layer == "up.1.2"
    with pytest.raises(UNetLayoutError, match=r"down.7"):
        view["down.7.0.res"]


def test_another_network_is_refused() -> None:
    with pytest.raises(UNetLayoutError, match="Linear"):
        UNetView(nn.Linear(2, 2))


def test_detaching_leaves_no_trace(unet) -> None:
    before = run(unet)
    doubling = Doubling()
    with doubling.attached(UNetView(unet)), calling([doubling], whole_clip(3)):
        changed = run(unet)
    assert (changed - before).abs().max() > 1e-3
    assert torch.equal(run(unet), before)
    assert not any(module._forward_hooks for module in unet.modules())


def test_an_attachment_wants_to_know_the_call(unet) -> None:
    doubling = Doubling()
    with doubling.attached(UNetView(unet)), pytest.raises(SettingsError, match="during"):
        run(unet)


def test_a_call_checks_its_batch() -> None:
    call = whole_clip(3, chunks=(0, 1), cut=1)
    batch = torch.arange(6.0)[:, None]
    clips = call.clips(batch)
    assert clips.shape == (2, 3, 1)
    assert [part.shape[1] for part in call.parts(clips)] == [1, 2]
    with pytest.raises(SettingsError, match="one clip"):
        call.clips(batch[:5])
    with pytest.raises(SettingsError, match="cover"):
        UNetCall(frames=(0, 1), chunks=(0,), segments=((0, 1),))


def test_segments_follow_the_shots() -> None:
    shots = (Shot(0, 4), Shot(4, 9))
    assert segments_of(range(9), shots) == ((0, 4), (4, 9))
    assert segments_of((2, 3, 4, 5), shots) == ((0, 2), (2, 4))
    assert segments_of((5, 6), shots) == ((0, 2),)
    assert segments_of((5, 6), None) == ((0, 2),)
    with pytest.raises(SettingsError, match="frame 9"):
        segments_of((9,), shots)
