"""Stage-1 restorers of DiffBIR: the published layouts to the last key, the published numbers, and files that lie."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from vldm_core.files.weights import WeightFileError
from vldm_core.prerestore.architectures.rrdb import RRDBConfig
from vldm_core.prerestore.architectures.scunet import SCUNetConfig
from vldm_core.prerestore.architectures.swin_ir import SwinIRConfig
from vldm_core.prerestore.published import ARCHITECTURES, read_stage1, run_padded

from ..manifests import manifest
from ..oracles import load_oracle
from .stage1_nets import BSRNET_OF_SPANDREL, SCUNET, SWINIR, TINY, network, published, write

PUBLISHED = {"swinir_stage1": SwinIRConfig(), "bsrnet": RRDBConfig(), "scunet": SCUNetConfig()}
NAMES = pytest.mark.parametrize("name", list(TINY))


def picture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, height, width, generator=generator)


class TestPublishedLayout:
    @pytest.mark.parametrize("name", list(PUBLISHED))
    def test_every_key_and_shape_is_the_published_one_and_no_other(self, name):
        keys = manifest(f"diffbir_{name}")
        (kind,) = [kind for kind in ARCHITECTURES if kind.matches(keys)]
        assert kind.published_shapes(PUBLISHED[name]) == keys
        assert kind.config_of(keys) == PUBLISHED[name]

    def test_the_complete_first_version_has_the_same_swinir_in_it(self):
        prefix = "preprocess_model."
        whole = manifest("diffbir_v1_full")
        part = {key[len(prefix) :]: shape for key, shape in whole.items() if key.startswith(prefix)}
        assert part == manifest("diffbir_swinir_stage1")


class TestNumbers:
    @NAMES
    def test_outputs_are_the_published_ones(self, name, tmp_path):
        oracle = load_oracle(f"diffbir_stage1_{name}")
        contents = oracle.weights(name)
        # The file of a SwinIR holds its tables, too; the oracle has them as the original makes them.
        contents |= {key.split(".", 2)[2]: value for key, value in oracle.tensors.items() if key.startswith("buffer.")}
        descriptor = read_stage1(write(tmp_path / "oracle.pth", contents))
        (kind,) = [kind for kind in ARCHITECTURES if kind.matches(contents)]
        config = kind.config_of({key: tuple(value.shape) for key, value in contents.items()})
        image = oracle.input("image")
        with torch.no_grad():
            found = run_padded(descriptor.model, image, multiple=kind.multiple(config), scale=descriptor.scale)
        oracle.check("out", found)
        # Called as others call it, it is the same in [0, 1].
        assert torch.equal(descriptor(image), found.clamp(0, 1))

    def test_bsrnet_is_what_spandrel_calls_esrgan(self):
        from spandrel import ModelLoader

        kind, config = BSRNET_OF_SPANDREL
        torch.manual_seed(1)
        ours = kind.build(config).eval()
        theirs = ModelLoader().load_from_state_dict(kind.published_state(ours)).eval()
        image = picture(12, 20)
        with torch.no_grad():
            assert torch.allclose(ours(image), theirs.model(image), atol=1e-6)

    def test_spandrel_reflects_the_border_for_scunet_and_we_do_not(self, tmp_path):
        from spandrel import ModelLoader

        descriptor = read_stage1(write(tmp_path / "scunet.pth", published("scunet")))
        theirs = ModelLoader().load_from_state_dict(published("scunet")).eval()
        image = picture(40, 41)
        assert not torch.allclose(descriptor(image), theirs(image), atol=1e-3)
        padded = functional.pad(image, (0, 23, 0, 24), mode="replicate")
        assert torch.equal(descriptor(image), descriptor(padded)[..., :40, :41])
        # Where nothing is padded they are one network.
        assert torch.allclose(descriptor(padded), theirs(padded), atol=1e-6)


class TestFiles:
    @NAMES
    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    def test_saved_and_loaded_it_is_the_same_network(self, name, suffix, tmp_path):
        kind, config = TINY[name]
        made = network(name)
        contents = kind.published_state(made)
        descriptor = read_stage1(write(tmp_path / f"net{suffix}", contents))
        assert kind.config_of({key: tuple(value.shape) for key, value in contents.items()}) == config
        assert getattr(descriptor.model, "hyperparameters", None) == getattr(made, "hyperparameters", None)
        assert descriptor.scale == kind.scale(config) and descriptor.input_channels == descriptor.output_channels == 3
        assert not descriptor.model.training and not any(p.requires_grad for p in descriptor.model.parameters())
        image = picture(64, 128)
        with torch.no_grad():
            assert torch.equal(descriptor(image), made(image).clamp(0, 1))
        again = kind.published_state(descriptor.model)
        assert again.keys() == contents.keys() and all(torch.equal(again[key], contents[key]) for key in contents)

    @NAMES
    @pytest.mark.parametrize("size", [(1, 1), (9, 70), (64, 65)])
    def test_any_size_will_do(self, name, size, tmp_path):
        descriptor = read_stage1(write(tmp_path / "net.pth", published(name)))
        made = descriptor(picture(*size))
        assert made.shape == (1, 3, size[0] * descriptor.scale, size[1] * descriptor.scale)
        assert torch.isfinite(made).all() and made.min() >= 0 and made.max() <= 1

    @pytest.mark.parametrize("wrapping", ["state_dict", "params_ema", "module", "part", "all"])
    def test_wrapped_tables_are_unwrapped(self, wrapping, tmp_path):
        plain = published("swinir")
        contents: Any = {
            "state_dict": {"state_dict": plain, "epoch": 3},
            "params_ema": {"params": {key: 0 * value for key, value in plain.items()}, "params_ema": plain},
            "module": {f"module.{key}": value for key, value in plain.items()},
            "part": {f"preprocess_model.{key}": value for key, value in plain.items()} | {"betas": torch.zeros(3)},
            "all": {"state_dict": {f"preprocess_model.{key}": value for key, value in plain.items()}, "step": 1},
        }[wrapping]
        descriptor = read_stage1(write(tmp_path / "net.ckpt", contents))
        found = SWINIR[0].published_state(descriptor.model)
        assert all(torch.equal(found[key], plain[key]) for key in plain)

    def test_half_precision_files_are_read(self, tmp_path):
        plain = published("swinir")
        contents = {key: value.half() if value.is_floating_point() else value for key, value in plain.items()}
        descriptor = read_stage1(write(tmp_path / "net.safetensors", contents))
        assert descriptor.dtype == torch.float32


class TestRefusals:
    @NAMES
    @pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
    def test_nothing_may_be_missing_or_left_over(self, name, change, tmp_path):
        contents = published(name)
        key = sorted(key for key, value in contents.items() if value.ndim == 4)[-1]
        if change == "missing":
            del contents[key]
        elif change == "unknown":
            contents["extra.weight"] = torch.zeros(3)
        else:
            contents[key] = torch.zeros(5, 5, 1, 1)
        with pytest.raises(WeightFileError, match=rf"{TINY[name][0].name}|has keys of"):
            read_stage1(write(tmp_path / "net.pth", contents))

    @pytest.mark.parametrize(
        ("keys", "what"),
        [
            (("input_blocks.0.0.weight", "zero_convs.0.0.weight"), "control branch of DiffBIR"),
            (("model.diffusion_model.input_blocks.0.0.weight",), "Stable Diffusion checkpoint"),
            (("decoder.up.0.block.0.conv1.weight",), "a VAE"),
            (("conv_first.weight", "layers.0.residual_group.blocks.0.norm1.weight"), "SwinIR without PixelUnshuffle"),
            (("conv_first.weight", "body.0.rdb1.conv1.weight"), "ESRGAN in another layout"),
            (("lora_unet_x.lora_down.weight",), "a LoRA"),
            (("something.weight",), "the keys something.weight"),
        ],
    )
    def test_it_says_what_a_file_seems_to_be(self, keys, what, tmp_path):
        path = write(tmp_path / "other.safetensors", {key: torch.zeros(2, 2) for key in keys})
        with pytest.raises(WeightFileError, match=what):
            read_stage1(path)

    def test_a_swinir_that_enlarges_is_sent_elsewhere(self, tmp_path):
        contents = {key: value for key, value in published("swinir").items() if not key.startswith("conv_up3")}
        with pytest.raises(WeightFileError, match="Load Upscale Model"):
            read_stage1(write(tmp_path / "net.pth", contents))

    def test_tables_of_the_architecture_cannot_be_replaced(self, tmp_path):
        # An index outside its table would read foreign memory on some devices.
        contents = published("swinir")
        key = next(key for key in contents if key.endswith("relative_position_index"))
        contents[key] = contents[key] + 1_000_000
        with pytest.raises(WeightFileError, match="other values in"):
            read_stage1(write(tmp_path / "net.pth", contents))

    @NAMES
    def test_numbers_must_be_finite(self, name, tmp_path):
        contents = published(name)
        key = next(key for key, value in contents.items() if value.ndim == 4)
        contents[key][0, 0, 0, 0] = float("nan")
        with pytest.raises(WeightFileError, match="not finite"):
            read_stage1(write(tmp_path / "net.pth", contents))

    def test_a_small_file_cannot_ask_for_much_memory(self, tmp_path):
        # Tensors of a pickle can be views that repeat one number. The shapes fit each other: only their size tells.
        kind, _ = SCUNET
        shapes = kind.published_shapes(SCUNetConfig(width=2048, blocks=(4,) * 7))
        contents = {key: torch.zeros(1).expand(shape) for key, shape in shapes.items()}
        path = write(tmp_path / "bomb.pth", contents)
        assert path.stat().st_size < 1_000_000
        with pytest.raises(WeightFileError, match="asks for"):
            read_stage1(path)

    def test_absurd_shapes_are_refused_before_anything_is_built(self, tmp_path):
        contents = published("swinir")
        key = "layers.0.residual_group.blocks.1.attn_mask"
        contents[key] = torch.zeros(1).expand(10**10, 64, 64)
        with pytest.raises(WeightFileError, match="no such network has"):
            read_stage1(write(tmp_path / "net.pth", contents))

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    @pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
    def test_truncated_files_are_named(self, suffix, share, tmp_path):
        path = write(tmp_path / f"net{suffix}", published("bsrnet"))
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(WeightFileError, match=path.name):
            read_stage1(path)

    def test_what_is_no_table_of_tensors(self, tmp_path):
        for contents in ({}, {"state_dict": {}}, published("bsrnet") | {"epoch": 3}):
            with pytest.raises(WeightFileError, match="not a table of tensors"):
                read_stage1(write(tmp_path / "net.pth", contents))
        with pytest.raises(WeightFileError, match="does not exist"):
            read_stage1(tmp_path / "absent.pth")
        with pytest.raises(WeightFileError, match="does not end in"):
            read_stage1(write(tmp_path / "net.gguf", published("bsrnet")))
