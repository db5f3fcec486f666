"""A tiny data folder for tests of the detection benchmark."""

from pathlib import Path

import av
import cv2
import numpy as np
import torch


def moving_texture(seed: int, count: int, height: int = 64, width: int = 96, step: int = 1) -> np.ndarray:
    """RGB frames (T, H, W, 3) uint8 of a smooth random texture that moves by some px a frame."""
    rng = np.random.default_rng(seed)
    wide = width + count * step
    coarse = torch.from_numpy(rng.random((1, 3, height // 8, wide // 8), dtype=np.float32))
    picture = torch.nn.functional.interpolate(coarse, (height, wide), mode="bicubic", align_corners=False)
    levels = (picture[0].clamp(0, 1) * 130 + 60).permute(1, 2, 0).numpy().astype(np.uint8)
    return np.stack([levels[:, step * time : step * time + width] for time in range(count)])


def write_film(path: Path, frames: np.ndarray) -> None:
    """Encode frames (T, H, W, 3) as H.264."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def write_photo(path: Path, seed: int = 3) -> None:
    """Write a photograph of a smooth texture, 160 by 240."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), moving_texture(seed, 1, 160, 240)[0])
