"""All clean contents of this folder by name, for `python -m benchmarks harm --cases FILE` and the tests."""

from collections.abc import Callable

from . import lettering, small_things, whole_frames
from .ground import Content

MAKERS: dict[str, Callable[[], Content]] = {
    name: maker
    for module in (lettering, small_things, whole_frames)
    for name, maker in vars(module).items()
    if callable(maker) and getattr(maker, "__module__", "") == module.__name__ and not name.startswith("_")
    if name not in ("dot", "stroke", "dirty_subtitles")
}
