"""The export targets, one function each. The packages that a target needs are imported when it is used."""

from collections.abc import Iterator
from contextlib import contextmanager

from pixelwise.errors import ConfigError
from pixelwise.export.base import EXPORTERS, ExportedModel, ExportJob
from pixelwise.inference.model_location import EXPORTED_SUFFIX

__all__ = ["EXPORTERS"]


@EXPORTERS.register("onnx", suffix=EXPORTED_SUFFIX)
def onnx(job: ExportJob) -> ExportedModel:
    """Convert a model to one ONNX file, see `pixelwise.export.onnx_exporter`."""
    with _needs("onnx", ("onnx", "onnxruntime", "onnxscript")):
        import onnxruntime  # noqa: F401 (the export measures the file with it)

        from pixelwise.export.onnx_exporter import export_onnx
    return export_onnx(job)


@contextmanager
def _needs(extra: str, packages: tuple[str, ...]) -> Iterator[None]:
    """Raise ConfigError with the extra to install if a package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise ConfigError(f"this export needs {error.name}; pip install 'pixelwise[{extra}]'") from None
