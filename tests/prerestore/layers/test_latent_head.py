"""The latent head: what it sees, and that it can be what a linear encoder is."""

import torch

from vldm_core.prerestore.layers.latent_head import LatentHead


def test_a_patch_is_seen_at_its_own_place() -> None:
    pictures = torch.full((1, 3, 16, 24), 0.5)
    pictures[:, :, 8:, 16:] = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    planes = LatentHead.seen(pictures, torch.zeros(1, 5, 2, 3))
    assert planes.shape == (1, 192 + 5, 2, 3)
    assert planes[0, :192, 1, 2].abs().max() > 1
    planes[0, :192, 1, 2] = 0
    assert not planes.any()


def test_pictures_beyond_white_and_black_are_seen_as_those() -> None:
    ends = torch.tensor([0.0, 1.0]).repeat_interleave(192).view(1, 6, 8, 8)[:, [0, 3, 1]]
    features = torch.zeros(1, 4, 1, 1)
    assert torch.equal(LatentHead.seen(3 * ends - 1, features), LatentHead.seen(ends, features))


def test_it_learns_a_linear_encoder_in_few_steps() -> None:
    """Patches through a fixed random map, as spread out as Stable Diffusion's latents."""
    torch.manual_seed(0)
    head, encoder = LatentHead(8, 1), torch.nn.Conv2d(3, 4, 8, stride=8, bias=False)
    with torch.no_grad():
        encoder.weight.normal_(std=5 * (192 / 12) ** -0.5)
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-3)
    errors = []
    for _ in range(120):
        pictures = torch.rand(8, 3, 32, 32)
        with torch.no_grad():
            wanted = encoder(pictures - 0.5)
        error = (head(LatentHead.seen(pictures, torch.zeros(8, 8, 4, 4))) - wanted).abs().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()) / float(wanted.abs().mean()))
    assert errors[-1] < 0.4 * errors[0]
