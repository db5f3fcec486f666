"""Still-image restorers in the running host: its own loader and ours, its own upscale node and ours."""

import re

import pytest
import torch
from safetensors.torch import save_file

from ..prerestore.ncnn_weights import published_state
from ..prerestore.stage1_nets import BSRNET_OF_SPANDREL, published, write

pytestmark = pytest.mark.host


def enlarger():
    """The state dict of a tiny BSRNet that the host's loader takes, too."""
    kind, config = BSRNET_OF_SPANDREL
    torch.manual_seed(2)
    return kind.published_state(kind.build(config))


def prefixed(prefix, tensors):
    return {f"{prefix}{key}": value for key, value in tensors.items()}


@pytest.fixture(scope="module")
def files(host):
    """Tiny restorers in the layouts of the published files, and something else."""
    folder = host.server.base / "models" / "upscale_models"
    folder.mkdir(parents=True, exist_ok=True)
    swinir, scunet = published("swinir"), published("scunet")
    write(folder / "swinir.ckpt", {"state_dict": swinir})
    write(folder / "swinir_module.ckpt", {"state_dict": prefixed("module.", swinir)})
    write(folder / "swinir_ema.pth", {"params": swinir, "params_ema": swinir})
    write(folder / "whole.ckpt", {"state_dict": prefixed("preprocess_model.", swinir) | {"betas": torch.zeros(2)}})
    write(folder / "scunet.pth", scunet)
    write(folder / "bsrnet.pth", enlarger())
    write(folder / "bsrnet_module.pth", prefixed("module.", enlarger()))
    write(folder / "bsrnet_more.pth", enlarger() | {"unknown.weight": torch.zeros(1)})
    save_file({"x": torch.ones(1)}, folder / "other.safetensors")
    return folder


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


# Of the demonstration film: networks with attention take a processor's time.
FRAMES, HEIGHT, WIDTH = 3, 44, 60
STOCK, OURS = "UpscaleModelLoader", "VLDM_LoadStage1"


def graph(file, loader=OURS, **changes):
    """Part of the demonstration film through Restore With Image Model, compared with what went in."""
    values = {"strength": 1.0, "keep_grain": 0.0, "temporal": 0.5, "in_masks": 0.0}
    values |= {"short_side": 0, "keep_scale": False, "tile_size": 0} | changes
    return {
        "film": node("LoadVideo", file="demo_film.mp4"),
        "whole": node("GetVideoComponents", video=["film", 0]),
        "few": node("ImageFromBatch", image=["whole", 0], batch_index=2, length=FRAMES),
        "parts": node("ImageCrop", image=["few", 0], width=WIDTH, height=HEIGHT, x=20, y=20),
        "shots": node("VLDM_DetectShots", images=["parts", 0], threshold=0.275, min_length=6),
        "loader": node(loader, **{"file" if loader == OURS else "model_name": file}),
        "restored": node(
            "VLDM_RestoreWithImageModel",
            upscale_model=["loader", 0],
            images=["parts", 0],
            shots=["shots", 0],
            **values,
        ),
        "compare": compare(["parts", 0], ["restored", 0]),
    }


def compare(before, after):
    return node("VLDM_Compare", before=before, after=after, layout="split", frame=0, temporal=False)


def alike(text):
    """Whether Compare has found a difference of rounding at most."""
    found = re.search(r"PSNR ([0-9.]+) dB", text)
    return "identical" in text or (found is not None and float(found.group(1)) > 110)


def succeeded(host, prompt):
    run = host.run(prompt)
    assert run.status == "success", run.error
    return run.outputs["compare"]["text"][0]


@pytest.mark.parametrize(
    ("file", "loader"),
    [("swinir.ckpt", OURS), ("scunet.pth", OURS), ("bsrnet.pth", OURS), ("bsrnet.pth", STOCK), ("swinir.ckpt", STOCK)],
)
def test_a_film_through_restorers_of_both_loaders(host, files, file, loader):
    text = succeeded(host, graph(file, loader))
    assert f"{FRAMES} frames" in text and "identical" not in text


def test_the_second_run_is_cached_and_a_new_file_is_read_again(host, files):
    prompt = graph("changing.pth")
    write(files / "changing.pth", published("scunet"))
    first = succeeded(host, prompt)
    assert host.run(prompt).cached == set(prompt)
    write(files / "changing.pth", published("scunet", seed=1))
    changed = host.run(prompt)
    assert changed.status == "success" and not {"loader", "restored"} & changed.cached
    assert changed.outputs["compare"]["text"][0] != first


