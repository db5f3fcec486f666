"""Where networks run when there is no host that decides it."""

import torch

from ..errors import SettingsError


def chosen_device(name: str) -> torch.device:
    """Return a device by name, after trying it.

    Args:
        name: A device of PyTorch, or "auto": the first GPU, else the processor.

    Raises:
        SettingsError: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device {name!r} cannot be used ({error}); use auto, cpu or cuda") from error
    return device
