"""Files of an evaluation: all values as JSON, one row per image as CSV, and a page as HTML."""

import csv
import io
import json
from pathlib import Path

from pixelwise.errors import ConfigError, OutputExistsError
from pixelwise.inference.model_location import is_exported
from pixelwise.metrics.evaluation import TABLE_COLUMNS, Evaluation, csv_path, image_table, page_path
from pixelwise.reporting.evaluation_report import PAGE_MARK, render_evaluation
from pixelwise.runtime.atomic import atomic_write, remove_abandoned

_MARK_BYTES = 1000
"""Number of bytes at the start of a page or a table that contain its mark."""

_ENCODING_ERRORS = "backslashreplace"
"""Error handler for file names that are not valid UTF-8. Each invalid byte becomes an escape such as \\udce9."""


def check_out(out: str | Path) -> None:
    """Check the argument `out` of `evaluate`.

    Args:
        out: the JSON file, a directory, or "auto", see `write_evaluation`.

    Raises:
        ConfigError: The name ends with .html or .csv, the endings of the page and of the CSV file.
        OutputExistsError: The JSON file, or one of those beside it, exists already. A page or a table of a killed
            evaluation is replaced. Or there is a file instead of the directory.
    """
    if out == "auto":
        return
    path = Path(out)
    if path.suffix.lower() in (".html", ".csv"):
        raise ConfigError(
            f"{out}: the page and the table get the name of the JSON file; choose an `out` that ends with .json, or a "
            "directory"
        )
    if path.suffix.lower() != ".json":
        if path.exists() and not path.is_dir():
            raise OutputExistsError(f"{out}: is a file; choose an `out` that ends with .json, or another directory")
        return
    for each in (path, page_path(path), csv_path(path)):
        if each.exists() and not _is_leftover(each):
            raise OutputExistsError(f"{each}: exists already; choose another `out`")


def _is_leftover(file: Path) -> bool:
    """Return True for the page or the table of an evaluation that was killed before it wrote the JSON file."""
    if file.suffix == ".json" or not file.is_file():
        return False
    try:
        with file.open("rb") as content:
            start = content.read(_MARK_BYTES)
    except OSError:
        return False
    mark = ",".join(TABLE_COLUMNS) if file.suffix == ".csv" else PAGE_MARK
    return mark.encode() in start


def write_evaluation(model: Path, evaluation: Evaluation, out: str | Path) -> Path:
    """Write the result of `evaluate` as JSON, and an HTML page and a CSV file beside it.

    Args:
        model: the run directory, or the exported file.
        evaluation: the result.
        out: the JSON file, whose name ends with .json. Existing files are replaced. Any other path is a directory, for
            evaluation-<split>.json in it (numbered if it exists). "auto" is the run directory, or
            <name>-evaluation-<split>.json beside an exported file.

    Returns:
        The path of the JSON file.

    Raises:
        OutputError: A file cannot be written.
    """
    if out == "auto" and is_exported(model):
        path = _free_path(model.parent, f"{model.stem}-evaluation-{evaluation.split}")
    elif out == "auto":
        path = _free_path(model, f"evaluation-{evaluation.split}")
    else:
        path = Path(out)
        path = path if path.suffix.lower() == ".json" else _free_path(path, f"evaluation-{evaluation.split}")
    remove_abandoned(path.parent)
    text = json.dumps(evaluation.to_dict(), indent=2, ensure_ascii=False) + "\n"
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(image_table(evaluation.images, tuple(evaluation.metrics.classes)))
    page = render_evaluation(evaluation, model, path.name, csv_path(path).name)
    for each, content in ((csv_path(path), table.getvalue()), (page_path(path), page), (path, text)):
        with atomic_write(each) as part:
            part.write_text(content, encoding="utf-8", errors=_ENCODING_ERRORS, newline="")
    return path


def _free_path(folder: Path, name: str) -> Path:
    """Return <name>.json in a folder, with a number if this file, its page or its table exists."""
    path, number = folder / f"{name}.json", 1
    while any(each.exists() for each in (path, page_path(path), csv_path(path))):
        number += 1
        path = folder / f"{name}-{number}.json"
    return path