def test_it_is_the_stock_node_where_nothing_is_added(host, files):
    # The same restorer from both loaders, through both nodes: one and the same film, four times as large.
    plain = {"temporal": 0.0, "keep_scale": True}
    prompt = graph("bsrnet.pth", **plain)
    for loader, name, value in ((STOCK, "model_name", "bsrnet.pth"), (OURS, "file", "bsrnet.pth")):
        prompt["other"] = node(loader, **{name: value})
        prompt["stock"] = node("ImageUpscaleWithModel", upscale_model=["other", 0], image=["parts", 0])
        size = {"width": 4 * WIDTH, "height": 4 * HEIGHT, "crop": "disabled"}
        prompt["size"] = node("ImageScale", image=["parts", 0], upscale_method="area", **size)
        prompt["compare"] = compare(["stock", 0], ["restored", 0])
        assert alike(succeeded(host, prompt))
        # And not because nothing has happened.
        assert not alike(succeeded(host, prompt | {"compare": compare(["size", 0], ["restored", 0])}))


def test_scunet_in_the_stock_node_has_the_border_of_diffbir(host, files):
    prompt = graph("scunet.pth", temporal=0.0)
    prompt["stock"] = node("ImageUpscaleWithModel", upscale_model=["loader", 0], image=["parts", 0])
    prompt["compare"] = compare(["stock", 0], ["restored", 0])
    assert alike(succeeded(host, prompt))
    prompt["other"] = node(STOCK, model_name="scunet.pth")
    prompt["stock"]["inputs"]["upscale_model"] = ["other", 0]
    assert not alike(succeeded(host, prompt))


@pytest.mark.parametrize(
    ("file", "stock"),
    [
        ("swinir_module.ckpt", True),
        ("swinir_ema.pth", True),
        ("bsrnet_module.pth", True),
        ("whole.ckpt", False),
    ],
)
def test_what_the_stock_loader_takes_and_what_only_ours(host, files, file, stock):
    short = {"strength": 0.5, "temporal": 0.0}
    assert f"{FRAMES} frames" in succeeded(host, graph(file, **short))
    assert (host.run(graph(file, STOCK, **short)).status == "success") == stock


def test_files_that_do_not_fit_are_refused_with_a_reason(host, files):
    assert host.run(graph("bsrnet_more.pth", STOCK)).status == "success"
    for file, reason in (
        ("bsrnet_more.pth", "does not fit a BSRNet at unknown.weight (unknown)"),
        ("other.safetensors", "is not a stage-1 restorer; it seems to be something with the keys x"),
    ):
        run = host.run(graph(file))
        assert run.status == "error" and reason in run.error["exception_message"]
    status, answer = host.post("/prompt", {"prompt": graph("absent.pth"), "client_id": "x"})
    assert status == 400 and "models/upscale_models" in str(answer["node_errors"])
    status, answer = host.post("/prompt", {"prompt": graph("bsrnet.pth", tile_size=64), "client_id": "x"})
    assert status == 400 and "tile_size is 64" in str(answer["node_errors"])


def test_strength_masks_and_steadiness_act(host, files):
    assert f"{FRAMES} frames: identical" in succeeded(host, graph("bsrnet.pth", strength=0.0))
    prompt = graph("scunet.pth", temporal=0.0)
    prompt["bright"] = node("ImageToMask", image=["parts", 0], channel="red")
    prompt["mask"] = node("VLDM_RefineMask", mask=["bright", 0], threshold=0.5, min_size=0, fill_holes=False, grow=0,
                          hold=0, feather=0.0)  # fmt: skip
    texts = [succeeded(host, prompt)]
    for name in ("dirt", "scratch"):
        masked = {**prompt, "restored": node("VLDM_RestoreWithImageModel",
                                             **prompt["restored"]["inputs"], **{name: ["mask", 0]})}  # fmt: skip
        texts.append(succeeded(host, masked))
    prompt["restored"]["inputs"]["temporal"] = 0.8
    texts.append(succeeded(host, prompt))
    assert texts[1] == texts[2] and len(set(texts)) == 3


def test_tiles_and_small_frames(host, files):
    assert f"{FRAMES} frames" in succeeded(host, graph("swinir.ckpt", tile_size=128, short_side=150))
    assert f"{FRAMES} frames" in succeeded(host, graph("swinir.ckpt", short_side=64))


def test_a_published_network_goes_through_the_graph(host, files):
    # Real-ESRGAN's own weights, through the host's loader: another film than what went in, and no error on the way.
    write(files / "RealESRGAN_x4plus.pth", {"params_ema": published_state()})
    prompt = graph("RealESRGAN_x4plus.pth", STOCK)
    prompt["few"]["inputs"]["length"] = 1
    text = succeeded(host, prompt)
    assert "1 frame" in text and "identical" not in text
