"""An OpenVINO model (.xml and .bin) that `pixelwise export` wrote, opened with OpenVINO's runtime."""

import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from pixelwise.data.input_size import to_pair
from pixelwise.errors import ConfigError, RunError
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
from pixelwise.inference.exported.openvino_graph import fix_size
from pixelwise.inference.model_location import WEIGHTS_SUFFIX
from pixelwise.runtime.threads import available_cpus

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> Any:
    """Return the package openvino. Its import sends data about its use to its makers, which this function prevents.

    Raises:
        ConfigError: It is not installed.
    """
    known = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment] # it cannot be imported; openvino works without it
    try:
        import openvino
    except ModuleNotFoundError as error:
        if error.name != "openvino":
            raise
        raise ConfigError("this file needs openvino; pip install 'pixelwise[openvino]'") from None
    finally:
        del sys.modules[_TELEMETRY]
        if known is not None:
            sys.modules[_TELEMETRY] = known
    return openvino


def has_bfloat16(openvino: Any) -> bool:
    """Return True if OpenVINO computes with bfloat16 on this processor.

    Args:
        openvino: the package, see `import_openvino`.
    """
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoFile(ExportedFile):
    """An exported file that computes masks with OpenVINO on the CPU.

    Args:
        path: the .xml file. Its weights are in the .bin file of the same name.

    Raises:
        RunError: A file is missing, damaged, or not an exported file of pixelwise.
        ConfigError: openvino is not installed.
    """

    package = "openvino"

    def __init__(self, path: Path) -> None:
        self.path = path
        openvino = import_openvino()
        for part in self.parts:
            check_readable(part)
        self._core, self._tensor = openvino.Core(), openvino.Tensor
        self._core.set_property({"ENABLE_MMAP": False})  # the file of weights can be replaced while it is open
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise RunError(
                f"{path}: is not a whole OpenVINO model that this machine can compute ({self.plain(error)}); copy or "
                "export it again"
            ) from None
        self.metadata = parse_metadata(path, _metadata_of(self._model))
        self._check_interface(openvino.Type)
        self._models: dict[tuple[bool, bool, bool], _CompiledModel] = {}
        self._lock = Lock()

    @property
    def parts(self) -> tuple[Path, ...]:
        """The .xml file and the .bin file."""
        return self.path, self.path.with_suffix(WEIGHTS_SUFFIX)

    @property
    def has_probabilities(self) -> bool:
        """True if the file has the output of probabilities."""
        return PROBABILITIES in _outputs_of(self._model)

    def compute(self, image: Bytes, names: Sequence[str], one_thread: bool) -> list[np.ndarray]:
        """Return the outputs of these names, see `ExportedFile`."""
        size = to_pair(self.metadata.model.size)
        if any(2 * old * new >= 1 << 31 for old, new in zip(image.shape[1:3], size, strict=True)):
            raise MemoryError("positions of pixels have 32 bits in OpenVINO")  # it would compute wrong masks
        compiled = self._compiled(PROBABILITIES in names, one_thread, image.shape[1:3] == size)
        image = np.ascontiguousarray(image)
        return compiled.infer(self._tensor(image, shared_memory=image.flags.writeable), names)  # else it is copied

    @staticmethod
    def plain(error: Exception) -> str:
        """Return the last line of an error of OpenVINO. The lines before are places in its source code."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[-1][:300] if lines else type(error).__name__

    def _compiled(self, probabilities: bool, one_thread: bool, has_size: bool) -> "_CompiledModel":
        """Return the compiled model.

        Args:
            probabilities: True for a model with this output. It would be computed for each image otherwise.
            one_thread: True for a model that computes as many images at a time as there are CPUs.
            has_size: True for a model that computes images of the size of the network only, and does not resize them.
        """
        with self._lock:
            key = probabilities and self.has_probabilities, one_thread, has_size
            if key not in self._models:
                self._models[key] = self._compile(*key)
            return self._models[key]

    def _compile(self, probabilities: bool, one_thread: bool, has_size: bool) -> "_CompiledModel":
        model = self._model.clone()
        if self.has_probabilities and not probabilities:
            model.remove_result(_outputs_of(model)[PROBABILITIES].get_node())
        if has_size:
            fix_size(model, to_pair(self.metadata.model.size))
        cpus = available_cpus()
        # By default, a processor that has bfloat16 computes with it, and the masks are not those of float32.
        precision = "bf16" if self.metadata.precision == "bfloat16" else "f32"
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": cpus}
        if one_thread:
            options["NUM_STREAMS"] = cpus
        return _CompiledModel(self._core.compile_model(model, "CPU", options), keeps_requests=has_size)

    def _check_interface(self, types: Any) -> None:
        """Raise RunError if the input or an output is not that of an exported file."""
        inputs = self._model.inputs
        is_image = len(inputs) == 1 and IMAGE in inputs[0].get_names() and inputs[0].element_type == types.u8
        shape = inputs[0].partial_shape if is_image and inputs[0].partial_shape.rank.is_static else []
        self.check_image([each.get_length() if each.is_static else None for each in shape], is_image)
        outputs = _outputs_of(self._model)
        for name, kind in ((MASK, types.u8), (CONFIDENCE, types.f32)):
            if name not in outputs or outputs[name].element_type != kind:
                raise RunError(f"{self.path}: has no output `{name}` of the right type; export it again")


class _CompiledModel:
    """A compiled model that several threads use at the same time.

    Args:
        model: the model.
        keeps_requests: True to use requests again, which have the memory of their last image. Making one takes a fifth
            of the time of a small network.
    """

    def __init__(self, model: Any, keeps_requests: bool) -> None:
        self._model, self._keeps_requests = model, keeps_requests
        self._requests: list[Any] = []

    def infer(self, image: Any, names: Sequence[str]) -> list[np.ndarray]:
        """Return the outputs of these names for an image, an OpenVINO tensor."""
        try:
            request = self._requests.pop()  # both methods of a list are atomic
        except IndexError:
            request = self._model.create_infer_request()
        request.set_tensor(IMAGE, image)
        request.infer(share_outputs=True)
        results = [request.get_tensor(name).data.copy() for name in names]
        if self._keeps_requests:
            self._requests.append(request)
        return results


def _outputs_of(model: Any) -> dict[str, Any]:
    """Return the outputs of a model by name."""
    return {name: output for output in model.outputs for name in output.get_names()}


def _metadata_of(model: Any) -> str | None:
    return model.get_rt_info(METADATA_KEY).astype(str) if model.has_rt_info(METADATA_KEY) else None
