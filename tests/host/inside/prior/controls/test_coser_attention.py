"""CoSeR's All-in-Attention inside the host's own transformer gives the published numbers."""

import comfy.ldm.modules.attention
import comfy.ops
import pytest
import torch
from pack.vldm_core.prior.controls.coser.all_in_attention import AllInAttention

from .....oracles import load_oracle


@pytest.mark.parametrize("name", ["coser_aia", "coser_aia_pool", "coser_aia_double"])
def test_the_hosts_transformer_gives_what_the_original_gives(name):
    oracle = load_oracle(name)
    config, weights = oracle.about["config"]["block"], oracle.weights("block")
    transformer = comfy.ldm.modules.attention.SpatialTransformer(
        config["in_channels"],
        config["n_heads"],
        config["d_head"],
        depth=config["depth"],
        context_dim=config["context_dim"],
        use_linear=config["use_linear"],
        operations=comfy.ops.disable_weight_init,
    )
    transformer.load_state_dict({key: value for key, value in weights.items() if "_lna" not in key})
    layers = AllInAttention.from_published(
        {key: value for key, value in weights.items() if "_lna" in key}, halved=config["merge_x2"]
    )
    context = torch.cat([oracle.input("context"), oracle.input("lr_prompt")], dim=1)

    def first(_module, given):
        return (layers(given[0], oracle.input("lr"), oracle.input("ref"), heads=config["n_heads"]), *given[1:])

    with torch.no_grad():
        oracle.check("gen_mode", transformer(oracle.input("x"), context=context))
        transformer.transformer_blocks[0].register_forward_pre_hook(first)
        oracle.check("out", transformer(oracle.input("x"), context=context))
