"""Key frames, captions, tags, era and the table in the running host, with tiny models of transformers' real classes."""

import json
import shutil

import pytest
from PIL import Image

from vldm_core.semantics.table.table import ShotTable
from vldm_core.semantics.table.table_files import read_table, write_table

from ..semantics.tiny_models import save_blip, save_clip, save_florence

pytestmark = pytest.mark.host


def node(name, **inputs):
    return {"class_type": name, "inputs": inputs}


@pytest.fixture(scope="module")
def models(host):
    """Folders of captioners and CLIP below the server's models folder."""
    captioners = host.server.base / "models" / "vldm_captioners"
    save_blip(captioners / "blip")
    save_florence(captioners / "florence")
    save_clip(host.server.base / "models" / "vldm_clip" / "clip")
    return captioners


def film(**more):
    """The film's frames and their key frames, which other nodes take."""
    return {
        "video": node("LoadVideo", file="demo_film.mp4"),
        "film": node("GetVideoComponents", video=["video", 0]),
        "shots": node("VLDM_DetectShots", images=["film", 0], threshold=0.275, min_length=6),
        "keys": node("VLDM_KeyFrames", images=["film", 0], shots=["shots", 0], most=2, change=0.2),
        **more,
    }


def tagging(name, table, **more):
    values = {"table": table, "images": ["keys", 1], "model": "clip"}
    if name == "VLDM_TagShots":
        return node(name, **values, most=4, least=0.0, margin=0.0, words="a street\na horse\nsnow", **more)
    return node(name, **values, confidence=0.3, otherwise="heavy", era_map="", **more)


def described(captioner="blip", **table):
    values = {"file": "none", "text": "", "export": "none", "filename_prefix": "shots/table"}
    return film(
        captions=node("VLDM_CaptionShots", table=["keys", 0], images=["keys", 1], captioner=captioner),
        tags=tagging("VLDM_TagShots", ["captions", 0]),
        era=tagging("VLDM_Era", ["tags", 0]),
        table=node("VLDM_ShotTable", table=["era", 0], images=["keys", 1], **(values | table)),
        preset=node("PreviewAny", source=["era", 2]),
    )


def table_of(run):
    return ShotTable.from_json(run.outputs["table"]["text"][0])


@pytest.mark.parametrize("captioner", ["blip", "florence"])
def test_the_whole_way_from_film_to_table(host, models, captioner):
    prompt = described(captioner, export="csv", filename_prefix=f"shots/{captioner}")
    run = host.run(prompt)
    assert run.status == "success", run.error
    table = table_of(run)
    assert table.frames == 12 and table[0].key_frames
    assert table[0].caption == run.outputs["captions"]["text"][0] != ""
    assert set(table[0].tags) <= {"street", "horse", "snow"} and table[0].tags
    assert run.outputs["preset"]["text"][0] in ("heavy", table[0].era, table[0].medium)
    assert "key frames" in run.outputs["keys"]["text"][0]
    (saved,) = (host.server.output_folder / "shots").glob(f"{captioner}*.csv")
    assert read_table(saved) == table
    (shown,) = run.outputs["table"]["images"]
    with Image.open(host.server.temp_folder / shown["subfolder"] / shown["filename"]) as picture:
        assert picture.width == 1280 and picture.height > 150
    # The same again is not done again.
    files = host.files()
    again = host.run(prompt)
    assert (again.status, again.cached) == ("success", set(prompt))
    assert host.files() == files


