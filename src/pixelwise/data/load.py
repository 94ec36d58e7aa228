"""From a folder to a data set: its format, and what its masks mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.formats import find_layout
from pixelwise.data.pictures import count_channels
from pixelwise.data.records import Dataset, Layout, Reading
from pixelwise.data.streams import Progress, no_progress
from pixelwise.data.survey import LevelSurvey
from pixelwise.errors import DataError
from pixelwise.visualize import default_palette


@dataclass(frozen=True)
class Choices:
    """What a person settles about a data set, where it would be ambiguous or another thing is wanted.

    Attributes:
        format: a name in FORMATS, or None to tell by the folder.
        classes: the classes' names. Where the data set names its classes: those to keep, the others becoming
            "background" where there is such a class, else "ignore". Elsewhere: names for the levels found, in order.
        ignore: levels to ignore, as written: "255", "#e0e0c0".
        mask_map: level as written → class name (or "ignore"): settles everything.
        skip_bad: leave out what cannot be used, with a note, instead of an error.
    """

    format: str | None = None
    classes: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    mask_map: tuple[tuple[str, str], ...] = ()
    skip_bad: bool = False


def load_dataset(
    root: str | Path,
    format: str | None = None,
    classes: Sequence[str] = (),
    ignore: Sequence[str] = (),
    mask_map: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    progress: Progress = no_progress,
) -> Dataset:
    """Find out what lies in a folder: classes, how masks are encoded, and the records of each split.

    Where the format does not settle what masks mean, all of them are looked at. See `Choices` for the arguments.

    Raises DataError for a folder that is not there or of no known format, photos without masks (unless `skip_bad`),
    and masks that can be read in more ways than one; ConfigError for choices that do not fit.

    >>> load_dataset("oxford-iiit-pet/").classes  # doctest: +SKIP
    ('pet', 'background', 'border')
    """
    choices = Choices(format, tuple(classes), tuple(ignore), tuple((mask_map or {}).items()), skip_bad)
    root = Path(root).expanduser()
    name, layout = find_layout(root, choices.format)
    return settle(root, name, layout, choices, None)


def settle(root: Path, format: str, layout: Layout, choices: Choices, survey: LevelSurvey | None) -> Dataset:
    """The data set of a layout."""
    if layout.problems and not choices.skip_bad:
        more = f" (and {len(layout.problems) - 1} more)" if len(layout.problems) > 1 else ""
        raise DataError(f"{layout.problems[0]}{more}")
    assert layout.encoding is not None
    return Dataset(
        root, format, layout.classes, layout.palette or default_palette(len(layout.classes)),
        Reading(layout.encoding, count_channels(layout.records[0].image)),
        layout.train, layout.val, layout.test,
    )  # fmt: skip
