"""Tables and data sets of Hugging Face are read back as written."""

import multiprocessing
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pixelwise.data.formats.registry import detect_format
from pixelwise.data.io.image import read_image
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import FormatResult, LabelMap
from tests.data.formats.support import CLASSES, check_records, read_as
from tests.data.formats.writers.folders import Sample
from tests.data.formats.writers.tables import NO_SPLITS, WRITERS

pytestmark = [
    pytest.mark.usefixtures("quiet_datasets"),
    # Python 3.12 warns about a fork in a process with threads, which torch and pyarrow start.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def label_map_for(result: FormatResult, classes: Sequence[str]) -> LabelMap:
    """Return the label map of the writers, which no format states in full."""
    if result.label_map is not None:
        assert (result.label_map, result.classes) == (LabelMap("multilabel"), tuple(classes))
        return LabelMap("multilabel", {0: 0, 255: 1})
    return LabelMap("index", {index: index for index in (*range(len(classes)), 255)})


@pytest.mark.parametrize("writer", WRITERS)
def test_written_data_is_read_back(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = read_as(format, tmp_path)
    assert result.issues == ()
    assert tuple(result.class_names or result.classes) == CLASSES
    check_records(result, label_map_for(result, CLASSES), samples, writer not in NO_SPLITS)
    data = load_dataset(tmp_path)
    assert (data.format, data.classes) == (format, CLASSES)
    check_records(data, data.read_spec.label_map, samples, writer not in NO_SPLITS)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("writer", WRITERS)
def test_unrelated_files_change_nothing(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        for name in (".DS_Store", "._1.png", ".x.csv", "notes.md", "README", "1.xml", ".cache.parquet"):
            (folder / name).write_bytes(b"x")
    (tmp_path / "log.csv").write_text("epoch,loss\n1,0.5\n")
    (tmp_path / "sizes.tsv").write_bytes(b"\xff\xfe\x00 no text, image, label")
    (tmp_path / "breeds.csv").write_text("image,label\n1.png,cat\n2.png,dog\n")
    assert detect_format(tmp_path)[0] == format
    result = read_as(format, tmp_path)
    check_records(result, label_map_for(result, CLASSES), samples, writer not in NO_SPLITS)


@pytest.mark.parametrize("writer", WRITERS)
def test_records_can_be_sent_to_other_processes(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, samples, CLASSES)
    result = read_as(format, tmp_path)
    expected = [read_image(record.image).tobytes() for record in result.records]
    sent = pickle.dumps(result.records)
    assert len(sent) < 1000 * len(samples), "no image is in a record"
    images = [record.image for record in pickle.loads(sent)]
    assert [read_image(image).tobytes() for image in images] == expected
    with ThreadPoolExecutor(8) as pool:
        assert [image.tobytes() for image in pool.map(read_image, images * 5)] == expected * 5
    if "fork" in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context("fork").Pool(2) as workers:
            assert [image.tobytes() for image in workers.map(read_image, images)] == expected


@pytest.mark.parametrize("writer", WRITERS)
def test_real_images_are_read_back(writer: str, real_samples: tuple[list[Sample], list[str]], tmp_path: Path) -> None:
    samples, classes = real_samples
    format, write = WRITERS[writer]
    write(tmp_path, samples, classes)
    name, result = detect_format(tmp_path)
    assert name == format and result.issues == ()
    check_records(result, label_map_for(result, classes), samples, writer not in NO_SPLITS)
