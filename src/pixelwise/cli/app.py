"""The command-line application: its commands with their help texts, and the function `run`.

The module of a command is imported when the command runs. `pixelwise --help` therefore does not import torch.
"""

import errno
import io
import logging
import os
import sys
import threading
from collections.abc import Sequence
from keyword import iskeyword
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError
from cyclopts.help.formatters import DefaultFormatter

import pixelwise
from pixelwise.cli.entry import DONE, WRONG_INPUT, is_output_closed
from pixelwise.cli.flags import refuse_old_names, with_flags
from pixelwise.errors import PixelwiseError, printable
from pixelwise.runtime import configure
from pixelwise.runtime.files import FULL_DISK_ERRORS

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions


class _HelpFormatter(DefaultFormatter):
    """Prints each description as one paragraph, without the line breaks of the docstring that it comes from."""

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Print a panel.

        Args:
            console: where to print.
            options: the width and other options of the console.
            panel: commands or parameters.
        """
        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if text is not None and (plain := getattr(text, "plain", "")):
                text.plain = " ".join(plain.split())
        super().__call__(console, options, panel)


app = App(
    name="pixelwise",
    help="Train, evaluate and use image segmentation models.",
    help_epilogue="Start with a folder of images and masks:\n"
    "  pixelwise inspect leaves\n"
    "  pixelwise train leaves --out runs/leaves\n"
    "  pixelwise predict runs/leaves new-images --out masks\n\n"
    "pixelwise COMMAND --help has examples of each command.",
    version=pixelwise.__version__,
    help_format="plaintext",  # markdown takes 0.1 s longer
    help_formatter=_HelpFormatter(),
    suppress_keyboard_interrupt=False,  # `pixelwise.cli.main` prints how to continue
)
app.register_install_completion_command(help="Complete commands, flags and their values in your shell.")

COMMANDS = {
    "inspect": (
        "Scan every image and mask of a data set, report what is wrong, and plan a training.",
        "Writes a directory with report.html, report.json, one image grid per class and plan.yaml. In the plan every "
        "setting has its reason and can be changed. The exit code is 1 if a file cannot be used.",
    ),
    "preview": ("Draw a grid of a data set's images with their masks.",),
    "train": (
        "Train a model on a data set and write a run directory.",
        "Without --plan or --preset the data set is inspected first, and trained by the resulting plan. Several "
        "processes train together if torchrun --nproc-per-node N -m pixelwise train … starts them.",
    ),
    "find-lr": (
        "Train a few steps with a rising learning rate, plot the loss, and suggest a learning rate.",
        "The range test of Smith 2017. Data and settings are those of pixelwise train. No model is written.",
    ),
    "tune": (
        "Search for better settings by their validation mIoU, one training per trial.",
        "Trials that are worse than the median of the others end early. The test split is not used. Writes a run "
        "directory per trial, a table, a picture, and a plan with the best settings. Needs pip install "
        "'pixelwise[tune]'.",
    ),
    "evaluate": (
        "Evaluate a run's best model on images that it was not trained on.",
        "Prints the metrics of each class with confidence intervals. Writes evaluation-SPLIT.json with all metrics to "
        "the run directory, and beside it a page (.html) with the worst images and a table (.csv) of all images.",
    ),
    "predict": (
        "Predict the masks of images, at the images' own size.",
        "Writes for each image NAME_mask.png (class indices) and NAME_overlay.jpg, and for all images predictions.csv "
        "(classes), objects.csv (connected regions) and predictions.json. A file that is not an image is skipped and "
        "printed, and the exit code is then 1. A prediction that was stopped continues with --resume.",
    ),
    "export": (
        "Export a run's best model as one file that works without pixelwise.",
        "The file takes an image of any size and gives its mask: resizing, normalization, network and thresholds are "
        "inside. The command measures that its masks equal those of the run, writes a report and a picture of the "
        "differences beside it, and writes nothing if more than 0.1 % of the pixels differ. --to web writes a folder "
        "for a web server: a page that predicts images in the browser. --to torch needs "
        "nothing else, --to openvino pip install 'pixelwise[openvino]', and the others 'pixelwise[onnx]'.",
    ),
    "verify": (
        "Test an exported file on this machine with the images inside it.",
        "Prints the fraction of pixels that are equal to the expected masks. The exit code is 2 below 99.9 %.",
    ),
    "try": (
        "Open a page that predicts images in the browser of this machine.",
        "The page is that of pixelwise export --to web: choose or drop images, or use the camera. Other machines "
        "cannot reach it, and images do not leave the browser. A run is exported first, once. Ctrl-C ends the page, "
        "and the exit code is then 0. Needs pip install 'pixelwise[onnx]'.",
    ),
    "runs": ("List runs with their data, score, size and training time.",),
    "encoders": (
        "List encoders with their size, license and source.",
        "Weights whose license restricts their use need --accept-license LICENSE in pixelwise train.",
    ),
    "pack": (
        "Pack a data set into WebDataset shards.",
        "pixelwise train streams them, also from a URL, if the data set is larger than memory or disk.",
    ),
    "demo": (
        "Train on Oxford-IIIT Pet, evaluate the model on the test split, and predict test images.",
        "Uses the data set in the directory that PIXELWISE_DATA names, an earlier download, or the official download. "
        "Without a network it draws synthetic animals.",
    ),
}
"""Command → paragraphs of its help, in the order of use. The list of commands shows the first paragraph."""

EXAMPLES = {
    "inspect": (
        "pixelwise inspect leaves",
        "pixelwise inspect leaves --label-map 0=background 255=leaf",
    ),
    "preview": (
        "pixelwise preview leaves",
        "pixelwise preview camvid --split val --count 20 --out val.png",
    ),
    "train": (
        "pixelwise train leaves --out runs/leaves",
        "pixelwise train leaves --plan leaves-inspect/plan.yaml",
        "pixelwise train leaves --encoder resnet18 --loss focal --loss-args gamma=3",
        "pixelwise train leaves --time-budget 10m",
        "pixelwise train --resume runs/leaves --epochs 60",
        "pixelwise train leaves --folds 5",
    ),
    "find-lr": (
        "pixelwise find-lr leaves",
        "pixelwise find-lr leaves --plan leaves-inspect/plan.yaml --encoder resnet18",
    ),
    "tune": (
        "pixelwise tune leaves --trials 20 --epochs 10",
        "pixelwise tune leaves --time-budget 2m --max-time 2h --search lr weight_decay",
    ),
    "evaluate": (
        "pixelwise evaluate runs/leaves",
        "pixelwise evaluate runs/leaves leaves --split val --metrics boundary_iou",
    ),
    "predict": (
        "pixelwise predict runs/leaves new-images --out masks",
        "pixelwise predict runs/leaves 'new-images/*.jpg' --pixel-size 0.65um",
        "pixelwise predict runs/leaves new-images --out masks --resume",
        "pixelwise predict leaves.onnx new-images --out masks",
    ),
    "export": (
        "pixelwise export runs/leaves --to onnx --out leaves.onnx",
        "pixelwise export runs/leaves --out leaves-int8.onnx --int8",
        "pixelwise export runs/leaves --to openvino --out leaves-openvino.xml",
        "pixelwise export runs/leaves --to torch --out leaves.pt2",
        "pixelwise export runs/leaves --to web --out leaves-page",
    ),
    "verify": ("pixelwise verify leaves.onnx",),
    "try": ("pixelwise try runs/leaves", "pixelwise try leaves.onnx --port 8000 --no-browser"),
    "runs": ("pixelwise runs", "pixelwise runs experiments/leaves"),
    "encoders": ("pixelwise encoders", "pixelwise encoders 'convnextv2*'"),
    "pack": (
        "pixelwise pack leaves leaves-shards",
        "pixelwise pack leaves s3://bucket/leaves --size 256",
    ),
    "demo": ("pixelwise demo",),
}
"""Command → examples, which are printed below its help."""


def _examples(command: str) -> str:
    return "\n".join(["Examples:", *(f"  {line}" for line in EXAMPLES[command])])


for _order, (_name, _help) in enumerate(COMMANDS.items()):
    _function = _name.replace("-", "_")
    _module = f"{_function}_" if iskeyword(_function) else _function
    app.command(
        f"pixelwise.cli.{_module}:{_function}_command",
        name=_name,
        help="\n\n".join(_help),
        help_epilogue=_examples(_name),
        sort_key=_order,
    )


class _PrintHandler(logging.Handler):
    """Prints the library's log messages on stderr, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        # Read sys.stderr for each message, because progress bars replace it while they are drawn.
        print(f"{prefix}{printable(with_flags(record.getMessage()))}", file=sys.stderr)


