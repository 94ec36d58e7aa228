"""The kinds of exported files by the suffix of their names."""

from collections.abc import Callable
from pathlib import Path

from pixelwise.errors import ConfigError
from pixelwise.inference.exported.exported_file import ExportedFile
from pixelwise.inference.model_location import ONNX_SUFFIX, OPENVINO_SUFFIX, TORCH_SUFFIX
from pixelwise.registry import Registry

EXPORTED_FILES: Registry[Callable[[Path], ExportedFile]] = Registry("kind of exported file")
"""Functions that open an exported file, by the suffix of its name."""


@EXPORTED_FILES.register(ONNX_SUFFIX)
def _open_onnx(path: Path) -> ExportedFile:
    from pixelwise.inference.exported.onnx_file import OnnxFile

    return OnnxFile(path)


@EXPORTED_FILES.register(OPENVINO_SUFFIX)
def _open_openvino(path: Path) -> ExportedFile:
    from pixelwise.inference.exported.openvino_file import OpenVinoFile

    return OpenVinoFile(path)


@EXPORTED_FILES.register(TORCH_SUFFIX)
def _open_torch(path: Path) -> ExportedFile:
    from pixelwise.inference.exported.torch_file import TorchFile

    return TorchFile(path)


def open_exported(path: Path) -> ExportedFile:
    """Open an exported file. Its suffix is that of its kind, in upper or lower case.

    Raises:
        ConfigError: The suffix is that of no kind, or the package that computes this kind is not installed.
        RunError: The file is missing, damaged, or not an exported file of pixelwise.
    """
    kinds = list(EXPORTED_FILES)
    if path.suffix.lower() not in kinds:
        ends = f"{', '.join(kinds[:-1])} or {kinds[-1]}"
        raise ConfigError(f"{path}: is not an exported file; name one that ends with {ends}")
    return EXPORTED_FILES[path.suffix.lower()].component(path)
