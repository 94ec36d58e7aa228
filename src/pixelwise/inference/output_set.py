"""The outputs of a call of `predict_folder`: files of each image, tables, and files for all images."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from pixelwise.inference.checkpoints import Checkpoints
from pixelwise.inference.image_rows import ArrayRows
from pixelwise.inference.item_list import ItemList
from pixelwise.inference.mask_filter import MaskFilter
from pixelwise.inference.orientation import with_orientation
from pixelwise.inference.output_items import REPORT_FILE, MarkOfRun, OutputItem, read_result
from pixelwise.inference.output_store import OutputStore
from pixelwise.inference.outputs import Mark, digest, version_of
from pixelwise.inference.pixel_size import PixelSize
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.result_tables import CLASSES_FILE, ImageRows, ResultTables
from pixelwise.inference.tables import CountedMask, image_cell
from pixelwise.inference.url_store import UrlStore
from pixelwise.inference.video import read_fractions
from pixelwise.inference.writers import Entry, PredictedImage, Writer
from pixelwise.inference.writers.journal import JOURNAL_FILE, Journal, JournalLine, to_line
from pixelwise.models.config import ModelConfig
from pixelwise.runtime.threads import prefetch_map

if TYPE_CHECKING:
    from pixelwise.inference.large_predict import LargeArrays, LargePrediction  # imports torch


class ItemResult(NamedTuple):
    """The result of an image whose files are written.

    Attributes:
        mark: its mark.
        rows: its rows of the tables, or None if there are no tables.
        line: its line of the journal, or None if there is no journal.
    """

    mark: Mark
    rows: ImageRows | None
    line: bytes | None


class OutputSet:
    """The writers of a call, with the files that they share.

    There is a journal if a writer keeps entries, or if the masks and predictions.csv do not suffice to resume.

    Args:
        run: the model and the values of the masks.
        config: the configuration of the model.
        store: the output directory.
        writers: name → writer.
        pixel_size: the size of a pixel for the tables, or None.
        mask_filter: changes the masks before they are counted and written.

    Attributes:
        tables: predictions.csv and objects.csv, or None if they are not written.
        journal: predictions.jsonl, or None.
        specs: kind → the name of the file of each image.
        unmarked: the kinds of files that contain no mark.
        needs: the arrays that the writers need, see `Writer.needs`.
        out: the directory in which the writers write.
    """

    def __init__(
        self,
        run: MarkOfRun,
        config: ModelConfig,
        store: OutputStore,
        writers: Mapping[str, Writer],
        pixel_size: PixelSize | None = None,
        mask_filter: MaskFilter = MaskFilter(),  # noqa: B008, frozen
    ) -> None:
        self.mask_filter = mask_filter
        self.run, self.config, self.store, self.out, self.writers = run, config, store, store.root, writers
        self._pixel_size = pixel_size
        self._files = {name: writer.files() for name, writer in writers.items()}
        self.specs = {kind: spec for files in self._files.values() for kind, spec in files.items()}
        self.unmarked = tuple(kind for kind, spec in self.specs.items() if not spec.has_mark)
        self.needs: frozenset[str] = frozenset().union(*(writer.needs for writer in writers.values()))
        self.tables = ResultTables(self.out, len(config.classes), pixel_size) if "csv" in writers else None
        suffices = {"mask", "csv"} <= writers.keys() and not self.unmarked
        suffices = suffices and not any(writer.has_entries for writer in writers.values()) and store.is_local
        self.journal = None if suffices else Journal(self.out / JOURNAL_FILE, run._asdict())
        growing = [*([] if self.tables is None else self.tables.files), self.out / JOURNAL_FILE]
        self._checkpoints = Checkpoints(store, growing) if isinstance(store, UrlStore) else None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments only: another process writes the files of images, but no tables and no journal."""
        return OutputSet, (self.run, self.config, self.store, self.writers, self._pixel_size, self.mask_filter)

    @contextmanager
    def staged(self, items: Sequence[OutputItem]) -> Iterator[tuple["OutputSet", list[OutputItem]]]:
        """Yield the outputs and the items for a worker on any machine, see `OutputStore.staged`."""
        with self.store.staged() as store:
            outputs = OutputSet(self.run, self.config, store, self.writers, self._pixel_size, self.mask_filter)
            yield outputs, [item.moved(self.out, store.root) for item in items]

    @property
    def shared(self) -> list[Path]:
        """The files for all images."""
        names = [name for writer in self.writers.values() for name in writer.shared]
        return [self.out / name for name in (REPORT_FILE, *names, *[JOURNAL_FILE] * (self.journal is not None))]

    def find_complete(self, items: ItemList) -> None:
        """Set the marks of the items whose files, rows and entries are complete.

        Raises:
            OutputExistsError: A file was not made by this model from its image, or cannot be read.
        """
        if self._checkpoints is not None:
            self._checkpoints.restore()
        for part in (self.tables, self.journal):
            if part is not None:
                part.load()
        for index, mark in enumerate(prefetch_map(self._find_mark, items)):
            if mark is not None:
                items.set_mark(index, mark)

    def _find_mark(self, item: OutputItem) -> Mark | None:
        """Return the mark of an item, or None if it is not complete."""
        line = None if self.journal is None else self.journal.find(image_cell(item.path))
        pair = None if line is None else (self.out / JOURNAL_FILE, line.mark)
        is_same = line is not None and line.version != "" and line.version == version_of(item.path)
        # A killed prediction leaves files without a line. They are written again.
        is_left = pair is None and self.journal is not None and self.journal.exists
        mark = read_result(self.run, item, self.unmarked, pair, is_left, self.store, is_same)
        if mark is None or (self.tables is not None and not self.tables.is_complete(item.path)):
            return None
        if self.journal is not None:
            has_all = item.is_moving or all(
                line is not None and name in line.entries for name, writer in self.writers.items() if writer.has_entries
            )
            return mark if line is not None and has_all else None
        if item.is_moving and isinstance(item.path, Path):
            fractions = read_fractions(self.out / CLASSES_FILE, item.path, self.config.classes)
            return replace(mark, shares=fractions)
        return mark

    def keep(self, paths: Collection[object]) -> None:
        """Reduce the shared files to some images, in this order."""
        if self.tables is not None:
            self.tables.keep(paths)
        if self.journal is not None:
            self.journal.keep(map(image_cell, paths))
        if self._checkpoints is not None:
            self._checkpoints.begin()

    def append(self, item: OutputItem, result: ItemResult) -> None:
        """Append the rows and the entries of an image.

        Raises:
            OutputError: A file cannot be written.
        """
        if self.tables is not None and result.rows is not None:
            self.tables.append(result.rows)
        if self.journal is not None and result.line is not None:
            self.journal.append(image_cell(item.path), result.line)
        if self._checkpoints is not None:
            self._checkpoints.step()

    def finish(self, paths: Collection[object]) -> None:
        """Bring the shared files into the order of the images, and write the files for all images.

        Raises:
            OutputError: A file cannot be written.
        """
        if self.tables is not None:
            self.tables.finish(paths)
        if self.journal is not None:
            self.journal.keep(map(image_cell, paths))
            for name, writer in self.writers.items():
                writer.finish(self.journal.entries(name), self.out)

    def remove_if_empty(self) -> None:
        """Remove the journal if no image could be predicted."""
        if self.journal is not None:
            self.journal.remove_if_empty()
        if self._checkpoints is not None:
            self._checkpoints.discard()

    def publish(self) -> None:
        """Upload the files for all images, if the outputs are at a URL.

        Raises:
            OutputError: A file cannot be written.
        """
        if self._checkpoints is not None:
            self._checkpoints.finish(reversed(self.shared))  # predictions.json at the end

    def close(self) -> None:
        """Close the shared files."""
        for part in (self.tables, self.journal):
            if part is not None:
                part.close()
        if self._checkpoints is not None:
            self._checkpoints.close()

    def write(self, item: OutputItem, prediction: Prediction) -> ItemResult:
        """Write the files of an image in memory. Return its mark, rows and entries.

        Raises:
            OutputError: A file cannot be written.
        """
        prediction = self.mask_filter.apply(prediction, self.config)
        mark = Mark.of(prediction, self.run.model, digest(item.path), self.run.masks)
        oriented = with_orientation(prediction, item.path)
        image = PredictedImage(
            item.path,
            item.name,
            self.config,
            mark,
            lambda: oriented,
            _channels(prediction.mask),
            ArrayRows(prediction.image),
            confidence=prediction.confidence if "confidence" in self.needs else None,
            probabilities=prediction.probabilities,
        )
        return self._write(item, image, prediction)

    def large(self, item: OutputItem) -> "Callable[[LargeArrays, LargePrediction], ItemResult]":
        """Return the function that writes the files of an image that is read in parts, see `predict_large_file`."""
        return partial(self._write_large, item)

    def _write_large(self, item: OutputItem, arrays: "LargeArrays", counts: "LargePrediction") -> ItemResult:
        from pixelwise.inference.large_predict import reduced_prediction

        shares = {name: round(fraction, 6) for name, fraction in counts.class_fractions.items()}
        rows, pixels = arrays.rows, arrays.mask.map()
        mark = Mark(self.run.model, digest(item.path), rows.width, rows.height, shares, self.run.masks)
        image = PredictedImage(
            item.path,
            item.name,
            self.config,
            mark,
            lambda: reduced_prediction(rows, arrays.mask, self.config),
            _channels(pixels),
            rows,
            arrays.mask,
            rows.windows.page,
            arrays.confidence,
            arrays.probabilities,
        )
        return self._write(item, image, counts)

    def _write(self, item: OutputItem, image: PredictedImage, counts: CountedMask) -> ItemResult:
        rows = None if self.tables is None else self.tables.format(item.path, counts)
        entries: dict[str, Entry] = {}
        for name, writer in self.writers.items():
            writer.write(image, {kind: item.files[kind] for kind in self._files[name]})
            if writer.has_entries:
                entries[name] = writer.entry(image)
        self.store.publish(item.files.values())
        return ItemResult(image.mark, rows, self._line(item, image.mark, entries))

    def counted(self, item: OutputItem, mark: Mark, counts: CountedMask) -> ItemResult:
        """Return the result of a video, whose files are written. It has no entries.

        Raises:
            OutputError: The files cannot be written to the URL of the outputs.
        """
        self.store.publish(item.files.values())
        rows = None if self.tables is None else self.tables.format(item.path, counts)
        return ItemResult(mark, rows, self._line(item, mark, {}))

    def _line(self, item: OutputItem, mark: Mark, entries: dict[str, Entry]) -> bytes | None:
        if self.journal is None:
            return None
        return to_line(image_cell(item.path), JournalLine(mark, entries, version_of(item.path)))


def _channels(mask: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[np.uint8]]:
    """Return the channels of a mask. Those of a `PackedMask` are unpacked when they are used."""
    return [mask] if mask.ndim == 2 else cast(Sequence[npt.NDArray[np.uint8]], mask)
