"""Stable Diffusion in the running host: from a checkpoint file to a film, beside and below the host's own samplers.

The checkpoint has the published layout and random weights, so pictures mean nothing; what is checked is that everything
acts, fits together, stops when asked and refuses what cannot work.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from vldm_core.cli.queue_client import load_workflow

from .conftest import Host, host_server, write_film
from .test_runs import ProgressListener, by_class, read_film, result_path, set_inputs

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[2]
API = ROOT / "workflows" / "api"
CHECKPOINT = "tiny_sd15.safetensors"
TEMPORAL = "tiny_temporal.safetensors"
MOTION = "tiny_motion.safetensors"
LORA = "tiny_lora.safetensors"
CONTROL = "tiny_diffbir.safetensors"
# Of the clip of latents, 8 × 8 each.
FRAMES = 5
SIDE = 8
# Of the small film: the VAE has its full size and takes about a second for a frame.
FILM_FRAMES = 4


@pytest.fixture(scope="module")
def sd_host(host_folder, inside, tmp_path_factory) -> Iterator[Host]:
    """A server with the small models, a small film and a clip of latents."""
    base = tmp_path_factory.mktemp("comfyui-sd")
    inside.call("checkpoint", "write_checkpoint", str(base / "models"))
    (base / "input").mkdir()
    write_film(base / "input" / "small_film.mp4", frames=FILM_FRAMES, width=48, height=48, scratch=20)
    write_film(base / "input" / "fitting_film.mp4", frames=FRAMES, width=8 * SIDE, height=8 * SIDE, scratch=20)
    samples = torch.randn(FRAMES, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    clip = {"latent_tensor": samples, "latent_format_version_0": torch.zeros(1)}
    save_file(clip, base / "input" / "clip.latent")
    with host_server.HostServer(host_folder, base) as server:
        yield Host(server)


def node(name, **inputs):
    return {"class_type": name, "inputs": inputs}


def graph(*changes, model="loader", noise=None, latent="clip", **sampler):
    """A prompt that samples the clip with the host's KSampler and saves the latents.

    `changes` are functions that add nodes between model and sampler: each takes the prompt and the model's link and
    returns the link that goes on.
    """
    prompt = {
        "loader": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "clip": node("LoadLatent", latent="clip.latent"),
        "positive": node("CLIPTextEncode", text="a street", clip=["loader", 1]),
        "negative": node("CLIPTextEncode", text="blurry", clip=["loader", 1]),
    }
    link = [model, 0]
    for change in changes:
        link = change(prompt, link)
    values = {"seed": 5, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.6}
    ends = {"positive": ["positive", 0], "negative": ["negative", 0]}
    prompt["sampler"] = node("KSampler", model=link, latent_image=[latent, 0], **ends, **(values | sampler))
    prompt["save"] = node("SaveLatent", samples=["sampler", 0], filename_prefix="latents/clip")
    return prompt


def lora(prompt, link):
    prompt["lora"] = node(
        "LoraLoader", model=link, clip=["loader", 1], lora_name=LORA, strength_model=1.0, strength_clip=1.0
    )
    return ["lora", 0]


def layers(file, strength=1.0, schedule="auto", **more):
    def add(prompt, link):
        prompt["layers"] = node(
            "VLDM_ApplyTemporalLayers", model=link, file=file, strength=strength, attention_window=4,
            attention_stride=2, schedule=schedule, **more,
        )  # fmt: skip
        return ["layers", 0]

    return add


def windows(prompt, link, **changes):
    values = {"length": 4, "overlap": 2, "schedule": "static", "stride": 1, "fuse": "pyramid", "move": False}
    values |= {"tile": 0, "tile_overlap": 0, "tile_weight": "gaussian"} | changes
    prompt["windows"] = node("VLDM_LongVideoWindows", model=link, **values)
    return ["windows", 0]


def guidance(prompt, link, **changes):
    values = {"scale": 0.5, "weighting": "mse", "space": "latent", "start": 0.0, "end": 1.0}
    values |= {"keep_undamaged": 1.0, "propagation": 0.5} | changes
    prompt["guidance"] = node("VLDM_RestorationGuidance", model=link, latent=["clip", 0], **values)
    return ["guidance", 0]


def era_loras(era_map, eras="1920s", strengths="1.0", **more):
    def add(prompt, link):
        prompt["eras"] = node("VLDM_ShotLoras", model=link, era_map=era_map, eras=eras, strengths=strengths, **more)
        return ["eras", 0]

    return add


def video_noise(**changes):
    values = {"mode": "shared", "seed": 9, "mix": 0.5, "window": 4, "stride": 2} | changes
    return node("VLDM_VideoNoise", **values)


def film(prompt, file="fitting_film.mp4"):
    """Add the frames of a film of the clip's size."""
    prompt["video"] = node("LoadVideo", file=file)
    prompt["film"] = node("GetVideoComponents", video=["video", 0])
    return ["film", 0]


