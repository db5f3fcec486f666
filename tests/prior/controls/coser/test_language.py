"""Tokens beside the prompt: the same as a longer text, for those items that get them, and nothing for the others."""

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.prior.controls.coser.language import append_tokens, cross_attentions
from vldm_core.prior.unet import UNetView

from ...tiny_models import CONTEXT, tiny_unet

X, TEXT, TOKENS = torch.randn(3, 4, 8, 8), torch.randn(3, 7, CONTEXT), torch.randn(3, 5, CONTEXT)


@pytest.fixture(scope="module")
def unet():
    return tiny_unet()


def run(unet, text, items=slice(None)):
    with torch.no_grad():
        return unet(X[items], 20, encoder_hidden_states=text).sample


def appended(unet, chosen):
    chosen = torch.tensor(chosen)
    handles = append_tokens(UNetView(unet), lambda size: (chosen, TOKENS) if size == 3 else None)
    try:
        return run(unet, TEXT)
    finally:
        for handle in handles:
            handle.remove()


def for_all(chosen, tokens):
    """What `append_tokens` asks, with one answer whatever the batch."""

    def found(_size):
        return chosen, tokens

    return found


class TestTokens:
    def test_for_all_they_are_a_longer_text(self, unet):
        wanted = run(unet, torch.cat([TEXT, TOKENS], dim=1))
        assert torch.equal(appended(unet, [True, True, True]), wanted)

    def test_for_some_the_others_have_their_own_text_alone(self, unet):
        found = appended(unet, [True, False, True])
        longer = run(unet, torch.cat([TEXT, TOKENS], dim=1))
        torch.testing.assert_close(found[[0, 2]], longer[[0, 2]], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[1:2], run(unet, TEXT)[1:2], rtol=0, atol=1e-5)
        assert (longer - run(unet, TEXT)).abs().amax(dim=(1, 2, 3)).min() > 1e-2

    def test_what_works_inside_a_cross_attention_sees_the_whole_batch(self, unet):
        seen = []
        layers = [
            module
            for name, module in unet.named_modules()
            if name.endswith(("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"))
        ]
        handles = [
            layer.register_forward_hook(lambda _module, _given, output: seen.append(len(output))) for layer in layers
        ]
        appended(unet, [True, False, True])
        for handle in handles:
            handle.remove()
        assert seen == [3] * 64

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_what_fills_a_text_up_is_masked_in_half_precision(self, dtype):
        unet = tiny_unet().to(dtype)
        text, tokens, chosen = TEXT.to(dtype), TOKENS.to(dtype), torch.tensor([True, False, False])
        found = []
        for filling in (tokens, torch.cat([tokens[:1], -3 * tokens[1:]])):
            given = (chosen, filling)
            handles = append_tokens(UNetView(unet), lambda _size: given)  # noqa: B023 - used and gone in this round
            with torch.no_grad():
                found.append(unet(X.to(dtype), 20, encoder_hidden_states=text).sample)
            for handle in handles:
                handle.remove()
        assert found[0].isfinite().all()
        assert torch.equal(found[0], found[1])

    def test_for_nobody_nothing_changes_and_nothing_stays_behind(self, unet):
        plain = run(unet, TEXT)
        handles = append_tokens(UNetView(unet), lambda _size: None)
        assert torch.equal(run(unet, TEXT), plain)
        for handle in handles:
            handle.remove()
        appended(unet, [True, False, False])
        assert torch.equal(run(unet, TEXT), plain)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())

    def test_every_cross_attention_of_the_unet_is_reached(self, unet):
        found = list(cross_attentions(UNetView(unet)))
        assert set(found) == {module for name, module in unet.named_modules() if name.endswith("attn2")}
        assert len(found) == 16

    def test_those_of_two_are_one_after_the_other(self, unet):
        """One for some and one for others: each item has its own, whichever was set first."""
        other = torch.randn(3, 4, CONTEXT, generator=torch.Generator().manual_seed(6))
        given = ((torch.tensor([True, True, False]), TOKENS), (torch.tensor([False, True, False]), other))
        handles = []
        for own in given:
            handles += append_tokens(UNetView(unet), for_all(*own))
        found = run(unet, TEXT)
        for handle in handles:
            handle.remove()
        texts = [torch.cat([TEXT, TOKENS], dim=1), torch.cat([TEXT, TOKENS, other], dim=1), TEXT]
        for item, text in enumerate(texts):
            torch.testing.assert_close(found[item], run(unet, text)[item], rtol=0, atol=1e-5)

    def test_a_text_of_which_a_part_is_masked(self, unet):
        mask = torch.ones(3, 7)
        mask[:, 4:] = 0
        handles = append_tokens(UNetView(unet), lambda size: (torch.ones(size, dtype=torch.bool), TOKENS))
        with torch.no_grad():
            found = unet(X, 20, encoder_hidden_states=TEXT, encoder_attention_mask=mask).sample
        for handle in handles:
            handle.remove()
        wanted = run(unet, torch.cat([TEXT[:, :4], TOKENS], dim=1))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)

    def test_another_mask_is_refused(self, unet):
        """Such as one for every place of the picture."""
        handles = append_tokens(UNetView(unet), lambda size: (torch.ones(size, dtype=torch.bool), TOKENS))
        attention = next(cross_attentions(UNetView(unet)))
        picture = torch.zeros(3, 64, int(attention.to_q.in_features))  # type: ignore[union-attr, arg-type]
        with pytest.raises(SettingsError, match=r"beside a mask \(3, 64, 7\) over the text"):
            attention(picture, encoder_hidden_states=TEXT, attention_mask=torch.zeros(3, 64, 7))
        for handle in handles:
            handle.remove()
