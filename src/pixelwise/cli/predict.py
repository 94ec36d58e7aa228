"""`pixelwise predict`."""

from pathlib import Path

from pixelwise.cli.common import check_output, print_skipped
from pixelwise.errors import printable
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.runtime.progress import ProgressBars


def predict_command(run: Path, images: list[Path], /, *, out: Path, device: str = "auto") -> int:
    """Predict the masks of images.

    Args:
        run: Run directory.
        images: Images, and directories that are searched at any depth.
        out: Directory of the masks.
        device: auto, cpu, cuda or mps.
    """
    check_output(out)
    with ProgressBars() as bars:
        result = predict_folder(Predictor.load(run, device), images, out, progress=bars.track("predicting"))
    print_skipped(result.failed)
    print(printable(f"{result.image_count} images predicted; masks and overlays are in {out}"))
    return 1 if result.failed else 0
