"""Print the result of an evaluation for the command line."""

from pixelwise.errors import printable
from pixelwise.metrics.evaluation import Evaluation
from pixelwise.reporting.console import print_metrics


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the images of an evaluation, its metrics, and the confidence interval of the mean IoU."""
    print(printable(f"model: {evaluation.model} ({evaluation.computation})"))
    print(printable(f"evaluated on {evaluation.reason}"))
    print(evaluation.view_text)
    print_metrics(evaluation.metrics, evaluation.split, evaluation.extra)
    print(evaluation.headline)
    values = (evaluation.boundary["boundary_iou"], evaluation.boundary["boundary_f"], evaluation.calibration.error)
    iou, f_score, error = ("–" if value is None else f"{value:.1%}" for value in values)
    milliseconds = 1000 * evaluation.seconds_per_image
    print(f"boundary IoU {iou} · boundary F {f_score} · calibration error {error} · {milliseconds:.1f} ms per image")
    if evaluation.note:
        print(printable(f"note: {evaluation.note}"))
