"""The command line: the flags of `train` are the fields of `Config`, one for one."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter
from pydantic import BaseModel, ValidationError, create_model

import pixelwise
from pixelwise.config import Config, one_line
from pixelwise.data.load import load_dataset
from pixelwise.data.records import Split
from pixelwise.device import is_first_process
from pixelwise.errors import DataError, PixelwiseError
from pixelwise.evaluate import Resolution, evaluate
from pixelwise.files import free_path
from pixelwise.predict import Predictor, predict_files
from pixelwise.progress import Bars
from pixelwise.report import print_dataset, print_metrics, print_run, show
from pixelwise.train import train
from pixelwise.visualize import save_picture

app = App(
    name="pixelwise",
    help="Image segmentation: every pixel of a photo given a label.",
    version=pixelwise.__version__,
    suppress_keyboard_interrupt=False,  # `main` tells how to go on
)
app.register_install_completion_command()


def _flags() -> type[BaseModel]:
    """A model with Config's fields, all unset: which ones were given on the command line is then plain to see."""
    fields: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        if name == "preset":
            continue
        kind: Any = str if name == "class_weights" else field.annotation
        group = str((field.json_schema_extra or {})["group"])  # type: ignore[index]
        parameter = Parameter(
            help=f"{field.description} [default: {_shown(field.default)}]",
            group=Group(group, sort_key=_GROUPS.index(group)),
            show_default=False,
            consume_multiple=True,
            negative_iterable=(),
            negative_none=(),
        )
        fields[name] = (Annotated[kind | None, parameter], None)
    return create_model("Flags", **fields)


def _shown(default: object) -> str:
    return "the encoder's levels" if default is None else str(default).lower()


_GROUPS = ("Data", "Model", "Training", "Machine")
Flags = _flags()


@app.command(name="train")
def train_command(
    data: Path,
    /,
    *,
    out: Path,
    preset: Literal["default", "tutorial"] | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    settings: Annotated[Flags | None, Parameter(name="*")] = None,  # type: ignore[valid-type]
) -> int:
    """Train a model on a data set, and leave a run folder with it.

    Several processes train together when started as torchrun --nproc-per-node N -m pixelwise train …

    Parameters
    ----------
    data: Path
        The folder of the data set.
    out: Path
        The run folder; must not be there yet, unless resuming.
    preset: str
        The settings to start from: default, or TensorFlow's tutorial. [default: default]
    resume: bool
        Go on where the run in OUT stopped; --epochs may be raised.
    """
    given: dict[str, Any] = (
        {} if settings is None else {name: getattr(settings, name) for name in settings.model_fields_set}
    )
    dataset = load_dataset(data)
    run = train(dataset, out, preset=preset, resume=resume, **given)
    if is_first_process():
        print_run(run)
    return 0


@app.command(name="evaluate")
def evaluate_command(
    run: Path,
    data: Path,
    /,
    *,
    split: Split = "test",
    out: Path | None = None,
    resolution: Resolution = "photo",
    device: str = "auto",
) -> int:
    """Measure a run's best model on a split: a table here, and all figures as JSON.

    Parameters
    ----------
    run: Path
        The run folder.
    data: Path
        The folder of the data set.
    split: str
        The split to measure on.
    out: Path
        Where the JSON goes. [default: evaluation-SPLIT.json in the run folder]
    resolution: str
        Compare at each photo's own size, or at the size that the model sees.
    device: str
        auto, cpu, cuda, mps.
    """
    dataset = load_dataset(data)
    with Bars(shown=is_first_process()) as bars:
        metrics = evaluate(run, dataset, split, out, resolution, device, progress=bars.over(f"evaluating on {split}"))
    if is_first_process():
        print_metrics(metrics, split)
    return 0


@app.command(name="predict")
def predict_command(run: Path, photos: list[Path], /, *, out: Path, device: str = "auto") -> int:
    """Predict the masks of photos, at the photos' own size.

    Writes for each photo NAME_mask.png (class indices, with a palette) and NAME_overlay.png, and one
    predictions.json with the share of each class. A file that is no photo is named and left out; the exit
    code is then 1.

    Parameters
    ----------
    run: Path
        The run folder.
    photos: list[Path]
        Photos, and folders of photos at any depth.
    out: Path
        The folder that the masks go to.
    device: str
        auto, cpu, cuda, mps.
    """
    with Bars() as bars:
        report, skipped = predict_files(Predictor.load(run, device), photos, out, progress=bars.over("predicting"))
    for error in skipped:
        print(f"skipped: {error}", file=sys.stderr)
    print(f"{len(report['photos'])} photos predicted: masks and overlays are in {out}")
    return 1 if skipped else 0


@app.command(name="show")
def show_command(data: Path, /, *, split: Split = "train", count: int = 12, out: Path | None = None) -> int:
    """Draw a sheet of a data set's photos with their masks.

    Parameters
    ----------
    data: Path
        The folder of the data set.
    split: str
        The split that the photos come from.
    count: int
        How many photos, spread evenly over the split.
    out: Path
        The picture. [default: DATA's name with -SPLIT.png, in this folder]
    """
    dataset = load_dataset(data)
    if out is not None and out.exists():
        raise DataError(f"{out}: is already there; choose another --out")
    target = out or free_path(Path(f"{dataset.root.resolve().name}-{split}.png"))
    save_picture(show(dataset, split, count), target)
    print_dataset(dataset)
    print(f"sheet: {target}")
    return 0


@app.command(name="demo")
def demo_command(*, out: Path = Path("runs/demo")) -> int:
    """The whole main job on Oxford-IIIT Pet: train, evaluate on the test split, predict test photos.

    Finds the data set in the folder that PIXELWISE_DATA names, a copy downloaded before, or the official
    download; where there is no network it draws animals of its own.

    Parameters
    ----------
    out: Path
        The run folder; a number is added where one is there.
    """
    # Imported here: only this command downloads or draws.
    from pixelwise.demo import demo

    demo(out)
    return 0


def main(tokens: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 done but for some files, 2 bad input, told in one line."""
    try:
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except (PixelwiseError, CycloptsError, OSError) as error:
        # pydantic tells of a value that is no number in four lines, as cyclopts' cause.
        cause = error.__cause__
        text = f"--{one_line(cause, Config)}" if isinstance(cause, ValidationError) else str(error)
        print(f"pixelwise: error: {' '.join(text.split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("pixelwise: stopped; a training goes on from its last epoch with --resume", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
