"""An ONNX file that `pixelwise export` wrote, opened with ONNX Runtime."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, RunError, first_finding, first_line
from pixelwise.inference.exported.metadata import MAX_METADATA_BYTES, METADATA_KEY, Bytes, ExportMetadata
from pixelwise.runtime.threads import available_cpus

IMAGE, MASK, PROBABILITIES, CONFIDENCE = "image", "mask", "probabilities", "class_confidence"
"""Names of the input and of the outputs."""

_TYPES = {MASK: "tensor(uint8)", PROBABILITIES: "tensor(float)", CONFIDENCE: "tensor(float)"}

_FATAL = 4
"""The log level of ONNX Runtime that prints nothing for an error, which it raises as well."""

_LOCATION = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |(Load model from .*? failed: ?)|/[^ ]*onnxruntime/[^ ]+:\d+ .*?\) (?=[A-Z])"
)
"""Parts of ONNX Runtime's messages that state where in its source code an error was raised."""

_NO_MEMORY = re.compile("Failed to allocate memory|bad_alloc|bad allocation")


@dataclass(frozen=True)
class OnnxOutput:
    """What a file computes from an image.

    Attributes:
        mask: (H, W) uint8, or (C, H, W) for a multi-label model, with 255 at pixels without data.
        confidences: (C,) float32, the mean probability of each class over its pixels. NaN for a class without pixels.
        probabilities: (C, H, W) float32 in [0, 1], or None if they were not requested.
    """

    mask: Bytes
    confidences: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32] | None = None

    @property
    def nbytes(self) -> int:
        """The size of the arrays in bytes."""
        return self.mask.nbytes + (0 if self.probabilities is None else self.probabilities.nbytes)


class OnnxFile:
    """An exported file that computes masks with ONNX Runtime on the CPU.

    Args:
        path: the file.

    Attributes:
        path: the file.
        metadata: its metadata.

    Raises:
        RunError: The file is missing, damaged, or not an exported file of pixelwise.
        ConfigError: onnxruntime is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session = _open_session(path)
        self.metadata = _read_metadata(path, self._session.get_modelmeta().custom_metadata_map)
        self._check_interface()

    @property
    def has_probabilities(self) -> bool:
        """True if the file has the output of probabilities."""
        return any(output.name == PROBABILITIES for output in self._session.get_outputs())

    def digest(self) -> str:
        """Return a hash of the file's content."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]

    def run(self, image: Bytes, probabilities: bool = False) -> OnnxOutput:
        """Compute the mask of an image.

        Args:
            image: (H, W, channels) of any size.
            probabilities: True for the probabilities too. The file must have them.

        Raises:
            MemoryError: The memory does not suffice.
            RunError: The file computes something else than a mask.
        """
        names = [MASK, CONFIDENCE, *[PROBABILITIES] * probabilities]
        from onnxruntime import RunOptions

        options = RunOptions()
        options.log_severity_level = _FATAL
        options.only_execute_path_to_fetches = True  # by default it computes outputs that are not requested too
        try:
            mask, confidences, *others = self._session.run(names, {IMAGE: image[None]}, options)
        except Exception as error:  # the classes of ONNX Runtime's errors have no common base class
            if _NO_MEMORY.search(str(error)):
                raise MemoryError(_plain(error)) from None
            raise RunError(f"{self.path}: cannot compute a mask ({_plain(error)}); export it again") from None
        self._check_mask(mask, confidences, image)
        return OnnxOutput(mask[0], confidences, others[0][0] if others else None)

    def _check_mask(self, mask: np.ndarray, confidences: np.ndarray, image: Bytes) -> None:
        config = self.metadata.model
        shape = config.task.mask_shape(len(config.classes), image.shape[0], image.shape[1])
        values = 2 if config.task is MULTILABEL else len(config.classes)
        if mask.shape != (1, *shape) or confidences.shape != (len(config.classes),):
            raise RunError(f"{self.path}: gives a mask of shape {mask.shape} for an image of {image.shape[:2]} pixels")
        highest = int(mask.max()) if not config.band_ranges else int(np.where(mask == 255, 0, mask).max())
        if highest >= values:
            raise RunError(f"{self.path}: gives the class {highest}, but has {len(config.classes)} classes")

    def _check_interface(self) -> None:
        """Raise RunError if the input or an output is not that of an exported file."""
        inputs = {each.name: (each.type, each.shape) for each in self._session.get_inputs()}
        outputs = {each.name: each.type for each in self._session.get_outputs()}
        kind, shape = inputs.get(IMAGE, ("", []))
        channels = len(self.metadata.model.mean)
        if len(inputs) != 1 or kind != "tensor(uint8)" or len(shape) != 4 or shape[0] != 1 or shape[3] != channels:
            raise RunError(f"{self.path}: does not take an image (1, H, W, {channels}) of uint8; export it again")
        for name in (MASK, CONFIDENCE):
            if outputs.get(name) != _TYPES[name]:
                raise RunError(f"{self.path}: has no output `{name}` of the right type; export it again")


def _open_session(path: Path) -> Any:
    """Open a file with ONNX Runtime. Raise RunError if it is not an ONNX file that this version can compute."""
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(f"{path}: needs onnxruntime; pip install 'pixelwise[onnx]'") from None
    try:
        path.open("rb").close()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = available_cpus()
    options.enable_cpu_mem_arena = False  # images have many sizes, and the arena keeps the memory of the largest
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes of ONNX Runtime's errors have no common base class
        text = _plain(error)
        if "opset" in text.lower() or "ir version" in text.lower():
            later = re.search(r"[Oo]pset (\d+)", text)
            text = f"its operators have the later version {later[1]}" if later else text
            fix = f"update onnxruntime, which is {onnxruntime.__version__}, or export it again"
        elif "protobuf" in text.lower() or "No graph" in text:
            text, fix = "it is truncated, or a file of another kind", "copy or export it again"
        else:
            fix = "export it again"
        raise RunError(f"{path}: is not a whole ONNX file that this machine can compute ({text}); {fix}") from None


def _read_metadata(path: Path, entries: Mapping[str, str]) -> ExportMetadata:
    text = entries.get(METADATA_KEY)
    if text is None:
        raise RunError(f"{path}: is an ONNX file of another program; name one that `pixelwise export` wrote")
    if len(text) > MAX_METADATA_BYTES:
        raise RunError(f"{path}: its metadata have {len(text)} bytes; at most {MAX_METADATA_BYTES} are allowed")
    try:
        return ExportMetadata.model_validate_json(text)
    except ValidationError as error:
        raise RunError(f"{path}: its metadata cannot be read ({first_finding(error)}); export it again") from None


def _plain(error: Exception) -> str:
    """Return the first line of an error of ONNX Runtime without the places in its source code."""
    return _LOCATION.sub("", first_line(error))[:300]
