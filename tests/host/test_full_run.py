"""Everything that can be trained, in one graph of the running host: `restore_full` with small parts of real classes.

The weights are random, so pictures mean nothing; what is checked is that the graph runs from film to film, that every
part acts, and that files of the layouts that the training commands write are taken.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vldm_core.cli.queue_client import load_workflow
from vldm_core.decode import fusion_decoder
from vldm_core.prerestore.network import KIND
from vldm_core.semantics.recognition.era import QUESTIONS
from vldm_core.semantics.table.description import UNKNOWN
from vldm_core.training.era_lora.run import MAP

from ..prerestore.test_network import TINY, trained
from ..semantics.tiny_models import save_clip
from .conftest import Host, host_server, workflow_names, write_film
from .test_runs import by_class, read_film, result_path, set_inputs

pytestmark = pytest.mark.host

# The VAE has its full size and takes about a second for a frame.
FRAMES = 3
# Whatever CLIP of random weights takes the film for, there is a LoRA for it: for silent or sound film at least.
ERAS = {name for answers in QUESTIONS.values() for name in answers} - {UNKNOWN}


def write_parts(models: Path) -> None:
    """Give the files of the small checkpoint the names that the workflow says, and add what is the pack's own."""
    for folder, name in (("vldm_temporal", "temporal"), ("vldm_control", "diffbir")):
        own = "control" if name == "diffbir" else name
        shutil.copy(models / folder / f"tiny_{name}.safetensors", models / folder / f"{own}.safetensors")
    eras = models / "loras" / "eras"
    eras.mkdir()
    shutil.copy(models / "loras" / "tiny_lora.safetensors", eras / "any.safetensors")
    (eras / MAP).write_text(json.dumps({era: {"strength": 1.0, "file": "any.safetensors"} for era in sorted(ERAS)}))
    save_clip(models / "vldm_clip" / "clip")
    for folder in ("vldm_prerestore", "vldm_fusion"):
        (models / folder).mkdir()
    KIND.save(trained(), models / "vldm_prerestore" / "prerestorer.safetensors")
    for source in ("latent", "decoder", "picture"):
        torch.manual_seed(1)
        fusion = fusion_decoder.FusionDecoder(
            fusion_decoder.FusionDecoderConfig(source=source, widths=TINY.widths, heads=TINY.heads, window=TINY.window)
        )
        with torch.no_grad():
            for parameter in fusion.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        fusion_decoder.KIND.save(fusion, models / "vldm_fusion" / f"{source}.safetensors")


@pytest.fixture(scope="module")
def full_host(host_folder, inside, tmp_path_factory) -> Iterator[Host]:
    base = tmp_path_factory.mktemp("comfyui-full")
    inside.call("checkpoint", "write_checkpoint", str(base / "models"))
    write_parts(base / "models")
    (base / "input").mkdir()
    write_film(base / "input" / "small_film.mp4", frames=FRAMES, width=48, height=48, scratch=20)
    with host_server.HostServer(host_folder, base) as server:
        yield Host(server)


def small(source="latent"):
    """The workflow's twin for the small parts."""
    prompt = load_workflow(workflow_names.twin_file("restore_full"))
    set_inputs(prompt, "LoadVideo", file="small_film.mp4")
    set_inputs(prompt, "CheckpointLoaderSimple", ckpt_name="tiny_sd15.safetensors")
    set_inputs(prompt, "VLDM_FitForPrior", short_side=64)
    set_inputs(prompt, "VLDM_Era", model="clip", confidence=0.0)
    set_inputs(prompt, "VLDM_RestorationSampler", steps=2, window=2, overlap=1)
    set_inputs(prompt, "VLDM_TrainedFusion", file=f"{source}.safetensors")
    prompt["save"] = {
        "class_type": "SaveLatent",
        "inputs": {"samples": [by_class(prompt, "VLDM_RestorationSampler"), 0], "filename_prefix": "latents/full"},
    }
    return prompt


def ran(host, prompt):
    """Run a prompt; return the frames of its film, what was sampled, and the run."""
    run = host.run(prompt)
    assert run.status == "success", run.error
    frames, _ = read_film(result_path(host, run, prompt, "SaveVideo"))
    assert frames.shape == (FRAMES, 48, 48, 3)
    (entry,) = run.outputs["save"]["latents"]
    latents = load_file(host.server.output_folder / entry["subfolder"] / entry["filename"])["latent_tensor"]
    return frames.astype(float), latents, run


@pytest.fixture(scope="module")
def whole(full_host):
    return ran(full_host, small())


def test_a_film_goes_through_all_parts(full_host, whole) -> None:
    frames, latents, run = whole
    prompt = small()
    assert "identical" not in run.outputs[by_class(prompt, "VLDM_Compare")]["text"][0]
    assert latents.isfinite().all() and np.ptp(frames) > 10
    again = full_host.run(prompt)
    assert (again.status, again.cached) == ("success", set(prompt))


@pytest.mark.parametrize("part", ["ShotLoras", "ApplyTemporalLayers", "ApplyRestorationControl"])
def test_every_part_of_the_model_acts(full_host, whole, part) -> None:
    prompt = small()
    off = {"ShotLoras": {"strengths": "0.0"}}.get(part, {"strength": 0.0})
    set_inputs(prompt, f"VLDM_{part}", **off)
    _, latents, _ = ran(full_host, prompt)
    assert float((latents - whole[1]).abs().mean()) > 1e-3


def test_the_control_looks_at_the_pre_restorers_own_latents(full_host, whole) -> None:
    prompt = small()
    control = by_class(prompt, "VLDM_ApplyRestorationControl")
    prompt[control]["inputs"]["latent"] = [by_class(prompt, "VLDM_PreRestore"), 1]
    del prompt[control]["inputs"]["vae"]
    _, latents, _ = ran(full_host, prompt)
    assert float((latents - whole[1]).abs().mean()) > 1e-3


@pytest.mark.parametrize("source", ["decoder", "picture"])
def test_the_other_routes_of_the_fusion(full_host, whole, source) -> None:
    frames, latents, _ = ran(full_host, small(source))
    assert torch.equal(latents, whole[1])
    assert abs(frames - whole[0]).mean() > 0.05


def test_a_fusion_of_another_pre_restorer_is_refused(full_host) -> None:
    config = fusion_decoder.FusionDecoderConfig(widths=(8, 12, 16), heads=TINY.heads, window=TINY.window)
    folder = full_host.server.base / "models" / "vldm_fusion"
    fusion_decoder.KIND.save(fusion_decoder.FusionDecoder(config), folder / "other.safetensors")
    prompt = small("other")
    run = full_host.run(prompt)
    assert run.status == "error" and run.error["node_id"] == by_class(prompt, "VLDM_TrainedFusion")
    assert "choose the pre-restorer that it was trained with" in run.error["exception_message"]
