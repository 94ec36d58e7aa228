"""Files of an evaluation: they agree with each other and with a computation by numpy, and replace nothing."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.errors import ConfigError, OutputExistsError
from pixelwise.runs.split_file import read_split, relative_name


@pytest.fixture
def run(tiny_run: pw.Run, tmp_path: Path) -> pw.Run:
    """Copy the finished run without its images."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.yaml", "data.yaml", "split.csv", "model.json", "model.safetensors"):
        shutil.copy(tiny_run.path / name, folder)
    return pw.Run.open(folder)


def test_json_csv_and_page_agree_with_numpy(run: pw.Run, pets: pw.DatasetIndex) -> None:
    result = pw.evaluate(run, out="auto")
    assert result.path is not None and result.csv_path is not None and result.page is not None
    stored = json.loads(result.path.read_text(encoding="utf-8"))
    with result.csv_path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [relative_name(record.image, pets.root) for record in pets.test]
    predictor = pw.Predictor.load(run.path)
    counts = np.zeros((3, 3), np.int64)
    for row, record in zip(rows, pets.test, strict=True):
        image, mask = read_image_and_mask(record, pets.read_spec)
        prediction = predictor(image).mask
        ious = []
        for index, name in enumerate(pets.classes):
            both = np.count_nonzero((mask == index) & (prediction == index))
            either = np.count_nonzero((mask == index) | (prediction == index))
            counts[index] += both, either, np.count_nonzero(mask == index)
            ious.append(both / either if either else None)
            assert (
                row[f"iou_{name}"] == ""
                if ious[-1] is None
                else float(row[f"iou_{name}"]) == pytest.approx(ious[-1], abs=0.02)
            )
        present = [iou for iou in ious if iou is not None]
        assert float(row["miou"]) == pytest.approx(np.mean(present), abs=0.02)
        assert int(row["pixels"]) == mask.size
        assert 0 <= float(row["label_quality"]) <= 1
    # A batch may round differently from a single image: one pixel in thousands.
    assert stored["miou"] == pytest.approx((counts[:, 0] / counts[:, 1]).mean(), abs=2e-3)
    low, high = stored["intervals"]["miou"]
    assert low < stored["miou"] < high
    assert stored["evaluated_on"] == "the test split of the data set" and stored["warning"] is None
    page = result.page.read_text(encoding="utf-8")
    assert f"mean IoU {100 * stored['miou']:.2f}%" in page and result.headline in page
    assert len(page) < 3_000_000
    lowest = min(rows, key=lambda row: float(row["label_quality"]))["file"]
    assert stored["lowest_label_quality"][0]["file"] == lowest


def test_images_that_were_trained_on_are_marked_everywhere(run: pw.Run) -> None:
    result = pw.evaluate(run, split="train", out="auto")
    trained = sum(row.part == "train" for row in read_split(run.path) or ())
    assert f"trained on {trained} of these 12 images" in result.warning
    assert result.path is not None and result.page is not None
    assert json.loads(result.path.read_text())["warning"] == result.warning
    assert 'class="loud"' in result.page.read_text()


@pytest.mark.parametrize("suffix", [".json", ".html", ".csv"])
def test_no_file_is_replaced(run: pw.Run, tmp_path: Path, suffix: str) -> None:
    existing = tmp_path / f"result{suffix}"
    existing.write_text("mine")
    with pytest.raises(OutputExistsError, match=rf"result\{suffix}: exists already; choose another `out`"):
        pw.evaluate(run, out=tmp_path / "result.json")
    assert existing.read_text() == "mine"


def test_files_of_a_killed_evaluation_are_replaced(run: pw.Run, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    first = pw.evaluate(run, out=out)
    assert first.page is not None
    complete = (tmp_path / "result.csv").read_text()
    out.unlink()  # it is written last
    (tmp_path / "result.csv").write_text(complete[: len(complete) // 2])
    assert pw.evaluate(run, out=out).path == out
    assert (tmp_path / "result.csv").read_text() == complete


@pytest.mark.parametrize("name", ["result.html", "result.csv"])
def test_out_is_the_json_file(run: pw.Run, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"choose an `out` that ends with \.json"):
        pw.evaluate(run, out=tmp_path / name)


def test_out_without_the_ending_of_json_is_a_directory(run: pw.Run, tmp_path: Path) -> None:
    results = [pw.evaluate(run, out=tmp_path / "new" / "results-v1.2") for _ in range(2)]
    assert [result.path for result in results] == [
        tmp_path / "new" / "results-v1.2" / name for name in ("evaluation-test.json", "evaluation-test-2.json")
    ]
    assert all(
        result.page and result.page.exists() and result.csv_path and result.csv_path.exists() for result in results
    )
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"file: is a file; choose an `out` that ends with \.json"):
        pw.evaluate(run, out=tmp_path / "file")


def test_the_number_of_a_free_name_is_that_of_all_files(run: pw.Run) -> None:
    (run.path / "evaluation-test-2.html").write_text("mine")
    paths = [pw.evaluate(run, out="auto").path for _ in range(2)]
    assert [path.name for path in paths if path] == ["evaluation-test.json", "evaluation-test-3.json"]
    assert (run.path / "evaluation-test-2.html").read_text() == "mine"


def test_temporary_files_of_killed_evaluations_are_removed(run: pw.Run, tmp_path: Path) -> None:
    left = tmp_path / "results" / ".pixelwise-0123456789ab"
    left.mkdir(parents=True)
    pw.evaluate(run, out=tmp_path / "results" / "result.json")
    assert not left.exists()
