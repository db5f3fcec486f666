"""All-in-Attention: the published numbers inside diffusers' transformer, and hard attention within its memory."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.coser import all_in_attention
from vldm_core.prior.controls.coser.all_in_attention import AllInAttention, hard_attention

from ....oracles import load_oracle

ORACLES = pytest.mark.parametrize("name", ["coser_aia", "coser_aia_pool", "coser_aia_double"])


def added(weights):
    return {key: value for key, value in weights.items() if "_lna" in key}


def layers_of(oracle):
    config = oracle.about["config"]["block"]
    return AllInAttention.from_published(added(oracle.weights("block")), halved=config["merge_x2"])


def transformer_of(oracle):
    """diffusers' transformer with the oracle's base weights."""
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    config = oracle.about["config"]["block"]
    transformer = Transformer2DModel(
        num_attention_heads=config["n_heads"],
        attention_head_dim=config["d_head"],
        in_channels=config["in_channels"],
        cross_attention_dim=config["context_dim"],
        use_linear_projection=config["use_linear"],
    )
    transformer.load_state_dict({k: v for k, v in oracle.weights("block").items() if "_lna" not in k})
    return transformer.eval()


@ORACLES
class TestPublishedNumbers:
    @torch.no_grad()
    def test_a_transformer_gives_what_the_original_gives(self, name):
        oracle = load_oracle(name)
        layers, transformer = layers_of(oracle), transformer_of(oracle)
        heads = oracle.about["config"]["block"]["n_heads"]
        context = torch.cat([oracle.input("context"), oracle.input("lr_prompt")], dim=1)

        def first(_module, given):
            return (layers(given[0], oracle.input("lr"), oracle.input("ref"), heads=heads), *given[1:])

        oracle.check("gen_mode", transformer(oracle.input("x"), encoder_hidden_states=context).sample)
        transformer.transformer_blocks[0].register_forward_pre_hook(first)
        oracle.check("out", transformer(oracle.input("x"), encoder_hidden_states=context).sample)

    @torch.no_grad()
    def test_on_the_way_too(self, name):
        oracle = load_oracle(name)
        layers = layers_of(oracle)
        heads = oracle.about["config"]["block"]["n_heads"]
        hint, reference = layers.hint_tokens(oracle.input("lr")), layers.reference_tokens(oracle.input("ref"))
        oracle.check("proj_in_clr_lna", hint, "mid")
        matched = layers.transformer_blocks[0].matched(hint, reference, heads)
        height, width = oracle.input("x").shape[-2:]
        oracle.check("zero_conv_r_lna", matched.transpose(1, 2).unflatten(2, (height, width)), "mid")

    @torch.no_grad()
    def test_the_best_fitting_tokens_are_the_same(self, name):
        oracle = load_oracle(name)
        layers = layers_of(oracle)
        heads = oracle.about["config"]["block"]["n_heads"]
        hard = layers.transformer_blocks[0].attn4_ref_lna
        query = hard.to_q(layers.hint_tokens(oracle.input("lr"))).unflatten(-1, (heads, -1)).transpose(1, 2)
        key = hard.to_k(layers.reference_tokens(oracle.input("ref"))).unflatten(-1, (heads, -1)).transpose(1, 2)
        # Its values are the keys' numbers, so what comes back names the key.
        number = torch.arange(key.shape[2], dtype=torch.float32)[:, None].expand_as(key)
        score = hard_attention(query, key, torch.ones_like(key))
        oracle.check("hard_index", (hard_attention(query, key, number) / score)[..., 0].round(), "mid")

    def test_a_file_comes_back_as_it_was_written(self, name):
        weights = added(load_oracle(name).weights("block"))
        read = AllInAttention.from_published(weights).state_dict()
        assert list(read) == list(weights)
        assert all(torch.equal(read[key], value) for key, value in weights.items())


class TestHardAttention:
    def test_it_is_the_best_value_times_its_score(self):
        query, key, value = torch.randn(2, 3, 11, 8), torch.randn(2, 3, 13, 8), torch.randn(2, 3, 13, 8)
        found = hard_attention(query, key, value)
        for batch, head, row in ((0, 0, 0), (1, 2, 10), (0, 1, 5)):
            scores = [float(query[batch, head, row] @ other) / 8**0.5 for other in key[batch, head]]
            best = max(range(13), key=scores.__getitem__)
            torch.testing.assert_close(found[batch, head, row], value[batch, head, best] * scores[best])

    def test_scores_of_a_whole_picture_never_exist_at_once(self, monkeypatch):
        query, key, value = (torch.randn(1, 2, 300, 4) for _ in range(3))
        whole = hard_attention(query, key, value)
        budget = 2 * 300 * 4 * 10
        monkeypatch.setattr(all_in_attention, "SCORE_BYTES", budget)
        with Largest() as seen:
            parts = hard_attention(query, key, value)
        torch.testing.assert_close(parts, whole)
        assert seen.scores == budget

    def test_one_row_is_taken_where_not_even_that_fits(self, monkeypatch):
        query, key, value = (torch.randn(1, 1, 5, 4) for _ in range(3))
        whole = hard_attention(query, key, value)
        monkeypatch.setattr(all_in_attention, "SCORE_BYTES", 1)
        torch.testing.assert_close(hard_attention(query, key, value), whole)


class TestParts:
    @torch.no_grad()
    def test_without_a_reference_only_the_frame_is_looked_at(self):
        oracle = load_oracle("coser_aia")
        layers = layers_of(oracle)
        x, hint, reference = torch.randn(2, 96, 64), oracle.input("lr"), oracle.input("ref")
        with_it, without = layers(x, hint, reference, heads=4), layers(x, hint, None, heads=4)
        layers.transformer_blocks[0].zero_conv_r_lna.weight.zero_()
        layers.transformer_blocks[0].zero_conv_r_lna.bias.zero_()
        assert torch.equal(layers(x, hint, reference, heads=4), without)
        assert (with_it - without).abs().max() > 1e-2

    @torch.no_grad()
    def test_chunks_of_conditioning_do_not_see_each_other(self):
        oracle = load_oracle("coser_aia")
        layers = layers_of(oracle)
        x, hint, reference = torch.randn(4, 96, 64), oracle.input("lr"), oracle.input("ref")
        alone = torch.cat([layers(chunk, hint, reference, heads=4) for chunk in x.chunk(2)])
        torch.testing.assert_close(layers(x, hint, reference, heads=4), alone, rtol=0, atol=1e-6)

    def test_a_file_that_does_not_fit_is_refused_with_a_list(self):
        weights = added(load_oracle("coser_aia").weights("block"))
        del weights["transformer_blocks.0.zero_conv_lna.bias"]
        weights["extra_lna.weight"] = torch.zeros(3)
        with pytest.raises(WeightFileError) as refused:
            AllInAttention.from_published(weights, what="middle_block.1")
        message = str(refused.value)
        assert "middle_block.1 does not fit" in message
        assert "missing: transformer_blocks.0.zero_conv_lna.bias" in message
        assert "unexpected: extra_lna.weight" in message


class Largest(TorchDispatchMode):
    """Remembers the size in bytes of the largest product of matrices."""

    scores = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if "bmm" in str(function):
            self.scores = max(self.scores, out.numel() * out.element_size())
        return out
