"""What the widgets of the prior's nodes set, an option of `restore --prior` sets too, with the same default."""

import pytest

from vldm_core.cli.prior import PriorOptions

pytestmark = pytest.mark.host

# Widget → option; None where the command line has another way, which is said beside it.
WIDGETS: dict[str, dict[str, str | None]] = {
    "VLDM_RestorationSampler": {
        "seed": "seed",
        "steps": None,  # Steps that are run; the command line's --steps are those of the whole schedule.
        "cfg": "cfg",
        "sampler_name": None,  # Another list: --sampler.
        "scheduler": None,  # A part of the model's scheduler in diffusers.
        "denoise": "strength",
        "guidance": "guidance",
        "keep_undamaged": "keep_undamaged",
        "noise": None,  # auto is warped where the pictures are known, which they always are: --noise.
        "window": "window",
        "overlap": None,  # None of the command line's is 4, or less for short windows.
        "tile": "tile",
    },
    "VLDM_RestorationSettings": {
        "start": "start",
        "added_noise_level": "added_noise_level",
        "noise_mix": "noise_mix",
        "cfg_schedule": "cfg_schedule",
        "cfg_rescale": "cfg_rescale",
        "guidance_space": "guidance_space",
        "guidance_weighting": "guidance_weighting",
        "guidance_end": "guidance_end",
        "keep_until": "keep_until",
        "keep_margin": "keep_margin",
        "propagation": "propagation",
        "window_fuse": "window_fuse",
        "move": "move",
        "freeinit_rounds": "freeinit_rounds",
    },
    "VLDM_RestorationGuidance": {
        "scale": "guidance",
        "weighting": "guidance_weighting",
        "space": "guidance_space",
        "start": "guidance_start",
        "end": "guidance_end",
        "keep_undamaged": "keep_undamaged",
        "propagation": "propagation",
    },
    "VLDM_VideoNoise": {"mode": "noise", "seed": "seed", "mix": "noise_mix", "window": "window", "stride": None},
    "VLDM_LongVideoWindows": {
        "length": "window",
        "overlap": None,
        "schedule": "window_schedule",
        "stride": "window_stride",
        "fuse": "window_fuse",
        "move": "move",
        "tile": "tile",
        "tile_overlap": None,  # None of the command line's is 128, or less for small tiles.
        "tile_weight": "tile_weight",
    },
    "VLDM_ApplyTemporalLayers": {
        "file": None,  # --temporal.
        "strength": "temporal_strength",
        "attention_window": "attention_window",
        "attention_stride": "attention_stride",
        "schedule": "noise_schedule",
    },
    "VLDM_ShotLoras": {
        "era_map": None,  # --era-map names a file.
        "eras": None,  # --eras, or those of the table.
        "strengths": None,  # --lora-strength, one for all.
    },
    "VLDM_LoadOneStepRestorer": {"file": None, "second_file": None},  # --one-step, twice for S3Diff.
    "VLDM_RestoreInOneStep": {
        "invention": None,  # --invention, which is as published where nothing is said.
        "seed": "seed",
        "encode": "encode",
        "short_side": "short_side",
        "tile": "tile",
        "colour": "colour",
        "keep_outside": "keep_outside",
        "scores": "damage_scores",
    },
    "VLDM_ReelPriorInOneStep": {
        "invention": None,  # --invention, as above.
        "seed": "seed",
        "encode": "encode",
        "short_side": "short_side",
        "tile": "tile",
        "colour": "colour",
        "keep_outside": "keep_outside",
        "scores": "damage_scores",
        "part": "max_frames",
        "fusion": None,  # --fusion, off unless asked for.
        "fusion_weight": "fusion_weight",
        "grain": None,  # --grain-strength, which is the film's own where --grain asks for it.
    },
    "VLDM_DecodeVideo": {"chunk_frames": "decode_frames", "halo": "decode_halo", "tile_size": "decode_tile"},
    "VLDM_FuseRestoration": {
        "mode": None,  # --fusion, off unless asked for.
        "weight": "fusion_weight",
        "cutoff": "fusion_cutoff",
        "detail": "fusion_detail",
        "grow": "fusion_grow",
        "feather": "fusion_feather",
    },
    "VLDM_MatchColour": {
        "method": "colour",
        "statistics": "colour_statistics",
        "strength": "colour_strength",
        "period": "colour_period",
        "lightness": "colour_lightness",
        "monochrome": "monochrome",
    },
    "VLDM_Regrain": {
        "strength": "grain_strength",
        "seed": None,  # The film's own frames' numbers tell grain apart.
        "first_frame": None,  # Known in a reel.
        "keep_present": None,  # Always.
    },
}
KINDS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


@pytest.mark.parametrize("name", WIDGETS)
def test_every_widget_of_the_prior_has_an_option(nodes, name) -> None:
    described = nodes[name]["input"]
    inputs = {**described.get("required", {}), **described.get("optional", {})}
    widgets = {
        key: (entry[1] if len(entry) > 1 else {}).get("default")
        for key, entry in inputs.items()
        if isinstance(entry[0], list) or entry[0] in KINDS
    }
    assert set(widgets) == set(WIDGETS[name]), "say here which option sets a new widget, or why none does"
    default = PriorOptions()
    for key, option in WIDGETS[name].items():
        if option is not None:
            assert getattr(default, option) == widgets[key], (key, option)
