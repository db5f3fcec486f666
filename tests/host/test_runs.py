"""Running prompts in the real host: results, cache, interrupt, refusals, and the headless client."""

import json
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vldm_core.cli.queue_client import load_workflow
from vldm_core.reel.record.file import record_path
from vldm_core.reel.record.undo import undo_repairs
from vldm_core.stages.preset import read_settings
from vldm_core.stages.settings import StageSettings
from vldm_core.video.writing.clip import write_clip

from .conftest import API, by_class, read_film, set_inputs, sound_packets

pytestmark = pytest.mark.host

RATE = Fraction(24000, 1001)


def result_path(host, run, prompt, name):
    output = run.outputs[by_class(prompt, name)]
    (entry,) = output["film"] if "film" in output else output["images"]
    folder = host.server.output_folder if entry["type"] == "output" else host.server.temp_folder
    return folder / entry["subfolder"] / entry["filename"]


def audio_seconds(path):
    with av.open(str(path)) as container:
        return sum(frame.samples for frame in container.decode(audio=0)) / container.streams.audio[0].rate


class TestShippedWorkflows:
    def test_clean_film(self, host, clean_film):
        source, _ = read_film(host.server.input_folder / "demo_film.mp4")
        run = host.run(clean_film)
        assert run.status == "success", run.error
        path = result_path(host, run, clean_film, "SaveVideo")
        frames, rate = read_film(path)
        assert frames.shape == source.shape
        # Save Video rounds the rate of a video made of pictures to thousandths.
        assert rate == Fraction(round(RATE * 1000), 1000)
        assert abs(audio_seconds(path) - len(frames) / RATE) < 0.05
        report = run.outputs[by_class(clean_film, "VLDM_Compare")]["text"][0]
        assert "12 frames" in report and "flicker" in report and "warp error" in report
        assert len(run.outputs[by_class(clean_film, "VLDM_DetectDamage")]["images"]) == 4
        shown = run.outputs[by_class(clean_film, "VLDM_Compare")]
        assert all(len(shown[part]) == 1 for part in ("before", "after", "places"))

    def test_restore_reel(self, host, restore_reel):
        source_path = host.server.input_folder / "demo_film.mp4"
        source, _ = read_film(source_path)
        run = host.run(restore_reel)
        assert run.status == "success", run.error
        saved = result_path(host, run, restore_reel, "SaveVideo")
        frames, rate = read_film(saved)
        assert (frames.shape, rate) == (source.shape, RATE)
        # Bright dirt is gone from most frames; the source has a block of 20 pixels at 250 in each.
        assert (frames.min(axis=3) > 235).sum() < 0.5 * (source.min(axis=3) > 235).sum()
        reel = result_path(host, run, restore_reel, "VLDM_RestoreReel")
        assert sound_packets(saved) == sound_packets(reel) == sound_packets(source_path)

    @pytest.mark.parametrize("name", ["clean_film", "restore_reel"])
    def test_second_queueing_is_cached(self, host, name):
        prompt = load_workflow(API / f"{name}.json")
        assert host.run(prompt).status == "success"
        files = host.files()
        run = host.run(prompt)
        assert run.status == "success"
        assert run.cached == set(prompt)
        assert host.files() == files