def latents(host, prompt):
    """Run a prompt and return what it saved, (T, 4, h, w)."""
    run = host.run(prompt)
    assert run.status == "success", run.error
    (entry,) = run.outputs["save"]["latents"]
    found = load_file(host.server.output_folder / entry["subfolder"] / entry["filename"])["latent_tensor"]
    assert found.shape == (FRAMES, 4, SIDE, SIDE)
    assert torch.isfinite(found).all()
    return found


@pytest.fixture(scope="module")
def plain(sd_host):
    """What the host makes of the clip without this pack."""
    return latents(sd_host, graph())


@pytest.fixture(scope="module")
def with_lora(sd_host):
    """The same with a LoRA from the host's loader."""
    return latents(sd_host, graph(lora))


def differ(a, b):
    return float((a - b).abs().mean()) > 1e-3


class TestShippedWorkflows:
    def small(self, name, file):
        prompt = load_workflow(API / f"{name}.json")
        set_inputs(prompt, "LoadVideo", file=file)
        set_inputs(prompt, "CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
        set_inputs(prompt, "VLDM_FitForPrior", short_side=64)
        for item in prompt.values():
            if item["class_type"] == "VLDM_RestorationSampler":
                item["inputs"].update(steps=2, window=3, overlap=1)
        return prompt

    def test_restore_with_sd(self, sd_host):
        prompt = self.small("restore_with_sd", "small_film.mp4")
        run = sd_host.run(prompt)
        assert run.status == "success", run.error
        frames, _ = read_film(result_path(sd_host, run, prompt, "SaveVideo"))
        assert frames.shape == (FILM_FRAMES, 48, 48, 3)
        report = run.outputs[by_class(prompt, "VLDM_Compare")]["text"][0]
        assert f"{FILM_FRAMES} frames" in report and "identical" not in report
        files = sd_host.files()
        again = sd_host.run(prompt)
        assert (again.status, again.cached) == ("success", set(prompt))
        assert sd_host.files() == files

    def test_stock_sampler(self, sd_host):
        prompt = self.small("stock_sampler", "small_film.mp4")
        set_inputs(prompt, "BasicScheduler", steps=2)
        set_inputs(prompt, "VLDM_LongVideoWindows", length=3, overlap=1)
        run = sd_host.run(prompt)
        assert run.status == "success", run.error
        frames, _ = read_film(result_path(sd_host, run, prompt, "SaveVideo"))
        assert frames.shape == (FILM_FRAMES, 48, 48, 3)
        assert "identical" not in run.outputs[by_class(prompt, "VLDM_Compare")]["text"][0]

    def test_masks_are_fitted_like_pictures(self, sd_host):
        prompt = {}
        pictures = film(prompt)
        prompt |= {
            "mask": node("ImageToMask", image=pictures, channel="red"),
            "fit": node("VLDM_FitForPrior", images=pictures, mask=["mask", 0], short_side=64, multiple=48, mode="pad"),
            "like": node("ImageToMask", image=["fit", 0], channel="red"),
            "before": node("MaskToImage", mask=["like", 0]),
            "after": node("MaskToImage", mask=["fit", 2]),
            "compare": node(
                "VLDM_Compare", before=["before", 0], after=["after", 0], layout="split", frame=0, temporal=False
            ),
            "shown": node("PreviewImage", images=["after", 0]),
        }
        run = sd_host.run(prompt)
        assert run.status == "success", run.error
        assert f"{FRAMES} frames: identical" in run.outputs["compare"]["text"][0]
        shown = sd_host.server.temp_folder / run.outputs["shown"]["images"][0]["filename"]
        assert Image.open(shown).size == (96, 96)

    def test_animate_prior_check(self, sd_host):
        prompt = self.small("animate_prior_check", "small_film.mp4")
        set_inputs(prompt, "VLDM_ApplyTemporalLayers", file=TEMPORAL)
        run = sd_host.run(prompt)
        assert run.status == "success", run.error
        frames, _ = read_film(result_path(sd_host, run, prompt, "SaveVideo"))
        assert frames.shape == (FILM_FRAMES, 64, 128, 3)
        left, right = frames[:, :, :60].astype(float), frames[:, :, -60:].astype(float)
        assert abs(left - right).mean() > 1.0


class TestBesideTheHostsNodes:
    """Stock loaders and samplers with this pack's patches between them."""

    def test_lora(self, sd_host, plain, with_lora):
        assert differ(with_lora, plain)
        assert "lora key not loaded" not in sd_host.server.log()

    @pytest.mark.parametrize("file", [TEMPORAL, MOTION])
    def test_lora_and_temporal_layers(self, sd_host, plain, with_lora, file):
        both = latents(sd_host, graph(lora, layers(file)))
        alone = latents(sd_host, graph(layers(file)))
        assert differ(both, alone) and differ(alone, plain) and differ(both, with_lora)

    @pytest.mark.parametrize("file", [TEMPORAL, MOTION])
    def test_layers_of_strength_0_change_nothing(self, sd_host, plain, file):
        off = latents(sd_host, graph(layers(file, strength=0.0, schedule="model")))
        torch.testing.assert_close(off, plain, atol=1e-4, rtol=1e-4)

    def test_windows(self, sd_host, plain):
        # Each frame stands for itself in an image model, so windows show only where frames see each other.
        windowed = latents(sd_host, graph(windows))
        torch.testing.assert_close(windowed, plain, atol=2e-3, rtol=1e-3)
        assert differ(latents(sd_host, graph(layers(TEMPORAL), windows)), latents(sd_host, graph(layers(TEMPORAL))))

    def test_guidance_and_windows(self, sd_host, plain):
        def with_film(prompt, link):
            return guidance(prompt, link, images=film(prompt))

        clip = load_file(sd_host.server.input_folder / "clip.latent")["latent_tensor"]
        guided = latents(sd_host, graph(windows, guidance))
        assert float((guided - clip).abs().mean()) < float((plain - clip).abs().mean())
        assert differ(latents(sd_host, graph(windows, with_film)), guided)

    def test_noise_through_the_model(self, sd_host, plain):
        def noisy(prompt, link):
            prompt["noise"] = video_noise(model=link)
            return ["noise", 1]

        assert differ(latents(sd_host, graph(noisy)), plain)

    def test_noise_in_the_advanced_sampler(self, sd_host):
        def advanced(**noise):
            prompt = graph(lora, layers(TEMPORAL), windows)
            model, ends = ["windows", 0], {"positive": ["positive", 0], "negative": ["negative", 0]}
            prompt |= {
                "noise": video_noise(**noise),
                "guider": node("CFGGuider", model=model, cfg=1.0, **ends),
                "method": node("KSamplerSelect", sampler_name="euler"),
                "sigmas": node("BasicScheduler", model=model, scheduler="normal", steps=2, denoise=0.6),
                "sampler": node(
                    "SamplerCustomAdvanced", noise=["noise", 0], guider=["guider", 0], sampler=["method", 0],
                    sigmas=["sigmas", 0], latent_image=["clip", 0],
                ),
            }  # fmt: skip
            return prompt

        def following_the_film():
            prompt = advanced(mode="warped")
            prompt["noise"]["inputs"]["images"] = film(prompt)
            return prompt

        found = [latents(sd_host, advanced()), latents(sd_host, advanced(mode="freenoise"))]
        found.append(latents(sd_host, following_the_film()))
        assert differ(found[0], found[1]) and differ(found[1], found[2]) and differ(found[2], found[0])

    def test_loras_by_era(self, sd_host, plain):
        era_map = f'{{"1920s": {{"file": "{LORA}", "strength": 1.0}}, "1950s": {{"file": "missing.safetensors"}}}}'
        by_era = latents(sd_host, graph(era_loras(era_map)))
        assert differ(by_era, plain)

        def stock(prompt, link):
            # Without the LoRA's part for the text, which the other has not either.
            prompt["lora"] = node("LoraLoaderModelOnly", model=link, lora_name=LORA, strength_model=1.0)
            return ["lora", 0]

        torch.testing.assert_close(by_era, latents(sd_host, graph(stock)), atol=2e-2, rtol=1e-2)
        assert torch.equal(latents(sd_host, graph(era_loras(era_map, eras="unknown"))), plain)

    def test_loras_by_shot(self, sd_host, plain):
        def shots(prompt, link):
            images = film(prompt)
            prompt["shots"] = node("VLDM_DetectShots", images=images, threshold=0.275, min_length=6)
            era_map = f'{{"1920s": {{"file": "{LORA}"}}}}'
            return era_loras(era_map, strengths="0.5", shots=["shots", 0])(prompt, link)

        assert differ(latents(sd_host, graph(shots)), plain)


def load_control(file=CONTROL, second="none"):
    return node("VLDM_LoadRestorationControl", file=file, second_file=second)


def controlled(name="control", **changes):
    """Add Apply Restoration Control, with the film as hint, and a loader that all of them share."""

    def add(prompt, link):
        prompt["loaded"] = load_control()
        values = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "in_damage": 0.5, "reuse": 1}
        values |= {
            "over_steps": "",
            "over_frames": "",
            "pixel_window": 96,
            "images": film(prompt),
            "vae": ["loader", 2],
        } | changes
        used = {key: value for key, value in values.items() if value is not None}
        prompt[name] = node("VLDM_ApplyRestorationControl", model=link, control=["loaded", 0], **used)
        return [name, 0]

    return add


