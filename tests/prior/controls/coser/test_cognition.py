"""CoSeR's cognitive encoder: published keys, transformers' Q-Former with the same weights, and the picture's way."""

import re

import pytest
import torch
from torch.nn import functional

from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.coser.cognition import LARGEST_SIDE, normalised
from vldm_core.prior.controls.coser.presr import PreSR, PreSRConfig
from vldm_core.prior.controls.coser.qformer import QFormer, QFormerConfig, is_unused, published_name

from .tiny_coser import encoder, q_former_file, random_weights

Q_FORMER = QFormerConfig(width=32, vision=24, inner=48, depth=4, crossed=(0, 2), queries=6, heads=4)


class TestQFormer:
    def test_it_is_transformers_q_former_of_blip2(self):
        from transformers import Blip2QFormerConfig, Blip2QFormerModel

        network, file = q_former_file(Q_FORMER)
        config = Blip2QFormerConfig(
            hidden_size=Q_FORMER.width,
            num_hidden_layers=Q_FORMER.depth,
            num_attention_heads=Q_FORMER.heads,
            intermediate_size=Q_FORMER.inner,
            encoder_hidden_size=Q_FORMER.vision,
            cross_attention_frequency=2,
        )
        theirs = Blip2QFormerModel(config).eval()
        state = {}
        for key, value in file.items():
            if is_unused(key) or key == "query_tokens":
                continue
            name = key.removeprefix("Qformer.").replace("embeddings.LayerNorm", "layernorm")
            state[name.replace(".self.", ".attention.")] = value
        theirs.load_state_dict(state)
        vision = torch.randn(2, 5, Q_FORMER.vision)
        with torch.no_grad():
            wanted = theirs(
                query_embeds=file["query_tokens"].expand(2, -1, -1), encoder_hidden_states=vision
            ).last_hidden_state
            found = network(vision)
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)

    def test_the_published_names_are_those_of_bert(self):
        names = {
            re.sub(r"\d+", "N", key).rpartition(".")[0] for key in map(published_name, QFormer(Q_FORMER).state_dict())
        }
        layer = "Qformer.encoder.layer.N"
        self_and_cross = [
            f"{layer}.{kind}.{part}"
            for kind in ("attention", "crossattention")
            for part in ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
        ]
        feed = [
            f"{layer}.{part}" for part in ("intermediate_query.dense", "output_query.dense", "output_query.LayerNorm")
        ]
        assert names == {"", "Qformer.embeddings.LayerNorm", *self_and_cross, *feed}

    def test_the_full_size_one_has_the_published_shape(self):
        with torch.device("meta"):
            network = QFormer(QFormerConfig())
        file = {published_name(key): value for key, value in network.state_dict().items()}
        assert tuple(file["query_tokens"].shape) == (1, 50, 1024)
        assert tuple(file["Qformer.encoder.layer.10.crossattention.self.key.weight"].shape) == (1024, 1024)
        assert "Qformer.encoder.layer.11.crossattention.self.key.weight" not in file
        assert QFormerConfig.of(file) == QFormerConfig()

    def test_a_file_comes_back_as_it_was_written(self):
        network, file = q_former_file(Q_FORMER, seed=3)
        read = QFormer.from_published(file, heads=Q_FORMER.heads)
        assert read.config == Q_FORMER
        vision = torch.randn(1, 5, Q_FORMER.vision)
        assert torch.equal(read(vision), network(vision))

    def test_a_file_that_does_not_fit_is_refused_with_a_list(self):
        _, file = q_former_file(Q_FORMER)
        del file["Qformer.encoder.layer.1.output_query.dense.bias"]
        file["Qformer.encoder.layer.0.adapter.weight"] = torch.zeros(1)
        file["Qformer.embeddings.LayerNorm.bias"] = torch.zeros(7)
        with pytest.raises(WeightFileError) as refused:
            QFormer.from_published(file, heads=Q_FORMER.heads)
        message = str(refused.value)
        assert "missing: Qformer.encoder.layer.1.output_query.dense.bias" in message
        assert "unexpected: Qformer.encoder.layer.0.adapter.weight" in message
        assert "Qformer.embeddings.LayerNorm.bias (7,) instead of (32,)" in message

    def test_a_file_of_something_else_is_refused(self):
        with pytest.raises(WeightFileError, match="query_tokens is missing"):
            QFormer.from_published({"x": torch.zeros(1)})
        _, file = q_former_file(Q_FORMER)
        with pytest.raises(WeightFileError, match="5 attention heads do not divide"):
            QFormer.from_published(file, heads=5)