class TestSingleNodes:
    """What the shipped workflows do not reach."""

    def test_simulate_fit_undo_and_single_masks(self, host):
        prompt = {
            "1": {"class_type": "LoadVideo", "inputs": {"file": "demo_film.mp4"}},
            "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
            "3": {
                "class_type": "VLDM_SimulateDamage",
                "inputs": {
                    "images": ["2", 0], "condition": "heavy", "seed": 3, "dirt": True, "hair": True, "scratches": True,
                    "flicker": False, "weave": False, "fading": False, "grain": False,
                },
            },
            "4": {
                "class_type": "VLDM_RepairDamage",
                "inputs": {"images": ["3", 0], "dirt": ["3", 1], "dirt_feather": 1.0, "scratch_rows": 40},
            },
            "5": {
                "class_type": "VLDM_FitForPrior",
                "inputs": {"images": ["2", 0], "short_side": 128, "multiple": 64, "mode": "pad"},
            },
            "6": {"class_type": "VLDM_UndoFit", "inputs": {"images": ["5", 0], "fit": ["5", 1], "before": ["2", 0]}},
            "7": {
                "class_type": "VLDM_Compare",
                "inputs": {"before": ["2", 0], "after": ["6", 0], "layout": "split", "frame": 3, "temporal": False},
            },
            "8": {
                "class_type": "VLDM_Compare",
                "inputs": {"before": ["3", 0], "after": ["4", 0], "layout": "stacked", "frame": -1, "temporal": False},
            },
            "9": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
        }  # fmt: skip
        run = host.run(prompt)
        assert run.status == "success", run.error
        assert "12 frames: identical" in run.outputs["7"]["text"][0]
        assert "identical" not in run.outputs["8"]["text"][0]
        entry = run.outputs["9"]["images"][0]
        with av.open(str(host.server.temp_folder / entry["filename"])) as picture:
            assert (picture.streams.video[0].width, picture.streams.video[0].height) == (192, 128)

    def test_every_kind_of_damage_has_a_mask_and_the_clean_frames_fit(self, host):
        prompt = {
            "1": {"class_type": "LoadVideo", "inputs": {"file": "demo_film.mp4"}},
            "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
            "3": {
                "class_type": "VLDM_SimulateDamage",
                "inputs": {
                    "images": ["2", 0], "condition": "1910s", "seed": 3, "dirt": True, "hair": True, "scratches": True,
                    "flicker": False, "weave": False, "fading": False, "grain": False, "events": False,
                },
            },
            "4": {
                "class_type": "VLDM_Compare",
                "inputs": {"before": ["2", 0], "after": ["3", 7], "layout": "split", "frame": 0, "temporal": False},
            },
        }  # fmt: skip
        for slot in range(3, 7):
            prompt[f"mask {slot}"] = {"class_type": "MaskPreview", "inputs": {"mask": ["3", slot]}}
        run = host.run(prompt)
        assert run.status == "success", run.error
        assert "12 frames: identical" in run.outputs["4"]["text"][0]
        assert all(len(run.outputs[f"mask {slot}"]["images"]) == 12 for slot in range(3, 7))

    @pytest.mark.parametrize("protected", [0.0, 1.0])
    def test_probability_is_refined_to_a_mask_and_protection_wins(self, host, protected):
        prompt = {
            "1": {"class_type": "LoadVideo", "inputs": {"file": "demo_film.mp4"}},
            "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
            "3": {"class_type": "SolidMask", "inputs": {"value": protected, "width": 160, "height": 120}},
            "4": {
                "class_type": "VLDM_DetectDamage",
                "inputs": {
                    "images": ["2", 0], "find": "dirt", "dirt_certainty": 0.5, "dirt_grow": 0,
                    "dirt_polarity": "both", "scratch_threshold": 45.0, "scratch_min_depth": 1.5, "locked_shots": "off",
                    "dirt_min_size": 5, "dirt_lifetime": 1, "preview_style": "outline", "judge_probability": True,
                    "protect": ["3", 0],
                },
            },
            "5": {
                "class_type": "VLDM_RefineMask",
                "inputs": {
                    "mask": ["4", 3], "threshold": 0.4, "min_size": 4, "fill_holes": True, "grow": 1, "hold": 0,
                    "feather": 1.0, "protect": ["3", 0],
                },
            },
            "6": {
                "class_type": "VLDM_RepairDamage",
                "inputs": {"images": ["2", 0], "dirt": ["5", 0], "dirt_feather": 0.0, "scratch_rows": 40},
            },
            "7": {
                "class_type": "VLDM_Compare",
                "inputs": {"before": ["2", 0], "after": ["6", 0], "layout": "split", "frame": 0, "temporal": False},
            },
        }  # fmt: skip
        run = host.run(prompt)
        assert run.status == "success", run.error
        assert ("12 frames: identical" in run.outputs["7"]["text"][0]) == bool(protected)

    def test_a_protect_mask_of_another_size_is_refused_by_name(self, host):
        prompt = {
            "1": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 16, "height": 16}},
            "2": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 16, "height": 17}},
            "3": {
                "class_type": "VLDM_RefineMask",
                "inputs": {
                    "mask": ["1", 0], "threshold": 0.5, "min_size": 0, "fill_holes": False, "grow": 0, "hold": 0,
                    "feather": 0.0, "protect": ["2", 0],
                },
            },
            "4": {"class_type": "MaskPreview", "inputs": {"mask": ["3", 0]}},
        }  # fmt: skip
        run = host.run(prompt)
        assert run.status == "error"
        assert "the protect mask has the shape (1, 17, 16)" in run.error["exception_message"]

    def test_alpha_is_dropped_and_one_mask_serves_all_frames(self, host):
        prompt = self.masked_repair(width=160, height=120)
        run = host.run(prompt)
        assert run.status == "success", run.error
        assert "12 frames: identical" in run.outputs["6"]["text"][0]

    def test_mask_of_another_size_is_refused_by_name(self, host):
        run = host.run(self.masked_repair(width=64, height=48))
        assert run.status == "error"
        assert "dirt: the mask has 1 frames of 64×48" in run.error["exception_message"]

    def masked_repair(self, width, height):
        solid = {"value": 0.0, "width": width, "height": height}
        return {
            "1": {"class_type": "LoadVideo", "inputs": {"file": "demo_film.mp4"}},
            "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
            "3": {"class_type": "SolidMask", "inputs": solid},
            "4": {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["2", 0], "alpha": ["7", 0]}},
            "7": {"class_type": "ImageToMask", "inputs": {"image": ["2", 0], "channel": "red"}},
            "5": {
                "class_type": "VLDM_RepairDamage",
                "inputs": {"images": ["4", 0], "dirt": ["3", 0], "dirt_feather": 0.0, "scratch_rows": 40},
            },
            "6": {
                "class_type": "VLDM_Compare",
                "inputs": {"before": ["2", 0], "after": ["5", 0], "layout": "split", "frame": 0, "temporal": False},
            },
        }

    def test_reel_of_a_video_made_in_the_graph(self, host):
        prompt = {
            "1": {"class_type": "LoadVideo", "inputs": {"file": "demo_film.mp4"}},
            "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
            "3": {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "audio": ["2", 1], "fps": 24.0}},
            "4": {
                "class_type": "VLDM_RestoreReel",
                "inputs": {
                    "video": ["3", 0], "dirt": True, "scratches": False, "flicker": False, "stabilise": False,
                    "codec": "ffv1", "folder": "output", "filename_prefix": "archive/film",
                    "average": False,
                },
            },
        }  # fmt: skip
        run = host.run(prompt)
        assert run.status == "success", run.error
        path = result_path(host, run, prompt, "VLDM_RestoreReel")
        assert path.parent == host.server.output_folder / "archive" and path.suffix == ".mkv"
        frames, rate = read_film(path)
        source, _ = read_film(host.server.input_folder / "demo_film.mp4")
        assert (frames.shape, rate) == (source.shape, 24)
        # Lossless on the way in and out: what was not repaired is equal.
        assert (frames == source).all(axis=3).mean() > 0.9
        assert abs(audio_seconds(path) - 12 / RATE) < 0.05
        assert not list(host.server.temp_folder.glob("vldm-clip-*"))

    def reel(self, **inputs):
        """Restore Reel to FFV1 in the output folder, dirt and scratches only: the rest of the picture stays."""
        return {
            "1": {"class_type": "LoadVideo", "inputs": {"file": "demo_film.mp4"}},
            "4": {
                "class_type": "VLDM_RestoreReel",
                "inputs": {
                    "video": ["1", 0], "dirt": True, "scratches": True, "flicker": False, "stabilise": False,
                    "codec": "ffv1", "folder": "output", "filename_prefix": "archive/choice",
                    "average": False, **inputs,
                },
            },
        }  # fmt: skip

    def reel_frames(self, host, prompt):
        run = host.run(prompt)
        assert run.status == "success", run.error
        return read_film(result_path(host, run, prompt, "VLDM_RestoreReel"))[0]

    @pytest.mark.parametrize(("name", "value"), [("quality", "normal"), ("dirt_grain", 1.0)])
    def test_reel_obeys_what_is_set_for_dirt(self, host, name, value):
        base = {"scratches": False, "quality": "fast", "dirt_grain": 0.0}
        plain = self.reel_frames(host, self.reel(**base))
        other = self.reel_frames(host, self.reel(**(base | {name: value})))
        assert (plain != other).any()

    @pytest.mark.parametrize(("detector", "found"), [("learned", True), ("weight-free", False)])
    def test_reel_obeys_the_scratch_detector(self, host, detector, found):
        """Where nothing moves, only looks tell a line from the scene."""
        name = f"still_{detector}.mkv"
        rows, columns = np.mgrid[:120, :160]
        still = 110 + 40 * np.sin(rows / 17 + columns / 29)
        still[:, 100:102] -= 20
        grain = np.random.default_rng(7).normal(0, 2, (24, 120, 160))
        grey = torch.from_numpy((still + grain).round() / 255).float()
        write_clip(host.server.input_folder / name, grey[:, None].expand(-1, 3, -1, -1), RATE)
        prompt = self.reel(dirt=False, scratch_detector=detector)
        prompt["1"]["inputs"]["file"] = name
        source, _ = read_film(host.server.input_folder / name)
        changed = self.reel_frames(host, prompt) != source
        assert changed[:, :, 100].any() == found and not changed[:, :, :80].any()

    def test_reviewed_masks_and_an_older_crf_give_the_same_reel_again(self, host):
        """Older workflows say the CRF by the name of the level of effort, and pre-restore where nothing is said."""
        prompt = self.reel(quality=16, prerestore=False, write_masks=True)
        run = host.run(prompt)
        assert run.status == "success", run.error
        path = result_path(host, run, prompt, "VLDM_RestoreReel")
        folder = path.with_name(f"{path.stem}masks")
        again = self.reel(filename_prefix="archive/again")
        for number, name in (("2", "dirt"), ("3", "scratch")):
            masks, _ = read_film(folder / f"{name}.mkv")
            assert masks.any() and not masks.all()
            shutil.copy(folder / f"{name}.mkv", host.server.input_folder)
            again[number] = {"class_type": "LoadVideo", "inputs": {"file": f"{name}.mkv"}}
            again["4"]["inputs"][f"{name}_masks"] = [number, 0]
        assert np.array_equal(self.reel_frames(host, again), read_film(path)[0])

    def test_reel_leaves_a_record_that_takes_its_repairs_back(self, host, tmp_path):
        prompt = self.reel(record=True, quality="fast", filename_prefix="archive/recorded")
        run = host.run(prompt)
        assert run.status == "success", run.error
        path = result_path(host, run, prompt, "VLDM_RestoreReel")
        assert f"recorded in {record_path(path).name}" in run.outputs["4"]["text"][0]
        undo_repairs(record_path(path), path, tmp_path / "back.mkv")
        source, _ = read_film(host.server.input_folder / "demo_film.mp4")
        assert not np.array_equal(read_film(path)[0], source)
        assert np.array_equal(read_film(tmp_path / "back.mkv")[0], source)

    def test_reel_fills_what_a_map_of_damage_marks_and_nothing_else(self, host):
        infrared = torch.full((12, 3, 120, 160), 0.9)
        infrared[4, :, 60:70, 40:50] = 0.2
        write_clip(host.server.input_folder / "infrared.mkv", infrared, RATE)
        prompt = self.reel(scratches=False, defect_map=["2", 0], map_only=True, map_clean=0.9, map_damaged=0.3)
        prompt["2"] = {"class_type": "LoadVideo", "inputs": {"file": "infrared.mkv"}}
        source, _ = read_film(host.server.input_folder / "demo_film.mp4")
        changed = (self.reel_frames(host, prompt) != source).any(axis=3)
        assert changed[4, 60:70, 40:50].mean() > 0.5
        changed[4, 60:70, 40:50] = False
        assert not changed.any()

    def test_settings_are_kept_in_a_file_and_used_again(self, host):
        prompt = {
            "1": {
                "class_type": "VLDM_FilmSettings",
                "inputs": {"file": "none", "save": True, "filename_prefix": "kept/film", "quality": "fast"},
            }
        }
        run = host.run(prompt)
        assert run.status == "success", run.error
        (kept,) = (host.server.output_folder / "kept").glob("film*.json")
        assert read_settings(kept) == StageSettings.of_quality("fast")
        assert run.outputs["1"]["text"][0] == kept.read_text()
        shutil.copy(kept, host.server.input_folder / "film.json")
        prompt["1"]["inputs"] = {"file": "film.json", "save": False, "filename_prefix": "kept/film"}
        assert host.run(prompt).outputs["1"]["text"][0] == kept.read_text()
        (host.server.input_folder / "film.json").write_text('{"format": "vldm film settings", "dust": null}')
        status, answer = host.post("/prompt", {"prompt": prompt})
        assert status == 400 and "no setting dust" in json.dumps(answer)

    def test_reel_leaves_the_protected_part_as_it_is(self, host):
        prompt = self.reel(protect=["7", 0]) | {
            "5": {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 160, "height": 120}},
            "6": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 80, "height": 120}},
            "7": {
                "class_type": "MaskComposite",
                "inputs": {"destination": ["5", 0], "source": ["6", 0], "x": 0, "y": 0, "operation": "add"},
            },
        }
        source, _ = read_film(host.server.input_folder / "demo_film.mp4")
        frames = self.reel_frames(host, prompt)
        # Chroma is shared by two columns, so the last protected one may take part of its neighbour's.
        assert (frames[:, :, :78] == source[:, :, :78]).all()
        assert (frames[:, :, 80:] != source[:, :, 80:]).any(axis=(1, 2, 3)).sum() > 6
        assert not list(host.server.temp_folder.glob("vldm-mask-*"))

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            ({"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 16, "height": 8}}, "16×8, the film 160×120"),
            (
                {"class_type": "ImageToMask", "inputs": {"image": ["2", 0], "channel": "red"}},
                "protect holds 12 masks; give one mask",
            ),
        ],
    )
    def test_reel_refuses_a_protection_that_does_not_fit(self, host, mask, message):
        video = {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}}
        run = host.run(self.reel(protect=["3", 0]) | {"2": video, "3": mask})
        assert run.status == "error"
        assert message in run.error["exception_message"]