@pytest.fixture(scope="module")
def whole(sd_host, plain):
    """What the host makes of the clip under a control, without windows."""
    found = latents(sd_host, graph(controlled()))
    assert differ(found, plain)
    return found


class TestRestorationControl:
    """DiffBIR's control below the host's own sampler, through our node and through Apply ControlNet."""

    def test_the_loader_says_what_it_is(self, sd_host):
        prompt = {"loaded": load_control(), "shown": node("PreviewAny", source=["loaded", 2])}
        run = sd_host.run(prompt)
        assert run.status == "success", run.error
        (report,) = run.outputs["loaded"]["text"]
        assert report == run.outputs["shown"]["text"][0]
        for said in (
            "system: DiffBIR",
            "licence of the weights: Apache-2.0",
            "Stable Diffusion 2.1",
            CONTROL,
            "source: https",
        ):
            assert said in report

    def test_windows_and_layers_and_a_lora(self, sd_host, whole):
        torch.testing.assert_close(latents(sd_host, graph(controlled(), windows)), whole, atol=2e-3, rtol=1e-3)
        together = latents(sd_host, graph(lora, layers(TEMPORAL), controlled(), windows))
        assert differ(together, whole)
        assert differ(together, latents(sd_host, graph(lora, layers(TEMPORAL), windows)))

    def test_through_apply_controlnet(self, sd_host, whole):
        def stock(prompt, link):
            prompt["loaded"] = load_control()
            for name in ("positive", "negative"):
                prompt[f"{name}_text"] = prompt.pop(name)
            ends = {"positive": ["positive_text", 0], "negative": ["negative_text", 0]}
            more = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "vae": ["loader", 2]}
            net, pictures = ["loaded", 1], film(prompt)
            prompt["positive"] = node("ControlNetApplyAdvanced", control_net=net, image=pictures, **ends, **more)
            return link

        prompt = graph(stock)
        prompt["sampler"]["inputs"]["negative"] = ["positive", 1]
        torch.testing.assert_close(latents(sd_host, prompt), whole, atol=2e-3, rtol=1e-3)

    def test_strength_0_and_two_halves(self, sd_host, plain, whole):
        assert torch.equal(latents(sd_host, graph(controlled(strength=0.0))), plain)
        halves = graph(controlled("first", strength=0.5), controlled("second", strength=0.5))
        torch.testing.assert_close(latents(sd_host, halves), whole, atol=2e-3, rtol=1e-3)

    def test_a_schedule_over_the_frames(self, sd_host, plain, whole):
        found = latents(sd_host, graph(controlled(over_frames="0:1, 1:1, 2:0", reuse=2)))
        assert differ(found[:2], plain[:2])
        assert torch.equal(found[2:], plain[2:])

    def test_without_a_vae(self, sd_host):
        run = sd_host.run(graph(controlled(vae=None)))
        assert run.status == "error" and run.error["node_id"] == "control"
        assert "connect the VAE of the model to vae" in run.error["exception_message"]

    def test_frames_of_another_clip(self, sd_host):
        def other(prompt, link):
            link = controlled()(prompt, link)
            prompt["video"]["inputs"]["file"] = "small_film.mp4"
            return link

        run = sd_host.run(graph(other))
        assert run.status == "error" and run.error["node_id"] == "sampler"
        assert (
            f"{FILM_FRAMES} images of 48×48, the latent stands for {FRAMES} of 64×64" in run.error["exception_message"]
        )


