"""Examples that are quickly learnt: candidates that are scratches where they are strong in the middle."""

import numpy as np

from vldm_core.training.scratch_detector.examples import ScratchExamples


def candidates(count: int = 80) -> ScratchExamples:
    """Return so many of them, of five source files."""
    stream = np.random.default_rng(4)
    labels = (np.arange(count) % 2).astype(np.uint8)
    near = stream.normal(size=(count, 6, 24, 33)).astype(np.float16)
    near[labels == 1, 1, :, 16] += 2
    return ScratchExamples(
        near=near,
        far=stream.normal(size=(count, 3, 24, 33)).astype(np.float16),
        times=stream.normal(size=(count, 4, 24, 16)).astype(np.float16),
        numbers=stream.normal(size=(count, 18)).astype(np.float32),
        labels=labels,
        shots=np.arange(count) // 4,
        sources=np.array([f"file{number % 5}" for number in range(count)], dtype="U64"),
    )
