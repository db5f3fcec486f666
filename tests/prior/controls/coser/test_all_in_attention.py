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
    def test_a_transformer_gives_what_the_original_gives(self, name):
        oracle = load_oracle(name)
        layers, transformer = layers_of(oracle), transformer_of(oracle)
        heads = oracle.about["config"]["block"]["n_heads"]
        context = torch.cat([oracle.input("context"), oracle.input("lr_prompt")], dim=1)
        (looked,) = layers.look(oracle.input("lr"), oracle.input("ref"), heads)
        (block,) = layers.blocks()

        def first(_module, given):
            return (block(given[0][None], looked, 1.0)[0], *given[1:])

        with torch.no_grad():
            oracle.check("gen_mode", transformer(oracle.input("x"), encoder_hidden_states=context).sample)
            transformer.transformer_blocks[0].register_forward_pre_hook(first)
            oracle.check("out", transformer(oracle.input("x"), encoder_hidden_states=context).sample)

    def test_on_the_way_too(self, name):
        oracle = load_oracle(name)
        layers = layers_of(oracle)
        heads = oracle.about["config"]["block"]["n_heads"]
        with torch.no_grad():
            feature = layers._fitted(oracle.input("lr"), layers.dubconv_lna)
            oracle.check("norm_clr_lna", layers.norm_clr_lna(feature), "mid")
            (looked,) = layers.look(oracle.input("lr"), oracle.input("ref"), heads)
            height, width = oracle.input("x").shape[-2:]
            matched = looked.matched.transpose(1, 2).unflatten(2, (height, width))
            oracle.check("zero_conv_r_lna", matched, "mid")

    def test_the_best_fitting_tokens_are_the_same(self, name):
        oracle = load_oracle(name)
        layers = layers_of(oracle)
        heads = oracle.about["config"]["block"]["n_heads"]
        (block,) = layers.blocks()
        hint = layers.proj_in_clr_lna(
            layers.norm_clr_lna(layers._fitted(oracle.input("lr"), layers.dubconv_lna)).flatten(2).transpose(1, 2)
        )
        reference = layers.norm_cref_lna(layers._fitted(oracle.input("ref"), layers.dubconv_r_lna))
        query = block.attn4_ref_lna.to_q(hint).unflatten(-1, (heads, -1)).transpose(1, 2)
        key = block.attn4_ref_lna.to_k(reference.flatten(2).transpose(1, 2)).unflatten(-1, (heads, -1)).transpose(1, 2)
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
    def test_without_a_reference_only_the_frame_is_looked_at(self):
        oracle = load_oracle("coser_aia")
        layers = layers_of(oracle)
        (block,) = layers.blocks()
        x = torch.randn(1, 2, 96, 64)
        (with_it,) = layers.look(oracle.input("lr"), oracle.input("ref"), 4)
        (without,) = layers.look(oracle.input("lr"), None, 4)
        assert without.matched is None
        with torch.no_grad():
            block.zero_conv_r_lna.weight.zero_(), block.zero_conv_r_lna.bias.zero_()
            (silent,) = layers.look(oracle.input("lr"), oracle.input("ref"), 4)
            assert torch.equal(block(x, without, 1.0), block(x, silent, 1.0))
            assert not torch.equal(block(x, without, 1.0), block(x, with_it, 1.0))

    def test_a_weight_of_zero_changes_nothing_where_it_stands(self):
        oracle = load_oracle("coser_aia")
        layers = layers_of(oracle)
        (block,) = layers.blocks()
        (looked,) = layers.look(oracle.input("lr"), oracle.input("ref"), 4)
        x = torch.randn(2, 2, 96, 64)
        weight = torch.ones(2, 96, 1)
        weight[0] = 0
        weight[1, :40] = 0
        with torch.no_grad():
            found = block(x, looked, weight)
        assert torch.equal(found[:, 0], x[:, 0])
        assert torch.equal(found[:, 1, :40], x[:, 1, :40])
        assert not torch.equal(found[:, 1, 40:], x[:, 1, 40:])

    def test_chunks_of_conditioning_do_not_see_each_other(self):
        oracle = load_oracle("coser_aia")
        layers = layers_of(oracle)
        (block,) = layers.blocks()
        (looked,) = layers.look(oracle.input("lr"), oracle.input("ref"), 4)
        x = torch.randn(2, 2, 96, 64)
        with torch.no_grad():
            both = block(x, looked, 1.0)
            alone = torch.cat([block(chunk[None], looked, 1.0) for chunk in x])
        torch.testing.assert_close(both, alone, rtol=0, atol=1e-6)

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
