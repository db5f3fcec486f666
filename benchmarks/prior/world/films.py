"""What the small world has seen: aged clips and photographs at 128 px."""

from dataclasses import replace
from importlib import resources
from pathlib import Path

from vldm_core.data.clean_shots import MaterialSettings
from vldm_core.machine.companions import importing
from vldm_core.training.diffusion.material import PriorMaterial
from vldm_core.training.prerestorer.examples import RepairedFilmSettings

from .models import SIDE

FRAMES = 8
FILMS = RepairedFilmSettings(films=400, frames=FRAMES, height=SIDE, width=SIDE)
"""Those that the VAE is trained on."""

SHOTS = MaterialSettings(reduction=4.2)
"""Small frames that show as much as larger ones would."""

_PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


PRIOR_FILMS = 200
"""Films that the UNet and what joins it are trained on: encoding one takes seconds, twice as many teach little more."""


def world_material(data: Path, cache: Path, *, films: int = PRIOR_FILMS) -> PriorMaterial:
    """Return the films of the small world.

    Args:
        data: Folder with `clips` and `photos`.
        cache: Folder for films and latents.
        films: How many there are to train on.

    Raises:
        VLDMError: scikit-image or matplotlib, whose photographs are used, is missing.
    """
    return PriorMaterial(
        data=(data, *_packaged_photos()),
        cache=cache,
        films=replace(FILMS, films=films),
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
