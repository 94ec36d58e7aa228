"""The export target "torch": a torch.export program of the whole job, which torch loads without pixelwise."""

import copy
import io
import operator
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.export import Dim

from pixelwise.data.input_size import to_pair
from pixelwise.errors import RunError, first_line
from pixelwise.export.base import ExportJob
from pixelwise.export.torch_job import WholeJob
from pixelwise.inference.exported.exported_file import IMAGE
from pixelwise.inference.exported.metadata import METADATA_KEY, Bytes, ExportMetadata
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.exported.torch_archive import PROGRAM_VERSION
from pixelwise.inference.exported.torch_file import TorchFile
from pixelwise.inference.exported.torch_operators import find_operator, operator_name
from pixelwise.models.config import ModelConfig
from pixelwise.models.ensemble import SegmentationEnsemble
from pixelwise.models.fold_batchnorm import fold_batchnorms
from pixelwise.models.model import SegmentationModel

_MAX_SIDE = 1 << 26
"""Maximum height and width of an image in pixels."""

_EXAMPLE_SIZE = (59, 73)
"""Height and width of the image with which torch records the operators. Any size gives the same ones."""


class TorchModel:
    """A model as a torch.export program, see `ExportedModel`.

    Args:
        network: the network, see `WholeJob`. Its tensors need no gradients.
        config: the configuration of the model.
        probabilities: True to add the output of probabilities.
        shift: the thresholds of the classes, see `WholeJob`.

    Attributes:
        opset: the version of the program's format.

    Raises:
        RunError: torch cannot record an operation of the encoder or the decoder, or a file may not have it.
    """

    opset = PROGRAM_VERSION

    def __init__(
        self, network: nn.Module, config: ModelConfig, probabilities: bool = False, shift: torch.Tensor | None = None
    ) -> None:
        job = WholeJob(network, config, probabilities, shift).eval()
        image = torch.zeros((1, *_EXAMPLE_SIZE, len(config.mean)), dtype=torch.uint8)
        sizes = {1: Dim("height", min=1, max=_MAX_SIDE), 2: Dim("width", min=1, max=_MAX_SIDE)}
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # torch warns about its own deprecated functions
                self._program = torch.export.export(job, (image,), dynamic_shapes={IMAGE: sizes})
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            raise RunError(f"torch cannot export the encoder {config.encoder} ({first_line(error)})") from None
        graph = self._program.graph_module.graph
        graph.eliminate_dead_code()
        for node in graph.nodes:
            node.meta.pop("stack_trace", None)  # it has the paths of files on this machine
            if node.op == "call_function" and node.target is not operator.getitem:  # a result of several, not stored
                _check_operator(node.target, config.encoder)

    def write(self, path: Path, metadata: ExportMetadata) -> None:
        """Write the file, see `ExportedModel`."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No complete tensor")  # of weights whose layout is channels last
            # torch ends the process if it cannot write to a file, for example on a full disk.
            content = io.BytesIO()
            torch.export.save(self._program, content, extra_files={METADATA_KEY: metadata.model_dump_json()})
        path.write_bytes(content.getbuffer())

    def quantized(self, inputs: Sequence[npt.NDArray[np.uint8]]) -> Iterator[tuple[int, "TorchModel"]]:
        """Yield nothing, because the program has no version with 8-bit integers."""
        return iter(())

    def open(self, path: Path) -> ExportedPredictor:
        """Return the predictor of a file, see `ExportedModel`. It computes with the program that torch loads."""
        return ExportedPredictor(_LoadedFile(path))

    def open_plain(self, path: Path) -> ExportedPredictor:
        """Return `open`, because the program has no version with 8-bit integers."""
        return self.open(path)


class _LoadedFile(TorchFile):
    """A file of this machine, computed as other programs do: with the module that `torch.export.load` returns.

    The checks of `TorchFile` are made too, so that `pixelwise predict` accepts the file.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._module = torch.export.load(path).module()

    def compute(self, image: Bytes, names: Sequence[str], one_thread: bool) -> list[np.ndarray]:
        """Return the outputs of these names, see `TorchFile`."""
        outputs = self._module(torch.from_numpy(image.copy()))
        return [outputs[name].numpy() for name in names]


def export_torch(job: ExportJob) -> TorchModel:
    """Convert a model to a torch.export program.

    Raises:
        RunError: An operation cannot be converted.
    """
    return TorchModel(_to_network(job.predictor.model), job.config, job.probabilities, job.predictor.shift)


def _check_operator(function: object, encoder: str) -> None:
    try:
        find_operator(operator_name(function))
    except LookupError as error:
        raise RunError(f"the encoder {encoder} cannot be exported to torch ({error}); export it to onnx") from None


def _to_network(model: SegmentationModel | SegmentationEnsemble) -> nn.Module:
    """Return a copy of a model whose batch norms are folded, and whose weights need no gradients."""
    shape = (1, len(model.config.mean), *to_pair(model.config.size))
    example = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = copy.deepcopy(fold_batchnorms(model, example)).eval().requires_grad_(False)
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = tensor.clone()  # a tensor that is a part of another one would be written with all its bytes
    return network
