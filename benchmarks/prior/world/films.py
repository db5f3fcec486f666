"""What the small world has seen: aged clips and photographs at 128 px."""

from importlib import resources
from pathlib import Path

from vldm_core.data.clean_shots import MaterialSettings
from vldm_core.machine.companions import importing
from vldm_core.training.diffusion.material import PriorMaterial
from vldm_core.training.prerestorer.examples import RepairedFilmSettings

from .models import SIDE

FRAMES = 8
FILMS = RepairedFilmSettings(films=200, frames=FRAMES, height=SIDE, width=SIDE)

SHOTS = MaterialSettings(reduction=1.0, film_lines=720)
"""Small cut-outs of full-size pictures, so that eight pixels hold no more than a latent keeps."""

_PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


def world_material(data: Path, cache: Path) -> PriorMaterial:
    """Return the films of the small world.

    Args:
        data: Folder with `clips` and `photos`.
        cache: Folder for films and latents.

    Raises:
        VLDMError: scikit-image or matplotlib, whose photographs are used, is missing.
    """
    return PriorMaterial(
        data=(data, *_packaged_photos()),
        cache=cache,
        films=FILMS,
        validation_films=24,
        shots=SHOTS,
    )


def _packaged_photos() -> list[Path]:
    """Return photographs that packages ship; all are free to use."""
    with importing("scikit-image or matplotlib", "'vldm[test]'"):
        science, plots = resources.files("skimage.data"), resources.files("matplotlib")
    found = [Path(str(science / name)) for name in _PHOTOS]
    found.append(Path(str(plots / "mpl-data" / "sample_data" / "grace_hopper.jpg")))
    return [path for path in found if path.is_file()]
