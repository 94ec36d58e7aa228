"""`pixelwise predict`.

This module imports neither torch nor the library's modules that do, so that `pixelwise predict --help` starts quickly.
"""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from pixelwise.cli.common import check_output, print_skipped
from pixelwise.cli.components import LIST_FLAG, OPEN_CHOICE, DataPath, Device, open_choice, parse_thresholds
from pixelwise.cli.entry import DONE, SOME_FILES_FAILED, interrupt_advice
from pixelwise.cli.flags import with_flags
from pixelwise.data.input_size import View
from pixelwise.errors import ConfigError, printable
from pixelwise.inference.output_options import DEFAULT_OUTPUTS, ENGINE_NAMES, OUTPUTS, MaskStyle, OverlayFormat
from pixelwise.runtime.files import expand_home, next_free_path
from pixelwise.runtime.progress import ProgressBars

if TYPE_CHECKING:
    from pixelwise.inference.batch import PredictResult

    _Output: TypeAlias = str
    _Engine: TypeAlias = str
else:
    _Output = open_choice(OUTPUTS)
    _Engine = Annotated[open_choice(ENGINE_NAMES), Parameter(**OPEN_CHOICE)]

DEFAULT_OUT = Path("predictions")
"""Output directory without --out. The first free one of predictions, predictions-2, predictions-3, … is created."""

_MAX_SKIPPED = 20
"""Maximum number of unusable files that are printed. predictions.json lists all."""

_MAX_NAMED = 12
"""Maximum number of large images that are named in the command that predicts them by windows."""

_DEFAULTS = {
    "--min-object": "0",
    "--min-hole": "0",
    "--masks": "index",
    "--overlays": "jpg",
    "--pixel-size": "",
    "--view": "",
    "--scale": "",
    "--device": "auto",
    "--engine": "local",
}
"""Flag → its default value, which a repeated command need not state."""


