"""Old-film restoration in plain torch: video streams, film damage, and the stages that undo it.

The package never imports ComfyUI; the node pack around it does. The names here are the public face. Each is imported
when it is first asked for, so that a command or a node loads only what it needs, and a missing or broken diffusers is
no matter to anything else.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ageing import simulate as simulate
    from .metrics.comparison import compare_films as compare_films
    from .prior.checkpoints.opening import open_prior as open_prior
    from .prior.pipeline import VideoRestorationPipeline as VideoRestorationPipeline
    from .reel.describe import describe_film as describe_film
    from .reel.masks import detect_film as detect_film
    from .reel.prior import restore_film_with_prior as restore_film_with_prior
    from .reel.restore import ReelReport as ReelReport
    from .reel.restore import ReelSettings as ReelSettings
    from .reel.restore import restore_film as restore_film
    from .reel.with_prior.settings import PriorReelSettings as PriorReelSettings
    from .stages.batch import DamageMasks as DamageMasks
    from .stages.batch import detect_damage as detect_damage
    from .stages.batch import remove_flicker as remove_flicker
    from .stages.batch import repair_damage as repair_damage
    from .video.reading.reader import open_film as open_film
    from .video.writing.writer import open_writer as open_writer

__version__ = "0.1.0"

_ROOMS = {
    "DamageMasks": "stages.batch",
    "PriorReelSettings": "reel.with_prior.settings",
    "ReelReport": "reel.restore",
    "ReelSettings": "reel.restore",
    "VideoRestorationPipeline": "prior.pipeline",
    "compare_films": "metrics.comparison",
    "describe_film": "reel.describe",
    "detect_damage": "stages.batch",
    "detect_film": "reel.masks",
    "open_film": "video.reading.reader",
    "open_prior": "prior.checkpoints.opening",
    "open_writer": "video.writing.writer",
    "remove_flicker": "stages.batch",
    "repair_damage": "stages.batch",
    "restore_film": "reel.restore",
    "restore_film_with_prior": "reel.prior",
    "simulate": "ageing",
}

__all__ = [
    "DamageMasks",
    "PriorReelSettings",
    "ReelReport",
    "ReelSettings",
    "VideoRestorationPipeline",
    "compare_films",
    "describe_film",
    "detect_damage",
    "detect_film",
    "open_film",
    "open_prior",
    "open_writer",
    "remove_flicker",
    "repair_damage",
    "restore_film",
    "restore_film_with_prior",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "VideoRestorationPipeline":
        from .machine.companions import HEADLESS, importing

        with importing("diffusers or transformers", HEADLESS):
            module = importlib.import_module(f"{__name__}.{_ROOMS[name]}")
    else:
        module = importlib.import_module(f"{__name__}.{_ROOMS[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]
