"""Choice of the images of an evaluation, and the check whether the model was trained on them."""

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pixelwise.data.index import DatasetIndex
from pixelwise.data.joined_spec import load_with_spec, spec_roots
from pixelwise.data.schema import SPLITS, Record, Split
from pixelwise.errors import DataError
from pixelwise.runs.group import RunGroup
from pixelwise.runs.run_dir import Run
from pixelwise.runs.split_file import SplitRow, data_roots, file_bytes, read_split, relative_name

_KEY_BYTES = 4096
"""Number of bytes in the middle of two files of equal size that must be equal before the files are compared."""

_MAX_COMPARED = 3
"""Maximum number of training files with equal size and key that a file is compared with."""


@dataclass(frozen=True)
class Selection:
    """The images of an evaluation.

    Attributes:
        split: "train", "val" or "test". "all" if the data set has no splits and all of its images were chosen.
        records: the images.
        reason: the images in words, for example "the test split".
        groups: the group of each image, or None if it has no group.
        trained_on: names of the images that the model was trained on.
        chose_epoch: number of images by whose metrics the training chose the best epoch.
        unchecked: why `trained_on` and `chose_epoch` are not known, such as "the run has no split.csv". "" if they are
            known.
    """

    split: Split | Literal["all"]
    records: tuple[Record, ...]
    reason: str
    groups: tuple[str | None, ...]
    trained_on: tuple[str, ...] = ()
    chose_epoch: int = 0
    unchecked: str = ""

    @property
    def warning(self) -> str:
        """A warning that the result is too good because of images that were trained on. Empty if there are none."""
        if not self.trained_on:
            return ""
        count, total = len(self.trained_on), len(self.records)
        return (
            f"the model was trained on {count} of these {total} images, for example {self.trained_on[0]}: all values "
            "are too high; evaluate on other images"
        )

    @property
    def note(self) -> str:
        """A remark about the images and the choice of the best epoch. Empty if there is none."""
        if self.unchecked:
            return f"{self.unchecked}, so it is not known whether the model was trained on these images"
        if not self.chose_epoch:
            return ""
        images = "these images" if self.chose_epoch == len(self.records) else f"{self.chose_epoch} of these images"
        return f"the best epoch was chosen on {images}, so the values are slightly too high"


def load_run_data(
    run: Run, data: Sequence[str] = (), skip_unreadable: bool = False, allow_outside: bool = False
) -> DatasetIndex:
    """Load the data set of a run's training, or other data whose masks are read in the same way.

    Args:
        run: the run.
        data: paths or URLs of data sets, or () for the data set of the training.
        skip_unreadable, allow_outside: see `load_dataset`.

    Raises:
        DataError: The data set is gone, or the run does not store its location.
        RunError: data.yaml is missing or damaged.
    """
    spec = run.read_dataset_spec()
    roots = tuple(data) or spec_roots(spec)
    if not roots:
        raise DataError(f"{run.path}: does not store where its data set is; give `data`")
    for root in roots:
        if not data and "://" not in root and not Path(root).exists():
            raise DataError(f"{root}: the data set of {run.path} is no longer there; give its new place as `data`")
    return load_with_spec(spec, roots, skip_unreadable, allow_outside)


def select_images(run: Run | None, data: DatasetIndex, split: Split | None) -> Selection:
    """Choose the images to evaluate a model on.

    Args:
        run: the run of the model, or None for an exported file, which does not list the images of its training.
        data: a data set. It can be that of the training, a copy of it in another place, or other data.
        split: "train", "val" or "test". "val" selects the images that the training held out if the data set has no
            such split. None selects the test split if the data set has one, else "val". If the data set has neither and
            the training used none of its images, None selects all images.

    Returns:
        The images.

    Raises:
        DataError: There are no such images, or the classes of the data set are undecided.
        RunError: split.csv or data.yaml is damaged.
    """
    rows = None if run is None else _read_rows(run)
    roots = spec_roots(run.read_dataset_spec()) if run is not None and rows else ()
    known = KnownImages(rows or (), roots, data)
    lacking = "an exported file does not list the images of its training" if run is None else "the run has no split.csv"
    chosen, records, reason = _choose(data, split, known, lacking)
    parts = [known.row_of(record) for record in records]
    copies = known.copies([record for record, row in zip(records, parts, strict=True) if row is None])
    trained_on = [
        relative_name(record.image, data.root)
        for record, row in zip(records, parts, strict=True)
        if id(record) in copies or (row is not None and row.part == "train")
    ]
    return Selection(
        chosen,
        tuple(records),
        reason,
        groups=tuple(
            record.group or (row.group if row is not None else None) for record, row in zip(records, parts, strict=True)
        ),
        trained_on=tuple(trained_on),
        chose_epoch=sum(row is not None and row.part == "val" for row in parts),
        unchecked=lacking if rows is None else "",
    )


def _read_rows(run: Run) -> list[SplitRow] | None:
    """Return split.csv of a run.

    In a group of runs, an image can be in several splits. The first of `SPLITS` counts: "train" if any run trained on
    it.
    """
    if not RunGroup.exists(run.path):
        return read_split(run.path)
    merged: dict[str, SplitRow] = {}
    for path in RunGroup.open(run.path).paths:
        for row in read_split(path) or ():
            if row.file not in merged or SPLITS.index(row.part) < SPLITS.index(merged[row.file].part):
                merged[row.file] = row
    return [*merged.values()] or None


