"""`pixelwise evaluate`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pixelwise.cli.common import check_absent, print_skipped
from pixelwise.cli.components import LIST_FLAG, parse_components
from pixelwise.data.schema import Split
from pixelwise.evaluation.evaluator import Resolution, evaluate
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
    """
    check_absent(out)
    dataset = Run.open(run).read_dataset_spec().load(data, skip_unreadable)
    with ProgressBars(shown=is_rank_zero()) as bars:
        evaluation = evaluate(
            run, dataset, split, out or "auto", resolution, device, skip_unreadable,
            parse_components("--metrics", metrics), progress=bars.track(f"evaluating on {split}"),
        )  # fmt: skip
    if is_rank_zero():
        print_skipped(evaluation.skipped)
        print_metrics(evaluation.metrics, split, evaluation.extra)
        print(f"evaluation: {evaluation.path}")
    return 1 if evaluation.skipped else 0
