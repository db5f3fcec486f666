"""Clean contents with letters and signs: credits, subtitles, clocks, logos, titles that fade."""

import cv2
import numpy as np

from .ground import SIZE, Content, drawn, laid_over, landscape, lettered, panned, panning, widened

_CREDITS = ("Directed by", "Lillian Hill", "Photography", "Ali Tillit", "Titles", "J. I. Fitch", "Music", "W. Will")


def rolling_credits(count: int = 24, *, speed: float = 1.5, scene: bool = False, seed: int = 1) -> Content:
    """End credits that roll upwards, on black or before a scene that stands still."""
    height, width = SIZE
    still = panned(landscape(height + 20, width + 20, seed), 6, 6) * 0.6 if scene else np.full(SIZE, 12, np.float32)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover = np.zeros(SIZE, np.float32)
        for number, line in enumerate(_CREDITS):
            y = 40 + 40 * number - speed * t
            cover = np.maximum(cover, lettered(line, (width / 2, y), size=18, face="DejaVuSerif"))
        return laid_over(still, cover, 225), widened(cover, 1)

    return drawn(count, paint, seed=seed)


def credits_before_a_scene(count: int = 24) -> Content:
    """The same, before a scene."""
    return rolling_credits(count, scene=True, speed=2.0, seed=2)


