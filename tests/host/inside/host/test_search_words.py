"""Words for the search of nodes, which only newer hosts have."""

import dataclasses

import pytest
from comfy_api.latest import io
from pack.nodes.reel.restore_reel import RestoreReel
from pack.nodes.search import findable, takes_aliases


@dataclasses.dataclass
class NewerSchema(io.Schema):
    search_aliases: list[str] | None = None


@findable("dust", "old film")
class Node(io.ComfyNode):
    schema = NewerSchema

    @classmethod
    def define_schema(cls):
        return cls.schema(node_id="VLDM_Test")


def test_a_host_that_takes_search_words_gets_them():
    assert takes_aliases(NewerSchema)
    assert Node.define_schema().search_aliases == ["dust", "old film"]


def test_a_host_that_takes_none_gets_none(monkeypatch):
    if takes_aliases(io.Schema):
        pytest.skip("this host takes search words")
    monkeypatch.setattr(Node, "schema", io.Schema)
    assert not hasattr(Node.define_schema(), "search_aliases")
    assert not hasattr(RestoreReel.define_schema(), "search_aliases")