class TestInterrupt:
    """Cancel stops within a few frames and leaves nothing half-written, but what a reel goes on from."""

    def long_prompt(self, name):
        prompt = load_workflow(API / f"{name}.json")
        return set_inputs(prompt, "LoadVideo", file="long_film.mp4")

    @pytest.mark.parametrize(
        ("name", "node", "share"),
        [("restore_reel", "VLDM_RestoreReel", 0.7), ("clean_film", "VLDM_DetectDamage", 0.2)],
    )
    def test_interrupt(self, host, name, node, share):
        prompt = self.long_prompt(name)
        # Another value than in other tests, so that nothing comes from the cache.
        if name == "restore_reel":
            set_inputs(prompt, node, crf=21)
        before = host.files()
        progress = ProgressListener(host.url)
        prompt_id = progress.queue(prompt)
        progress.wait_for(by_class(prompt, node), share)
        further = progress.interrupt(host, prompt_id)
        assert host.wait(prompt_id, timeout=60).status == "interrupted"
        # The bar may run ahead by what was under way: a reel's last stages hand on a window of frames at a time.
        assert further < 0.2, f"{further:.0%} of the work was still done"
        left = host.files() - before
        if name != "restore_reel":
            assert left == set()
            return
        assert left and all(path.startswith("output/vldm_work/") for path in left)
        chunks = {path for path in left if path.endswith(".mkv")}
        assert host.run(prompt).status == "success"
        assert not [path for path in host.files() if path.startswith("output/vldm_work/")]
        assert chunks, "the second run had something to go on from"

    def test_next_prompt_runs(self, host, restore_reel):
        assert host.run(set_inputs(restore_reel, "VLDM_RestoreReel", crf=22)).status == "success"