class TestShotPrompts:
    """A prompt for each shot, in the host's own sampler and in windows."""

    def prompts(self, text):
        def change(prompt, link):
            table = {"file": "none", "text": text, "export": "none", "filename_prefix": "shots/table"}
            prompt["table"] = node("VLDM_ShotTable", **table)
            words = {"template": "plain", "before": "", "after": "", "negative": "blurry"}
            prompt["said"] = node("VLDM_ShotConditioning", clip=["loader", 1], table=["table", 0], **words)
            prompt["positive"] = node("ConditioningSetTimestepRange", conditioning=["said", 0], start=0.0, end=1.0)
            prompt["negative"] = node("ConditioningSetTimestepRange", conditioning=["said", 1], start=0.0, end=1.0)
            return link

        return change

    def test_every_frame_follows_its_shot(self, sd_host, plain):
        two = self.prompts("first,last,prompt\n0,1,a street\n2,4,(a horse:1.3) in the rain\n")
        horse = latents(sd_host, graph(self.prompts("first,last,prompt\n0,4,(a horse:1.3) in the rain\n")))
        assert differ(horse, plain)
        for changes in ((two,), (two, windows)):
            found = latents(sd_host, graph(*changes))
            torch.testing.assert_close(found[:2], plain[:2], atol=2e-3, rtol=1e-3)
            torch.testing.assert_close(found[2:], horse[2:], atol=2e-3, rtol=1e-3)

    def test_prompts_of_another_clip(self, sd_host):
        run = sd_host.run(graph(self.prompts("first,last,prompt\n0,1,a\n2,8,b\n"), windows))
        assert run.status == "error" and run.error["node_id"] == "sampler"
        assert "the conditioning is for 9 frames, the latent has 5" in run.error["exception_message"]


