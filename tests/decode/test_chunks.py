"""Chunks of frames: the plan, the decode with a halo, and what happens when memory runs out."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.decode.chunks import ChunkSettings, auto_chunks, plan_chunks
from vldm_core.decode.memory_fallback import DecodePlan, DecodeSettings, choose_plan, decode_within_memory, smaller
from vldm_core.errors import SettingsError
from vldm_core.video.shots import Shot
from vldm_core.video.tiles import PictureTileSettings


def shots_from(lengths):
    ends = torch.tensor([0, *lengths]).cumsum(0).tolist()
    return tuple(Shot(a, b) for a, b in pairwise(ends))


def frame_by_frame(latents):
    """A VAE that enlarges by 8 and knows one frame at a time."""
    return latents[:, :3].repeat_interleave(8, -1).repeat_interleave(8, -2)


def mixing(latents):
    """A VAE whose frames depend on up to two neighbours on each side."""
    padded = torch.nn.functional.pad(latents.movedim(0, -1), (2, 2), mode="constant").movedim(-1, 0)
    return frame_by_frame(sum(padded[k : k + len(latents)] for k in range(5)) / 5)


class TestPlan:
    @given(
        lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
        frames=st.integers(1, 40),
        halo=st.integers(0, 12),
    )
    def test_covers_every_frame_once_and_never_crosses_a_cut(self, lengths, frames, halo):
        shots = shots_from(lengths)
        chunks = plan_chunks(sum(lengths), ChunkSettings(frames=frames, halo=halo), shots)
        assert [t for c in chunks for t in range(c.first, c.last)] == list(range(sum(lengths)))
        for chunk in chunks:
            (shot,) = [s for s in shots if s.first <= chunk.first < s.last]
            assert 1 <= chunk.last - chunk.first <= frames
            assert chunk.start == max(shot.first, chunk.first - halo)
            assert chunk.stop == min(shot.last, chunk.last + halo)
        for shot in shots:
            sizes = [c.last - c.first for c in chunks if shot.first <= c.first < shot.last]
            assert max(sizes) - min(sizes) <= 1
            assert len(sizes) == -(-(shot.last - shot.first) // frames)

    def test_goes_on_in_the_middle_of_a_shot(self):
        chunks = plan_chunks(30, ChunkSettings(frames=4, halo=3), shots_from([10, 20]), first=14)
        assert chunks[0].start == 11 and chunks[0].first == 14 and chunks[-1].last == 30

    def test_automatic_chunks(self):
        assert auto_chunks(temporal=False, frames_in_memory=100) == ChunkSettings(frames=1, halo=0)
        assert auto_chunks(temporal=True, frames_in_memory=1) == ChunkSettings(frames=1, halo=4)
        assert auto_chunks(temporal=True, frames_in_memory=20) == ChunkSettings(frames=12, halo=4)
        assert auto_chunks(temporal=True, frames_in_memory=900) == ChunkSettings(frames=24, halo=4)

    def test_refuses_shots_of_another_film(self):
        with pytest.raises(SettingsError, match="cover 9 frames but there are 10"):
            plan_chunks(10, ChunkSettings(), shots_from([4, 5]))


def decoded(latents, decode, settings=None, *, shots=None, **more):
    """Decode a clip; whatever its size, all memory that it asks for is there."""
    plan = DecodePlan(chunks=settings or ChunkSettings(), tiles=None)
    return decode_within_memory(latents, decode, plan, shots=shots, **more)


class TestDecode:
    def test_halo_hides_the_chunks_and_none_shows_them(self):
        latents = torch.randn(19, 4, 3, 5)
        shots = shots_from([11, 8])
        whole = torch.cat([mixing(latents[:11]), mixing(latents[11:])])
        hidden = decoded(latents, mixing, ChunkSettings(frames=4, halo=2), shots=shots)
        assert torch.allclose(hidden, whole, atol=1e-6)
        shown = decoded(latents, mixing, ChunkSettings(frames=4, halo=1), shots=shots)
        assert (shown - whole).abs().max() > 0.05

    def test_writes_into_the_given_output_and_reports(self):
        latents = torch.randn(5, 4, 2, 2)
        image = torch.zeros(5, 16, 16, 3)
        seen = []
        result = decoded(
            latents,
            frame_by_frame,
            ChunkSettings(frames=2),
            output=image.movedim(-1, 1),
            progress=lambda phase, done, total, preview=None: seen.append((done, total, preview.shape)),
        )
        assert result.data_ptr() == image.data_ptr()
        assert torch.equal(image.movedim(-1, 1), frame_by_frame(latents))
        # Five frames in three chunks of at most two.
        assert [done for done, _, _ in seen] == [1, 3, 5] and seen[0][1:] == (5, (3, 16, 16))

    def test_refuses_video_latents_and_a_vae_that_changes_the_count(self):
        with pytest.raises(SettingsError, match="video latents"):
            decoded(torch.zeros(1, 16, 2, 4, 4), frame_by_frame)
        with pytest.raises(SettingsError, match="one picture per latent"):
            decoded(torch.zeros(3, 4, 2, 2), lambda x: frame_by_frame(x)[:0])


class TestMemory:
    def limited(self, budget, calls):
        def decode(latents):
            calls.append(tuple(latents.shape))
            if latents.numel() > budget:
                raise torch.OutOfMemoryError("too large")
            return frame_by_frame(latents)

        return decode

    def test_halves_the_chunk_and_keeps_what_is_done(self):
        latents = torch.randn(12, 4, 4, 4)
        calls = []
        result = decode_within_memory(
            latents, self.limited(3 * 64, calls), DecodePlan(chunks=ChunkSettings(frames=8)), shots=shots_from([12])
        )
        assert torch.equal(result, frame_by_frame(latents))
        # Two chunks of at most 8, three of at most 4, six of at most 2.
        assert [shape[0] for shape in calls] == [6, 4, 2, 2, 2, 2, 2, 2]

    def test_then_halves_the_tile_and_begins_the_shot_again(self):
        latents = torch.randn(6, 4, 64, 64)
        calls, budget = [], 4 * 64 * 64

        def decode(part):
            calls.append(tuple(part.shape))
            # Memory becomes short in the middle of the second shot.
            if part.numel() > (budget if len(calls) < 5 else budget // 2):
                raise torch.OutOfMemoryError("too large")
            return frame_by_frame(part)

        seen = []
        result = decode_within_memory(
            latents,
            decode,
            DecodePlan(chunks=ChunkSettings(frames=1)),
            shots=shots_from([2, 4]),
            progress=lambda phase, done, total, preview=None: seen.append(done),
        )
        assert torch.allclose(result, frame_by_frame(latents), atol=1e-6)
        assert seen == [1, 2, 3, 4, 3, 4, 5, 6]

    def test_gives_up_with_advice(self):
        with pytest.raises(SettingsError, match="free memory"):
            decode_within_memory(
                torch.zeros(2, 4, 64, 64), self.limited(0, []), DecodePlan(chunks=ChunkSettings(frames=2))
            )

    def test_other_errors_pass(self):
        def broken(latents):
            raise RuntimeError("no")

        with pytest.raises(RuntimeError, match=r"^no$"):
            decode_within_memory(torch.zeros(2, 4, 8, 8), broken, DecodePlan(chunks=ChunkSettings()))

    def test_order_of_the_plans(self):
        plan, found = DecodePlan(chunks=ChunkSettings(frames=4, halo=4)), []
        while (plan := smaller(plan, 96, 128)) is not None:
            found.append((plan.chunks.frames, plan.chunks.halo, plan.tiles and plan.tiles.size))
        assert found == [(2, 4, None), (1, 4, None), (1, 4, 64), (1, 4, 32), (1, 4, 16)]
        tiles = DecodePlan(chunks=ChunkSettings(), tiles=PictureTileSettings(size=128))
        assert smaller(tiles, 96, 128).tiles.size == 64


class TestChoice:
    def choose(self, settings=None, **memory):
        return choose_plan(settings or DecodeSettings(), height=64, width=96, **memory)

    def test_image_vae(self):
        plan = self.choose(temporal=False, frames_in_memory=5.0)
        assert plan == DecodePlan(chunks=ChunkSettings(frames=1, halo=0))
        assert self.choose(temporal=False, frames_in_memory=0.7).tiles == PictureTileSettings()
        assert self.choose(DecodeSettings(frames=6), temporal=False, frames_in_memory=5.0).chunks.frames == 6

    def test_temporal_vae(self):
        assert self.choose(temporal=True, frames_in_memory=20.0) == DecodePlan(chunks=ChunkSettings(frames=12, halo=4))
        # Nine frames of 64×96 do not fit; twelve tiles of 64×64 do.
        assert self.choose(temporal=True, frames_in_memory=8.0) == DecodePlan(
            chunks=ChunkSettings(frames=4, halo=4), tiles=PictureTileSettings()
        )

    def test_tiles_by_hand(self):
        assert self.choose(DecodeSettings(tile=32), temporal=False, frames_in_memory=9.0).tiles.size == 32
        assert self.choose(DecodeSettings(tile=96), temporal=False, frames_in_memory=9.0).tiles is None

    @pytest.mark.parametrize("wrong", [{"frames": 0}, {"tile": 8}])
    def test_refuses(self, wrong):
        with pytest.raises(SettingsError, match="decode"):
            DecodeSettings(**wrong)
