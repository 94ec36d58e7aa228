"""`pixelwise evaluate`.

This module imports neither torch nor the library's modules that do, so that `pixelwise evaluate --help` starts quickly.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pixelwise.cli.common import check_output, has_left_out, print_skipped
from pixelwise.cli.components import LIST_FLAG, OPEN_CHOICE, DataPath, Device, open_choice, parse_components
from pixelwise.cli.entry import DONE, SOME_FILES_FAILED
from pixelwise.cli.flags import with_flags
from pixelwise.cli.setting_flags import read_names
from pixelwise.data.input_size import View
from pixelwise.data.schema import Split
from pixelwise.errors import printable
from pixelwise.evaluation.resolution import Resolution
from pixelwise.runtime.progress import ProgressBars

_METRICS = read_names("metrics")

_METRICS_HELP = (
    f"Metrics in addition to the default ones. Choices: {', '.join(_METRICS)}. "
    "Write NAME, or NAME:PARAMETER=VALUE,… for parameters."
)

if TYPE_CHECKING:
    _MetricNames = tuple[str, ...]
else:
    _MetricNames = tuple[open_choice(_METRICS), ...]


def evaluate_command(
    run: Path,
    /,
    *data: DataPath,
    split: Split | None = None,
    out: Path | None = None,
    resolution: Resolution = "original",
    view: View | None = None,
    scale: float | None = None,
    tta: Annotated[bool, Parameter(negative=())] = False,
    device: Device = "auto",
    skip_unreadable: Annotated[bool, Parameter(negative=())] = False,
    allow_outside: Annotated[bool, Parameter(negative=())] = False,
    metrics: Annotated[_MetricNames, Parameter(help=_METRICS_HELP, **LIST_FLAG, **OPEN_CHOICE)] = (),
) -> int:
    """Evaluate a run's best model, or an exported file, on images that it was not trained on.

    Args:
        run: Run directory, or an exported file (.onnx, .xml or .pt2).
        data: Directory of the data set, a table, or a URL. Several are joined. Masks are read as in the training.
            [default: the data set of the training. An exported file needs DATA]
        split: Split to evaluate on. "val" selects the images that the training held out if DATA has no such split.
            [default: test if DATA has it, else val. If DATA has neither, and none of its images was trained on: all
            images]
        out: Directory of the page (.html), the row per image (.csv) and all values (.json), which are named
            evaluation-SPLIT. Or the path of the JSON file, which ends with .json and gives the others their name.
            [default: the run directory. For an exported file, NAME-evaluation-SPLIT beside it]
        resolution: Compare masks at each image's own size, or at the size of the model's output. An exported file has
            only the first, and none of --view tiles, --scale and --tta.
        view: "whole" to resize each image to the size of the model, "tiles" for overlapping windows of this size. By
            default as in the training.
        scale: Working pixels per image pixel for the view "tiles". By default that of the training images.
        tta: Average the predictions of each image and of its mirror image. Takes twice the time.
        device: auto, cpu, cuda or mps.
        skip_unreadable: Skip images and masks that cannot be used, and list them. Without it, the first is an error.
        allow_outside: Read files outside the directory, and servers with private addresses, that a table or list names.
    """
    from pixelwise.evaluation.evaluator import evaluate
    from pixelwise.evaluation.model_source import ModelSource
    from pixelwise.evaluation.write import check_out, write_evaluation
    from pixelwise.metrics.evaluation import csv_path, page_path
    from pixelwise.reporting.evaluation_text import print_evaluation
    from pixelwise.runtime.distributed import is_rank_zero

    source = ModelSource.open(run)
    if out is None:
        check_output(source.folder / "evaluation.json")
    else:
        check_out(out)
        check_output(out)
    dataset = source.load_data(data, skip_unreadable, allow_outside)
    with ProgressBars(shown=is_rank_zero()) as bars:
        evaluation = evaluate(
            source.run or source.path, dataset, split, None, resolution, device, skip_unreadable,
            parse_components("--metrics", metrics), progress=bars.track("evaluating"), tta=tta,
            view=view, scale=scale, row_progress=bars.track("parts of a large image"),
        )  # fmt: skip
    if is_rank_zero():
        print_skipped(evaluation.skipped)
        print_evaluation(replace(evaluation, note=with_flags(evaluation.note)))
        # Print the table first, because writing the files can fail.
        path = write_evaluation(source.path, evaluation, out or "auto")
        for name, each in (("evaluation: ", path), ("images:     ", csv_path(path)), ("page:       ", page_path(path))):
            print(printable(f"{name}{each}"))
        if evaluation.warning:
            print(printable(f"WARNING: {evaluation.warning}"), file=sys.stderr)
    return SOME_FILES_FAILED if evaluation.skipped or has_left_out(dataset) else DONE