def test_an_edited_table_is_loaded_and_read_again_when_it_changes(host, models):
    first = host.run(described())
    table = table_of(first)
    mine = host.server.input_folder / "mine.json"
    write_table(table, mine)
    edited = json.loads(mine.read_text(encoding="utf-8"))
    edited["shots"][0]["prompt"] = "a tram in the rain"
    mine.write_text(json.dumps(edited), encoding="utf-8")
    prompt = described(file="mine.json")
    run = host.run(prompt)
    assert run.status == "success", run.error
    assert table_of(run)[0].prompt == "a tram in the rain"
    assert host.run(prompt).cached == set(prompt)
    edited["shots"][0]["prompt"] = "a horse in the snow, at night"
    mine.write_text(json.dumps(edited), encoding="utf-8")
    changed = host.run(prompt)
    assert table_of(changed)[0].prompt == "a horse in the snow, at night"
    assert set(prompt) - changed.cached == {"table"}
    # Prompts written in the node come last; a table of other shots is refused.
    assert table_of(host.run(described(file="mine.json", text="a dog")))[0].prompt == "a dog"
    edited["shots"][0]["last"], edited["frames"] = 99, 100
    mine.write_text(json.dumps(edited), encoding="utf-8")
    refused = host.run(prompt)
    assert refused.status == "error" and refused.error["node_id"] == "table"
    assert "covers 100 frames, but there are 12" in refused.error["exception_message"]


def hostile(models, kind):
    """Return the name of a folder that must not be used."""
    folder = models / kind
    if kind == "missing":
        return kind
    if kind == "out/../blip":
        return kind
    shutil.copytree(models / "blip", folder, dirs_exist_ok=True)
    if kind == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif kind == "cut_short":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:2000])
    elif kind == "code":
        (folder / "modeling.py").write_text("raise SystemExit('this must never run')")
    elif kind == "wrong_class":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"]}))
    return kind


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("missing", ("vldm_captioners/missing", "Salesforce/blip", "Florence-2")),
        ("pickle", ("BLIP", "pickles", "pytorch_model.bin", "huggingface.co/Salesforce")),
        ("cut_short", ("BLIP", "model.safetensors is damaged or cut short")),
        ("code", ("BLIP", "modeling.py", "never run")),
        ("wrong_class", ("LlamaForCausalLM", "not a captioner")),
        ("out/../blip", ("is not a model", "models/vldm_captioners")),
    ],
    ids=["missing", "pickle", "cut short", "code", "wrong class", "path"],
)
def test_captioners_that_cannot_be_used_are_refused_before_anything_runs(host, models, kind, parts):
    prompt = described(hostile(models, kind))
    del prompt["preset"]
    status, answer = host.post("/prompt", {"prompt": prompt})
    assert status == 400, answer
    details = str(answer["node_errors"]["captions"]["errors"])
    assert all(part in details for part in parts), details


@pytest.mark.parametrize(
    ("key", "inputs", "expected"),
    [
        ("tags", {"model": "connected CLIP"}, "clip and clip_vision not connected"),
        ("tags", {"model": "nothing"}, "CLIP cannot be used from"),
        ("tags", {"words": "a horse\na horse"}, "'horse' twice"),
        ("era", {"era_map": "{"}, "not JSON"),
        ("era", {"otherwise": "brand new"}, "otherwise is 'brand new'"),
        ("table", {"file": "no_such.csv"}, "not in the input folder"),
        ("table", {"file": "../log.json"}, "not in the input folder"),
        ("table", {"export": "xlsx"}, "export is 'xlsx'"),
    ],
)
def test_other_refusals_before_anything_runs(host, models, key, inputs, expected):
    prompt = described()
    # The host would run what does not depend on the refused node.
    del prompt["preset"]
    prompt[key]["inputs"].update(inputs)
    status, answer = host.post("/prompt", {"prompt": prompt})
    assert status == 400, answer
    (error,) = answer["node_errors"][key]["errors"]
    assert expected in error["details"], answer


def test_a_table_alone(host):
    table = node("VLDM_ShotTable", file="none", text="", export="none", filename_prefix="x")
    status, answer = host.post("/prompt", {"prompt": {"table": table}})
    assert status == 400 and "there is no table" in str(answer["node_errors"])
    table["inputs"]["text"] = "first,last,prompt\n0,7,a horse\n8,11,a tram\n"
    run = host.run({"table": table})
    assert run.status == "success", run.error
    assert [row.prompt for row in table_of(run)] == ["a horse", "a tram"]