def predict_command(
    run: DataPath,
    images: list[DataPath] | None = None,
    /,
    *,
    out: DataPath | None = None,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    resume: Annotated[bool, Parameter(negative=())] = False,
    write: Annotated[list[_Output] | None, Parameter(**LIST_FLAG, **OPEN_CHOICE)] = None,
    min_object: int = 0,
    min_hole: int = 0,
    masks: MaskStyle = "index",
    overlays: OverlayFormat = "jpg",
    frame_masks: Annotated[bool, Parameter(negative=())] = False,
    pixel_size: Annotated[str, Parameter(show_default=False)] = "",
    view: View | None = None,
    scale: float | None = None,
    tta: Annotated[bool, Parameter(negative=())] = False,
    thresholds: Annotated[list[str] | None, Parameter(**LIST_FLAG, metavar="CLASS=VALUE")] = None,
    device: Device = "auto",
    engine: _Engine = "local",
) -> int:
    """Predict the masks of images and videos.

    Without a run, the model for pets (cats and dogs) in the package is used, and a message names it.

    Args:
        run: Run directory, the model.safetensors of one, a model of the Hugging Face hub (hf://user/name@revision), or
            an exported file (.onnx, .xml or .pt2).
        images: Images, videos, directories that are searched at any depth, patterns in quotes ("images/*.jpg"), and
            URLs of images, of folders (s3://bucket/images/) and of patterns.
        out: Directory of the masks, or the URL of a folder such as s3://bucket/masks. By default the first free one of
            predictions, predictions-2, …, in the current directory. With --resume or --overwrite, the newest of them.
        overwrite: Replace masks and overlays that exist already.
        resume: Continue a prediction that was stopped: skip images whose masks are complete.
        write: Outputs: mask, overlay, cutout, confidence, probabilities, label-tiff, csv, coco, yolo, labelme, geojson,
            label-studio and cvat. By default mask, overlay and csv.
        min_object: Remove objects with fewer pixels: they get the class that has most of their border.
        min_hole: Fill holes with fewer pixels: regions of the background that are surrounded by one class.
        masks: Values of the masks: "index" for class indices, "as-given" for the values of the training masks, such as
            0 and 255 or colors.
        overlays: Format of the overlays, or "none" to write no overlays. "png" is without loss, and slow.
        frame_masks: Write one mask per frame of videos and animated GIF files.
        pixel_size: Side of a pixel with its unit, such as 0.65um. Adds areas in this unit to the tables.
        view: "whole" to resize each image to the size of the model, "tiles" for overlapping windows of this size. By
            default as in the training.
        scale: Working pixels per image pixel for the view "tiles". By default that of the training images.
        tta: Average the predictions of each image and of its mirror image. Takes twice the time.
        thresholds: How probable a class must be to be predicted, from 0 to 1: leaf=0.7 crack=0.3. 0.5 changes nothing.
        device: auto, cpu, cuda or mps.
        engine: "local" for this process, or "ray" for the workers of a Ray cluster: that of RAY_ADDRESS or of this
            machine, else a new one on this machine.
    """
    from pixelwise.inference.batch import predict_folder
    from pixelwise.inference.predictor import Predictor
    from pixelwise.inference.url_store import output_place

    model, sources = _order_arguments(run, images or [])
    place = output_place(out or _default_out(resume or overwrite))
    if isinstance(place, Path):
        check_output(place)
    predictor = Predictor.load(
        model, device, view=view, scale=scale, tta=tta, thresholds=parse_thresholds(thresholds or [])
    )
    outputs = [name for word in write or DEFAULT_OUTPUTS for name in word.split(",") if name]
    flags = {
        "--min-object": str(min_object),
        "--min-hole": str(min_hole),
        "--masks": masks,
        "--overlays": overlays,
        "--pixel-size": pixel_size,
        "--view": view or "",
        "--scale": "" if scale is None else f"{scale:g}",
        "--device": device,
        "--engine": engine,
    }
    more_flags = _flags_without_default(frame_masks, tta, thresholds or [], None if write is None else outputs)
    given = [*_changed_flags(flags), *more_flags]
    named = [] if model is None else [model]
    repeat = shlex.join(["pixelwise", "predict", *named, *sources, "--out", str(place), *given, "--resume"])
    with interrupt_advice(f"continue with {repeat}"), ProgressBars() as bars:
        result = predict_folder(
            predictor,
            sources,
            place,
            bars.track("predicting"),
            row_progress=bars.track("parts of a large image"),
            frame_progress=bars.track("frames of a video"),
            frame_masks=frame_masks,
            overwrite=overwrite,
            resume=resume,
            masks=masks,
            overlays=overlays,
            pixel_size=pixel_size,
            write=outputs,
            min_object=min_object,
            min_hole=min_hole,
            engine=engine,
        )
    code = _print_result(result, str(place).rstrip("/"), outputs)
    if result.too_large:
        given = [*_changed_flags(flags | {"--view": "tiles"}), *more_flags]
        print(_windows_line(named, sources, result, given), file=sys.stderr)
    return code


def _windows_line(run: Sequence[str], sources: Sequence[str], result: "PredictResult", flags: Sequence[str]) -> str:
    """Return the command that predicts the images that are too large by windows.

    Args:
        run: the run, or nothing for the model in the package.
        sources: the images, directories and patterns of this command.
        result: the result of this command, with images that are too large.
        flags: the flags of this command, with the view "tiles".

    Returns:
        A line. If there are more than `_MAX_NAMED` such images, the command has the sources, if all images are too
        large, or else the first of these images.
    """
    paths, count = list(result.too_large), len(result.too_large)
    if count > _MAX_NAMED:
        paths = list(sources) if count == result.image_count else paths[:_MAX_NAMED]
    is_part = count > _MAX_NAMED and count < result.image_count
    which = f" ({_MAX_NAMED} of {count} images)" if is_part else ""
    return f"windows{which}: {_command(*run, *paths, *flags)}"


def _changed_flags(flags: Mapping[str, str]) -> list[str]:
    """Return the flags whose values are not the default ones, each followed by its value."""
    return [part for flag, value in flags.items() if value != _DEFAULTS[flag] for part in (flag, value)]


