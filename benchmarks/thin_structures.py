"""Train on large images of thin lines and small dots by the plan alone, and evaluate on other images.

The images are drawn: 3000x2000 pixels, lines 3 or 4 pixels wide and dots 8 pixels wide on a textured background
(`tests/thin_structures.py`). The training is the command `pixelwise train FOLDER` without settings.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from _common import describe, finish, make_parser, parse, say


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=int, default=16, help="number of images to train and validate on")
    parser.add_argument("--test-images", type=int, default=6, help="number of other images to evaluate on")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawn images")
    arguments = parse(parser, argv)
    content = describe(arguments, ("torch", "pixelwise"))

    import pixelwise as pw

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.thin_structures import draw_thin_structures

    size, flags = (3000, 2000), []
    if arguments.quick:
        size = (160, 120)
        flags = ["--preset", "default", "--view", "tiles", "--size", "32", "--epochs", "1", "--encoder-weights", "none"]
        flags += ["--encoder", "test_efficientnet"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("drawing the images")
        data = draw_thin_structures(folder / "thin", arguments.images, size, arguments.seed)
        others = draw_thin_structures(folder / "others", arguments.test_images, size, arguments.seed + 1)
        started = time.perf_counter()
        command = [sys.executable, "-m", "pixelwise", "train", str(data), "--out", str(folder / "run"), *flags]
        subprocess.run(command, check=True, stdout=2)  # the descriptor of stderr
        seconds = time.perf_counter() - started
        metrics = pw.evaluate(folder / "run", pw.load_dataset(others)).metrics
    ious = {each: values.iou or 0.0 for each, values in metrics.classes.items()}
    rows = [
        ("training, with inspection, in minutes", f"{seconds / 60:.1f}"),
        ("mIoU of other images", f"{metrics.mean_iou:.3f}"),
        *((f"IoU of {name}", f"{value:.3f}") for name, value in ious.items()),
    ]
    figures = {"seconds": seconds, "miou": metrics.mean_iou, "iou": ious, "table": [("what", "value"), *rows]}
    finish(arguments.out, content | figures)


if __name__ == "__main__":
    main()
