"""The identifiers of a run on tracking servers, in loggers.json of the run directory. A resume continues them."""

import json

from pixelwise.runs.run_dir import Run
from pixelwise.runtime.files import atomic_write
from pixelwise.runtime.parsing import read_json

FILE = "loggers.json"


def read_id(run: Run, logger: str) -> str | None:
    """Return the identifier that a logger stored, or None."""
    value = _read(run).get(logger)
    return None if value is None else str(value)


def write_id(run: Run, logger: str, identifier: str) -> None:
    """Store the identifier of a logger."""
    content = _read(run) | {logger: identifier}
    with atomic_write(run.path / FILE) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read(run: Run) -> dict[str, object]:
    try:
        content = read_json(run.path / FILE)
    except (OSError, ValueError):  # absent or damaged: the logger starts a new run on its server
        return {}
    return content if isinstance(content, dict) else {}
