"""Socket types of our own, where the host has none."""

from comfy_api.latest import io

CATEGORY = "VLDM/film"

Shots = io.Custom("VLDM_SHOTS")
"""A tuple of :class:`vldm_core.video.shots.Shot`, covering the frames in order."""

SHOTS_TOOLTIP = "From Detect Shots, on the same frames: nothing is compared across a cut. Unconnected: one shot."
IMAGES_TOOLTIP = (
    "Frames of the film in order, one batch. About 12 bytes of memory per pixel and frame; alpha is dropped."
)

PreRestorer = io.Custom("VLDM_PRERESTORER")
"""A model of the host around a :class:`vldm_core.prerestore.network.PreRestorer`."""

FilmSettings = io.Custom("VLDM_FILM_SETTINGS")
"""A :class:`vldm_core.reel.restore.ReelSettings`: the stages so far, each as it is set."""


BoxFixes = io.Custom("VLDM_BOX_FIXES")
"""A tuple of :class:`nodes.reel.box_fix.DrawnFix`; of two that meet the later counts."""

ReelPriorSocket = io.Custom("VLDM_REEL_PRIOR")
"""A :class:`nodes.reel.reel_prior.ReelPriorChoice`."""


def settings_input() -> io.Input:
    """Return the input through which a stage learns how the stages before it are set."""
    return FilmSettings.Input(
        "settings",
        optional=True,
        tooltip="From the settings output of the stage before, to be handed on with those of this stage.",
    )


def settings_output() -> io.Output:
    """Return the output that says how this stage and those before it are set."""
    return FilmSettings.Output(
        "film_settings",
        display_name="settings",
        tooltip="How this stage and those before it are set: for the next stage, in the end for Restore Reel.",
    )


Fit = io.Custom("VLDM_FIT")
"""A :class:`vldm_core.video.geometry.FitPlan`."""

PRIOR_CATEGORY = "VLDM/prior"

Restoration = io.Custom("VLDM_RESTORATION")
"""A :class:`vldm_core.sampling.restoration.RestorationSettings`."""

Control = io.Custom("VLDM_CONTROL")
"""A :class:`nodes.host.prior.controls.LoadedControl`."""

OneStep = io.Custom("VLDM_ONE_STEP")
"""A :class:`nodes.host.prior.onestep.clips.LoadedOneStep`."""

SEMANTICS_CATEGORY = "VLDM/semantics"

ShotTable = io.Custom("VLDM_SHOT_TABLE")
"""A :class:`vldm_core.semantics.table.table.ShotTable`."""

TABLE_TOOLTIP = "From Key Frames, or from another node that adds to the table; of the same frames."

UNLINKED: object = object()
"""Default of an input in `validate_inputs`: nothing is connected, whereas a link shows as None."""
