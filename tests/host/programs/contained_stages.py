"""A stage that fails in one frame, or gives NaN, costs a node only that frame; an interrupt stops it all the same."""

import atexit
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import comfy.model_management as management
import folder_paths
import torch
from comfy_api.input_impl import VideoFromFile
from pack.nodes.film import detect_damage as detect
from pack.nodes.film.remove_flicker import RemoveFlicker
from pack.nodes.film.repair_damage import RepairDamage
from pack.nodes.film.stabilise import Stabilise
from pack.nodes.prerestore.pre_restore import PreRestore
from pack.nodes.reel import restore_reel as reel
from pack.vldm_core.errors import StageError
from pack.vldm_core.stages import stream as stages
from pack.vldm_core.prerestore import contained
from pack.vldm_core.video.writing.clip import write_clip

COUNT, BAD = 8, 3
torch.manual_seed(0)
frames = torch.rand(COUNT, 3, 6, 8).repeat_interleave(8, 2).repeat_interleave(8, 3) * 0.5 + 0.25
frames += 0.02 * torch.randn(frames.shape)
frames = (frames * 255).round().clamp(0, 255) / 255
frames[BAD, :, 0, 0] = 0
images = frames.movedim(1, -1)
mask = torch.zeros(COUNT, 48, 64)
mask[:, 20:26, 30:36] = 1
scratch = torch.zeros(COUNT, 48, 64)
scratch[:, :, 10:12] = 1


def bad(image):
    return bool((image[:, 0, 0] == 0).all())


def over_frames(how):
    def make(real):
        def faulty(given, *rest, keep=None, **named):
            found = [t for t in range(len(given))[keep or slice(None)] if bad(given[t])]
            if found and how == "error":
                raise RuntimeError("injected")
            made = real(given, *rest, **({} if keep is None else {"keep": keep}), **named)
            if found:
                made = made.clone()
                made[found] = torch.nan
            return made

        return faulty

    return make


def network(how):
    def make(real):
        def faulty(given, *rest, **named):
            came = []

            def checked():
                for image, where in given:
                    came.append(bad(image if isinstance(image, torch.Tensor) else image.tensor()))
                    if how == "error" and came[-1]:
                        raise RuntimeError("injected")
                    yield image, where

            for number, made in enumerate(real(checked(), *rest, **named)):
                yield made._replace(image=made.image * torch.nan) if came[number] else made

        return faulty

    return make


def run(stage):
    if stage == "dirt marking":
        return detect.DetectDamage.execute(images, "dirt", 8.0, 0.5, 1, "both", 40.0, 2.0, "off")
    if stage == "dirt repair":
        return RepairDamage.execute(images, 0.0, 40, dirt=mask)
    if stage == "scratch repair":
        return RepairDamage.execute(images, 0.0, 40, scratch=scratch)
    if stage == "flicker":
        return RemoveFlicker.execute(images, 1.0, True, 24.0)
    if stage == "stabilise":
        return Stabilise.execute(images, 1.0, 24.0, 20.0)
    return PreRestore.execute(images, 1.0, 0.3)


STAGES = {
    "dirt marking": (stages, "detect_dirt", over_frames),
    "dirt repair": (stages, "repair_dirt", over_frames),
    "scratch repair": (stages, "repair_lines", over_frames),
    "flicker": (stages, "apply_flicker", over_frames),
    "stabilise": (stages, "apply_stabilise", over_frames),
    "pre-restoration": (contained, "pre_restore_stream", network),
}
for stage, (module, name, make) in STAGES.items():
    real = getattr(module, name)
    assert not (run(stage).ui or {}).get("text"), stage
    for how in ("error", "nan"):
        setattr(module, name, make(how)(real))
        output = run(stage)
        setattr(module, name, real)
        assert output.ui and "text" in output.ui, (stage, how)
        (text,) = output.ui["text"]
        assert text.startswith(f"warning: {stage}, frame {BAD}: left as it came ("), text
        result = output.args[0]
        assert torch.isfinite(result).all(), (stage, how)
        expected = torch.zeros(48, 64) if stage == "dirt marking" else images[BAD]
        assert torch.equal(result[BAD], expected), (stage, how)

# The host's interrupt is an ordinary exception, raised from the progress callback: it must not be taken for a fault.
for stage in STAGES:
    management.interrupt_current_processing(True)
    try:
        run(stage)
    except management.InterruptProcessingException:
        pass
    else:
        raise AssertionError(f"{stage} went on after an interrupt")

# Restore Reel: in the report; strict stops it.
folder = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, folder, ignore_errors=True)
folder_paths.set_temp_directory(str(folder))
write_clip(folder / "contained.mkv", frames, Fraction(24))
stages.repair_dirt = over_frames("nan")(stages.repair_dirt)
given = {
    "video": VideoFromFile(str(folder / "contained.mkv")),
    "dirt": True,
    "scratches": False,
    "flicker": False,
    "stabilise": False,
    "codec": "ffv1",
    "quality": 16,
    "folder": "temp",
    "filename_prefix": "contained",
    "prerestore": False,
}
output = reel.RestoreReel.execute(**given)
assert f"warning: dirt repair, frame {BAD}: left as it came (it gave values that are not finite)" in output.args[1]
try:
    reel.RestoreReel.execute(**given, strict=True)
except StageError as error:
    assert f"dirt repair failed in frame {BAD}" in str(error)
else:
    raise AssertionError("strict went on")
