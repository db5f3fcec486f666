"""The workflows of published restoration systems in the running host, with small models of the real classes.

The weights are random, so pictures mean nothing; what is checked is that the graphs run from film to film with files in
the published layouts, and that each control acts.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from vldm_core.cli.queue_client import load_workflow

from .conftest import Host, host_server, workflow_names, write_film
from .test_runs import by_class, read_film, result_path, set_inputs
from .tiny_controls import CLIP, write_control_files, write_one_step_file

pytestmark = pytest.mark.host

SD1, SD2 = "tiny_sd15.safetensors", "tiny_sd2.safetensors"
# The VAE has its full size and takes about a second for a frame.
FRAMES = 3


@pytest.fixture(scope="module")
def control_host(host_folder, inside, tmp_path_factory) -> Iterator[Host]:
    """A server with two small checkpoints, the controls and a small film."""
    base = tmp_path_factory.mktemp("comfyui-controls")
    inside.call("checkpoint", "write_checkpoint", str(base / "models"))
    inside.call("checkpoint", "write_sd2_checkpoint", str(base / "models"))
    write_control_files(base / "models")
    write_one_step_file(base / "models")
    (base / "input").mkdir()
    write_film(base / "input" / "small_film.mp4", frames=FRAMES, width=48, height=48, scratch=20)
    with host_server.HostServer(host_folder, base) as server:
        yield Host(server)


def small(name):
    """A workflow's twin for the small models. CLIP Vision ViT-H, which has no small form in the host, is left out."""
    prompt = load_workflow(workflow_names.twin_file(name))
    set_inputs(prompt, "LoadVideo", file="small_film.mp4")
    set_inputs(prompt, "CheckpointLoaderSimple", ckpt_name=SD1 if name == "restore_pasd" else SD2)
    set_inputs(prompt, "VLDM_FitForPrior", short_side=64)
    set_inputs(prompt, "VLDM_RestorationSampler", steps=2, window=2, overlap=1)
    vision = [key for key, node in prompt.items() if node["class_type"] == "CLIPVisionLoader"]
    for key in vision:
        del prompt[key]
    for node in prompt.values():
        inputs = node["inputs"]
        if inputs.get("clip_vision", [None])[0] in vision:
            del inputs["clip_vision"]
            if node["class_type"] == "VLDM_TagShots":
                # A whole CLIP in a folder stands for both halves.
                del inputs["clip"]
                inputs["model"] = CLIP
            else:
                # Any text of the model's width stands for CoSeR's tokens of language.
                inputs["tokens"] = prompt[by_class(prompt, "VLDM_RestorationSampler")]["inputs"]["negative"]
    return prompt


def restored(host, prompt):
    """Run a workflow and return the frames of its film, (T, H, W, 3), and the run."""
    run = host.run(prompt)
    assert run.status == "success", run.error
    frames, _ = read_film(result_path(host, run, prompt, "SaveVideo"))
    assert frames.shape == (FRAMES, 48, 48, 3)
    return frames.astype(float), run


@pytest.mark.parametrize("name", workflow_names.CONTROLS)
def test_a_film_is_restored_and_the_control_acts(control_host, name):
    prompt = small(name)
    found, run = restored(control_host, prompt)
    assert found.std() > 1
    assert "identical" not in run.outputs[by_class(prompt, "VLDM_Compare")]["text"][0]
    report = run.outputs[by_class(prompt, "VLDM_LoadRestorationControl")]["text"][0]
    assert f"system: {workflow_names.CONTROLS[name]}\n" in report and "licence of the weights: " in report
    set_inputs(prompt, "VLDM_ApplyRestorationControl", strength=0.0)
    without, again = restored(control_host, prompt)
    assert by_class(prompt, "VLDM_LoadRestorationControl") in again.cached
    assert np.abs(found - without).mean() > 0.5


def test_diffbir_runs_through_the_hosts_own_apply_controlnet(control_host):
    """What the workflow's note offers, and what Apply Restoration Control gives where no damage is heeded."""
    prompt = small("restore_diffbir")
    set_inputs(prompt, "VLDM_ApplyRestorationControl", in_damage=1.0)
    ours, _ = restored(control_host, prompt)
    apply, sampler = (by_class(prompt, name) for name in ("VLDM_ApplyRestorationControl", "VLDM_RestorationSampler"))
    own, sampling = prompt.pop(apply)["inputs"], prompt[sampler]["inputs"]
    prompt["stock"] = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {
            "positive": sampling["positive"],
            "negative": sampling["negative"],
            "control_net": [own["control"][0], 1],
            "image": own["images"],
            "vae": own["vae"],
            "strength": 1.0,
            "start_percent": 0.0,
            "end_percent": 1.0,
        },
    }
    sampling |= {"model": own["model"], "positive": ["stock", 0], "negative": ["stock", 1]}
    stock, _ = restored(control_host, prompt)
    assert np.abs(stock - ours).max() <= 1


def test_a_film_is_restored_in_one_step(control_host):
    prompt = load_workflow(workflow_names.twin_file("restore_one_step"))
    set_inputs(prompt, "LoadVideo", file="small_film.mp4")
    set_inputs(prompt, "CheckpointLoaderSimple", ckpt_name=SD2)
    set_inputs(prompt, "VLDM_RestoreInOneStep", short_side=64)
    found, run = restored(control_host, prompt)
    assert found.std() > 1
    report = run.outputs[by_class(prompt, "VLDM_LoadOneStepRestorer")]["text"][0]
    assert report.startswith("system: OSEDiff, one step at 999\n") and "licence of the weights: Apache-2.0" in report
    # Only the damage is painted anew.
    set_inputs(prompt, "VLDM_RestoreInOneStep", keep_outside=True)
    kept, _ = restored(control_host, prompt)
    film, _ = read_film(control_host.server.base / "input" / "small_film.mp4")
    assert np.abs(kept - film).mean() < np.abs(found - film).mean()
