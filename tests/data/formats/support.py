"""Helpers of the format tests: readers that must succeed, and types narrowed to what a test expects."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats.registry import FORMATS
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.image import read_image
from pixelwise.data.io.mask import read_image_and_mask, read_mask
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import SPLITS, BytesSource, FormatResult, LabelMap, MaskSource, MergedMask, MultilabelMask
from pixelwise.errors import DataError
from tests.data.formats.writers.folders import Sample, lines

CLASSES = ("background", "cat", "猫 dog")


def read_as(format: str, root: Path | RemoteFile) -> FormatResult:
    """Return the result of a format's reader. Fails if the reader does not accept the root."""
    result = FORMATS[format].component(root)
    assert result is not None
    return result


def label_map_of(result: FormatResult) -> LabelMap:
    """Return the label map, which the format must state."""
    assert result.label_map is not None
    return result.label_map


def path_of(source: BytesSource | MaskSource | None) -> Path:
    """Return an image or mask that must be a local file."""
    assert isinstance(source, Path)
    return source


def file_of(mask: MaskSource | None) -> BytesSource:
    """Return a mask that must be a single file."""
    assert isinstance(mask, BytesSource)
    return mask


def channels_of(mask: MaskSource | None) -> tuple[BytesSource | MergedMask | None, ...]:
    """Return the channels of a mask that must be multi-label."""
    assert isinstance(mask, MultilabelMask)
    return mask.channels


def single_mask(root: Path) -> np.ndarray:
    """Return the pixels (H, W) of the only mask of a data set."""
    data = load_dataset(root)
    (record,) = data.train
    return read_image_and_mask(record, data.read_spec)[1]


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    """Return a rectangle as the coordinates x, y, x, y, … of its corners."""
    return [left, top, right, top, right, bottom, left, bottom]


def touch(root: Path, *files: str) -> Path:
    """Create empty files and return the root. No pixels are read in tests that use it."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def pairs(result: FormatResult, root: Path, split: str = "train") -> dict[str, str]:
    """Return image → mask as paths below the root."""
    return {
        path_of(record.image).relative_to(root).as_posix(): path_of(record.mask).relative_to(root).as_posix()
        for record in getattr(result, split)
    }


def assert_error(format: str, root: Path, *parts: str) -> None:
    """Check that the reader raises a DataError whose message is one line that contains all of `parts`."""
    with pytest.raises(DataError) as error:
        FORMATS[format].component(root)
    assert_one_line(error, *parts)


def assert_one_line(error: pytest.ExceptionInfo[BaseException], *parts: object) -> None:
    """Check that the error's message is one line that contains all of `parts`."""
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert str(part) in text


def write_table(folder: Path, *rows: str) -> Path:
    """Write the rows to data.csv in a folder and return its path."""
    lines(folder / "data.csv", rows)
    return folder / "data.csv"


def check_records(
    data: FormatResult | DatasetIndex, label_map: LabelMap, samples: Sequence[Sample], has_splits: bool = True
) -> None:
    """Check that each sample is in the data once, in its split, with equal image and mask pixels."""
    remaining = {sample.image.tobytes(): sample for sample in samples}
    for split in SPLITS:
        for record in getattr(data, split):
            sample = remaining.pop(read_image(record.image).tobytes())
            assert split == (sample.split if has_splits else "train")
            mask = read_mask(record.mask, label_map, sample.mask.shape[:2])
            if label_map.kind == "multilabel":
                for index, channel in enumerate(mask):
                    assert np.array_equal(channel, sample.mask == index)
            else:
                assert np.array_equal(mask, sample.mask)
    assert not remaining
