"""All error classes of pixelwise.

    PixelwiseError                base class; the command line prints its text and exits with 2
    ├── DataError                 an image, a mask or a data directory cannot be used
    │   ├── AnnotationError       an entry of an annotation file cannot be used
    │   └── WorkerDataError       the same, raised in a DataLoader worker process
    ├── ConfigError               a setting has a value that cannot work
    ├── WeightsError              encoder weights are missing or do not fit
    ├── RunError                  a run directory is missing, incomplete or in use
    ├── OutputError               an output cannot be written, for example because the disk is full
    │   └── OutputExistsError     an output path exists already
    ├── TrainingDivergedError     the loss became infinite or NaN
    ├── WorkerCrashedError        a worker process ended without a result
    └── CacheUnavailableError     the image cache cannot be used

A message is one line: the file, the fault, the fix. It names an argument in backticks (`out`), which the command line
replaces by the flag (--out).
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class PixelwiseError(Exception):
    """Base class of all errors that pixelwise raises on purpose."""

    def __str__(self) -> str:
        return printable(super().__str__())


class DataError(PixelwiseError):
    """An image, a mask or a data directory cannot be used. The message names the file."""


class ConfigError(PixelwiseError):
    """A setting has a value that cannot work. The message lists the choices."""


class WeightsError(PixelwiseError):
    """Encoder weights are missing, or do not fit the encoder."""


class RunError(PixelwiseError):
    """A run directory is missing, incomplete, or in use by another process."""


class OutputError(PixelwiseError):
    """An output cannot be written, for example because the disk is full."""


class OutputExistsError(OutputError):
    """An output path exists already. A file is overwritten only if `overwrite` is set."""


class TrainingDivergedError(PixelwiseError):
    """The loss became infinite or NaN."""


class AnnotationError(DataError):
    """An entry of an annotation file cannot be used. The caller adds the name of the file."""


class WorkerDataError(DataError):
    """A data error that a DataLoader worker process raised.

    From a worker torch passes the class and the formatted traceback, and calls the class with it. The message is the
    text after the name of the class, where Python's traceback has it.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.rpartition(f"{__name__}.{type(self).__name__}: ")[2].rstrip())


class WorkerCrashedError(PixelwiseError):
    """A worker process ended without a result."""


class CacheUnavailableError(PixelwiseError):
    """The image cache cannot be used. Images are decoded at each use instead."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return a message for a name that is not a choice, with the nearest choice and all choices.

    Args:
        kind: what the name stands for, for example "decoder".
        name: the unknown name.
        choices: the known names.

    >>> unknown_name("decoder", "pix2pi", ["fpn", "pix2pix"])
    "unknown decoder 'pix2pi' (did you mean 'pix2pix'?); choose from: fpn, pix2pix"
    """
    choices = list(choices)
    near = get_close_matches(name, choices, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"unknown {kind} '{name}'{hint}; choose from: {', '.join(choices)}"


_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Control characters, line separators, invisible characters, marks that change the direction of a text, and bytes that
are not UTF-8 (surrogates)."""


def printable(text: str) -> str:
    r"""Return a text with the characters escaped that could change a terminal, begin a line, or hide a part of a text.

    Names of classes and files come from strangers. Each text with such names goes through this function before it is
    printed or logged.

    >>> print(printable("\x1b[2Jcat.jpg"), printable("cat\n.jpg"), printable("\u202egpj.tac"))
    \x1b[2Jcat.jpg cat\x0a.jpg \u202egpj.tac
    """
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def without_name(error: Exception, file: object) -> str:
    """Return an error's message without the name of its file, if it begins with it.

    >>> without_name(DataError("cat.jpg: truncated"), "cat.jpg")
    'truncated'
    """
    return str(error).removeprefix(printable(f"{file}: "))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if there is no message.

    >>> first_line(OSError("no route"))
    'no route'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_OUT_OF_MEMORY = re.compile("not enough memory|out of memory|can(no|')t allocate memory", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if memory ran out. torch raises a RuntimeError with a text of its own on each device.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    )
