"""An ONNX file that `pixelwise export` wrote, opened with ONNX Runtime."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from pixelwise.errors import ConfigError, RunError, first_line
from pixelwise.inference.exported.exported_file import (
    CONFIDENCE,
    IMAGE,
    MASK,
    PROBABILITIES,
    ExportedFile,
    check_readable,
    parse_metadata,
)
from pixelwise.inference.exported.metadata import METADATA_KEY, Bytes
from pixelwise.runtime.threads import available_cpus

_TYPES = {MASK: "tensor(uint8)", PROBABILITIES: "tensor(float)", CONFIDENCE: "tensor(float)"}

_FATAL = 4
"""The log level of ONNX Runtime that prints nothing for an error, which it raises as well."""

_LOCATION = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |(Load model from .*? failed: ?)|/[^ ]*onnxruntime/[^ ]+:\d+ .*?\) (?=[A-Z])"
)
"""Parts of ONNX Runtime's messages that state where in its source code an error was raised."""

_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""The environment variable that ONNX Runtime reads when it is imported."""


def import_onnxruntime() -> Any:
    """Return the package onnxruntime. Its import starts to send data about its use, which this function prevents.

    A user who sets the environment variable ORT_DISABLE_TELEMETRY decides instead.

    Raises:
        ImportError: It is not installed.
    """
    is_set = _NO_TELEMETRY in os.environ
    os.environ.setdefault(_NO_TELEMETRY, "1")
    try:
        import onnxruntime
    finally:
        if not is_set:
            os.environ.pop(_NO_TELEMETRY, None)
    return onnxruntime


class OnnxFile(ExportedFile):
    """An exported file that computes masks with ONNX Runtime on the CPU.

    Args:
        path: the file.
        optimize: False to compute each operator by itself. This is slower, and rounds otherwise.

    Raises:
        RunError: The file is missing, damaged, or not an exported file of pixelwise.
        ConfigError: onnxruntime is not installed.
    """

    package = "onnxruntime"

    def __init__(self, path: Path, optimize: bool = True) -> None:
        self.path = path
        self._opened = _identity(path)
        self._optimize = optimize
        self._session = _open_session(path, available_cpus(), optimize)
        self._single: Any = None
        self._lock = Lock()
        self.metadata = parse_metadata(path, self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY))
        self._check_interface()

    @property
    def has_probabilities(self) -> bool:
        """True if the file has the output of probabilities."""
        return any(output.name == PROBABILITIES for output in self._session.get_outputs())

    def compute(self, image: Bytes, names: Sequence[str], one_thread: bool) -> list[np.ndarray]:
        """Return the outputs of these names, see `ExportedFile`."""
        from onnxruntime import RunOptions

        session = self._one_thread() if one_thread else self._session

        options = RunOptions()
        options.log_severity_level = _FATAL
        options.only_execute_path_to_fetches = True  # by default it computes outputs that are not requested too
        return session.run(names, {IMAGE: image}, options)

    @staticmethod
    def plain(error: Exception) -> str:
        """Return the first line of an error of ONNX Runtime without the places in its source code."""
        return _LOCATION.sub("", first_line(error))[:300]

    def _one_thread(self) -> Any:
        """Return the session whose runs use only the calling thread. It is opened at the first call.

        Raises:
            RunError: The file is not the one that was opened.
        """
        with self._lock:
            if self._single is None:
                self._single = _open_session(self.path, 1, self._optimize)
                if _identity(self.path) != self._opened:
                    raise RunError(f"{self.path}: was replaced while it was in use; start again")
            return self._single

    def _check_interface(self) -> None:
        """Raise RunError if the input or an output is not that of an exported file."""
        inputs = {each.name: (each.type, each.shape) for each in self._session.get_inputs()}
        outputs = {each.name: each.type for each in self._session.get_outputs()}
        kind, shape = inputs.get(IMAGE, ("", []))
        self.check_image(shape, len(inputs) == 1 and kind == "tensor(uint8)")
        for name in (MASK, CONFIDENCE):
            if outputs.get(name) != _TYPES[name]:
                raise RunError(f"{self.path}: has no output `{name}` of the right type; export it again")


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return what changes if a file is replaced, or None if there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _open_session(path: Path, threads: int, optimize: bool) -> Any:
    """Open a file with ONNX Runtime. Raise RunError if it is not an ONNX file that this version can compute.

    Args:
        path: the file.
        threads: number of threads of one run.
        optimize: see `OnnxFile`.
    """
    try:
        onnxruntime = import_onnxruntime()
    except ImportError:
        raise ConfigError(f"{path}: needs onnxruntime; pip install 'pixelwise[onnx]'") from None
    check_readable(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = False  # images have many sizes, and the arena keeps the memory of the largest
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes of ONNX Runtime's errors have no common base class
        text = OnnxFile.plain(error)
        if "opset" in text.lower() or "ir version" in text.lower():
            later = re.search(r"[Oo]pset (\d+)", text)
            text = f"its operators have the later version {later[1]}" if later else text
            fix = f"update onnxruntime, which is {onnxruntime.__version__}, or export it again"
        elif "protobuf" in text.lower() or "No graph" in text:
            text, fix = "it is truncated, or a file of another kind", "copy or export it again"
        else:
            fix = "export it again"
        raise RunError(f"{path}: is not a whole ONNX file that this machine can compute ({text}); {fix}") from None
