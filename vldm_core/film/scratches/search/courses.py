"""Where a line is there along a course, as the likeliest sequence of stretches with and without it."""

import numpy as np

from ....arrays import BoolArray, FloatArray


def likeliest(words: FloatArray, turn: float) -> BoolArray:
    """The likeliest courses of two states (A. Viterbi, IEEE Trans. Inf. Theory 13, 1967).

    Of two states only the lead of one over the other counts. It never exceeds the cost of a change by more than the
    last word, because whoever is behind by more begins anew from the leader.

    Args:
        words: (n, m) what speaks for presence at every place of n courses, log odds; minus infinity forbids it.
        turn: What a change of state costs.

    Returns:
        (n, m) bool.
    """
    return np.array([_course(row, turn) for row in words.astype(np.float64).tolist()], bool).reshape(words.shape)


def _course(words: list[float], turn: float) -> list[bool]:
    """One course; a few hundred numbers are followed faster by themselves than as arrays of one."""
    leads, lead = [], 0.0
    for word in words:
        lead = (turn if lead > turn else -turn if lead < -turn else lead) + word
        leads.append(lead)
    there = lead > 0
    states = [there]
    for lead in leads[-2::-1]:
        there = lead >= -turn if there else lead > turn
        states.append(there)
    states.reverse()
    return states
