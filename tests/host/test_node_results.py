"""What a node tells the frontend of its work and of its result, and how what was tuned reaches a whole reel."""

import json
import urllib.request
from dataclasses import replace

import av
import numpy as np
import pytest

from vldm_core.film.scratches.repair.repair import ScratchRepairSettings
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.video.writing.writer import WriteSettings

pytestmark = pytest.mark.host


def reel(codec="ffv1", **inputs):
    """Restore Reel on the short film, without the slow stage."""
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "demo_film.mp4"}},
        "9": {
            "class_type": "VLDM_RestoreReel",
            "inputs": {
                "video": ["1", 0], "dirt": True, "scratches": False, "flicker": False, "stabilise": False,
                "codec": codec, "folder": "temp", "filename_prefix": f"shown/{codec}",
                "average": False, **inputs,
            },
        },
    }  # fmt: skip


def frames_of(path):
    with av.open(str(path)) as film:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)])


def file_of(host, entry):
    folder = host.server.output_folder if entry["type"] == "output" else host.server.temp_folder
    return folder / entry["subfolder"] / entry["filename"]


class TestShownReel:
    def test_a_film_that_browsers_play_is_given_to_play(self, host):
        run = host.run(reel("h264"))
        output = run.outputs["9"]
        assert output["animated"] == [True] and output["images"][0]["filename"].endswith(".mp4")
        assert "written to temp/shown/h264_" in output["text"][0] and "do not play" not in output["text"][0]

    @pytest.mark.parametrize("codec", ["h265", "prores", "ffv1"])
    def test_a_film_that_some_do_not_play_is_named_only(self, host, codec):
        run = host.run(reel(codec))
        output = run.outputs["9"]
        assert "images" not in output and "animated" not in output
        (entry,) = output["film"]
        assert file_of(host, entry).is_file()
        assert f"written to temp/shown/{entry['filename']}, which browsers do not play" in output["text"][0]

    def test_bits_and_a_review_copy_are_as_asked_for(self, host):
        run = host.run(reel("prores", folder="output", filename_prefix="shown/asked", review=True))
        assert run.status == "success", run.error
        path = file_of(host, run.outputs["9"]["film"][0])
        with av.open(str(path)) as film:
            assert path.suffix == ".mov" and film.streams.video[0].codec_context.name == "prores"
        review = path.with_name(f"{path.stem}review.mp4")
        assert f"side by side in {review}" in run.outputs["9"]["text"][0]
        assert len(frames_of(review)) == len(frames_of(path))
        deep = host.run(reel("h264", bits="10"))
        (entry,) = deep.outputs["9"]["film"]
        with av.open(str(file_of(host, entry))) as film:
            assert film.streams.video[0].codec_context.pix_fmt == "yuv420p10le"
        assert "do not play" in deep.outputs["9"]["text"][0]

    def test_live_frames_go_to_the_node_itself_and_the_bar_ends_full(self, host):
        aiohttp = pytest.importorskip("aiohttp")
        import asyncio

        async def messages():
            found = []
            async with aiohttp.ClientSession() as session, session.ws_connect(f"{host.url}/ws?clientId=live") as socket:
                body = {"prompt": reel("h264", crf=17), "client_id": "live"}
                await (await session.post(f"{host.url}/prompt", json=body)).json()
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.BINARY:
                        found.append(("preview", None))
                        continue
                    found.append((json.loads(message.data)["type"], json.loads(message.data)["data"]))
                    if found[-1][0] in ("execution_success", "execution_error"):
                        return found

        seen = asyncio.run(asyncio.wait_for(messages(), 120))
        live = [data for kind, data in seen if kind == "vldm.live"]
        assert live and all(data["node"] == "9" for data in live)
        with urllib.request.urlopen(live[0]["picture"]) as picture:
            assert picture.read(2) == b"\xff\xd8"
        # The host's own preview would stay where the film is to play.
        assert not any(kind == "preview" for kind, _ in seen)
        bar = [data["value"] / data["max"] for kind, data in seen if kind == "progress" and data["node"] == "9"]
        assert bar == sorted(bar) and bar[-1] == 1.0


class TestSettings:
    """What was tuned on single nodes is what a reel is restored with."""

    FAST = ReelSettings.of_quality("fast")
    DIRT = replace(FAST.dirt, certainty=0.2, grow=2, min_size=5, lifetime=1)
    LINES = replace(FAST.lines, sensitivity=60.0, grow=2.0)

    def chain(self, find="dirt and scratches", **reel_inputs):
        """Detect, repair and pre-restore the film, each with values of its own, then the reel with their settings."""
        return reel(**reel_inputs, settings=["5", 2]) | {
            "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
            "6": {"class_type": "VLDM_DetectShots", "inputs": {"images": ["2", 0], "threshold": 0.5, "min_length": 3}},
            "3": {
                "class_type": "VLDM_DetectDamage",
                "inputs": {
                    "images": ["2", 0], "find": find, "quality": "fast", "dirt_certainty": 0.2, "dirt_grow": 2,
                    "dirt_polarity": "both", "scratch_threshold": 60.0, "scratch_min_depth": 1.5, "locked_shots": "off",
                    "dirt_min_size": 5, "dirt_lifetime": 1, "scratch_grow": 2.0,
                    "settings": ["6", 2],
                },
            },
            "4": {
                "class_type": "VLDM_RepairDamage",
                "inputs": {
                    "images": ["2", 0], "dirt": ["3", 0], "scratch": ["3", 1], "dirt_feather": 1.0, "scratch_rows": 20,
                    "dirt_grain": 0.4, "quality": "fast", "settings": ["3", 4],
                },
            },
            "5": {
                "class_type": "VLDM_PreRestore",
                "inputs": {"images": ["4", 0], "strength": 0.5, "keep_grain": 0.6, "settings": ["4", 1]},
            },
        }  # fmt: skip

    def test_the_reel_is_restored_as_tuned_whatever_its_own_switches_say(self, host, tmp_path):
        run = host.run(self.chain(dirt=False, scratches=False, flicker=True, dirt_grain=1.0))
        assert run.status == "success", run.error
        expected = tmp_path / "expected.mkv"
        settings = ReelSettings(
            dirt=self.DIRT,
            lines=self.LINES,
            dirt_repair=replace(self.FAST.dirt_repair, feather=1.0, grain=0.4),
            motion="quick",
            line_repair=ScratchRepairSettings(rows=20),
            flicker=None,
            average=None,
            prerestore=PreRestoration(strength=0.5, keep_grain=0.6, device="cpu"),
            write=WriteSettings(codec="ffv1"),
        )
        restore_film(host.server.input_folder / "demo_film.mp4", expected, settings)
        result = frames_of(file_of(host, run.outputs["9"]["film"][0]))
        difference = np.abs(result.astype(int) - frames_of(expected))
        assert difference.max() <= 1
        assert "pre-restored at strength 0.50, 60% of the grain kept" in run.outputs["9"]["text"][0]

    def test_switches_that_do_not_count_are_not_complained_about(self, host):
        status, answer = host.post("/prompt", {"prompt": self.chain(dirt=False)})
        assert status == 200, answer
        host.wait(answer["prompt_id"])

    def test_a_bypassed_stage_is_left_out(self, host):
        prompt = self.chain()
        prompt["9"]["inputs"]["settings"] = ["4", 1]
        del prompt["5"]
        run = host.run(prompt)
        assert run.status == "success", run.error
        assert "pre-restored" not in run.outputs["9"]["text"][0]
