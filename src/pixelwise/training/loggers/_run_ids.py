"""The identifiers of a run on tracking servers, in loggers.json of the run directory.

A resumed training continues the runs with these identifiers.
"""

import json

from pixelwise.runs.run_dir import Run
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.parsing import read_json

FILE = "loggers.json"
"""File in the run directory: name of a logger → identifier."""


def read_id(run: Run, logger: str) -> str | None:
    """Return the stored identifier of a logger, or None.

    Args:
        run: the run.
        logger: the name of the logger.
    """
    value = _read(run).get(logger)
    return None if value is None else str(value)


def write_id(run: Run, logger: str, identifier: str) -> None:
    """Store the identifier of a logger.

    Args:
        run: the run. Its directory exists.
        logger: the name of the logger.
        identifier: the identifier of the run on the server.
    """
    content = _read(run) | {logger: identifier}
    with atomic_write(run.path / FILE) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read(run: Run) -> dict[str, object]:
    try:
        content = read_json(run.path / FILE)
    except (OSError, ValueError):  # absent or damaged: the logger starts a new run on its server
        return {}
    return content if isinstance(content, dict) else {}
