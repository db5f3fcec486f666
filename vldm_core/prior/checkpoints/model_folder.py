"""Model folders in diffusers' layout: what they may bring along."""

from pathlib import Path

from ...errors import VLDMError


def refuse_code(folder: Path) -> None:
    """Check that a model folder holds no program.

    diffusers loads a pipeline or a part of one from a Python file beside the weights; older versions do so unasked.

    Raises:
        VLDMError: It holds one, at the top or beside a part.
    """
    found = sorted(path.relative_to(folder).as_posix() for path in (*folder.glob("*.py"), *folder.glob("*/*.py")))
    if found:
        raise VLDMError(
            f"{folder} holds code ({found[0]}), which is never run; choose a folder of Stable Diffusion 1.x or 2.x "
            "without .py files"
        )
