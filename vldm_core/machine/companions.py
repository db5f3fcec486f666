"""diffusers, transformers and spandrel, which are imported only where they are needed."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import VLDMError
from .vision_operators import declare_missing_operators

HEADLESS = "'vldm[headless]'"
"""What pip installs for all that runs on diffusers and transformers."""


@contextmanager
def importing(what: str, install: str) -> Iterator[None]:
    """Import a library of others inside this block.

    Beside a build of torch that torchvision was not made for, the import works all the same.

    Args:
        what: What is imported, for the message.
        install: What pip is to install, for the message.

    Raises:
        VLDMError: The import fails; the message names the first cause, which these libraries hide behind others.
    """
    declare_missing_operators()
    try:
        yield
    except VLDMError:
        raise
    except Exception as error:  # a broken installation fails in any way it likes
        raise VLDMError(
            f"{what} cannot be imported ({told(first_cause(error))}); install it or bring it up to date with: "
            f"pip install -U {install}"
        ) from error


def first_cause(error: BaseException) -> BaseException:
    """Return the error at the beginning of a chain of errors, each raised from the one before."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def told(error: BaseException) -> str:
    """Return an error's class and message in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
