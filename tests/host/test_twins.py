"""The shipped workflows: the editor's file, its API twin and the node schemas say the same."""

import json
from pathlib import Path

import pytest

from vldm_core.prior.controls.defaults import DEFAULTS
from vldm_core.prior.controls.reading import FORMATS
from vldm_core.semantics.prompts.prompts import TEMPLATES

from .conftest import workflow_names
from .test_nodes import NODES

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(workflow_names.TITLES)
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
NOTES = {"Note", "MarkdownNote"}
SEEDS = {"seed", "noise_seed"}
BYPASSED, MUTED = 4, 2
# Workflows that need a model of the user's own, and the files that they name.
MODELS = {
    "animate_prior_check": {"v1-5-pruned-emaonly-fp16.safetensors", "v3_sd15_mm.ckpt"},
    "image_model": {"realesrgan_s4_swinir_100k.pth"},
    "restore_coser": {"CoSeR.ckpt", "clip_vision_h.safetensors", "v2-1_512-ema-pruned.safetensors"},
    "restore_diffbir": {
        "DiffBIR_v2.1.pt", "realesrgan_s4_swinir_100k.pth", "sd2.1-base-zsnr-laionaes5.ckpt"
    },
    "restore_one_step": {"osediff.pkl", "v2-1_512-ema-pruned.safetensors"},
    "restore_full": {"v1-5-pruned-emaonly-fp16.safetensors"},
    "restore_pasd": {
        "pasd/checkpoint-100000/controlnet/diffusion_pytorch_model.safetensors",
        "pasd/checkpoint-100000/unet/diffusion_pytorch_model.safetensors",
        "v1-5-pruned-emaonly-fp16.safetensors",
    },
    "restore_reel_in_one_step": {"osediff.pkl", "v2-1_512-ema-pruned.safetensors"},
    "restore_reel_with_prior": {"v1-5-pruned-emaonly-fp16.safetensors"},
    "restore_seesr": {
        "512-base-ema.safetensors",
        "clip_vision_h.safetensors",
        "seesr/controlnet/diffusion_pytorch_model.safetensors",
        "seesr/unet/diffusion_pytorch_model.safetensors",
    },
    "restore_stablesr": {"stablesr_000117.ckpt", "v2-1_512-ema-pruned.safetensors", "vqgan_cfw_00011.ckpt"},
    "restore_with_sd": {"v1-5-pruned-emaonly-fp16.safetensors"},
    "stock_sampler": {"v1-5-pruned-emaonly-fp16.safetensors"},
}  # fmt: skip
# Those that lie elsewhere than on Hugging Face, under a name of the author's.
ELSEWHERE = {"CoSeR.ckpt": "https://drive.google.com/file/d/", "osediff.pkl": "https://github.com/cswry/OSEDiff/"}
# Those that a user has trained, and nobody else has.
OWN = {f"{name}.safetensors" for name in ("control", "fusion", "prerestorer", "temporal")}
NO_FILE = "none"
SHIPPED = "shipped"
# Lists of files on the machine.
FILES = {
    ("CheckpointLoaderSimple", "ckpt_name"),
    ("CLIPVisionLoader", "clip_name"),
    ("VLDM_ApplyTemporalLayers", "file"),
    ("VLDM_DecodeWithFeatureWrapping", "file"),
    ("VLDM_LoadOneStepRestorer", "file"),
    ("VLDM_LoadOneStepRestorer", "second_file"),
    ("VLDM_LoadPreRestorer", "file"),
    ("VLDM_LoadRestorationControl", "file"),
    ("VLDM_LoadRestorationControl", "second_file"),
    ("VLDM_LoadStage1", "file"),
    ("VLDM_ReelPrior", "trained_fusion"),
    ("VLDM_TrainedFusion", "file"),
}
# Lists of folders there.
FOLDERS = {("VLDM_Era", "model")}
# What authors call a sampler, and its name and schedule here.
PUBLISHED_SAMPLERS = {
    "edm_dpm++_3m_sde": ("edm_dpm++_3m_sde", "diffbir_edm"),
    "UniPC": ("uni_pc", "normal"),
    "DDPM": ("spaced_ddpm", "spaced_ddpm"),
    "spaced DDPM": ("spaced_ddpm", "spaced_ddpm"),
}
UPLOADS = ("video_upload", "image_upload", "audio_upload")


