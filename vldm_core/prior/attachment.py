"""Attachments: modules that join a UNet by forward hooks and leave it bit-equal.

An attachment owns parameters of its own and never changes the UNet's. It hooks modules of a `UNetView`, so it does not
know which host it runs in. Before every forward pass the host tells it what the batch is (`UNetCall`); in ComfyUI a
diffusion-model wrapper does, headlessly the sampling loop.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import SettingsError
from .call import UNetCall
from .unet import UNetView

Change = Callable[[Tensor, UNetCall], Tensor]
"""What an attachment does to the output (B, C, h, w) of a hooked module, or to its first input."""

_PICTURE_NAMES = ("hidden_states", "x")
"""What hosts call the first input where they pass it by name."""


class Attached:
    """A living attachment; `remove` takes every hook off again."""

    def __init__(self, handles: list[RemovableHandle]) -> None:
        self._handles = handles

    def add(self, handles: Iterable[RemovableHandle]) -> None:
        """Take further hooks, which go with the others."""
        self._handles += handles

    def remove(self) -> None:
        """Take the hooks off. Doing it twice is harmless."""
        while self._handles:
            self._handles.pop().remove()


class Attachment(nn.Module):
    """Base of everything that joins a UNet.

    Attributes:
        linear_schedule: Whether it was trained on betas that rise linearly, and is to be sampled with them, whatever
            the model's own are.
        within_frames: Whether it changes each frame by itself. Such a one acts before those that mix frames, as the
            layers of the UNet do, in whatever order they joined.
    """

    linear_schedule: ClassVar[bool] = False
    within_frames: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._call: UNetCall | None = None

    def changes(self, view: UNetView) -> Iterable[tuple[nn.Module, Change]]:
        """Return which modules of the UNet to hook and what to do to their outputs.

        Raises:
            SettingsError: The attachment was made for another UNet.
        """
        raise NotImplementedError

    def input_changes(self, view: UNetView) -> Iterable[tuple[nn.Module, Change]]:
        """Return which modules of the UNet to hook before they run, and what to do to their first inputs."""
        return ()

    def hooks(self, view: UNetView) -> tuple[Sequence[tuple[nn.Module, Change]], Sequence[tuple[nn.Module, Change]]]:
        """Return all `changes` and all `input_changes`, which together make one attachment."""
        return list(self.changes(view)), list(self.input_changes(view))

    def attach(self, view: UNetView) -> Attached:
        """Hook the UNet until the result is removed.

        Raises:
            SettingsError: The attachment was made for another UNet.
        """
        after, before = self.hooks(view)
        first = self.within_frames
        handles = [module.register_forward_hook(self._hook(change), prepend=first) for module, change in after]
        for module, change in before:
            handles.append(module.register_forward_pre_hook(self._hook_before(change), with_kwargs=True))
        return Attached(handles)

    @contextmanager
    def attached(self, view: UNetView) -> Iterator[None]:
        """Be attached for the length of a `with` block."""
        attached = self.attach(view)
        try:
            yield
        finally:
            attached.remove()

    def forget(self) -> None:
        """Forget what was remembered of a sampling; most remember nothing.

        Whoever samples several times with one attachment calls it before and after each.
        """

    def expect(self, call: UNetCall) -> None:
        """Say what all forward passes from now on are about, until told otherwise.

        For training: with gradient checkpointing, passes are run again while gradients flow back, when a block of
        `during` has long been left.
        """
        self._call = call

    @contextmanager
    def during(self, call: UNetCall) -> Iterator[None]:
        """Say what the forward passes inside this block are about."""
        before, self._call = self._call, call
        try:
            yield
        finally:
            self._call = before

    def _hook(self, change: Change) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> Any:
            return _repacked(output, change(_unpacked(output), self._known_call()))

        return hook

    def _hook_before(self, change: Change) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(module: nn.Module, positional: Any, named: Any) -> Any:
            if positional:
                return (change(positional[0], self._known_call()), *positional[1:]), named
            name = next((name for name in _PICTURE_NAMES if name in named), None)
            if name is None:
                raise SettingsError(f"{type(module).__name__} was called without its picture")
            return positional, {**named, name: change(named[name], self._known_call())}

        return hook

    def _known_call(self) -> UNetCall:
        if self._call is None:
            raise SettingsError(
                f"{type(self).__name__} ran without being told which frames the batch holds; "
                "run the UNet inside `during(UNetCall(...))`"
            )
        return self._call


def _unpacked(output: Any) -> Tensor:
    """Return the picture in what a module gave back: diffusers' transformers wrap it."""
    if isinstance(output, Tensor):
        return output
    return output[0] if isinstance(output, tuple) else output.sample


def _repacked(output: Any, changed: Tensor) -> Any:
    """Hand back what came, with another picture inside."""
    if isinstance(output, Tensor):
        return changed
    return (changed, *output[1:]) if isinstance(output, tuple) else type(output)(sample=changed)


@contextmanager
def calling(attachments: Iterable[Attachment], call: UNetCall) -> Iterator[None]:
    """Tell several attachments what the forward passes inside this block are about."""
    with ExitStack() as stack:
        for attachment in attachments:
            stack.enter_context(attachment.during(call))
        yield
