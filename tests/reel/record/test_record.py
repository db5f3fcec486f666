"""The record of a restoration: what it says, and that taking back gives the samples of the source."""

import io
import json
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.scratches.settings import ScratchSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.notices import Notices
from vldm_core.reel.record.checksums import checksums, sha256
from vldm_core.reel.record.file import RecordReader, RecordWriter, record_path
from vldm_core.reel.record.finding import RepairFinder, SampleForm
from vldm_core.reel.record.fixes import fixes_of
from vldm_core.reel.record.numbering import Numbering
from vldm_core.reel.record.repairs import KINDS, Repairs, Selection, covered
from vldm_core.reel.record.undo import undo_repairs
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.reel.shot_choices import ShotChoices, ShotRow
from vldm_core.stages.analysis import ShotAnalysis
from vldm_core.stages.preset import settings_from
from vldm_core.stages.stage_frame import MarkCertainty, StageFrame
from vldm_core.video.colour import ColourConverter, sample_view
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.reading.reader import open_film
from vldm_core.video.shots import Shot
from vldm_core.video.writing.encoding import WriteSettings
from vldm_core.video.writing.writer import open_writer

from ..conftest import CUT, HEIGHT, WIDTH, damaged_frame

COUNT = CUT + 11
REPAIRS = ReelSettings(lines=ScratchSettings(detector="weight-free"), motion="quick", flicker=None, average=None)
FORMATS = ("yuv420p", "yuv422p10le", "gray", "gbrp", "yuva420p")


def film_in(path: Path, pix_fmt: str, count: int = COUNT) -> Path:
    """Two shots of damaged frames in a pixel format; with colour where it has any."""
    info = FilmInfo.of_frames(WIDTH, HEIGHT, 24)
    tint = np.array([1.0, 0.9, 0.75]) if pix_fmt != "gray" else np.ones(3)
    write = WriteSettings(codec="ffv1", pix_fmt="bgr0" if pix_fmt == "gbrp" else pix_fmt)
    with open_writer(path, info, settings=write) as writer:
        for index in range(count):
            image = (damaged_frame(index)[0] * tint).round().astype(np.uint8)
            writer.write(FilmFrame(index=index, image=image))
    return path


