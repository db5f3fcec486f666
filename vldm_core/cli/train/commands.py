"""All commands that train, in the order in which the help lists them."""

from . import decoding, networks, prior
from .options import app

__all__ = ["app", "decoding", "networks", "prior"]
