"""A torch.export program (.pt2) that `pixelwise export` wrote, computed with torch."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from pixelwise.errors import RunError
from pixelwise.inference.exported.exported_file import (
    CONFIDENCE,
    MASK,
    PROBABILITIES,
    ExportedFile,
    ExportedOutput,
    parse_metadata,
)
from pixelwise.inference.exported.metadata import Bytes
from pixelwise.inference.exported.torch_archive import TorchArchive
from pixelwise.inference.exported.torch_arguments import FLOAT32, UINT8
from pixelwise.inference.exported.torch_program import TorchProgram
from pixelwise.runtime.cpu import limit_threads_to_idle_cores

_TYPES = {MASK: UINT8, CONFIDENCE: FLOAT32, PROBABILITIES: FLOAT32}


class TorchFile(ExportedFile):
    """An exported file that computes masks with torch on the CPU.

    Args:
        path: the file.

    Raises:
        RunError: The file is missing, damaged, or not an exported file of pixelwise.
    """

    package = "torch"

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(TorchArchive(path)) as archive:
            self.metadata = parse_metadata(path, archive.metadata())
            try:
                self._program = TorchProgram(archive)
            except ValueError as error:
                raise RunError(
                    f"{path}: is not a program that this torch, which is {torch.__version__}, can compute ({error}); "
                    "update torch, or export it again"
                ) from None
        self._check_interface()

    @property
    def has_probabilities(self) -> bool:
        """True if the file has the output of probabilities."""
        return PROBABILITIES in self._program.outputs

    def run_all(self, images: Sequence[Bytes], probabilities: bool = False) -> list[ExportedOutput]:
        """Compute the masks of several images one after the other, see `ExportedFile`.

        torch has one thread count per thread. A change of it in several threads would also change that of later ones.
        """
        return [self.run(image, probabilities) for image in images]

    @limit_threads_to_idle_cores()
    @torch.inference_mode()
    def compute(self, image: Bytes, names: Sequence[str], one_thread: bool) -> list[np.ndarray]:
        """Return the outputs of these names, see `ExportedFile`. `one_thread` is False, see `run_all`."""
        # A copy, because an operator in place could change the image of the caller.
        return [each.numpy() for each in self._program(torch.from_numpy(image.copy()), names)]

    def _check_interface(self) -> None:
        """Raise RunError if the input or an output is not that of an exported file."""
        image, outputs = self._program.image, self._program.outputs
        self.check_image([each.get("as_int") for each in image.sizes], image.dtype == UINT8)
        for name in (MASK, CONFIDENCE):
            if name not in outputs or outputs[name].dtype != _TYPES[name]:
                raise RunError(f"{self.path}: has no output `{name}` of the right type; export it again")
