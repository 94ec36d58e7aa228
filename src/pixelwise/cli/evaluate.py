"""`pixelwise evaluate`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pixelwise.cli.common import check_absent, check_output, has_left_out, print_skipped
from pixelwise.cli.components import LIST_FLAG, parse_components
from pixelwise.cli.entry import DONE, SOME_FILES_FAILED
from pixelwise.data.schema import Split
from pixelwise.evaluation.evaluator import Resolution, evaluate, write_evaluation
from pixelwise.metrics import METRICS
from pixelwise.reporting.console import print_metrics
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.distributed import is_rank_zero
from pixelwise.runtime.progress import ProgressBars

_METRICS_HELP = (
    f"Metrics in addition to the default ones. Choices: {', '.join(METRICS)}. "
    "Write NAME, or NAME:PARAMETER=VALUE,… for parameters."
)


def evaluate_command(
    run: Path,
    data: str,
    /,
    *,
    split: Split = "test",
    out: Path | None = None,
    resolution: Resolution = "original",
    device: str = "auto",
    skip_unreadable: Annotated[bool, Parameter(negative=())] = False,
    allow_outside: Annotated[bool, Parameter(negative=())] = False,
    metrics: Annotated[tuple[str, ...], Parameter(help=_METRICS_HELP, **LIST_FLAG)] = (),
) -> int:
    """Evaluate a run's best model.

    Args:
        run: Run directory.
        data: Directory of the data set, a table, or a URL. Masks are read as in the training.
        split: Split to evaluate on.
        out: Path of the JSON file. [default: evaluation-SPLIT.json in the run directory, numbered]
        resolution: Compare masks at each image's own size, or at the size of the model's output.
        device: auto, cpu, cuda or mps.
        skip_unreadable: Skip images and masks that cannot be used, and list them. Without it, the first is an error.
        allow_outside: Read files outside the directory, and servers with private addresses, that a table or list names.
    """
    opened = Run.open(run)
    if out is None:
        check_output(run / "evaluation.json")
    else:
        check_absent(out)
    dataset = opened.read_dataset_spec().load(data, skip_unreadable, allow_outside)
    with ProgressBars(shown=is_rank_zero()) as bars:
        evaluation = evaluate(
            opened, dataset, split, None, resolution, device, skip_unreadable,
            parse_components("--metrics", metrics), progress=bars.track(f"evaluating on {split}"),
        )  # fmt: skip
    if is_rank_zero():
        print_skipped(evaluation.skipped)
        print_metrics(evaluation.metrics, split, evaluation.extra)
        # Print the table first, because writing the file can fail.
        print(f"evaluation: {write_evaluation(opened, evaluation, split, out or 'auto')}")
    return SOME_FILES_FAILED if evaluation.skipped or has_left_out(dataset) else DONE
