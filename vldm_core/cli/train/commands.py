"""All commands that train, in the order in which the help lists them."""

from . import networks, prior
from .options import app

__all__ = ["app", "networks", "prior"]
