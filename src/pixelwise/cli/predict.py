"""`pixelwise predict`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pixelwise.cli.common import check_output, print_skipped
from pixelwise.cli.entry import DONE, SOME_FILES_FAILED, interrupt_advice
from pixelwise.errors import printable
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.runtime.progress import ProgressBars


def predict_command(
    run: Path,
    images: list[Path],
    /,
    *,
    out: Path,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    resume: Annotated[bool, Parameter(negative=())] = False,
    device: str = "auto",
) -> int:
    """Predict the masks of images.

    Args:
        run: Run directory.
        images: Images, and directories that are searched at any depth.
        out: Directory of the masks.
        overwrite: Replace masks and overlays that exist already.
        resume: Continue a prediction that was stopped: skip images whose masks are complete.
        device: auto, cpu, cuda or mps.
    """
    check_output(out)
    predictor = Predictor.load(run, device)
    with interrupt_advice("continue with --resume"), ProgressBars() as bars:
        result = predict_folder(predictor, images, out, bars.track("predicting"), overwrite=overwrite, resume=resume)
    for note in result.notes:
        print(printable(note), file=sys.stderr)
    print_skipped(result.failed)
    earlier = f" ({result.resumed} of them earlier)" if result.resumed else ""
    print(f"{result.image_count} images predicted{earlier}; masks and overlays are in {printable(str(out))}")
    return SOME_FILES_FAILED if result.failed else DONE