def planes_of(path):
    """All samples of a film, plane by plane in its planar format: (T, h, w) each."""
    with open_film(path, deinterlace="off") as film:
        form = SampleForm.of(film.info.pix_fmt)
        converter = ColourConverter(film.info.width, film.info.height, film.info.colour_matrix, film.info.colour_range)
        frames = []
        for frame in film:
            planar = converter.reformat(frame.source, form.name)
            frames.append([sample_view(planar, plane).copy() for plane in range(len(planar.planes))])
    return [np.stack(plane) for plane in zip(*frames, strict=True)]


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.fixture(scope="module", params=FORMATS)
def restored(request, tmp_path_factory):
    """A film in a pixel format, what the repairs make of it, and its record."""
    folder = tmp_path_factory.mktemp(request.param)
    source, out = film_in(folder / "film.mkv", request.param), folder / "out.mkv"
    restore_reel(source, out, replace(REPAIRS, record=record_path(out)), run=RunSettings(length=5))
    return source, out, record_path(out)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The same for one format."""
    folder = tmp_path_factory.mktemp("recorded")
    source, out = film_in(folder / "film.mkv", "yuv420p"), folder / "out.mkv"
    notices = Notices()
    settings = replace(REPAIRS, record=record_path(out))
    report = restore_reel(source, out, settings, run=RunSettings(length=5), notices=notices)
    return source, out, record_path(out), report


def all_repairs(record):
    with RecordReader(record) as reader:
        return Repairs.joined(list(reader.parts()))


def touched(repairs, planes, form):
    """Where samples lie under the changed pixels of repairs, for each plane (T, h, w) bool."""
    result = []
    for number, plane in enumerate(planes):
        where = np.zeros(plane.shape, bool)
        for frame in np.unique(repairs.frame):
            owner, place = repairs.taken(repairs.frame == frame).pixels()
            if number < form.planes:
                _, under = covered(owner, place, WIDTH, form.step_of(number))
                where[frame].flat[under] = True
        result.append(where)
    return result


def test_taking_all_back_gives_the_source(restored, tmp_path):
    source, out, record = restored
    undone = undo_repairs(record, out, tmp_path / "back.mkv")
    before, after = planes_of(source), planes_of(out)
    assert not same(before, after), "something was repaired"
    assert same(planes_of(tmp_path / "back.mkv"), before)
    assert undone.frames == COUNT and undone.fixes > COUNT
    with RecordReader(undone.record) as left:
        assert not [part for part in left.parts() if (part.changed > 0).any()]


@pytest.mark.parametrize(
    "selection",
    [Selection(kinds=("dirt",)), Selection(kinds=("scratch",), shots=(1,)), Selection(fixes=(1, 4)),
     Selection(frames=(3, 5))],
    ids=["kind", "shot", "fix", "frames"],
)  # fmt: skip
def test_taking_some_back_changes_these_alone(restored, tmp_path, selection):
    source, out, record = restored
    repairs = all_repairs(record)
    with RecordReader(record) as reader:
        form = reader.form
    before, after = planes_of(source), planes_of(out)
    meant = repairs.taken(selection.of(repairs))
    assert 0 < len(meant) < len(repairs)
    undo_repairs(record, out, tmp_path / "back.mkv", selection)
    back = planes_of(tmp_path / "back.mkv")
    for now, original, made, where in zip(back, before, after, touched(meant, before, form), strict=True):
        np.testing.assert_array_equal(now, np.where(where, original, made))
    for name in ("frame", "shot", "number"):
        chosen = {"frame": selection.frames, "shot": selection.shots, "number": selection.fixes}[name]
        if chosen:
            assert set(getattr(meant, name)) <= set(range(chosen[0], chosen[-1] + 1))


def test_the_record_goes_on_with_what_was_left(recorded, tmp_path):
    source, out, record, _ = recorded
    first = undo_repairs(record, out, tmp_path / "one.mkv", Selection(kinds=("dirt",)))
    second = undo_repairs(first.record, tmp_path / "one.mkv", tmp_path / "two.mkv")
    assert same(planes_of(tmp_path / "two.mkv"), planes_of(source))
    with RecordReader(second.record) as reader:
        assert [each["kinds"] for each in reader.about["undone"]] == [["dirt"], []]
        assert all(own["changed_pixels"] == 0 for own in reader.about["figures"].values())


def test_what_the_record_says(recorded):
    source, out, record, report = recorded
    with RecordReader(record) as reader:
        about, repairs = reader.about, Repairs.joined(list(reader.parts()))
        assert reader.shots == report.shots == (Shot(0, CUT), Shot(CUT, COUNT))
        assert about["source"]["files"] == [{"name": str(source), "sha256": sha256(source, lambda: None)}]
        assert about["result"]["files"][0]["sha256"] == sha256(out, lambda: None)
        assert settings_from(json.dumps(about["settings"])).lines == REPAIRS.lines
        assert about["whole_picture"] == [] and not about["moved"] and about["result"]["lossless"]
        fixes = list(fixes_of(reader))
        example = reader.example(0)
    shares = {kind: about["figures"][kind]["changed_pixels"] / (COUNT * WIDTH * HEIGHT) for kind in KINDS}
    assert 0 < shares["dirt"] <= report.dirt_share and 0 < shares["scratch"] <= report.scratch_share
    # Each spot of dirt is a fix, a scratch is one through its shot.
    scratches = [fix for fix in fixes if fix.kind == "scratch" and fix.frames == fix.last - fix.first + 1 > 1]
    assert (0, 0, CUT - 1) in [(fix.shot, fix.first, fix.last) for fix in scratches]
    spots = [fix for fix in fixes if fix.kind == "dirt"]
    assert all(fix.frames == 1 for fix in spots) and len({fix.number for fix in fixes}) == len(fixes)
    marked = np.zeros((COUNT, HEIGHT, WIDTH), bool)
    for repair in range(len(repairs)):
        y, x = int(repairs.y[repair]), int(repairs.x[repair])
        box = slice(y, y + int(repairs.height[repair])), slice(x, x + int(repairs.width[repair]))
        marked[int(repairs.frame[repair])][box] = True
    true_dirt = np.stack([damaged_frame(index)[1] for index in range(COUNT)])
    assert (marked & true_dirt).sum() > 0.8 * true_dirt.sum()
    sure = repairs.confidence[repairs.kind == KINDS.index("dirt")]
    assert np.median(sure) > 60 and sure.max() <= 100
    assert example.before[:2] == example.after[:2] == b"\xff\xd8"
    assert example.changed == max(int(repairs.changed[repairs.frame == frame].sum()) for frame in range(CUT))


def members(record):
    with zipfile.ZipFile(record) as file:
        return {name: file.read(name) for name in file.namelist() if name != "film.json"}


@pytest.mark.parametrize("way", ["one pass", "long chunks", "in memory"])
def test_the_record_does_not_depend_on_how_the_film_was_made(recorded, tmp_path, way):
    source, _, record, _ = recorded
    out = tmp_path / "out.mkv"
    settings = replace(REPAIRS, record=record_path(out))
    if way == "one pass":
        restore_film(source, out, settings)
    elif way == "in memory":
        restore_reel(io.BytesIO(source.read_bytes()), out, settings)
    else:
        restore_reel(source, out, settings, run=RunSettings(length=50))
    assert members(record_path(out)) == members(record)


def test_where_the_whole_picture_was_changed_it_takes_force(tmp_path):
    source, out = film_in(tmp_path / "film.mkv", "yuv420p"), tmp_path / "out.mkv"
    settings = replace(ReelSettings.of_quality("fast"), record=record_path(out))
    restore_film(source, out, settings)
    with pytest.raises(SettingsError, match=r"flicker, average changed the whole picture in shot 0, 1.*--force"):
        undo_repairs(record_path(out), out, tmp_path / "back.mkv")
    assert not (tmp_path / "back.mkv").exists()
    undo_repairs(record_path(out), out, tmp_path / "back.mkv", force=True)
    before, after, back = (planes_of(path) for path in (source, out, tmp_path / "back.mkv"))
    repairs = all_repairs(record_path(out))
    # What is recorded is what the repairs did, and not what was done to the picture afterwards.
    assert repairs.changed.sum() < 0.1 * before[0].size
    luma = touched(repairs, before, SampleForm.of("yuv420p"))[0]
    np.testing.assert_array_equal(back[0], np.where(luma, before[0], after[0]))


def test_only_shots_whose_whole_picture_was_changed_take_force(tmp_path):
    source, out = film_in(tmp_path / "film.mkv", "yuv420p"), tmp_path / "out.mkv"
    rows = (ShotRow(first=0, last=4, skip=True), ShotRow(first=CUT, last=COUNT, changes='{"average": true}'))
    restore_reel(source, out, replace(REPAIRS, choices=ShotChoices(rows=rows), record=record_path(out)))
    with RecordReader(record_path(out)) as reader:
        assert [row["whole_picture"] for row in reader.about["shots"]] == [[], [], ["average"]]
        assert reader.about["choices"]["shots"][0]["skip"]
        assert {int(shot) for part in reader.parts() for shot in part.shot} == {1, 2}
    with pytest.raises(SettingsError, match="average changed the whole picture in shot 2"):
        undo_repairs(record_path(out), out, tmp_path / "back.mkv")
    undo_repairs(record_path(out), out, tmp_path / "back.mkv", Selection(shots=(1,)))
    back, before = planes_of(tmp_path / "back.mkv"), planes_of(source)
    assert all(np.array_equal(one[:CUT], two[:CUT]) for one, two in zip(back, before, strict=True))


def test_a_steadied_picture_cannot_be_taken_back(tmp_path):
    source, out = film_in(tmp_path / "film.mkv", "yuv420p"), tmp_path / "out.mkv"
    restore_film(source, out, replace(REPAIRS, stabilise=StabiliseSettings(), record=record_path(out)))
    with pytest.raises(SettingsError, match="stabilised"):
        undo_repairs(record_path(out), out, tmp_path / "back.mkv", force=True)


def test_another_film_is_refused(recorded, tmp_path):
    source, out, record, _ = recorded
    with pytest.raises(FilmFileError, match="checksum differs"):
        undo_repairs(record, source, tmp_path / "back.mkv")
    grey = film_in(tmp_path / "grey.mkv", "gray")
    with pytest.raises(FilmFileError, match="samples of gray"):
        undo_repairs(record, grey, tmp_path / "back.mkv", force=True)
    with pytest.raises(SettingsError, match="lossy"):
        undo_repairs(record, out, tmp_path / "back.mp4")
    with pytest.raises(SettingsError, match="no repair that is meant"):
        undo_repairs(record, out, tmp_path / "back.mkv", Selection(shots=(9,)))
    with pytest.raises(SettingsError, match="kind"):
        Selection(kinds=("hair",))
    assert [path.name for path in tmp_path.iterdir()] == ["grey.mkv"]


@pytest.mark.parametrize(("suffix", "bits"), [("png", 8), ("dpx", 10), ("exr", 16)])
def test_a_sequence_of_pictures_too(tmp_path, suffix, bits):
    name = f"frame_%06d.{suffix}"
    count = 10
    source, pictures, out = film_in(tmp_path / "film.mkv", "gbrp", count), tmp_path / "in", tmp_path / "out"
    pictures.mkdir()
    with (
        open_film(source) as film,
        open_writer(pictures / name, film.info, settings=WriteSettings(bits=bits)) as writer,
    ):
        for frame in film:
            writer.write(frame)
    restore_reel(pictures, out / name, replace(REPAIRS, record=record_path(out / name)))
    assert record_path(out / name) == record_path(out) == tmp_path / "out.record.zip"
    undo_repairs(record_path(out), out, tmp_path / "back" / name)
    back = tmp_path / "back"
    assert not same(planes_of(out), planes_of(pictures)) and same(planes_of(back), planes_of(pictures))
    (made,) = checksums(pictures, lambda: None)
    assert made["pictures"] == count


def test_a_record_that_is_there_is_not_lost(recorded, tmp_path):
    source, *_ = recorded
    out = tmp_path / "out.mkv"
    record_path(out).write_bytes(b"mine")
    for restore in (restore_film, restore_reel):
        with pytest.raises(FilmFileError, match="exists already"):
            restore(source, out, replace(REPAIRS, record=record_path(out)))
    assert record_path(out).read_bytes() == b"mine" and not out.exists()


@pytest.mark.parametrize("harm", ["cut", "flipped", "other", "not a zip", "gone", "version", "samples"])
def test_a_damaged_record_is_told(recorded, tmp_path, harm):
    _, out, whole, _ = recorded
    record = tmp_path / "damaged.record.zip"
    contents = bytearray(whole.read_bytes())
    if harm == "cut":
        contents = contents[: len(contents) // 2]
    elif harm == "flipped":
        with zipfile.ZipFile(whole) as file:
            part = next(info for info in file.infolist() if info.filename.startswith("repairs/"))
        contents[part.header_offset + part.file_size // 2] ^= 255
    elif harm in ("other", "version", "samples"):
        with zipfile.ZipFile(whole) as file, zipfile.ZipFile(record, "w") as made:
            for name in file.namelist():
                member = file.read(name)
                if name == "film.json":
                    about = json.loads(member)
                    about.update({"other": {"format": "x"}, "version": {"version": 2}}.get(harm, {}))
                    if harm == "samples":
                        about["samples"]["pix_fmt"] = "yuv420p10le"
                    member = json.dumps(about).encode()
                made.writestr(name, member)
        contents = bytearray(record.read_bytes())
    elif harm == "not a zip":
        contents = bytearray(b"a letter")
    if harm != "gone":
        record.write_bytes(contents)
    with pytest.raises(FilmFileError, match=r"damaged\.record\.zip"):
        undo_repairs(record, out, tmp_path / "back.mkv")
    assert not (tmp_path / "back.mkv").exists()


def synthetic(frame, count=20):
    rng = np.random.default_rng(frame)
    runs = np.full(count, 3)
    return Repairs.made(
        frame=np.full(count, frame), shot=np.zeros(count), number=np.zeros(count), kind=np.zeros(count),
        x=np.arange(count), y=np.arange(count), width=np.full(count, 6), height=np.full(count, 3),
        marked=np.full(count, 18), changed=np.full(count, 18), chroma=np.full(count, 6),
        confidence=np.full(count, 90), link=np.full(count, -1), runs=runs,
        run_start=np.arange(3 * count) * 40, run_length=np.full(3 * count, 6),
        samples=[rng.integers(0, 256, size, np.uint8) for size in (18 * count, 6 * count, 6 * count)],
    )  # fmt: skip


def test_memory_does_not_grow_with_the_film(tmp_path):
    def peak(frames):
        numbering = Numbering()
        tracemalloc.start()
        with RecordWriter(tmp_path / f"{frames}.zip", SampleForm.of("yuv420p"), 48000, [Shot(0, frames)]) as writer:
            for frame in range(frames):
                writer.write(numbering.of(synthetic(frame), 0))
            writer.finish(of_shots=[{}], frames=frames)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10)
    short, long = peak(300), peak(3000)
    assert long < 1.15 * short + 100_000
    with RecordReader(tmp_path / "3000.zip") as reader:
        assert sum(len(part) for part in reader.parts()) == 60_000
        assert reader.about["figures"]["dirt"]["fixes"] == 60_000


def test_marks_are_told_apart_by_what_they_are():
    info = FilmInfo.of_frames(60, 40, 24)
    image = np.full((40, 60, 3), 100, np.uint8)
    dirt, seam, forced = (torch.zeros(40, 60) for _ in range(3))
    dirt[5:8, 5:9] = 1
    dirt[20:22] = seam[20:22] = 1
    dirt[30:33, 50:53] = forced[30:33, 50:53] = 1
    repaired = torch.from_numpy(image).permute(2, 0, 1) / 255 + 0.1 * dirt * (torch.arange(60) < 40)
    place = np.array([5 * 60 + 5, 5 * 60 + 6], np.uint32)
    frame = StageFrame(
        image=repaired,
        origin=FilmFrame(index=7, image=image),
        dirt=dirt,
        seam=seam,
        forced=forced,
        certainty=MarkCertainty(place=place, value=np.array([0.5, 0.75], np.float16)),
    )
    analysis = ShotAnalysis.unmeasured(1, 40, 60)
    found = RepairFinder(info)(frame, 0, analysis)
    assert [KINDS[kind] for kind in found.kind] == ["dirt", "seam", "named"]
    assert list(found.marked) == [12, 120, 9] and list(found.changed) == [12, 80, 0], (
        "what did not change is left alone"
    )
    assert list(found.confidence) == [62, 255, 255]
    assert list(found.runs) == [3, 2, 0] and all((plane == 100).all() for plane in found.samples)
    again = Repairs.of_arrays(found.arrays())
    for one, two in zip(found.pixels(), again.pixels(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert sorted(found.pixels()[1][:4]) == [305, 306, 307, 308]


def staying(frame, box, *, kind="scratch", link=-1):
    x, y, width, height = box
    return Repairs.made(
        frame=[frame], shot=[0], number=[0], kind=[KINDS.index(kind)], x=[x], y=[y], width=[width], height=[height],
        marked=[1], changed=[1], chroma=[1], confidence=[255], link=[link], runs=[1], run_start=[0], run_length=[1],
        samples=[np.zeros(1, np.uint8)],
    )  # fmt: skip


def test_what_stays_is_one_fix():
    numbering = Numbering()

    def number(*given, shot=0, **more):
        return int(numbering.of(staying(*given, **more), shot).number[0])

    assert [number(frame, (40 + frame, 0, 3, 90)) for frame in range(4)] == [1, 1, 1, 1]
    assert number(4, (90, 0, 3, 90)) == 2
    assert number(6, (44, 10, 3, 50)) == 1, "it may be missing for two frames"
    assert number(7, (44, 10, 3, 50), kind="standing") == 3
    assert number(20, (44, 10, 3, 50)) == 4, "and not for longer"
    assert number(21, (10, 0, 3, 9), link=7) == number(40, (90, 50, 3, 9), link=7) == 5, "a scratch that was followed"
    assert number(41, (10, 0, 3, 9), link=7, shot=1) == 6, "never beyond its shot"
    assert number(42, (10, 0, 3, 9), kind="dirt", shot=1) == 7
    assert number(43, (10, 0, 3, 9), kind="dirt", shot=1) == 8
