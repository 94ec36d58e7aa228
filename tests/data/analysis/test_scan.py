"""The pass over all files: threads and worker processes give the same statistics, and faults name their file."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.analysis import scan as scan_module
from pixelwise.data.analysis.image_stats import ImageStatsTable
from pixelwise.data.analysis.mask_stats import MaskStatsTable
from pixelwise.data.analysis.scan import RecordStats, scan, scan_record
from pixelwise.data.schema import Annotation, PolygonMask, Record
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX
from tests.data.analysis.helpers import noise, save_pair, write_records


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """70 records, of which 3 has an unreadable image and 50 an unreadable mask."""
    records = write_records(tmp_path, 70)
    (tmp_path / "images/p003.png").write_bytes(b"no image")
    (tmp_path / "masks/p050.png").write_bytes(b"")
    return records


def comparable(stats: RecordStats) -> object:
    """Return all statistics of a record as a value that == compares."""
    image = None if stats.image is None else vars(stats.image)
    if stats.mask is None:
        return image, stats.issues
    regions = [
        (channel, each.values.tolist(), each.colors.tolist(), each.pixels.tolist(), each.objects.tolist(),
         each.mean_widths.tolist(), [sizes.tolist() for sizes in each.object_sizes])
        for channel, each in stats.mask.regions
    ]  # fmt: skip
    return image, stats.mask.stats, regions, stats.mask.opacity, stats.mask.digest, stats.issues


def test_processes_give_the_same_statistics_as_threads(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads = list(scan(records, workers=0))
    monkeypatch.setattr(scan_module, "MIN_RECORDS_FOR_PROCESSES", 10)
    in_processes = list(scan(records, workers=2))
    assert [record for record, _ in in_processes] == [record for record, _ in in_threads] == records
    assert [comparable(stats) for _, stats in in_processes] == [comparable(stats) for _, stats in in_threads]
    assert [index for index, (_, stats) in enumerate(in_processes) if stats.issues] == [3, 50]


def test_the_error_of_a_worker_that_died_names_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = write_records(tmp_path, 70)
    monkeypatch.setattr(scan_module, "MIN_RECORDS_FOR_PROCESSES", 10)
    (tmp_path / "dies.py").write_text(
        "import os\nfrom pixelwise.data.analysis.scan import scan_record\n"
        "def scan_batch(records, scale):\n"
        "    if any(record.image.name == 'p040.png' for record in records):\n"
        f"        os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        "    return [scan_record(record, scale) for record in records]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import dies  # type: ignore[import-not-found]

    monkeypatch.setattr(scan_module, "scan_batch", dies.scan_batch)
    scanned: list[object] = []
    with pytest.raises(DataError) as error:
        scanned.extend(scan(records, workers=2))
    text = str(error.value)
    assert len(scanned) == 32 and "p032.png" in text and "p063.png" in text and "SIGKILL" in text
    assert "\n" not in text
    monkeypatch.delitem(sys.modules, "dies")


def test_an_image_takes_less_than_a_kilobyte(tmp_path: Path) -> None:
    stats = [scan_record(record) for record in write_records(tmp_path, 20)]
    tracemalloc = pytest.importorskip("tracemalloc")
    tracemalloc.start()
    try:
        images, masks = ImageStatsTable(), MaskStatsTable()
        count = 5000
        before = tracemalloc.get_traced_memory()[0]
        for index in range(count):
            each = stats[index % 20]
            assert each.mask is not None
            images.add(each)
            masks.add(index, each.mask)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(images) == count
    assert used / count < 1000


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_polygons_are_rasterized_and_counted(tmp_path: Path) -> None:
    save_pair(tmp_path, "a", noise(0), None)
    square = np.array([[2.0, 3.0], [12.0, 3.0], [12.0, 8.0], [2.0, 8.0]])
    polygons = PolygonMask((Annotation(1, (square,)), Annotation(IGNORE_INDEX, (square + 10,))), "a.json")
    ((_, stats),) = scan([Record(tmp_path / "images" / "a.png", polygons)])
    assert stats.mask is not None and not stats.issues
    expected = {0: 600 - 50 - 50, 1: 50, 255: 50}
    assert dict(stats.mask.stats.values) == expected
    table = MaskStatsTable()
    table.add(0, stats.mask)
    assert dict(zip(table.value, table.pixels, strict=True)) == expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipes_do_not_hang(tmp_path: Path) -> None:
    records = write_records(tmp_path, 3)
    for file in ("images/p000.png", "masks/p001.png"):
        (tmp_path / file).unlink()
        os.mkfifo(tmp_path / file)
    issues = [[issue.file for issue in stats.issues] for _, stats in scan(records)]
    assert issues == [[str(tmp_path / "images/p000.png")], [str(tmp_path / "masks/p001.png")], []]
