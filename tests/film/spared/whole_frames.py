"""Clean contents of whole frames and their edges: leaders, flashes, wipes, bars, drawings, grids and stripes."""

import cv2
import numpy as np

from .ground import SIZE, Content, drawn, filmed, laid_over, landscape, lettered, panned, panning, widened
from .small_things import dot, stroke

_NOWHERE = np.zeros(SIZE, bool)
_EVERYWHERE = np.ones(SIZE, bool)


def punched_leader(count: int = 24, seed: int = 41) -> Content:
    """A grey leader: numbers, words of one frame, a punched hole of two, a cross of lines."""
    height, width = SIZE
    words = {5: "START", 9: "PICTURE", 15: "SOUND", 20: "3"}

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        plane, risk = np.full(SIZE, 150, np.float32), np.zeros(SIZE, bool)
        cv2.line(plane, (0, height // 2), (width, height // 2), 40.0, 2)
        if t in words:
            cover = lettered(words[t], (width / 2, height / 2), size=60, face="DejaVuSans-Bold")
            plane, risk = laid_over(plane, cover, 20), widened(cover, 1)
        if t in (12, 13):
            cover = np.zeros(SIZE, np.float32)
            dot(cover, 330, 90, 22)
            plane, risk = laid_over(plane, cover, 250), risk | (cover > 0.3)
        return plane, risk

    return drawn(count, paint, seed=seed)


def changing_leader(count: int = 24, seed: int = 42) -> Content:
    """Another word or number in every frame, as at the head of a reel."""
    words = ("A", "REEL 3", "7", "HEAD", "1911", "N", "ILL", "START", "X", "24", "H 31", "PART 2")
    levels = (30, 210, 120, 235, 16, 90)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover = lettered(words[t % len(words)], (240, 136), size=70)
        ground = float(levels[t % len(levels)])
        return laid_over(np.full(SIZE, ground, np.float32), cover, 255 - ground), widened(cover, 1)

    return drawn(count, paint, seed=seed)


def small_cue_marks(count: int = 24, seed: int = 43) -> Content:
    """Cue marks of all kinds, before a pan: four frames of a dark dot, later a scratched ring, later two frames."""
    scene = panning(count, seed=seed, speed=(2.0, 0.0))

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover, level = np.zeros(SIZE, np.float32), 235.0
        if 4 <= t < 8:
            dot(cover, 444, 26, 5)
            level = 12.0
        elif 11 <= t < 15:
            cv2.circle(cover, (446, 28), 8, 1.0, 2, cv2.LINE_AA)
        elif 18 <= t < 20:
            dot(cover, 444, 26, 7)
        return laid_over(scene[t], cover, level), widened(cover, 2)

    return drawn(count, paint, seed=seed)


def bolt(count: int = 24, seed: int = 44) -> Content:
    """A bolt of lightning in a dark sky: one or two frames, with a glow over all of the picture."""
    ground = 0.3 * panned(landscape(292, 500, seed), 5, 5)
    stream = np.random.default_rng(seed)
    bolts = {}
    for first, length in ((6, 1), (13, 2), (19, 1)):
        points = [(stream.uniform(120, 360), 0.0)]
        while points[-1][1] < 190:
            points.append((points[-1][0] + stream.normal(0, 14), points[-1][1] + stream.uniform(8, 22)))
        bolts.update({first + k: points for k in range(length)})

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        if t not in bolts:
            return ground, _NOWHERE
        cover = np.zeros(SIZE, np.float32)
        for start, end in zip(bolts[t], bolts[t][1:], strict=False):
            stroke(cover, start, end, 2)
        glow = cv2.GaussianBlur(cover, (0, 0), 30)
        return laid_over(ground * 1.5 + 250 * glow, cover, 250), widened(cover, 1)

    return drawn(count, paint, seed=seed)


def photographers(count: int = 24, seed: int = 45) -> Content:
    """Flashes of photographers: a white disc with a halo for a frame, here and there, before a pan."""
    scene = [0.6 * plane for plane in panning(count, seed=seed, speed=(1.2, 0.0))]
    stream = np.random.default_rng(seed)
    flashes = [(int(t), *stream.uniform((40, 60), (440, 220))) for t in (4, 5, 9, 12, 12, 17, 20)]

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover = np.zeros(SIZE, np.float32)
        for _, x, y in (flash for flash in flashes if flash[0] == t):
            dot(cover, x, y, 6)
        halo = np.minimum(cv2.GaussianBlur(cover, (0, 0), 12) * 2, 1)
        return laid_over(laid_over(scene[t], halo, 240), cover, 254), np.maximum(cover, halo) > 0.3

    return drawn(count, paint, seed=seed)


def uneven_strobe(count: int = 24, seed: int = 46) -> Content:
    """A stroboscope that flashes for one to two frames at uneven times, while the scene moves."""
    scene = panning(count, seed=seed, speed=(1.5, 0.0))
    lit = {1, 3, 4, 7, 9, 10, 13, 15, 18, 19, 21}
    return drawn(count, lambda t: (scene[t] * (1.0 if t in lit else 0.1), _EVERYWHERE), seed=seed)


def _between(count: int, seed: int, cover_at) -> Content:
    first, second = (panning(count, seed=seed + part, speed=(1.0, 0.2)) for part in (0, 50))

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        cover = cover_at(t)
        edge = (cover > 0.02) & (cover < 0.98) if cover.min() != cover.max() else _EVERYWHERE
        return first[t] * (1 - cover) + second[t] * cover, widened(edge.astype(np.float32), 2)

    return drawn(count, paint, seed=seed)


def wipe(count: int = 24, seed: int = 47) -> Content:
    """A soft edge that goes from left to right and brings the next scene."""
    x = np.arange(SIZE[1], dtype=np.float32)[None]
    return _between(count, seed, lambda t: np.broadcast_to(np.clip((24 * t - 40 - x) / 6, 0, 1), SIZE))


def dissolve(count: int = 24, seed: int = 48) -> Content:
    """One scene becomes another over twelve frames."""
    return _between(count, seed, lambda t: np.full(SIZE, np.clip((t - 6) / 12, 0, 1), np.float32))


def iris(count: int = 24, seed: int = 49) -> Content:
    """A round hole that closes on black and opens again."""
    scene = panning(count, seed=seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    away = np.hypot(x - 240, y - 136)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        inside = np.clip((26 * abs(t - 12) - away) / 3, 0, 1)
        return laid_over(np.full(SIZE, 6, np.float32), inside, scene[t]), (inside > 0.02) & (inside < 0.98)

    return drawn(count, paint, seed=seed)


def _bars(count: int, seed: int, *, level: float, grain: float, left: int = 61, right: int = 419) -> Content:
    scene = panning(count, seed=seed)
    bar = np.ones(SIZE, bool)
    bar[:, left:right] = False
    planes = [np.where(bar, np.float32(level), plane) for plane in scene]
    where = np.where(bar, np.float32(grain / 4.0), np.float32(1))
    return filmed(planes, seed=seed, where=where), [bar | widened(bar.astype(np.float32), 4)] * count


def grainy_pillars(count: int = 24, seed: int = 51) -> Content:
    """4:3 within 16:9: dark bars that carry the grain of the copy."""
    return _bars(count, seed, level=22, grain=4.0)


def bright_pillars(count: int = 24, seed: int = 52) -> Content:
    """Bars of a light grey."""
    return _bars(count, seed, level=200, grain=0.0)


def dirty_letterbox(count: int = 24, seed: int = 53) -> Content:
    """Black above and below, with dust in some frames and a hair that stays for the shot."""
    planes = panning(count, seed=seed)
    stream = np.random.default_rng(seed)
    bar = np.zeros(SIZE, bool)
    bar[:34] = bar[-34:] = True
    for t, plane in enumerate(planes):
        plane[bar] = 4
        if t % 3 == 0:
            cv2.circle(plane, (int(stream.integers(20, 460)), 14), 3, 190.0, -1, cv2.LINE_AA)
        cv2.line(plane, (200, 250), (236, 262), 150.0, 1, cv2.LINE_AA)
    return filmed(planes, seed=seed, where=np.where(bar, np.float32(0.3), np.float32(1))), [bar] * count


def drawing_on_threes(count: int = 24, seed: int = 54) -> Content:
    """A drawing without grain of which every picture is shown three times; somebody blinks in one of them."""
    frames, risks = [], []
    for t in range(count):
        step = t // 3
        plane = np.full(SIZE, 190, np.float32)
        plane[200:] = 120
        risk = np.zeros(SIZE, np.uint8)
        x, y = 60 + 40 * step, 150 - (14 if step % 2 else 0)
        cv2.ellipse(plane, (x, y), (30, 36), 0, 0, 360, 90.0, -1, cv2.LINE_AA)
        cv2.ellipse(plane, (x, y), (30, 36), 0, 0, 360, 8.0, 2, cv2.LINE_AA)
        for eye in (-11, 11):
            if step == 4:
                cv2.line(plane, (x + eye - 5, y - 8), (x + eye + 5, y - 8), 8.0, 2, cv2.LINE_AA)
            else:
                cv2.circle(plane, (x + eye, y - 8), 6, 250.0, -1, cv2.LINE_AA)
                cv2.circle(plane, (x + eye, y - 8), 2, 8.0, -1, cv2.LINE_AA)
        cv2.rectangle(risk, (x - 60, y - 60), (x + 60, y + 60), 1, -1)
        frames.append(plane)
        risks.append(risk > 0)
    return filmed(frames, grain=1e-6), risks


def windows(count: int = 24, seed: int = 55) -> Content:
    """A front of a hundred windows with thin bars, under a pan."""
    height, width = SIZE
    wide = np.full((height + 20, width + 120), 150, np.float32)
    for y in range(10, height, 26):
        for x in range(8, width + 100, 18):
            wide[y : y + 18, x : x + 11] = 40
            wide[y : y + 18, x + 5] = 170
            wide[y + 9, x : x + 11] = 170
    return drawn(count, lambda t: (panned(wide, 4 + 2.7 * t, 4), _EVERYWHERE), seed=seed)


def striped_shirt(count: int = 24, seed: int = 56) -> Content:
    """Somebody in a shirt with thin upright stripes who walks and sways."""
    ground = panned(landscape(292, 500, seed), 5, 5)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        plane = ground.copy()
        x, body = 60 + 9 * t, np.zeros(SIZE, np.uint8)
        cv2.ellipse(body, (x, 200), (38, 90), 4 * np.sin(0.6 * t), 0, 360, 1, -1)
        columns = (np.arange(SIZE[1]) - x + 2 * np.sin(0.6 * t)) % 7 < 2.5
        plane[body > 0] = np.broadcast_to(np.where(columns, 60, 205), SIZE)[body > 0]
        cv2.circle(plane, (x, 96), 17, 165.0, -1, cv2.LINE_AA)
        return plane, body > 0

    return drawn(count, paint, seed=seed)


def masts(count: int = 24, seed: int = 57) -> Content:
    """A harbour seen by a camera that stands still: masts, ropes and railings; a boat comes by."""
    ground = panned(landscape(292, 500, seed), 5, 5)
    ground[:170] = 0.3 * ground[:170] + 130
    risk = np.zeros(SIZE, np.float32)
    for x, top, foot, level in ((70, 0, 230, 45.0), (150, 30, 240, 60.0), (222, 0, 272, 205.0), (333, 12, 250, 70.0)):
        cv2.line(ground, (x, top), (x, foot), level, 2)
        cv2.line(risk, (x, top), (x, foot), 1.0, 2)
    for x in range(360, 470, 9):
        cv2.line(ground, (x, 190), (x, 262), 50.0, 1)
        cv2.line(risk, (x, 190), (x, 262), 1.0, 1)

    def paint(t: int) -> tuple[np.ndarray, np.ndarray]:
        plane = ground.copy()
        x = 520 - 26 * t
        cv2.fillPoly(plane, [np.array([(x, 215), (x + 90, 215), (x + 75, 240), (x + 12, 240)])], 85.0, cv2.LINE_AA)
        cv2.line(plane, (x + 40, 120), (x + 40, 215), 60.0, 2)
        return plane, risk > 0

    return drawn(count, paint, seed=seed)
