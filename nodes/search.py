"""Words under which the host's node search finds a node, where the host's schema has a place for them.

Hosts before 0.11 have none and refuse an unknown field; there only the display name counts, so the nodes that a
newcomer looks for carry the commonest words in it.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from comfy_api.latest import io

_FIELD = "search_aliases"

Node = TypeVar("Node", bound=type[io.ComfyNode])


def takes_aliases(schema: type) -> bool:
    """Tell whether schemas of this class can hold other words for a node."""
    return any(field.name == _FIELD for field in dataclasses.fields(schema))


def findable(*words: str) -> Callable[[Node], Node]:
    """Decorate a node so that these words find it as well.

    Args:
        words: What somebody may type who does not know the node's name, in lower case.
    """

    def decorate(node: Node) -> Node:
        define = node.define_schema

        def define_schema(_cls: type[io.ComfyNode]) -> io.Schema:
            schema = define()
            if takes_aliases(type(schema)):
                setattr(schema, _FIELD, list(words))
            return schema

        define_schema.__doc__ = define.__doc__
        node.define_schema = classmethod(define_schema)  # type: ignore[assignment]
        return node

    return decorate
