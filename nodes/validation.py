"""How nodes refuse values before anything runs."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

from ..vldm_core.errors import SettingsError


def one_error(validate: Callable[..., bool | str]) -> Callable[..., bool | str]:
    """Make a node's `validate_inputs` give one error for one mistake.

    The host writes what `validate_inputs` returns under every input that it names, so a mistake in one of seven is told
    seven times; what it raises is told once. The host also leaves out its own check of the range of inputs that are
    named, and hands on values that it could not convert and has told of already.

    Use below `@classmethod`.
    """

    @functools.wraps(validate)
    def validated(cls: type[io.ComfyNode], **given: Any) -> bool | str:
        numbers = {
            each.id: each for each in cls.define_schema().inputs if isinstance(each, io.Int.Input | io.Float.Input)
        }
        result: bool | str = True
        if not given:
            # Where a required input is missing, the host says so.
            return result
        for name, value in given.items():
            if name not in numbers or value is None:
                continue
            if not isinstance(value, int | float):
                return True
            least, most = numbers[name].min, numbers[name].max
            if (least is not None and not value >= least) or (most is not None and not value <= most):
                result = f"{name} is {value}; use {least} to {most}"
        result = validate(cls, **given) if result is True else result
        # With a single input the host tells it once, under that one.
        if isinstance(result, str) and len(given) != 1:
            raise SettingsError(result)
        return result

    # The host reads the names of the inputs from it.
    validated.__signature__ = inspect.signature(validate)  # type: ignore[attr-defined]
    return validated