def _flags_without_default(
    frame_masks: bool, tta: bool, thresholds: Sequence[str], outputs: Sequence[str] | None
) -> list[str]:
    """Return the flags of a command that `_DEFAULTS` does not contain, each followed by its values.

    Args:
        frame_masks, tta: True if the flag is set.
        thresholds: the words after --thresholds. Without any, the flag is left out.
        outputs: the names after --write. None leaves out the flag.
    """
    flags = ["--frame-masks"] * frame_masks + ["--tta"] * tta
    if thresholds:
        flags += ["--thresholds", *thresholds]
    if outputs is not None:
        flags += ["--write", *outputs]
    return flags


def _order_arguments(run: str, images: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the run and the images. If RUN is no model and exactly one of the images is, exchange them.

    If none is a model and RUN has images, all arguments are images. In both cases, print which model is used.

    Args:
        run: the first argument.
        images: the other arguments.

    Returns:
        The run, or None for the model in the package, and the images.

    Raises:
        ConfigError: There are no images. The message has the right command.
        DataError: The only argument does not exist or has no images.
    """
    from pixelwise.inference.model_location import is_model, runs_in
    from pixelwise.inference.sources import find_images, has_images
    from pixelwise.models.hub import is_hub_name

    if is_model(run):
        if not images:
            raise ConfigError(f"no images to predict; name them: {_command(run, 'IMAGES')}")
        return run, list(images)
    models = [place for place in images if is_model(place)]
    if len(models) == 1:
        print(f"note: RUN comes before the images; using {printable(models[0])} as RUN", file=sys.stderr)
        return models[0], [run, *(place for place in images if place != models[0])]
    known = runs_in(Path("runs"))
    if not models and not runs_in(expand_home(run)) and has_images(run):
        own = (
            f"with your run: {_command(str(known[0]), run)}" if known else "for your own classes: pixelwise train DATA"
        )
        print(f"using the model for pets in the package; {own}", file=sys.stderr)
        return None, [run, *images]
    if not images and not is_hub_name(run) and not runs_in(expand_home(run)):
        problems = find_images([run]).problems
        fix = f"name images, or a run before them: {_command(str(known[0]) if known else 'RUN', 'IMAGES')}"
        raise problems[0] if problems else ConfigError(f"{run}: is neither an image nor a model; {fix}")
    return run, list(images)  # `Predictor.load` raises the error


def _command(*arguments: str) -> str:
    """Return the command `pixelwise predict` with these arguments, for a message."""
    return printable(shlex.join(["pixelwise", "predict", *arguments]))


def _default_out(continues: bool) -> Path:
    """Return the output directory of a command without --out.

    Args:
        continues: True to return the newest directory of an earlier prediction. If there is none, or if False, the
            first free directory is returned.
    """
    pattern = re.compile(rf"{DEFAULT_OUT}(?:-(\d+))?")
    numbers = [int(match[1] or 1) for path in Path().iterdir() if (match := pattern.fullmatch(path.name))]
    if not continues or not numbers:
        return next_free_path(DEFAULT_OUT)
    return DEFAULT_OUT if max(numbers) == 1 else Path(f"{DEFAULT_OUT}-{max(numbers)}")


def _print_result(result: "PredictResult", out: str, outputs: Sequence[str]) -> int:
    """Print the numbers of predicted images and of skipped files, and the outputs. Return the exit code."""
    for note in result.notes:
        print(printable(with_flags(note)), file=sys.stderr)
    print_skipped(result.failed[:_MAX_SKIPPED])
    more = len(result.failed) - _MAX_SKIPPED
    if more > 0:
        listed = f"; all are in {printable(f'{out}/predictions.json')}" if result.image_count else ""
        print(f"skipped: {more} more{listed}", file=sys.stderr)
    if result.image_count == 0:
        print("no image could be predicted, and nothing was written", file=sys.stderr)
        return SOME_FILES_FAILED
    earlier = f" ({result.resumed} of them earlier)" if result.resumed else ""
    count = f"{result.image_count} image{'s' * (result.image_count != 1)}"
    if set(outputs) == set(DEFAULT_OUTPUTS):
        written = f"masks, overlays and tables are in {printable(out)}"
    else:
        written = f"written to {printable(out)}: {', '.join(dict.fromkeys(outputs))}"
    print(f"{count} predicted{earlier}; {written}")
    return SOME_FILES_FAILED if result.failed else DONE
