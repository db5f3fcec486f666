"""Figures of merit: fidelity, temporal steadiness, detection, and comparison of two versions of a film."""