def editor(name):
    return json.loads(workflow_names.editor_file(name).read_text(encoding="utf-8"))


def twin(name):
    return json.loads(workflow_names.twin_file(name).read_text(encoding="utf-8"))


def inputs_of(description):
    return {**description["input"].get("required", {}), **description["input"].get("optional", {})}


def kind_of(entry):
    # V1 combos have their list of options in the place of the type.
    return "COMBO" if isinstance(entry[0], list) else entry[0]


def options_of(entry):
    return entry[1] if len(entry) > 1 else {}


def widget_values(node, description):
    """Name the positional widget values of an editor node."""
    values = iter(node.get("widgets_values", []))
    named = {}
    for key, entry in inputs_of(description).items():
        if kind_of(entry) not in WIDGETS or options_of(entry).get("forceInput"):
            continue
        named[key] = next(values)
        # The frontend adds a widget of its own behind some: to all integers of these names, and where it is told to.
        steered = options_of(entry).get("control_after_generate", kind_of(entry) == "INT" and key in SEEDS)
        if steered or any(options_of(entry).get(flag) for flag in UPLOADS):
            next(values)
    assert not list(values), f"node {node['id']} has more widget values than widgets"
    return named


def origins(workflow):
    """Return where every link really comes from: a bypassed node hands on its first input of the output's type."""
    by_id = {node["id"]: node for node in workflow["nodes"]}
    links = {link[0]: link for link in workflow["links"]}

    def origin(number):
        _, source, slot, *_, kind = links[number]
        node = by_id[source]
        if node["mode"] != BYPASSED:
            return [str(source), slot]
        return next(origin(item["link"]) for item in node["inputs"] if item["type"] == kind and item.get("link"))

    return {number: origin(number) for number in links}


def as_prompt(workflow, nodes):
    """Convert an editor workflow to API format with the schemas alone."""
    links = origins(workflow)
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in NOTES or node["mode"] in (BYPASSED, MUTED):
            continue
        values = widget_values(node, nodes[node["type"]])
        linked = {item["name"]: links[item["link"]] for item in node["inputs"] if item.get("link") is not None}
        title = node.get("title") or nodes[node["type"]]["display_name"]
        prompt[str(node["id"])] = {
            "inputs": values | linked, "class_type": node["type"], "_meta": {"title": title}
        }  # fmt: skip
    return prompt


def model_files(name, nodes):
    """Return the widget values that name a model file, with the node's own list of sources, of what is switched on."""
    for node in editor(name)["nodes"]:
        if node["mode"] in (BYPASSED, MUTED):
            continue
        for key, value in widget_values(node, nodes[node["type"]]).items() if node["type"] not in NOTES else ():
            if (node["type"], key) in FILES and value not in OWN | {NO_FILE, SHIPPED}:
                yield value, node["properties"].get("models", [])


def test_every_workflow_has_a_twin_and_a_picture():
    assert NAMES
    assert sorted(path.stem for path in workflow_names.TWINS.glob("*.json")) == NAMES
    for suffix in ("json", "jpg"):
        listed = sorted(path.stem for path in workflow_names.FOLDER.glob(f"*.{suffix}"))
        assert listed == sorted(workflow_names.TITLES.values())


def test_titles_say_what_a_workflow_does():
    # They are all that the template browser shows of a workflow, and part of an address.
    for title in workflow_names.TITLES.values():
        assert len(title.split()) >= 5 and not set(title) & set('_%#?:/\\"<>|*')


def test_every_node_stands_in_a_workflow():
    assert {node["type"] for name in NAMES for node in editor(name)["nodes"]} >= NODES


