"""Bands of rows cover a frame with all they depend on, and take no more than fits."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.video.buffers.bands import bands


@settings(max_examples=80)
@given(
    height=st.integers(1, 3300),
    width=st.integers(1, 5000),
    reach=st.integers(0, 60),
    granularity=st.sampled_from([1, 8]),
    planes=st.sampled_from([20, 100]),
)
def test_bands_cover_a_frame_with_all_they_depend_on_and_no_more_than_fits(
    height, width, reach, granularity, planes
) -> None:
    parts = bands(height, width, reach, granularity=granularity, planes=planes)
    assert [row for band in parts for row in range(band.rows.start, band.rows.stop)] == list(range(height))
    for band in parts:
        assert band.around.start <= max(0, band.rows.start - reach)
        assert band.around.stop >= min(height, band.rows.stop + reach)
        assert not band.around.start % granularity and not band.rows.start % granularity
        rows = band.rows.stop - band.rows.start
        assert rows == granularity or rows * width * planes * 4 <= 128 << 20
        around = list(range(height))[band.around]
        assert around[band.within(1)] == list(range(height))[band.rows]
