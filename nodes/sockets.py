"""Socket types of our own, where the host has none."""

from comfy_api.latest import io

CATEGORY = "VLDM/film"

Shots = io.Custom("VLDM_SHOTS")
"""A tuple of :class:`vldm_core.video.shots.Shot`, covering the frames in order."""

Fit = io.Custom("VLDM_FIT")
"""A :class:`vldm_core.video.geometry.FitPlan`."""

PRIOR_CATEGORY = "VLDM/prior"

Restoration = io.Custom("VLDM_RESTORATION")
"""A :class:`vldm_core.sampling.restoration.RestorationSettings`."""
