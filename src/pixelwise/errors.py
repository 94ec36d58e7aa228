"""All error classes of pixelwise.

    PixelwiseError                base class; the command line prints its text and exits with 2
    ├── DataError                 an image, a mask or a data directory cannot be used
    │   ├── AmbiguousDataError    a data directory can be read in several ways
    │   ├── AnnotationError       an entry of an annotation file cannot be used
    │   ├── UndecodableTiffError  tifffile cannot decode a TIFF file
    │   └── WorkerDataError       a DataError that a DataLoader worker process raised
    ├── ConfigError               a setting has a value that cannot work
    ├── WeightsError              encoder weights are missing or do not fit
    ├── RunError                  a run directory is missing, incomplete or in use
    ├── OutputError               an output cannot be written, for example because the disk is full
    │   └── OutputExistsError     an output path exists already
    ├── TrainingDivergedError     the loss became infinite or NaN
    ├── WorkerCrashedError        a worker process ended without a result
    └── CacheUnavailableError     the image cache cannot be used

A message is one line: the file, the fault, the fix. It contains names of arguments in backticks (`out`). The command
line replaces them by flags (--out).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class PixelwiseError(Exception):
    """Base class of the errors of pixelwise. Their messages are written for the user."""

    def __str__(self) -> str:
        return printable(super().__str__())


class DataError(PixelwiseError):
    """An image, a mask or a data directory cannot be used. The message names the file."""


class ConfigError(PixelwiseError):
    """A setting has a value that cannot work. The message contains the fix or the possible values."""


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


class AmbiguousDataError(DataError):
    """A data directory can be read in several ways.

    Args:
        message: the question, with the options that settle it.
        choices: answers to the question. Each maps arguments of `load_dataset` to values. It is complete, so a repeated
            call with these arguments does not raise the same error.

    Attributes:
        choices: see the argument.
    """

    def __init__(self, message: str, choices: Sequence[Mapping[str, object]] = ()) -> None:
        super().__init__(message)
        self.choices = tuple(dict(choice) for choice in choices)


class AnnotationError(DataError):
    """An entry of an annotation file cannot be used. The caller adds the name of the file."""


class UndecodableTiffError(DataError):
    """tifffile cannot decode a TIFF file. Another package may do so."""


class WorkerDataError(DataError):
    """A DataError that a DataLoader worker process raised.

    torch sends the class and the formatted traceback to the main process, and calls the class with the traceback.
    The message of the error is the part of the traceback after the name of the class.

    Args:
        text: a message, or a traceback that ends with the message.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.rpartition(f"{__name__}.{type(self).__name__}: ")[2].rstrip())


class WorkerCrashedError(PixelwiseError):
    """A worker process ended without a result."""


class CacheUnavailableError(PixelwiseError):
    """The image cache cannot be used. The caller decodes the images at each use instead."""


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
"""Control characters, line separators, invisible characters, marks that change the direction of a text, and surrogates
(the form of bytes that are not UTF-8)."""


def printable(text: str) -> str:
    r"""Escape the characters of a text that could control the terminal, begin a new line, or hide a part of the text.

    Names of classes and files can come from an untrusted data set. Each text with such names is passed to this function
    before it is printed or logged.

    >>> print(printable("\x1b[2Jcat.jpg"), printable("cat\n.jpg"), printable("\u202egpj.tac"))
    \x1b[2Jcat.jpg cat\x0a.jpg \u202egpj.tac
    """
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def without_name(error: Exception, file: object) -> str:
    """Return the message of an error without the file name at its start.

    Args:
        error: the error.
        file: the file. A message that does not start with its name and ": " is returned unchanged.

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


def first_finding(error: "ValidationError") -> str:
    """Return the field and the message of the first finding of pydantic. A finding about several fields has no field.

    >>> from pydantic import TypeAdapter
    >>> try:
    ...     TypeAdapter(dict[str, int]).validate_python({"epochs": "many"})
    ... except ValueError as error:
    ...     print(first_finding(error))
    epochs: Input should be a valid integer, unable to parse string as an integer
    """
    finding = error.errors()[0]
    fault = finding["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, (".".join(map(str, finding["loc"])), fault)))


_OUT_OF_MEMORY = re.compile(
    "not enough memory|out of memory|can(no|')t allocate memory"
    "|could not (create|execute) a (primitive|memory)( object)?$",
    re.IGNORECASE | re.MULTILINE,
)
"""Messages of allocators. The last is oneDNN's on a CPU, whose cause is a workspace that could not be allocated."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error means that memory ran out. The text of torch's RuntimeError depends on the device.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    >>> is_out_of_memory(RuntimeError("could not create a primitive"))
    True
    >>> is_out_of_memory(RuntimeError("could not create a primitive descriptor for the matmul primitive."))
    False
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    )
