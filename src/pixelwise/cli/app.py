"""The command line: the flags of `train` are the fields of `Config`, one for one."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

import pixelwise
from pixelwise.cli.options import DataFlags, Settings
from pixelwise.config import Config, format_validation_error
from pixelwise.data.analysis.inspection import inspect
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.load import load
from pixelwise.data.schema import Split
from pixelwise.errors import ConfigError, DataError, PixelwiseError
from pixelwise.evaluation.evaluator import Resolution, evaluate
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.planning.plan import Plan
from pixelwise.planning.rules import make_plan
from pixelwise.reporting.console import print_dataset, print_dataset_report, print_metrics, print_plan, print_run
from pixelwise.reporting.dataset_report import write_dataset_report
from pixelwise.reporting.preview import preview
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.distributed import is_rank_zero
from pixelwise.runtime.files import next_free_path
from pixelwise.runtime.progress import ProgressBars
from pixelwise.training.trainer import train
from pixelwise.visualization import save_image

app = App(
    name="pixelwise",
    help="Image segmentation: every pixel of an image given a label.",
    version=pixelwise.__version__,
    suppress_keyboard_interrupt=False,  # `main` tells how to go on
)


app.register_install_completion_command()


@app.command(name="inspect")
def inspect_command(data: str, /, *, out: Path | None = None, masks: DataFlags | None = None) -> int:
    """Look at every image and mask of a data set, say what is wrong, and draw a plan for training on it.

    Leaves a folder with report.html, report.json, an overlay sheet per class and plan.yaml, in which every decision
    stands with its reason and can be changed. The exit code is 1 where a file cannot be used.

    Parameters
    ----------
    data: str
        The folder of the data set, a table, or a URL.
    out: Path
        The folder that the report goes to; must not be there yet. [default: DATA's name with -inspect, in this folder]
    """
    if out is not None and out.exists():
        raise DataError(f"{out}: is already there; choose another --out")
    with ProgressBars() as bars:
        found = inspect(data, (masks or DataFlags()).choices(skip_bad=True), progress=bars.track("looking at images"))
        plan = make_plan(found, progress=bars.track("timing steps"))
        folder = out or next_free_path(Path(f"{_name(data)}-inspect"))
        write_dataset_report(found, plan, folder, progress=bars.track("drawing classes"))
    print_dataset_report(found)
    print_plan(plan)
    print(f"report: {folder / 'report.html'}\nplan:   {folder / 'plan.yaml'}")
    print(f"train:  pixelwise train {data} --plan {folder / 'plan.yaml'}")
    return 1 if any(problem.severity == "error" for problem in found.issues) else 0


@app.command(name="train")
def train_command(
    data: str,
    /,
    *,
    out: Path | None = None,
    plan: Path | None = None,
    preset: Literal["default", "tutorial"] | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    masks: DataFlags | None = None,
    settings: Annotated[Settings | None, Parameter(name="*")] = None,  # type: ignore[valid-type]
) -> int:
    """Train a model on a data set, and leave a run folder with it.

    Without --plan or --preset the data is looked at first, and its plan is used. Several processes train together when
    started as torchrun --nproc-per-node N -m pixelwise train …

    Parameters
    ----------
    data: str
        The folder of the data set, a table, or a URL.
    out: Path
        The run folder; must not be there yet, unless resuming. [default: runs/ and DATA's name, numbered if need be]
    plan: Path
        A plan.yaml that pixelwise inspect wrote, changed or not; flags go over what it says.
    preset: str
        Fixed settings instead of a plan: default, or TensorFlow's tutorial.
    resume: bool
        Go on where the run in OUT stopped; --epochs may be raised.
    """
    given: dict[str, Any] = (
        {} if settings is None else {name: getattr(settings, name) for name in settings.model_fields_set}
    )
    choices = (masks or DataFlags()).choices(given.get("skip_bad", False))
    used, found = _check_train_flags(out, plan, preset, resume, choices, given), None
    with ProgressBars(shown=is_rank_zero()) as bars:
        if resume and out is not None:
            dataset = Run.open(out).read_dataset_spec().load(data, choices.skip_unreadable)
        elif used is not None:
            dataset = used.data.load(data, choices.skip_unreadable)
        elif preset is not None:
            dataset = load(data, choices, progress=bars.track("looking at masks"))
        else:
            found = inspect(data, choices, progress=bars.track("looking at images"))
            used = make_plan(found, given, is_rank_zero(), bars.track("timing steps"))
            dataset = found.data
    if used is not None and is_rank_zero():
        if found is None:
            print_dataset(dataset)
        else:
            print_dataset_report(found)
        print_plan(used)
    target = out or next_free_path(Path("runs") / _name(data))
    run = train(dataset, target, preset=preset, resume=resume, plan=used, **given)
    if is_rank_zero():
        print_run(run)
    return 0


def _check_train_flags(
    out: Path | None, plan: Path | None, preset: str | None, resume: bool, choices: LabelOptions, given: dict[str, Any]
) -> Plan | None:
    """The plan of --plan; raises for what is wrong with a flag, before any image is looked at."""
    if resume and out is None:
        raise ConfigError("--resume: say which run goes on, by --out")
    if plan is not None and (preset is not None or resume or choices != LabelOptions(skip_unreadable=choices.skip_unreadable)):
        raise ConfigError(
            "--plan says how masks are read and which settings to start from: leave out --preset, --resume and the "
            "flags about masks, or change the plan"
        )
    used = None if plan is None else Plan.read(plan)
    if not resume:
        Config.from_preset(preset or "default", used.settings if used else None, **given)
        if out is not None:
            Run.ensure_empty(out)
    return used


def _name(data: str) -> str:
    """A short name for what a path or URL leads to."""
    return Path(data.rstrip("/")).resolve().stem if "://" not in data else data.rstrip("/").rpartition("/")[2]


@app.command(name="evaluate")
def evaluate_command(
    run: Path,
    data: str,
    /,
    *,
    split: Split = "test",
    out: Path | None = None,
    resolution: Resolution = "original",
    device: str = "auto",
    skip_bad: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Measure a run's best model on a split: a table here, and all figures as JSON.

    Parameters
    ----------
    run: Path
        The run folder.
    data: str
        The folder of the data set, a table, or a URL; masks are read as those that the model was trained on.
    split: str
        The split to measure on.
    out: Path
        Where the JSON goes. [default: evaluation-SPLIT.json in the run folder]
    resolution: str
        Compare at each image's own size, or at the size that the model sees.
    device: str
        auto, cpu, cuda, mps.
    skip_bad: bool
        Leave out images and masks that cannot be used, and say which; otherwise the first one is an error.
    """
    dataset = Run.open(run).read_dataset_spec().load(data, skip_bad)
    with ProgressBars(shown=is_rank_zero()) as bars:
        result = evaluate(
            run, dataset, split, out or "auto", resolution, device, skip_bad, bars.track(f"evaluating on {split}")
        )
    if is_rank_zero():
        for error in result.skipped:
            print(f"left out: {error}", file=sys.stderr)
        print_metrics(result.metrics, split)
    return 1 if result.skipped else 0


@app.command(name="predict")
def predict_command(run: Path, images: list[Path], /, *, out: Path, device: str = "auto") -> int:
    """Predict the masks of images, at the images' own size.

    Writes for each image NAME_mask.png (class indices, with a palette) and NAME_overlay.png, and one
    predictions.json with the share of each class. A file that is no image is named and left out; the exit
    code is then 1.

    Parameters
    ----------
    run: Path
        The run folder.
    images: list[Path]
        Images, and folders of images at any depth.
    out: Path
        The folder that the masks go to.
    device: str
        auto, cpu, cuda, mps.
    """
    with ProgressBars() as bars:
        result = predict_folder(Predictor.load(run, device), images, out, progress=bars.track("predicting"))
    for error in result.failed:
        print(f"skipped: {error}", file=sys.stderr)
    print(f"{result.image_count} images predicted: masks and overlays are in {out}")
    return 1 if result.failed else 0


@app.command(name="show")
def show_command(
    data: str,
    /,
    *,
    split: Split = "train",
    count: int = 12,
    out: Path | None = None,
    masks: DataFlags | None = None,
) -> int:
    """Draw a sheet of a data set's images with their masks.

    Parameters
    ----------
    data: str
        The folder of the data set, a table, or a URL; masks are read as those that the model was trained on.
    split: str
        The split that the images come from.
    count: int
        How many images, spread evenly over the split.
    out: Path
        The image. [default: DATA's name with -SPLIT.png, in this folder]
    """
    dataset = load(data, (masks or DataFlags()).choices())
    if out is not None and out.exists():
        raise DataError(f"{out}: is already there; choose another --out")
    target = out or next_free_path(Path(f"{_name(data)}-{split}.png"))
    save_image(preview(dataset, split, count), target)
    print_dataset(dataset)
    print(f"sheet: {target}")
    return 0


@app.command(name="pack")
def pack_command(
    data: str,
    out: str,
    /,
    *,
    size: int | None = None,
    shard_mb: Annotated[int, Parameter(name="--shard-mb")] = 64,
    skip_bad: Annotated[bool, Parameter(negative=())] = False,
    masks: DataFlags | None = None,
) -> int:
    """Pack a data set into WebDataset shards, from which `train` streams what is larger than memory or disk.

    Parameters
    ----------
    data: str
        The folder of the data set, a table, or a URL.
    out: str
        The folder or URL (such as s3://bucket/pets) of the shards; must not be there yet.
    size: int
        Reduce images whose shorter side is longer than so many pixels. [default: images as they are]
    shard_mb: int
        Megabytes a shard.
    skip_bad: bool
        Leave out images and masks that cannot be used, and say which; otherwise they stop the packing.
    """
    # Imported here: only this command writes shards.
    from pixelwise.data.pack import pack

    choices = (masks or DataFlags()).choices(skip_bad)
    with ProgressBars() as bars:
        dataset = load(data, choices, progress=bars.track("looking at masks"))
        packed = pack(dataset, out, shard_mb * 2**20, size, skip_bad=skip_bad, progress=bars.track("packing"))
    for error in packed.skipped:
        print(f"skipped: {error}", file=sys.stderr)
    print(f"{packed.samples} images in {len(packed.shards)} shards; pixelwise train {out}")
    return 0


@app.command(name="demo")
def demo_command(*, out: Path = Path("runs/demo")) -> int:
    """The whole main job on Oxford-IIIT Pet: train, evaluate on the test split, predict test images.

    Finds the data set in the folder that PIXELWISE_DATA names, a copy downloaded before, or the official
    download; where there is no network it draws animals of its own.

    Parameters
    ----------
    out: Path
        The run folder; a number is added where one is there.
    """
    # Imported here: only this command downloads or draws.
    from pixelwise.cli.demo import demo

    demo(out)
    return 0


def main(tokens: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 done but for some files, 2 bad input, told in one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names may hold what the terminal has no letter for, or bytes that are no text at all.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except (PixelwiseError, CycloptsError, OSError) as error:
        # pydantic tells of a value that is no number in four lines, as cyclopts' cause.
        cause = error.__cause__
        text = f"--{format_validation_error(cause, Config)}" if isinstance(cause, ValidationError) else str(error)
        # Spaces stay as they are: names of files may have two in a row, or one of another width.
        print(f"pixelwise: error: {' '.join(filter(None, map(str.strip, text.splitlines())))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("pixelwise: stopped; a training goes on from its last epoch with --resume", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