def sources(prompt, key, seen=None):
    """Return the ids of all nodes whose results reach a node."""
    seen = set() if seen is None else seen
    for value in prompt[key]["inputs"].values():
        if isinstance(value, list) and value[0] not in seen:
            seen.add(value[0])
            sources(prompt, value[0], seen)
    return seen


def only(prompt, kind):
    """Return the id of the only node of a type."""
    (key,) = [key for key, node in prompt.items() if node["class_type"] == kind]
    return key


@pytest.mark.parametrize("name", ["restore_with_sd", "stock_sampler"])
def test_flicker_is_gone_before_the_prior_sees_the_film(name):
    prompt = twin(name)
    (latents,) = [key for key, node in prompt.items() if node["class_type"] == "VAEEncode"]
    before = {prompt[key]["class_type"]: key for key in sources(prompt, latents)}
    assert "VLDM_RemoveFlicker" in before
    repaired = sources(prompt, before["VLDM_RemoveFlicker"])
    assert before["VLDM_RepairDamage"] in repaired
    assert prompt[before["VLDM_PreRestore"]]["inputs"]["images"][0] == before["VLDM_RemoveFlicker"]


@pytest.mark.parametrize("name", sorted(workflow_names.CONTROLS))
class TestRestorationControls:
    """Workflows of published restoration systems."""

    def test_flicker_is_gone_before_the_prior_and_compare_stands_behind_it(self, name):
        prompt = twin(name)
        sampler, control, flicker, compare = (
            only(prompt, f"VLDM_{kind}")
            for kind in ("RestorationSampler", "ApplyRestorationControl", "RemoveFlicker", "Compare")
        )
        assert prompt[flicker]["inputs"]["images"][0] == only(prompt, "VLDM_RepairDamage")
        assert flicker in sources(prompt, control)
        assert prompt[sampler]["inputs"]["model"] == [control, 0]
        assert sampler in sources(prompt, compare)
        assert prompt[compare]["inputs"]["after"] == prompt[only(prompt, "CreateVideo")]["inputs"]["images"]

    def test_sampler_and_control_are_given_the_same_frames_and_damage(self, name):
        prompt = twin(name)
        sampler, control = (
            prompt[only(prompt, f"VLDM_{kind}")]["inputs"] for kind in ("RestorationSampler", "ApplyRestorationControl")
        )
        fit, damage = only(prompt, "VLDM_FitForPrior"), only(prompt, "VLDM_DetectDamage")
        frames = [fit, 0]
        if name == "restore_diffbir":
            frames = [only(prompt, "VLDM_RestoreWithImageModel"), 0]
            assert prompt[frames[0]]["inputs"]["images"] == [fit, 0]
        assert sampler["images"] == control["images"] == frames
        assert prompt[only(prompt, "VAEEncode")]["inputs"]["pixels"] == frames
        assert sampler["mask"] == control["mask"] == [fit, 2]
        assert sampler["shots"] == control["shots"]
        joined = prompt[prompt[fit]["inputs"]["mask"][0]]["inputs"]
        assert (joined["destination"], joined["source"]) == ([damage, 0], [damage, 1])

    def test_it_samples_as_published(self, name):
        published = DEFAULTS[workflow_names.CONTROLS[name]][0]
        prompt = twin(name)
        sampler = prompt[only(prompt, "VLDM_RestorationSampler")]["inputs"]
        assert (sampler["steps"], sampler["cfg"]) == (published.steps, published.cfg)
        assert (sampler["sampler_name"], sampler["scheduler"]) == PUBLISHED_SAMPLERS[published.sampler]
        assert (sampler["denoise"], sampler["guidance"], sampler["keep_undamaged"]) == (1, 0, 0)
        assert prompt[only(prompt, "VLDM_RestorationSettings")]["inputs"]["start"] == published.start
        # PASD's authors process pictures of 768 pixels or more, the others of 512.
        short_side = 768 if name == "restore_pasd" else 512
        assert prompt[only(prompt, "VLDM_FitForPrior")]["inputs"]["short_side"] == short_side
        words, negatives = prompt[sampler["positive"][0]]["inputs"], prompt[sampler["negative"][0]]["inputs"]
        if "template" in words:
            template = TEMPLATES[words["template"]]
            assert (template.added, template.negative) == (published.prompt_added, published.negative)
            assert words["before"] == words["after"] == words["negative"] == ""
        else:
            assert words["text"] == published.prompt_added == ""
            assert negatives["text"] == published.negative

    def test_models_and_licence_are_told(self, name):
        nodes = editor(name)["nodes"]
        (note,) = [node["widgets_values"][0] for node in nodes if node.get("title") == "Models"]
        assert "Licence" in note
        for model in (model for node in nodes for model in node["properties"].get("models", ())):
            assert model["url"] in note and f"ComfyUI/models/{model['directory']}" in note
        (known,) = [known for known in FORMATS if known.system == workflow_names.CONTROLS[name]]
        assert ("non-commercial" in note) or known.commercial is not False
        assert ("Apache-2.0" in note) or known.commercial is not True