def _subtitles(
    count: int,
    seed: int,
    *,
    face: str,
    size: int,
    level: float,
    edge: int,
    plate: float = 0.0,
    speed: tuple[float, float] = (2.3, 0.4),
    change: int = 9,
    frame: tuple[int, int] = SIZE,
) -> Content:
    height, width = frame
    scene = panning(count, seed=seed, speed=speed, size=frame)
    lines = (
        "Lift it, Bill! It is still tilted.",
        "– I will, if Jill is ill.",
        "",
        "Fifty-one little lilies, all in all.",
    )

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        ground = scene[t]
        text = lines[(t // change) % len(lines)]
        if not text:
            return ground, np.zeros(frame, bool)
        cover = lettered(text, (width / 2, height - size * 1.7), size=size, face=face, frame=frame)
        if plate:
            ys, xs = np.nonzero(cover > 0.3)
            box = np.zeros(frame, np.float32)
            box[ys.min() - 5 : ys.max() + 6, xs.min() - 8 : xs.max() + 9] = plate
            ground = laid_over(ground, box, 0)
        if edge:
            ground = laid_over(ground, cv2.dilate(cover, np.ones((2 * edge + 1,) * 2)), 6)
        return laid_over(ground, cover, level), widened(cover, edge + 1)

    return drawn(count, paint, seed=seed)


def outlined_subtitles(count: int = 24, seed: int = 3) -> Content:
    """White sans letters with a black edge before a pan; they change every nine frames, and are gone in between."""
    return _subtitles(count, seed, face="DejaVuSans-Bold", size=15, level=245, edge=1)


def plain_subtitles(count: int = 24, seed: int = 4) -> Content:
    """Thin serif letters without any edge before a fast pan."""
    return _subtitles(count, seed, face="DejaVuSerif", size=14, level=235, edge=0, speed=(6.0, 1.0))


def boxed_subtitles(count: int = 24, seed: int = 5) -> Content:
    """Letters in a half-transparent box."""
    return _subtitles(count, seed, face="DejaVuSans", size=16, level=230, edge=0, plate=0.65)


def brief_subtitles(count: int = 24, seed: int = 6) -> Content:
    """Lines that stay for three frames only: a film at few frames a second."""
    return _subtitles(count, seed, face="DejaVuSans", size=17, level=240, edge=1, change=3)


def large_subtitles(count: int = 12, seed: int = 7) -> Content:
    """The same on 1440×1080."""
    return _subtitles(count, seed, face="DejaVuSans", size=48, level=240, edge=3, change=4, frame=(1080, 1440))


def karaoke(count: int = 24, seed: int = 8) -> Content:
    """A line of song that changes its colour from left to right, before a pan."""
    height, width = SIZE
    scene = panning(count, seed=seed)
    cover = lettered("Still, still, little hill, till all is still", (width / 2, height - 30), size=17)
    edge = cv2.dilate(cover, np.ones((3, 3)))
    xs = np.nonzero(cover > 0.3)[1]

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        sung = np.where(np.arange(width) < xs.min() + (xs.max() - xs.min()) * t / count, 130.0, 245.0)
        return laid_over(laid_over(scene[t], edge, 8), cover, sung[None].astype(np.float32)), widened(cover, 2)

    return drawn(count, paint, seed=seed)


def _clock(count: int, seed: int, *, size: int, face: str, edge: int, level: float, at: tuple[int, int]) -> Content:
    scene = panning(count, seed=seed, speed=(1.0, 0.3))

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover = lettered(f"00:59:{58 + t // 25:02d}:{t % 25:02d}", at, size=size, face=face, anchor="la")
        ground = laid_over(scene[t], cv2.dilate(cover, np.ones((2 * edge + 1,) * 2)), 5) if edge else scene[t]
        return laid_over(ground, cover, level), widened(cover, edge)

    return drawn(count, paint, seed=seed)


def clock_without_plate(count: int = 24, seed: int = 9) -> Content:
    """A running timecode with a black edge, straight on the scene."""
    return _clock(count, seed, size=16, face="DejaVuSansMono-Bold", edge=1, level=240, at=(300, 240))


def small_clock(count: int = 24, seed: int = 10) -> Content:
    """Small thin digits without any edge."""
    return _clock(count, seed, size=11, face="DejaVuSansMono", edge=0, level=250, at=(14, 12))


def logo(count: int = 24, seed: int = 11) -> Content:
    """A half-transparent mark of a station in the corner, before a pan."""
    scene = panning(count, seed=seed, speed=(2.6, 0.0))
    cover = lettered("TV7", (432, 30), size=22, face="DejaVuSans-Bold")
    ring = np.zeros(SIZE, np.float32)
    cv2.circle(ring, (432, 30), 26, 1.0, 2, cv2.LINE_AA)
    cover = 0.55 * np.maximum(cover, ring)
    return drawn(count, lambda t: (laid_over(scene[t], cover, 240), widened(cover, 1)), seed=seed)


def fading_title(count: int = 24, seed: int = 12) -> Content:
    """A title on black that fades in over eight frames and out again."""
    height, width = SIZE
    cover = lettered("THE  LITTLE  HILL", (width / 2, height / 2), size=30, face="DejaVuSerif-Bold")
    cover = np.maximum(
        cover, lettered("a film in five acts", (width / 2, height / 2 + 40), size=15, face="DejaVuSerif")
    )

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        strength = min(1.0, t / 8, (count - 1 - t) / 8)
        return laid_over(np.full(SIZE, 14, np.float32), cover * strength, 228), widened(cover, 1)

    return drawn(count, paint, seed=seed)


def title_over_a_scene(count: int = 24, seed: int = 13) -> Content:
    """A title that fades in over four frames before a pan, stays and fades out."""
    height, width = SIZE
    scene = panning(count, seed=seed, speed=(1.8, 0.0))
    cover = lettered("Villa Illing, July 1911", (width / 2, height / 2), size=24, face="DejaVuSerif")

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        strength = float(np.clip(min((t - 4) / 4, (count - 4 - t) / 4), 0, 1))
        return laid_over(scene[t], cover * strength, 235), widened(cover, 1)

    return drawn(count, paint, seed=seed)


def dirty_subtitles(count: int = 24, seed: int = 14) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Subtitles as above; and dirt, a few specks a frame all over the scene: frames, letters, dirt (H, W) bool each."""
    frames, letters = outlined_subtitles(count, seed)
    stream = np.random.default_rng(seed)
    dirt = []
    for frame, letter in zip(frames, letters, strict=True):
        specks = np.zeros(SIZE, np.float32)
        for _ in range(10):
            at = int(stream.integers(8, SIZE[1] - 8)), int(stream.integers(8, SIZE[0] - 8))
            size = (int(stream.integers(2, 5)), int(stream.integers(2, 5)))
            cv2.ellipse(specks, at, size, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
        specks[widened(letter.astype(np.float32), 2)] = 0
        level = 20 if stream.random() < 0.5 else 245
        frame[:] = np.rint(frame * (1 - specks[..., None]) + level * specks[..., None]).astype(np.uint8)
        dirt.append(specks > 0.5)
    return frames, letters, dirt
