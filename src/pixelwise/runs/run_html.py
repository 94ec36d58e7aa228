"""The HTML of a run in a notebook: a summary, the curves, and the newest sample predictions."""

from pixelwise.errors import PixelwiseError
from pixelwise.registry import name_of
from pixelwise.runs.metrics_file import summarize_history
from pixelwise.runs.run_dir import Run
from pixelwise.visualization import html


def run_html(run: Run) -> str:
    """Return the HTML of a run. Only files in its directory are read.

    Args:
        run: the run.

    Returns:
        One line of HTML. If metrics.csv is damaged, it contains only the error.
    """
    config = run.config
    try:
        rows = run.read_metrics()
    except PixelwiseError as error:
        return html.block(html.paragraph(html.text(error, max_length=300)))
    model = f"{config.encoder}, decoder {name_of(config.decoder)}, images of {config.image_size} px"
    return html.block(
        html.paragraph(f"<b>{html.text(run.path)}</b>: {html.text(model, max_length=200)}"),
        html.paragraph(html.text(summarize_history(rows))),
        html.image_file_tag(run.history_image, "losses and IoU by epoch"),
        newest_samples_tag(run, len(rows)),
    )


def newest_samples_tag(run: Run, epochs: int) -> str:
    """Return the newest sample predictions as an HTML element, or "" if there are none.

    Args:
        run: the run.
        epochs: number of completed epochs.
    """
    images = run.sample_images(epochs)
    return html.image_file_tag(images[-1], "sample predictions") if images else ""
