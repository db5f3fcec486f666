"""Exceptions and warnings of the package.

Every message says what failed, which value was seen and what to do next.
"""


class VLDMError(Exception):
    """Base of every error this package raises on purpose."""


class SettingsError(VLDMError, ValueError):
    """A setting or an argument has a value the stage cannot work with."""


class FilmFileError(VLDMError):
    """A film file or image-sequence folder cannot be read or written."""


class FilmFileWarning(UserWarning):
    """A film file is damaged, but part of it could be used; the message names the frame numbers."""


class HostError(VLDMError):
    """A ComfyUI server cannot be reached, refuses a workflow, fails in it or stops it."""


class HostLostError(HostError):
    """A ComfyUI server does not answer, or does not answer any more: another one may do the work."""


class StageError(VLDMError):
    """A stage failed in a frame, and the run was asked to stop at that (strict)."""