def _choose(
    data: DatasetIndex, split: Split | None, known: "KnownImages", lacking: str
) -> tuple[Split | Literal["all"], Sequence[Record], str]:
    """Return the split or "all", its records, and a description of them."""
    if split is None and not data.undecided:
        split = "test" if data.test else "val" if data.val or known.has("val") else None
        if split is None:
            if known.has("train") or not known.rows:
                raise DataError(_no_held_out(data, "" if known.rows else lacking))
            return "all", data.records("train"), "all images of the data set"
    if split == "val" and not data.val and known.has("val"):
        records = [record for record, row in known.matches() if row.part == "val"]
        return "val", records, "the images that the training held out for validation"
    split = split or "test"
    return split, data.records(split), f"the {split} split of the data set"


def _no_held_out(data: DatasetIndex, lacking: str) -> str:
    fault = f"{data.root}: has no test or val split"
    if not lacking:
        return f"{fault}, and the training used all of its images; evaluate on other images, or choose a `split`"
    return f"{fault}, and {lacking}; choose a `split`"


class KnownImages:
    """The images of a data set that are listed in split.csv of a run.

    Args:
        rows: the rows of split.csv.
        roots: the data sets of the training, or () if they are not known.
        data: the data set. Images are matched by name if it is that of the training. In another place, their sizes in
            bytes must be equal too. If the sizes are not known, all images of the data set must be listed.
    """

    def __init__(self, rows: Sequence[SplitRow], roots: Sequence[str], data: DatasetIndex) -> None:
        self.rows, self.roots = rows, tuple(roots)
        self._by_file: Mapping[str, SplitRow] = {row.file: row for row in rows}
        records = [record for split in SPLITS for record in getattr(data, split)]
        names = {id(record): relative_name(record.image, data.root) for record in records}
        same_root = self.roots == data_roots(data)
        all_listed = bool(rows) and all(name in self._by_file for name in names.values())
        self._rows: dict[int, SplitRow] = {}
        self._records = records
        for record in records:
            row = self._by_file.get(names[id(record)])
            if row is not None and (same_root or _is_equal(row.bytes, file_bytes(record.image), all_listed)):
                self._rows[id(record)] = row

    def row_of(self, record: Record) -> SplitRow | None:
        """Return the row of a record of the data set, or None if it is not listed."""
        return self._rows.get(id(record))

    def has(self, part: Split) -> bool:
        """Return True if an image of the data set belongs to a part of the training."""
        return any(row.part == part for row in self._rows.values())

    def matches(self) -> Iterable[tuple[Record, SplitRow]]:
        """Return the records of the data set that are listed, each with its row."""
        return [(record, self._rows[id(record)]) for record in self._records if id(record) in self._rows]

    def copies(self, records: Iterable[Record]) -> set[int]:
        """Find copies of training images under other names, among files on this machine.

        A file is read only if a training image has the same size in bytes. First `_KEY_BYTES` of both are compared, and
        the rest only if these are equal.

        Args:
            records: records without a row.

        Returns:
            The `id` of each record whose image file equals that of a training image.
        """
        if len(self.roots) != 1 or "://" in self.roots[0]:
            folder = Path("/")  # joined data sets have absolute names
        else:
            folder = Path(self.roots[0])
            folder = folder if folder.is_dir() else folder.parent
        sizes: dict[int, list[Path]] = {}
        for row in self.rows:
            if row.part == "train" and row.bytes:
                sizes.setdefault(row.bytes, []).append(folder / row.file)
        by_key: dict[int, dict[bytes, list[Path]]] = {}
        found = set()
        for record in records:
            size = file_bytes(record.image) or 0
            if isinstance(record.image, Path) and size in sizes:
                if size not in by_key:
                    by_key[size] = _by_middle(sizes[size])
                if _has_copy(record.image, by_key[size]):
                    found.add(id(record))
        return found


def _is_equal(row_bytes: int | None, image_bytes: int | None, all_listed: bool) -> bool:
    return all_listed if row_bytes is None or image_bytes is None else row_bytes == image_bytes


def _by_middle(paths: Iterable[Path]) -> dict[bytes, list[Path]]:
    """Group files by the bytes in their middle. Files that cannot be read are left out."""
    groups: dict[bytes, list[Path]] = {}
    for path in paths:
        with suppress(OSError):
            groups.setdefault(_middle(path), []).append(path)
    return groups


def _has_copy(image: Path, candidates: Mapping[bytes, Sequence[Path]]) -> bool:
    """Return True if a file equals one of the first `_MAX_COMPARED` candidates with the same bytes in the middle."""
    with suppress(OSError):
        equal = candidates.get(_middle(image), ())[:_MAX_COMPARED]
        return any(filecmp.cmp(image, path, shallow=False) for path in equal)
    return False


def _middle(path: Path) -> bytes:
    """Return `_KEY_BYTES` bytes from the middle of a file."""
    with path.open("rb") as file:
        file.seek(path.stat().st_size // 2)
        return file.read(_KEY_BYTES)