@pytest.mark.parametrize("name", sorted(MODELS))
def test_without_its_model_a_workflow_is_refused_as_a_whole(host, name):
    """A node that needs no model would run for minutes before anybody hears of the missing file."""
    status, answer = host.post("/prompt", {"prompt": twin(name)})
    assert status == 400
    words = json.dumps(answer["node_errors"])
    # Of a system in two files the first is looked for first.
    later = {node["inputs"].get("second_file") for node in twin(name).values()}
    assert all(file in words for file in MODELS[name] - later)


def test_the_excerpt_hands_its_settings_to_the_whole_film():
    nodes = {node["id"]: node for node in editor("clean_film")["nodes"]}
    reel = next(node for node in nodes.values() if node["type"] == "VLDM_RestoreReel")
    links = origins(editor("clean_film"))
    settings = {item["name"]: links[item["link"]] for item in reel["inputs"] if item.get("link")}["settings"]
    chain = []
    prompt = as_prompt_links(editor("clean_film"), links)
    key = settings[0]
    while key is not None:
        chain.append(nodes[int(key)]["type"])
        key = prompt.get(int(key))
    assert chain == [
        "VLDM_FilmSettings", "VLDM_ReduceGrain",
        "VLDM_RemoveFlicker", "VLDM_RepairDamage", "VLDM_DetectDamage", "VLDM_DetectShots"
    ]  # fmt: skip


def as_prompt_links(workflow, links):
    """Return for every node the node from which its settings come."""
    return {
        node["id"]: links[item["link"]][0]
        for node in workflow["nodes"]
        for item in node["inputs"]
        if item["name"] == "settings" and item["type"] == "VLDM_FILM_SETTINGS" and item.get("link")
    }


def test_a_whole_film_and_an_excerpt_have_the_same_stages_on(nodes):
    switches = next(n for n in twin("restore_reel").values() if n["class_type"] == "VLDM_RestoreReel")["inputs"]
    stages = {node["class_type"] for node in twin("clean_film").values()}
    by_stage = {
        "flicker": "VLDM_RemoveFlicker",
        "average": "VLDM_ReduceGrain",
        "stabilise": "VLDM_Stabilise",
        "prerestore": "VLDM_PreRestore",
    }
    assert {key: switches[key] for key in by_stage} == {key: name in stages for key, name in by_stage.items()}
    assert switches["dirt"] and switches["scratches"] and "VLDM_RepairDamage" in stages


@pytest.mark.parametrize("name", NAMES)
def test_editor_file_and_twin_agree(nodes, name):
    assert as_prompt(editor(name), nodes) == twin(name)


@pytest.mark.parametrize("name", NAMES)
def test_links_are_consistent(name):
    workflow = editor(name)
    by_id = {node["id"]: node for node in workflow["nodes"]}
    for number, source, slot, target, position, kind in workflow["links"]:
        output, target_input = by_id[source]["outputs"][slot], by_id[target]["inputs"][position]
        assert number in output["links"]
        assert target_input["link"] == number
        assert output["type"] == kind
    numbers = [link[0] for link in workflow["links"]]
    assert len(numbers) == len(set(numbers))
    assert workflow["last_link_id"] >= max(numbers)
    assert workflow["last_node_id"] >= max(by_id)