class TestInterrupt:
    """Cancel stops within a step or two, and the server goes on."""

    def interrupted(self, host, prompt, name):
        listener = ProgressListener(host.url)
        prompt_id = listener.queue(prompt)
        # Returns only when the sampler has told its progress.
        listener.wait_for(name, 0.002)
        further = listener.interrupt(host, prompt_id)
        assert host.wait(prompt_id, timeout=60).status == "interrupted"
        assert further < 0.1, f"{further:.0%} of the steps were still done"

    def test_stock_sampler(self, sd_host, plain):
        self.interrupted(sd_host, graph(layers(TEMPORAL), steps=500, denoise=1.0), "sampler")
        assert torch.equal(latents(sd_host, graph()), plain)

    def test_under_a_control(self, sd_host):
        """What it kept for later steps is no look at the next clip, which begins below where this one stopped."""
        control = controlled(reuse=16)
        wanted = latents(sd_host, graph(control))
        self.interrupted(sd_host, graph(control, steps=500, denoise=1.0), "sampler")
        assert torch.equal(latents(sd_host, graph(control)), wanted)

    def test_restoration_sampler(self, sd_host, plain):
        self.interrupted(sd_host, restoration(steps=500, denoise=1.0, window=0), "sampler")
        assert torch.equal(latents(sd_host, graph()), plain)


def restoration(**changes):
    """A prompt with the sampler of this pack in the place of the host's."""
    prompt = graph()
    values = prompt["sampler"]["inputs"] | {"guidance": 0.1, "keep_undamaged": 1.0, "noise": "auto"}
    values |= {"window": 4, "overlap": 2, "tile": 0, "latent": values.pop("latent_image")} | changes
    prompt["sampler"] = node("VLDM_RestorationSampler", **values)
    return prompt


