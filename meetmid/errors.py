"""The errors a caller can catch. Every message says what was expected, what was got and what to do."""

from __future__ import annotations


class MeetmidError(Exception):
    """Base class of every error the library raises on purpose."""


class InputError(MeetmidError):
    """A picture, array, path or argument is not what the function takes."""


class TooLargeError(InputError):
    """A picture has more pixels than the memory at hand allows."""


class ModelError(MeetmidError):
    """A model file or its card is missing, damaged or does not fit its contract."""


class DeviceError(MeetmidError):
    """A device asked for by name cannot be used, or onnxruntime itself is broken."""


class StoreError(MeetmidError):
    """An enrolled gallery or a saved result cannot be read, or does not fit the matcher that uses it."""


class ConfigError(MeetmidError):
    """A configuration value is unknown, out of range or contradicts another one."""


class Cancelled(MeetmidError):
    """A progress callback returned ``False``."""
