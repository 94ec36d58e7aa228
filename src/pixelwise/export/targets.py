"""The export targets, one function each. The packages that a target needs are imported when it is used."""

from collections.abc import Iterator
from contextlib import contextmanager

from pixelwise.errors import ConfigError
from pixelwise.export.base import EXPORTERS, ExportedModel, ExportJob
from pixelwise.export.web.folder import NO_INT8
from pixelwise.inference.exported.onnx_file import import_onnxruntime
from pixelwise.inference.model_location import ONNX_SUFFIX, OPENVINO_SUFFIX, TORCH_SUFFIX, WEIGHTS_SUFFIX

__all__ = ["EXPORTERS"]


_VERIFY = "test it where it will work: pixelwise verify {path}"

_NO_INT8 = (
    "a torch.export program with 8-bit integers needs operators that `import torch` does not load; export with `int8` "
    "to onnx or openvino"
)


@EXPORTERS.register("onnx", suffix=ONNX_SUFFIX, next_step=_VERIFY)
def onnx(job: ExportJob) -> ExportedModel:
    """Convert a model to one ONNX file, see `pixelwise.export.onnx_exporter`."""
    with _needs("onnx", ("onnx", "onnxruntime", "onnxscript")):
        import_onnxruntime()  # the export measures the file with it

        from pixelwise.export.onnx_exporter import export_onnx
    return export_onnx(job)


@EXPORTERS.register(
    "openvino", suffix=OPENVINO_SUFFIX, companions=(WEIGHTS_SUFFIX,), next_step=_VERIFY, has_bfloat16=True
)
def openvino(job: ExportJob) -> ExportedModel:
    """Convert a model to an OpenVINO model, see `pixelwise.export.openvino_exporter`."""
    with _needs("openvino", ("onnx", "onnxruntime", "onnxscript")):
        from pixelwise.export.openvino_exporter import export_openvino
    return export_openvino(job)


@EXPORTERS.register("torch", suffix=TORCH_SUFFIX, next_step=_VERIFY, no_int8=_NO_INT8)
def torch(job: ExportJob) -> ExportedModel:
    """Convert a model to a torch.export program, see `pixelwise.export.torch_exporter`."""
    from pixelwise.export.torch_exporter import export_torch

    return export_torch(job)


@EXPORTERS.register(
    "web",
    suffix="",
    next_step="copy {path} to a web server; the page tests itself in each browser",
    takes_runtime=True,
    no_int8=NO_INT8,
)
def web(job: ExportJob) -> ExportedModel:
    """Convert a model to a page that computes masks in a browser, see `pixelwise.export.web`."""
    with _needs("onnx", ("onnx", "onnxruntime", "onnxscript")):
        import_onnxruntime()  # the export measures the file with it

        from pixelwise.export.web.exporter import export_web
    return export_web(job)


@contextmanager
def _needs(extra: str, packages: tuple[str, ...]) -> Iterator[None]:
    """Raise ConfigError with the extra to install if a package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise ConfigError(f"this export needs {error.name}; pip install 'pixelwise[{extra}]'") from None