class ProgressListener:
    """Queues a prompt and waits until a node has got some way."""

    def __init__(self, url):
        import aiohttp

        self._aiohttp = aiohttp
        self._url = url

    def queue(self, prompt):
        self._prompt = prompt
        return self._run(self._queue())

    def wait_for(self, node, share):
        self._share = self._run(self._wait(node, share))

    def interrupt(self, host, prompt_id):
        """Cancel the prompt; return the share of the node's bar that was done after that."""
        host.post("/interrupt", {"prompt_id": prompt_id})
        reached = self._run(self._until_the_end())
        self._run(self._close())
        return reached - self._share

    def _run(self, coroutine):
        import asyncio

        if not hasattr(self, "_loop"):
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, 120))

    async def _queue(self):
        self._session = self._aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(f"{self._url}/ws?clientId=listener")
        body = {"prompt": self._prompt, "client_id": "listener"}
        async with self._session.post(f"{self._url}/prompt", json=body) as answer:
            return (await answer.json())["prompt_id"]

    async def _wait(self, node, share):
        async for message in self._socket:
            if message.type is not self._aiohttp.WSMsgType.TEXT:
                continue
            event = json.loads(message.data)
            data = event["data"]
            assert event["type"] not in ("execution_error", "execution_success"), event
            if event["type"] == "progress" and data["node"] == node and data["value"] >= share * data["max"]:
                return data["value"] / data["max"]

    async def _until_the_end(self):
        reached = self._share
        async for message in self._socket:
            if message.type is not self._aiohttp.WSMsgType.TEXT:
                continue
            event = json.loads(message.data)
            if event["type"] == "progress":
                reached = max(reached, event["data"]["value"] / event["data"]["max"])
            if event["type"] in ("execution_interrupted", "execution_error", "execution_success"):
                return reached

    async def _close(self):
        await self._session.close()


