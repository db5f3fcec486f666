"""A graph through all nodes of the decode on the running server."""

import io as streams

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.host


def link(key, output=0):
    return [key, output]


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


@pytest.fixture
def graph():
    """A film through a VAE that loses nothing (the host's pixel space), and through all nodes of the decode."""
    return {
        "film": node("LoadVideo", file="demo_film.mp4"),
        "parts": node("GetVideoComponents", video=link("film")),
        "shots": node("VLDM_DetectShots", images=link("parts"), threshold=0.275, min_length=6),
        "vae": node("VAELoader", vae_name="pixel_space"),
        "latent": node("VAEEncode", pixels=link("parts"), vae=link("vae")),
        "decoded": node(
            "VLDM_DecodeVideo",
            samples=link("latent"),
            vae=link("vae"),
            chunk_frames=5,
            halo=4,
            tile_size=0,
            shots=link("shots"),
        ),
        "matched": node(
            "VLDM_MatchColour",
            images=link("decoded"),
            reference=link("parts"),
            method="wavelet",
            statistics="shot",
            strength=1.0,
            period=48,
            lightness=True,
            monochrome="off",
            shots=link("shots"),
        ),
        "damage": node(
            "VLDM_DetectDamage",
            images=link("parts"),
            find="dirt",
            dirt_certainty=0.5,
            dirt_grow=0,
            dirt_polarity="both",
            scratch_threshold=45,
            scratch_min_depth=1.5,
            locked_shots="off",
        ),
        "fused": node(
            "VLDM_FuseRestoration",
            images=link("matched"),
            restored=link("parts"),
            mode="mask",
            weight=1.0,
            cutoff=4.0,
            detail=1.0,
            grow=4,
            feather=4.0,
            mask=link("damage"),
        ),
        "grainy": node(
            "VLDM_Regrain",
            images=link("fused"),
            source=link("parts"),
            strength=1.0,
            seed=7,
            first_frame=0,
            keep_present=True,
            shots=link("shots"),
        ),
        "save": node("PreviewImage", images=link("grainy")),
        "source": node("PreviewImage", images=link("parts")),
    }


def pictures(host, run, key):
    found = []
    for entry in run.outputs[key]["images"]:
        query = f"/view?filename={entry['filename']}&subfolder={entry['subfolder']}&type={entry['type']}"
        found.append(np.asarray(Image.open(streams.BytesIO(host.read(query))).convert("RGB"), dtype=np.int16))
    return np.stack(found)


def test_film_passes_the_whole_decode_unharmed(host, graph):
    run = host.run(graph)
    assert run.status == "success", run.error
    before, after = pictures(host, run, "source"), pictures(host, run, "save")
    assert before.shape == after.shape == (12, 120, 160, 3)
    # Nothing was changed on the way, so colour, fusion and grain have nothing to do either.
    assert np.abs(after - before).max() <= 2
    assert host.run(graph).cached >= {"decoded", "matched", "fused", "grainy"}


def test_a_missing_mask_is_refused_before_anything_runs(host, graph):
    del graph["fused"]["inputs"]["mask"], graph["source"]
    status, answer = host.post("/prompt", {"prompt": graph})
    assert status == 400 and "no mask is connected" in str(answer["node_errors"])