class TestRefusals:
    """What is known before the work is refused before it; what is not, fails with words."""

    @pytest.mark.parametrize(
        ("prompt", "name", "field", "expected"),
        [
            (graph(layers("no_such.ckpt")), "layers", "file", "'no_such.ckpt' is in none of the model folders"),
            (restoration(window=4, overlap=4), "sampler", "overlap", "overlap is 4; with window 4 use 0 to 3"),
            (restoration(noise="pink"), "sampler", "noise", "noise is 'pink'"),
            (
                graph(lambda prompt, link: windows(prompt, link, length=4, overlap=9)),
                "windows",
                "overlap",
                "overlap is 9; with length 4 use 0 to 3",
            ),
            (graph(controlled(over_steps="0=1")), "control", "over_steps", "'0=1' is not a point"),
            (graph(controlled(start_percent=0.9, end_percent=0.1)), "control", "end_percent", "the end not before"),
            (
                {"loaded": load_control("no.pt"), "shown": node("PreviewAny", source=["loaded", 2])},
                "loaded",
                "file",
                "'no.pt' is in none",
            ),
            (
                {"loaded": load_control(CONTROL, CONTROL), "shown": node("PreviewAny", source=["loaded", 2])},
                "loaded",
                "second_file",
                "is chosen twice",
            ),
            (
                {"loaded": load_control(CHECKPOINT), "shown": node("PreviewAny", source=["loaded", 2])},
                "loaded",
                "file",
                "is not a part of a known restoration control",
            ),
            (graph(era_loras("{")), "eras", "era_map", "the era map is not JSON"),
            (graph(era_loras('{"1920s": {"file": "no.safetensors"}}')), "eras", "era_map", "no LoRA file"),
            (graph(era_loras('{"1920s": {"file": "no.safetensors"}}', eras="x")), "eras", "eras", "no era 'x'"),
        ],
        ids=[
            "file",
            "overlap",
            "noise",
            "windows",
            "points",
            "ends",
            "control",
            "twice",
            "foreign",
            "json",
            "lora",
            "era",
        ],
    )
    def test_before_anything_runs(self, sd_host, prompt, name, field, expected):
        status, answer = sd_host.post("/prompt", {"prompt": prompt})
        assert status == 400, answer
        errors = answer["node_errors"][name]["errors"]
        assert len(errors) == 1, errors
        (error,) = errors
        assert expected in error["details"], error
        assert error["extra_info"].get("input_name") == field or error["type"].startswith("exception_during"), error

    def test_checkpoint_that_does_not_exist(self, sd_host):
        prompt = load_workflow(API / "restore_with_sd.json")
        set_inputs(prompt, "LoadVideo", file="small_film.mp4")
        status, answer = sd_host.post("/prompt", {"prompt": prompt})
        assert status == 400, answer
        (error,) = answer["node_errors"][by_class(prompt, "CheckpointLoaderSimple")]["errors"]
        assert "v1-5-pruned-emaonly-fp16.safetensors" in error["details"]

    @pytest.mark.parametrize("make", [restoration, graph], ids=["sampler", "guidance"])
    def test_pictures_of_another_size(self, sd_host, make):
        prompt = make(guidance) if make is graph else make()
        target = "guidance" if make is graph else "sampler"
        prompt[target]["inputs"]["images"] = film(prompt, "small_film.mp4")
        run = sd_host.run(prompt)
        assert run.status == "error"
        assert run.error["node_id"] == target
        message = run.error["exception_message"]
        assert f"images: {FILM_FRAMES} frames of 48×48, but the latent stands for {FRAMES} of 64×64" in message

    def test_layers_of_another_model(self, sd_host):
        prompt = graph(layers(TEMPORAL))
        prompt["layers"]["inputs"]["file"] = "foreign.safetensors"
        foreign = {"input_blocks.1.0.weight": torch.zeros(3)}
        save_file(foreign, sd_host.server.base / "models" / "vldm_temporal" / "foreign.safetensors")
        run = sd_host.run(prompt)
        assert run.status == "error"
        assert "foreign.safetensors" in run.error["exception_message"]
