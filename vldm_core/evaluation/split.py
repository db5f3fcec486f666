"""Which clips and photographs of the data folder are for validation: split by file, so none is trained and judged on.

The validation clips hold what detectors stumble over: a locked-off camera with a moving subject (`01_dog`), static
upright structure behind fast motion (`bedroom`), and fast crossings with occlusion (`seeking`).
"""

from pathlib import Path

VALIDATION: frozenset[str] = frozenset(
    {"01_dog", "bedroom", "seeking", "kait-herzog-8242", "samuel-zeller-337041", "sean-afnan-244576"}
)
"""Names, without suffix, of the clips and photographs that figures are measured on and nothing is trained on."""


def is_validation(path: Path) -> bool:
    """Tell whether a clip or photograph is kept for validation; every other file may be trained on."""
    return path.stem in VALIDATION