@pytest.mark.parametrize("name", NAMES)
def test_twin_fits_the_schemas(nodes, name):
    prompt = twin(name)
    for key, node in prompt.items():
        described = nodes[node["class_type"]]
        known = inputs_of(described)
        assert set(described["input"].get("required", {})) <= set(node["inputs"]), f"node {key} misses inputs"
        for input_name, value in node["inputs"].items():
            assert input_name in known, f"node {key} has no input {input_name}"
            kind, options = kind_of(known[input_name]), options_of(known[input_name])
            if isinstance(value, list):
                source, slot = value
                assert nodes[prompt[source]["class_type"]]["output"][slot] == kind
            elif kind in ("INT", "FLOAT"):
                assert options["min"] <= value <= options["max"]
            elif (node["class_type"], input_name) in FILES:
                known_kinds = (".safetensors", ".ckpt", ".pth", ".pt", ".pkl")
                assert value in (NO_FILE, SHIPPED) or Path(value).suffix in known_kinds
            elif kind == "COMBO" and (node["class_type"], input_name) not in FOLDERS:
                assert value in (known[input_name][0] if isinstance(known[input_name][0], list) else options["options"])
            else:
                assert isinstance(value, {"STRING": str, "BOOLEAN": bool, "COMBO": str}[kind])


@pytest.mark.parametrize("name", NAMES)
def test_our_nodes_have_their_default_values(nodes, name):
    # `python scripts/screenshot_workflows.py --defaults` brings them up to date.
    chosen = workflow_names.CHOSEN_IN.get(name, {})
    for node in twin(name).values():
        if not node["class_type"].startswith("VLDM_"):
            continue
        for key, entry in inputs_of(nodes[node["class_type"]]).items():
            linked = isinstance(node["inputs"].get(key), list)
            free = linked or key == "filename_prefix" or key in chosen.get(node["class_type"], ())
            if "default" in options_of(entry) and not free:
                assert node["inputs"][key] == options_of(entry)["default"], f"{node['class_type']}.{key}"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_file_has_a_source(host, nodes, name):
    # ComfyUI's dialog about missing models is made from this, and only for folders that it knows.
    files = list(model_files(name, nodes))
    assert {value for value, _ in files} == MODELS[name]
    folders = {folder["name"] for folder in host.get("/experiment/models")}
    for value, models in files:
        (model,) = [model for model in models if model["name"] == value]
        if value in ELSEWHERE:
            assert model["url"].startswith(ELSEWHERE[value])
        else:
            assert model["url"].startswith("https://huggingface.co/") and model["url"].endswith(f"/{value}")
        assert model["directory"] in folders


def test_temporal_layers_are_optional_where_a_film_is_restored():
    (node,) = [n for n in editor("restore_with_sd")["nodes"] if n["type"] == "VLDM_ApplyTemporalLayers"]
    assert node["mode"] == BYPASSED
    # Nor does the dialog about missing models ask for a file that is not used.
    assert "models" not in node["properties"]
    sampler = next(n for n in twin("restore_with_sd").values() if n["class_type"] == "VLDM_RestorationSampler")
    loader = twin("restore_with_sd")[sampler["inputs"]["model"][0]]
    assert loader["class_type"] == "CheckpointLoaderSimple"


@pytest.mark.parametrize("name", NAMES)
def test_nodes_do_not_overlap(name):
    nodes = editor(name)["nodes"]
    title = 30  # A node's position is below its title bar.
    boxes = [
        (n["id"], n["pos"][0], n["pos"][1] - title, n["pos"][0] + n["size"][0], n["pos"][1] + n["size"][1])
        for n in nodes
    ]
    for index, (a, left, top, right, bottom) in enumerate(boxes):
        for b, other_left, other_top, other_right, other_bottom in boxes[index + 1 :]:
            apart = right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top
            assert apart, f"nodes {a} and {b} overlap"
