"""Pre-restoration in the running host: files, latents or why there are none, Restore Reel, interrupt, refusals."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vldm_core.prerestore.network import KIND, PreRestorer

from ..prerestore.test_network import TINY, trained
from .test_runs import ProgressListener, read_film, result_path

pytestmark = pytest.mark.host

FOLDER = "vldm_prerestore"


@pytest.fixture(scope="module")
def files(host):
    """Two tiny networks in the model folder, with and without latents of their own, and a file of another kind."""
    folder = host.server.base / "models" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    plain: Any = PreRestorer(replace(TINY, latent=False)).eval()
    # It changes the film by so little that hardly a level is clipped.
    torch.nn.init.normal_(plain.heads[0].weight, std=0.005)
    KIND.save(plain, folder / "plain.safetensors")
    KIND.save(trained(), folder / "latent.safetensors")
    save_file({"x": torch.ones(1)}, folder / "other.safetensors")
    return folder


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def graph(file=None, **more):
    """The demonstration film through Pre-Restore, compared with what went in, its latents saved."""
    prompt = {
        "film": node("LoadVideo", file="demo_film.mp4"),
        "parts": node("GetVideoComponents", video=["film", 0]),
        "shots": node("VLDM_DetectShots", images=["parts", 0], threshold=0.275, min_length=6),
        "restored": node(
            "VLDM_PreRestore", images=["parts", 0], strength=1.0, keep_grain=0.0, shots=["shots", 0], **more
        ),
        "compare": node(
            "VLDM_Compare", before=["parts", 0], after=["restored", 0], layout="split", frame=0, temporal=False
        ),
        "save": node("SaveLatent", samples=["restored", 1], filename_prefix="latents/prerestored"),
    }
    if file is not None:
        prompt["loader"] = node("VLDM_LoadPreRestorer", file=file)
        prompt["restored"]["inputs"]["prerestorer"] = ["loader", 0]
    return prompt


def without(prompt, *keys):
    return {key: item for key, item in prompt.items() if key not in keys}


def compared(run):
    return run.outputs["compare"]["text"][0]


def latents(host, run, key="save"):
    (entry,) = run.outputs[key]["latents"]
    return load_file(host.server.output_folder / entry["subfolder"] / entry["filename"])["latent_tensor"]


class BlockListener(ProgressListener):
    """Queues a prompt and waits for what the host tells the user about an output that is blocked."""

    def blocked(self, prompt, key):
        self.queue(prompt)
        message = self._run(self._message(key))
        self._run(self._close())
        return message

    async def _message(self, key):
        async for message in self._socket:
            if message.type is self._aiohttp.WSMsgType.TEXT:
                event = json.loads(message.data)
                assert event["type"] != "execution_success", "nothing was blocked"
                if event["type"] == "execution_error" and event["data"]["node_id"] == key:
                    return event["data"]["exception_message"]
        raise AssertionError("the connection ended")


def test_pictures_and_latents_of_a_file_of_ones_own_and_a_cached_second_run(host, files):
    prompt = graph("latent.safetensors")
    run = host.run(prompt)
    assert run.status == "success", run.error
    assert "12 frames" in compared(run) and "identical" not in compared(run)
    found = latents(host, run)
    assert found.shape == (12, 4, 15, 20) and found.isfinite().all() and found.std() > 0.01
    again = host.run(prompt)
    assert (again.status, again.cached) == ("success", set(prompt))
    KIND.save(trained(replace(TINY, state_blocks=2)), files / "latent.safetensors")
    changed = host.run(prompt)
    assert changed.status == "success" and not {"loader", "restored"} & changed.cached
    assert not torch.equal(latents(host, changed), found)


def test_masks_are_minded_and_strength_0_changes_nothing(host, files):
    prompt = without(graph("plain.safetensors"), "save")
    free = host.run(prompt)
    prompt["bright"] = node("ImageToMask", image=["parts", 0], channel="red")
    prompt["mask"] = node("VLDM_RefineMask", mask=["bright", 0], threshold=0.5, min_size=0, fill_holes=False, grow=0,
                          hold=0, feather=0.0)  # fmt: skip
    results = [free]
    for name in ("dirt", "scratch"):
        masked = {**prompt, "restored": node("VLDM_PreRestore", **prompt["restored"]["inputs"], **{name: ["mask", 0]})}
        results.append(host.run(masked))
    assert [run.status for run in results] == ["success"] * 3
    assert compared(results[0]) != compared(results[1]) == compared(results[2])
    prompt["restored"]["inputs"]["strength"] = 0.0
    assert "12 frames: identical" in compared(host.run(prompt))


def test_without_latents_the_pictures_still_come_and_who_uses_them_is_told_why(host):
    prompt = graph()
    assert "connect a VAE to Pre-Restore" in BlockListener(host.url).blocked(prompt, "save")
    run = host.run(prompt)
    assert run.status == "success" and "12 frames" in compared(run)
    assert "save" not in run.outputs


def test_latents_of_odd_sides_are_refused(host, files):
    prompt = graph("latent.safetensors")
    prompt["odd"] = node("ImageCrop", image=["parts", 0], width=100, height=60, x=0, y=0)
    prompt["restored"]["inputs"]["images"] = prompt["compare"]["inputs"]["before"] = ["odd", 0]
    del prompt["restored"]["inputs"]["shots"]
    assert "frames of 100×60: both sides must be divisible by 8" in BlockListener(host.url).blocked(prompt, "save")
    assert "12 frames" in compared(host.run(without(prompt, "save")))


def test_a_vae_encodes_what_has_no_latents(host, files):
    prompt = graph("plain.safetensors", vae=["vae", 0])
    prompt["vae"] = node("VAELoader", vae_name="pixel_space")
    prompt["stock"] = node("VAEEncode", pixels=["restored", 0], vae=["vae", 0])
    prompt["wanted"] = node("SaveLatent", samples=["stock", 0], filename_prefix="latents/wanted")
    run = host.run(prompt)
    assert run.status == "success", run.error
    assert torch.equal(latents(host, run), latents(host, run, "wanted"))


@pytest.mark.parametrize(
    ("file", "expected"),
    [("none.safetensors", "in none of the model folders"), ("other.safetensors", "is not a pre-restorer")],
)
def test_a_file_that_cannot_be_used_is_refused_before_anything_runs(host, files, file, expected):
    status, answer = host.post("/prompt", {"prompt": without(graph(file), "compare")})
    assert status == 400, answer
    (error,) = answer["node_errors"]["loader"]["errors"]
    assert expected in error["details"]


def test_an_interrupt_strikes_within_a_segment(host):
    prompt = without(graph(), "save")
    prompt["large"] = node("ImageScale", image=["parts", 0], upscale_method="bilinear", width=480, height=360,
                           crop="disabled")  # fmt: skip
    prompt["restored"]["inputs"]["images"] = prompt["compare"]["inputs"]["before"] = ["large", 0]
    listener = ProgressListener(host.url)
    prompt_id = listener.queue(prompt)
    listener.wait_for("restored", 0.0)
    further = listener.interrupt(host, prompt_id)
    assert host.wait(prompt_id, timeout=60).status == "interrupted"
    assert further < 0.5, f"{further:.0%} of the frames were still restored"


def reel(**inputs):
    """Restore Reel to FFV1 in the output folder, without the other stages."""
    off = dict.fromkeys(("dirt", "scratches", "flicker", "average", "stabilise"), False)
    values = {"codec": "ffv1", "folder": "output", "filename_prefix": "archive/prerestored"}
    return {
        "film": node("LoadVideo", file="demo_film.mp4"),
        "loader": node("VLDM_LoadPreRestorer", file="plain.safetensors"),
        "reel": node("VLDM_RestoreReel", video=["film", 0], **(off | values | {"prerestore": True} | inputs)),
    }


def test_a_reel_is_pre_restored_when_it_is_told_to_be(host, files):
    found = {}
    for name, inputs in {
        "whole": {"prerestorer": ["loader", 0], "keep_grain": 0.0},
        "half": {"prerestorer": ["loader", 0], "keep_grain": 0.0, "prerestore_strength": 0.5},
        "none": {"prerestorer": ["loader", 0], "keep_grain": 0.0, "prerestore_strength": 0.0},
        "off": {"prerestorer": ["loader", 0], "prerestore": False, "flicker": True},
    }.items():
        prompt = reel(**inputs)
        run = host.run(prompt)
        assert run.status == "success", run.error
        path = result_path(host, run, prompt, "VLDM_RestoreReel")
        found[name] = read_film(path)[0].astype(float), run.outputs["reel"]["text"][0]
    # Not with the source: its colours are not all within reach of the codec's.
    change = {name: np.abs(frames - found["none"][0]).mean() for name, (frames, _) in found.items()}
    assert change["whole"] > 0.7 and 0.3 < change["half"] / change["whole"] < 0.75
    assert "pre-restored at strength 0.50, 0% of the grain kept" in found["half"][1]
    assert "pre-restored" not in found["off"][1]


def test_a_reel_is_pre_restored_by_the_network_that_ships(host):
    prompt = without(reel(flicker=True), "loader")
    run = host.run(prompt)
    assert run.status == "success", run.error
    assert "pre-restored at strength 1.00" in run.outputs["reel"]["text"][0]


def test_an_older_workflow_does_as_it_did(host):
    """It says the CRF by the name of the level of effort, and knows nothing of averaging."""
    prompt = without(reel(flicker=True, quality=16), "loader")
    for name in ("average", "prerestore"):
        del prompt["reel"]["inputs"][name]
    run = host.run(prompt)
    assert run.status == "success", run.error
    report = run.outputs["reel"]["text"][0]
    assert "pre-restored at strength 1.00" in report