def _print_thread_error(args: threading.ExceptHookArgs) -> None:
    """Print the traceback of an exception in a thread, unless the disk is full.

    If the disk is full, TensorBoard raises the error of its writer thread again in the training.
    """
    if not (isinstance(args.exc_value, OSError) and args.exc_value.errno in FULL_DISK_ERRORS):
        threading.__excepthook__(args)


def run(tokens: Sequence[str]) -> int:
    """Run a command.

    Args:
        tokens: the command-line arguments, without the name of the program.

    Returns:
        The exit code: that of the command, or 2 for an error that the user can correct.

    Raises:
        BrokenPipeError: The program that reads the output has ended.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names can have characters that the terminal cannot show, or bytes that are not text.
            stream.reconfigure(errors="backslashreplace")
    configure()
    handler = _PrintHandler()
    logger = logging.getLogger("pixelwise")
    if os.environ.get("RANK", "0") == "0":  # torchrun sets RANK, and only one of its processes prints
        logger.addHandler(handler)
    previous_hook, threading.excepthook = threading.excepthook, _print_thread_error
    try:
        refuse_old_names(tokens)
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except (PixelwiseError, CycloptsError, OSError) as error:
        if isinstance(error, BrokenPipeError) and is_output_closed():
            raise
        # Keep the spaces inside a line, because a file name can have two in a row.
        lines = map(str.strip, with_flags(_error_text(error)).splitlines())
        print(f"pixelwise: error: {' '.join(filter(None, lines))}", file=sys.stderr)
        return WRONG_INPUT
    finally:
        logger.removeHandler(handler)
        threading.excepthook = previous_hook
    return code if isinstance(code, int) else DONE


def _error_text(error: Exception) -> str:
    """Return the message of an error.

    For an invalid value of a flag, return the message of pydantic without the lines that cyclopts adds.
    """
    if isinstance(error, OSError):
        return _os_error_text(error)
    if isinstance(error, CycloptsError) and error.__cause__ is not None:
        from pydantic import ValidationError

        from pixelwise.config import Config, format_validation_error

        if isinstance(error.__cause__, ValidationError):
            return format_validation_error(error.__cause__, Config, nested=False)
    return str(error)


def _os_error_text(error: OSError) -> str:
    """Return a message with the file, the fault and, if the disk is full, the fix."""
    fault = error.strerror or str(error)
    text = printable(fault if error.filename is None else f"{error.filename}: {fault}")
    return f"{text}; free space, then try again" if error.errno == errno.ENOSPC else text
