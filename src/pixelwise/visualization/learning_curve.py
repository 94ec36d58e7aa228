"""Plot the mean IoU by the number of training images."""

from collections.abc import Sequence
from pathlib import Path

from pixelwise.visualization._figure import BLUE, ORANGE, TEXT_COLOR, new_figure, save_figure


def plot_learning_curve(
    out: Path, sizes: Sequence[int], scores: Sequence[float], images: int, gain: tuple[float, float, float]
) -> None:
    """Plot the measured scores, and the expected score with more images.

    Args:
        out: the file to write. The suffix selects PNG, SVG or PDF.
        sizes: numbers of training images, increasing.
        scores: mean IoU at each size, in [0, 1].
        images: the greater number of images of the extrapolation.
        gain: (5th percentile, median, 95th percentile) of the gain of mean IoU over the last score.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    last, (low, middle, high) = scores[-1], gain
    axes.plot(sizes, scores, "o-", color=BLUE, label="measured on the validation images")
    axes.plot([sizes[-1], images], [last, last + middle], "--", color=ORANGE)
    axes.errorbar(
        [images], [last + middle], [[middle - low], [high - middle]], fmt="o", color=ORANGE, capsize=5,
        label="expected, with a 90 % interval",
    )  # fmt: skip
    for size, score in zip(sizes, scores, strict=True):
        axes.annotate(f"{score:.3f}", (size, score), (0, 8), textcoords="offset points", ha="center", color=TEXT_COLOR)
    text = f"{last + middle:.3f}"
    axes.annotate(text, (images, last + high), (0, 8), textcoords="offset points", ha="center", color=TEXT_COLOR)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([*sizes, images]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(size) for size in (*sizes, images)])
    axes.margins(x=0.1, y=0.2)
    axes.set_xlabel("training images")
    axes.set_ylabel("mean IoU")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    save_figure(figure, out)