class TestRefusals:
    """What can be known before the work is answered with 400 and names the input."""

    def rejected(self, host, prompt, node, name):
        # The host answers 200 and runs the rest where another end of the graph is sound; leave only ends behind `node`.
        prompt = {key: item for key, item in prompt.items() if item["class_type"] != "MaskPreview"}
        if node == "VLDM_Compare":
            del prompt[by_class(prompt, "SaveVideo")]
        status, answer = host.post("/prompt", {"prompt": prompt})
        assert status == 400, answer
        errors = answer["node_errors"][by_class(prompt, node)]["errors"]
        assert len(errors) == 1, errors
        (error,) = errors
        # What a node says of several inputs has no input of the host's; it names its own.
        assert error["extra_info"].get("input_name") == name or error["type"].startswith("exception_during"), error
        return error["message"] + " " + error["details"]

    @pytest.mark.parametrize(
        ("node", "name", "value", "expected"),
        [
            ("VLDM_DetectDamage", "dirt_min_size", 5000, "bigger than max"),
            ("VLDM_DetectDamage", "quality", "ultra", "quality is 'ultra'"),
            ("VLDM_DetectDamage", "map_only", True, "nothing is connected to defect_map"),
            ("VLDM_DetectDamage", "map_clean", 1.0, "map_clean and map_damaged are both 1.0"),
            ("VLDM_RepairDamage", "quality", "ultra", "quality is 'ultra'"),
            ("VLDM_DetectDamage", "find", "ghosts", "find is 'ghosts'"),
            ("VLDM_DetectDamage", "dirt_polarity", "grey", "dirt_polarity is 'grey'"),
            ("VLDM_DetectDamage", "locked_shots", "maybe", "locked_shots is 'maybe'"),
            ("VLDM_DetectDamage", "scratch_detector", "magic", "scratch_detector is 'magic'"),
            ("VLDM_DetectDamage", "preview_style", "bold", "preview_style is 'bold'"),
            ("VLDM_DetectShots", "min_length", 0, "smaller than min"),
            ("VLDM_RepairDamage", "dirt_feather", 99, "bigger than max"),
            ("VLDM_RemoveFlicker", "strength", -1, "smaller than min"),
            ("VLDM_RemoveFlicker", "flash", 1, "smaller than min"),
            ("VLDM_Compare", "layout", "round", "layout is 'round'"),
        ],
    )
    def test_bad_value_in_clean_film(self, host, clean_film, node, name, value, expected):
        assert expected in self.rejected(host, set_inputs(clean_film, node, **{name: value}), node, name)

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("codec", "divx", "codec is 'divx'"),
            ("bits", "9", "bits is '9'"),
            ("folder", "input", "folder is 'input'"),
            ("filename_prefix", "../outside", "filename_prefix is '../outside'"),
            ("filename_prefix", "/outside", "filename_prefix is '/outside'"),
            ("filename_prefix", " ", "filename_prefix is ' '"),
            ("quality", "ultra", "quality is 'ultra'"),
            ("quality", 99, "quality is 99"),
            ("crf", 99, "bigger than max"),
            ("map_only", True, "nothing is connected to defect_map"),
            ("scratch_detector", "magic", "scratch_detector is 'magic'"),
            ("dirt_grain", 1.5, "bigger than max"),
            ("flash", 11, "bigger than max"),
        ],
    )
    def test_bad_value_in_restore_reel(self, host, restore_reel, name, value, expected):
        prompt = set_inputs(restore_reel, "VLDM_RestoreReel", **{name: value})
        assert expected in self.rejected(host, prompt, "VLDM_RestoreReel", name)

    def test_reel_without_any_stage(self, host, restore_reel):
        off = dict.fromkeys(("dirt", "scratches", "flicker", "average", "stabilise", "prerestore"), False)
        prompt = set_inputs(restore_reel, "VLDM_RestoreReel", **off)
        assert "all off" in self.rejected(host, prompt, "VLDM_RestoreReel", "dirt")

    def test_repair_without_a_mask(self, host, clean_film):
        inputs = clean_film[by_class(clean_film, "VLDM_RepairDamage")]["inputs"]
        del inputs["dirt"], inputs["scratch"]
        assert "dirt nor scratch" in self.rejected(host, clean_film, "VLDM_RepairDamage", "images")

    def test_missing_input(self, host, clean_film):
        del clean_film[by_class(clean_film, "VLDM_RemoveFlicker")]["inputs"]["images"]
        assert "missing" in self.rejected(host, clean_film, "VLDM_RemoveFlicker", "images")

    def test_what_only_shows_in_the_data_fails_with_a_clear_message(self, host, clean_film):
        run = host.run(set_inputs(clean_film, "VLDM_Compare", frame=99))
        assert run.status == "error"
        assert "frame is 99, but the clip has 12 frames" in run.error["exception_message"]