class TestPreSR:
    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_a_file_says_its_own_shape(self, scale):
        network = random_weights(PreSR(PreSRConfig(features=8, blocks=2, scale=scale)))
        read = PreSR.from_published(network.state_dict())
        frames = torch.rand(1, 3, 5, 7)
        assert read.config == network.config
        assert read(frames).shape == (1, 3, 5 * scale, 7 * scale)
        assert torch.equal(read(frames), network(frames))

    def test_it_computes_msrresnet(self):
        network = random_weights(PreSR(PreSRConfig(features=4, blocks=1)))
        weights = network.state_dict()
        frames = torch.rand(1, 3, 5, 6)

        def convolved(x, name):
            return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

        def leaky(x):
            return torch.where(x > 0, x, 0.1 * x)

        first = leaky(convolved(frames, "conv_first"))
        body = first + convolved(convolved(first, "body.0.conv1").clamp(min=0), "body.0.conv2")
        for name in ("upconv1", "upconv2"):
            body = leaky(torch.pixel_shuffle(convolved(body, name), 2))
        wanted = convolved(leaky(convolved(body, "conv_hr")), "conv_last")
        wanted = wanted + functional.interpolate(frames, scale_factor=4, mode="bilinear", align_corners=False)
        torch.testing.assert_close(network(frames), wanted)

    def test_the_published_one_has_37_convolutions(self):
        with torch.device("meta"):
            keys = PreSR(PreSRConfig()).state_dict()
        assert len(keys) == 2 * (1 + 2 * 16 + 2 + 2)
        assert tuple(keys["upconv2.weight"].shape) == (256, 64, 3, 3)


class TestCognition:
    def test_frames_become_tokens_of_language(self):
        looking = encoder(Q_FORMER)
        pictures = looking.pictures(torch.rand(2, 3, 12, 20), side=32)
        assert pictures.shape == (2, 3, 32, 32)
        assert looking(torch.randn(2, 17, 40)).shape == (2, Q_FORMER.queries, Q_FORMER.width)

    def test_clip_looks_at_all_tokens_before_its_last_norm(self):
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        config = CLIPVisionConfig(
            hidden_size=40,
            intermediate_size=64,
            projection_dim=Q_FORMER.vision,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
            hidden_act="gelu",
        )
        clip = CLIPVisionModelWithProjection(config).eval()
        random_weights(clip)
        looking = encoder(Q_FORMER, projection=False)
        frames = torch.rand(2, 3, 12, 20)
        with torch.no_grad():
            found = looking.look(frames, clip)
            pixels = normalised(looking.pictures(frames, side=32))
            vision = clip.vision_model
            x = vision.pre_layrnorm(vision.embeddings(pixels))
            for layer in vision.encoder.layers:
                x = layer(x, attention_mask=None)
                x = x[0] if isinstance(x, tuple) else x
            assert x.shape == (2, 17, 40)  # with the class token
            wanted = looking.q_former(x @ clip.visual_projection.weight.t())
        torch.testing.assert_close(found, wanted)

    def test_a_large_frame_is_looked_at_reduced(self):
        looking = encoder(Q_FORMER)
        seen = []
        looking.pre_sr.register_forward_pre_hook(lambda _module, given: seen.append(tuple(given[0].shape[-2:])))
        looking.pictures(torch.rand(1, 3, LARGEST_SIDE, LARGEST_SIDE // 2 * 3))
        looking.pictures(torch.rand(1, 3, 2 * LARGEST_SIDE, 3 * LARGEST_SIDE))
        assert seen == [(LARGEST_SIDE, LARGEST_SIDE // 2 * 3)] * 2

    def test_another_clip_or_none_is_refused(self):
        looking = encoder(Q_FORMER, projection=False)
        with pytest.raises(SettingsError, match="give visual_projection"):
            looking(torch.randn(1, 5, 40))
        with pytest.raises(SettingsError, match=r"is \(40, 7\), but \(40, 24\) is needed"):
            looking(torch.randn(1, 5, 40), projection=torch.zeros(40, 7))
