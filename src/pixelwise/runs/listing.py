"""A list of the runs in a directory, read without torch."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.data.input_size import MAX_SIZE, HeightWidth, parse_size
from pixelwise.errors import PixelwiseError, first_line
from pixelwise.runs.metrics_file import Row, best_row, read_rows
from pixelwise.runs.spread import Spread
from pixelwise.runtime.parsing import read_json, read_yaml

MAX_DEPTH = 4
"""Maximum number of directories between the listed directory and a run."""

_MIB = 2**20


@dataclass(frozen=True)
class RunSummary:
    """One run, or one group of runs.

    Attributes:
        path: the directory.
        kind: "run", or for a group its kind and size, for example "5 folds".
        data: path or URL of the data set, or "" if the run does not store it. Several are joined by " + ".
        encoder: name of the encoder.
        image_size: size in pixels to which images are resized for training.
        epochs: number of completed epochs, of all runs of a group.
        best_epoch: the epoch with the highest validation mIoU. None for a group, or before the end of the first epoch.
        val_miou: validation mIoU in [0, 1] of the best epoch. For a group, the mean over its runs.
        val_sd: standard deviation of `val_miou` over the runs of a group, or None.
        test_miou: mIoU of the newest evaluation on the test split, or None.
        minutes: time from the start to the end of the last epoch, without pauses before a resume, of all runs of a
            group. For runs of version 0.1, the time spent in training steps.
        model_mib: size of the model file in MiB, of all models of a group. None if there is no model.
        started: time of the start, in seconds since 1970.
        fault: the reason why the run cannot be read, or "".
    """

    path: Path
    kind: str = "run"
    data: str = ""
    encoder: str = ""
    image_size: int | HeightWidth | None = None
    epochs: int = 0
    best_epoch: int | None = None
    val_miou: float | None = None
    val_sd: float | None = None
    test_miou: float | None = None
    minutes: float = 0.0
    model_mib: float | None = None
    started: float = 0.0
    fault: str = ""


def list_runs(folder: str | Path) -> list[RunSummary]:
    """List the runs and the groups of runs in a directory and below it.

    The runs inside a run or a group, for example the folds of a cross-validation, are not listed by themselves.

    Args:
        folder: the directory, which may be a run itself.

    Returns:
        The runs in the order of `started`, the oldest first.

    >>> list_runs("no-such-directory")
    []
    """
    found = [_summarize(path) for path in _find(Path(folder), MAX_DEPTH)]
    return sorted(found, key=lambda summary: (summary.started, str(summary.path)))


def _find(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the run directories in a folder, below at most `depth` directories. Symbolic links are not followed."""
    if (folder / "config.yaml").is_file():
        yield folder
    elif depth >= 0 and folder.is_dir():
        try:
            children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.is_symlink())
        except OSError:  # no permission
            return
        for child in children:
            yield from _find(child, depth - 1)


def _summarize(path: Path) -> RunSummary:
    """Return the summary of a run or a group. If it cannot be read, the summary has only a `fault`."""
    try:
        return _read(path)
    except PixelwiseError as error:
        return RunSummary(path, fault=str(error))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return RunSummary(path, fault=f"cannot be read ({first_line(error)})")


def _read(path: Path) -> RunSummary:
    config = read_yaml(path / "config.yaml")
    folders, kind, scores = [path], "run", {}
    if (path / "group.json").is_file():
        group = read_json(path / "group.json")
        folders = [path / member["name"] for member in group["members"]]
        kind, scores = f"{len(folders)} {group['kind']}", _group_scores(group)
    rows = [read_rows(folder) for folder in folders]
    models = [folder / "model.safetensors" for folder in folders]
    sizes = [model.stat().st_size for model in models if model.is_file()]
    return RunSummary(
        path,
        kind,
        data=_data(path),
        encoder=str(config["encoder"]),
        image_size=parse_size(config["image_size"], 1, MAX_SIZE),
        epochs=sum(map(len, rows)),
        minutes=sum(_seconds(run[-1]) for run in rows if run) / 60,
        model_mib=sum(sizes) / _MIB if sizes else None,
        started=_started(path),
        test_miou=_test_miou(path),
        **(scores if kind != "run" else _best(rows[0])),
    )


def _seconds(row: Row) -> float:
    """Return the seconds from the start to the end of an epoch."""
    return row.get("seconds") or row["train_seconds"] or 0.0


def _best(rows: list[Row]) -> dict[str, Any]:
    best = best_row(rows)
    return {} if best is None else {"best_epoch": int(best["epoch"] or 0), "val_miou": best["val_miou"]}


def _group_scores(group: Mapping[str, Any]) -> dict[str, Any]:
    spread = Spread.of([member["metrics"]["miou"] for member in group["members"] if member["metrics"]])
    return {"val_miou": spread.mean, "val_sd": spread.sd}


def _data(path: Path) -> str:
    try:
        content = read_yaml(path / "data.yaml")
    except (OSError, ValueError):
        return ""
    return " + ".join(str(spec["root"]) for spec in content.get("sets", {"": content}).values() if "root" in spec)


def _started(path: Path) -> float:
    """Return the time of data.yaml, which only the start of a run writes. Runs of version 0.1 may lack it."""
    file = path / "data.yaml"
    return (file if file.exists() else path / "config.yaml").stat().st_mtime


def _test_miou(path: Path) -> float | None:
    """Return the mIoU of the newest evaluation on the test split."""
    files = sorted(path.glob("evaluation-test*.json"), key=lambda file: file.stat().st_mtime)
    for file in reversed(files):
        try:
            value = json.loads(file.read_text(encoding="utf-8")).get("miou")
        except (OSError, ValueError):
            continue
        return None if value is None else float(value)
    return None
