"""The shipped workflows: the short name of each, and the title under which ComfyUI's template browser lists it.

Of a node pack's workflows the browser knows nothing but the file names, and takes them for title and description alike.
So the editor's files are named in words; pictures in docs/ and API twins, which are typed, have the short names.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "workflows"
TWINS = FOLDER / "api"

TITLES = {
    "restore_reel": "Restore a whole film from file to file, with its sound",
    "box_fix": "Fix single places of a film by hand",
    "clean_film": "Clean a short piece stage by stage, then the whole film",
    "age_and_measure": "Age a clean film and measure how well it is restored",
    "image_model": "Enlarge old film with an upscale model or DiffBIR stage 1",
    "restore_reel_with_prior": "Restore a whole film and go over it with Stable Diffusion",
    "restore_reel_in_one_step": "Restore a whole film in a single step of Stable Diffusion",
    "restore_with_sd": "Repaint damaged film with Stable Diffusion",
    "stock_sampler": "Restore film with Stable Diffusion and the stock sampler",
    "animate_prior_check": "Compare Stable Diffusion with and without temporal layers",
    "restore_diffbir": "Restore film with DiffBIR and its first stage",
    "restore_pasd": "Restore film with PASD and a checkpoint of your choice",
    "restore_seesr": "Restore film with SeeSR and tags for every shot",
    "restore_stablesr": "Restore film with StableSR, for non-commercial use",
    "restore_coser": "Restore film with CoSeR and a good frame as reference",
    "restore_one_step": "Restore film in a single step of Stable Diffusion",
    "restore_full": "Restore film with all parts trained on your own reels",
}

CONTROLS = {
    "restore_diffbir": "DiffBIR",
    "restore_pasd": "PASD",
    "restore_seesr": "SeeSR",
    "restore_stablesr": "StableSR",
    "restore_coser": "CoSeR",
}
"""Workflows that run a published restoration system, and its name in `vldm_core.prior.controls.defaults`."""

CHOSEN = {
    "VLDM_CaptionShots": ("captioner",),
    "VLDM_DecodeWithFeatureWrapping": ("file",),
    "VLDM_FitForPrior": ("short_side",),
    "VLDM_LoadRestorationControl": ("file", "second_file"),
    "VLDM_LoadStage1": ("file",),
    "VLDM_RestoreWithImageModel": ("keep_grain",),
    "VLDM_RestorationSampler": (
        "steps", "cfg", "sampler_name", "scheduler", "denoise", "guidance", "keep_undamaged"
    ),
    "VLDM_RestorationSettings": ("start",),
    "VLDM_ShotConditioning": ("template", "after", "negative"),
}  # fmt: skip
"""Widgets of this pack's nodes that these workflows set as the system is published; all others have their defaults."""

CHOSEN_IN: dict[str, dict[str, tuple[str, ...]]] = {
    "box_fix": {
        "VLDM_BoxFix": ("first_frame", "last_frame", "left", "top", "width", "height"),
        "VLDM_RestoreReel": ("keep_work",),
    },
    # As `train fusion` samples, and pre-restored without grain, as all parts are trained.
    "restore_full": {
        "VLDM_Era": ("model", "era_map"),
        "VLDM_LoadPreRestorer": ("file",),
        "VLDM_LoadRestorationControl": ("file",),
        "VLDM_PreRestore": ("keep_grain",),
        "VLDM_RestorationSampler": ("cfg", "guidance", "keep_undamaged"),
        "VLDM_ShotConditioning": ("template", "after", "negative"),
        "VLDM_ShotLoras": ("era_map",),
    },
    "restore_one_step": {"VLDM_LoadOneStepRestorer": ("file", "second_file")},
    "restore_reel_in_one_step": {
        "VLDM_LoadOneStepRestorer": ("file", "second_file"),
        "VLDM_RestoreReel": ("average", "prerestore"),
    },
    "restore_reel_with_prior": {"VLDM_RestoreReel": ("average", "prerestore")},
    **dict.fromkeys(CONTROLS, CHOSEN),
}
"""Widgets of this pack's nodes that a workflow sets otherwise than their defaults, by its short name."""


def editor_file(name: str) -> Path:
    """Return where a workflow lies in the editor's format."""
    return FOLDER / f"{TITLES[name]}.json"


def thumbnail_file(name: str) -> Path:
    """Return where the template browser looks for its picture."""
    return FOLDER / f"{TITLES[name]}.jpg"


def twin_file(name: str) -> Path:
    """Return where it lies in API format, for a server without a browser."""
    return TWINS / f"{name}.json"
