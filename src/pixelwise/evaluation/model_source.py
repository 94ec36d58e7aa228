"""The model of an evaluation: the best model of a run, or an exported file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from pixelwise.data.index import DatasetIndex
from pixelwise.data.input_size import View
from pixelwise.data.joined_spec import load_with_spec, parse_any_spec
from pixelwise.errors import DataError
from pixelwise.evaluation.selection import load_run_data
from pixelwise.inference.exported.open_file import open_exported
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.model_location import is_exported
from pixelwise.inference.predictor import Predictor
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.files import expand_home

EvaluatedPredictor: TypeAlias = Predictor | ExportedPredictor


@dataclass(frozen=True)
class ModelSource:
    """The model of an evaluation.

    Attributes:
        path: the run directory, or the exported file.
        run: the run, or None for an exported file.
    """

    path: Path
    run: Run | None

    @staticmethod
    def open(model: Run | str | Path) -> "ModelSource":
        """Return the source of a run, of its directory, or of an exported file.

        Raises:
            RunError: There is no run. A file is opened later.
        """
        if not isinstance(model, Run) and is_exported(model):
            return ModelSource(expand_home(model), None)
        run = model if isinstance(model, Run) else Run.open(Path(model))
        return ModelSource(run.path, run)

    @property
    def folder(self) -> Path:
        """The directory of the evaluation's files: the run directory, or that of the exported file."""
        return self.path if self.run is not None else self.path.parent

    def load_data(
        self, roots: Sequence[str] = (), skip_unreadable: bool = False, allow_outside: bool = False
    ) -> DatasetIndex:
        """Load the data set of the training, or other data whose masks are read in the same way.

        Args:
            roots: paths or URLs of data sets. () for the data set of the training, which an exported file does not
                state.
            skip_unreadable, allow_outside: see `load_dataset`.

        Raises:
            DataError: The data set is gone, or its place is not known. Or an exported file does not state how masks are
                read.
            RunError: data.yaml of the run, or the exported file, is missing or damaged.
        """
        if self.run is not None:
            return load_run_data(self.run, roots, skip_unreadable, allow_outside)
        metadata = open_exported(self.path).metadata
        if not roots:
            raise DataError(f"{self.path}: an exported file does not state where its data set is; give `data`")
        if metadata.data is None:
            raise DataError(
                f"{self.path}: does not state how masks are read, because its model had no data.yaml; export a run, or "
                "evaluate in Python with `data`"
            )
        return load_with_spec(parse_any_spec(self.path, metadata.data), roots, skip_unreadable, allow_outside)

    def predictor(
        self, device: str | torch.device, view: View | None, scale: float | None, tta: bool
    ) -> EvaluatedPredictor:
        """Return the predictor of the model.

        Raises:
            RunError: The model is missing or damaged.
            ConfigError: See `Predictor.load`.
        """
        if self.run is None:
            return ExportedPredictor.load(self.path, str(device), view=view, scale=scale, tta=tta)
        return Predictor.load_run(self.path, device, view=view, scale=scale, tta=tta)


def computation_of(predictor: EvaluatedPredictor) -> str:
    """Return the package that computes the masks and its precision, such as "onnxruntime, int8"."""
    if isinstance(predictor, ExportedPredictor):
        metadata = predictor.file.metadata
        thresholds = " ".join(f"{name}={value:g}" for name, value in metadata.thresholds.items())
        return f"{predictor.file.package}, {metadata.precision}" + f", thresholds {thresholds}" * bool(thresholds)
    return f"torch, {'bfloat16' if predictor.bfloat16 else 'float32'}"
