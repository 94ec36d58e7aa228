"""Tests of predictions.csv and objects.csv: their rows, units, escaping, and files that are continued."""

import csv
from pathlib import Path

import numpy as np
import pytest

from pixelwise.errors import ConfigError, OutputExistsError
from pixelwise.inference.csv_file import CsvFile
from pixelwise.inference.pixel_size import PixelSize
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.tables import ClassRows, ObjectRows, image_cell, to_csv


@pytest.fixture
def prediction() -> Prediction:
    """Two cells of 4 and 2 pixels on 20 pixels, and no nucleus."""
    mask = np.zeros((4, 5), np.uint8)
    mask[:2, :2] = 1
    mask[3, 3:] = 1
    return Prediction(
        np.zeros((4, 5, 3), np.uint8),
        mask,
        ("background", "cell", "nucleus"),
        ((0, 0, 0), (1, 1, 1), (2, 2, 2)),
        background=(0,),
        class_confidences={"background": 0.91234567, "cell": 0.5, "nucleus": None},
    )


class TestRows:
    def test_rows_of_classes(self, prediction: Prediction) -> None:
        table = ClassRows()
        assert table.columns == ["class", "pixels", "fraction", "objects", "median_object_area", "mean_confidence"]
        assert table.rows(prediction) == [
            ["background", 14, 0.7, None, None, 0.9123],
            ["cell", 6, 0.3, 2, 3.0, 0.5],
            ["nucleus", 0, 0.0, 0, None, None],
        ]

    def test_rows_of_objects(self, prediction: Prediction) -> None:
        table = ObjectRows()
        assert table.columns[:4] == ["class", "label", "area", "bbox-0"]
        assert table.rows(prediction) == [
            ["cell", 1, 4, 0, 0, 2, 2, 0.5, 0.5],
            ["cell", 2, 2, 3, 3, 4, 5, 3.0, 3.5],
        ]
        assert [item.area for item in prediction.objects] == [4, 2]
        assert prediction.areas == {"background": 14, "cell": 6, "nucleus": 0}

    def test_pixel_size_adds_areas(self, prediction: Prediction) -> None:
        size = PixelSize.parse("0.5um")
        classes, objects = ClassRows(size), ObjectRows(size)
        assert classes.columns[-2:] == ["area_um2", "median_object_area_um2"]
        assert classes.rows(prediction)[1][-2:] == [1.5, 0.75]
        assert objects.columns[-1] == "area_um2" and objects.rows(prediction)[0][-1] == 1.0

    def test_dataframe_has_the_rows(self, prediction: Prediction) -> None:
        frame = prediction.to_dataframe(pixel_size="2 m")
        assert frame["area_m2"].tolist() == [56, 24, 0]
        assert prediction.to_dataframe("objects")["area"].tolist() == [4, 2]

    @pytest.mark.parametrize("text", ["", "0.65", "um", "0um", "-1um", "1..2um", "1 inch", "1e999um", "5 Um"])
    def test_pixel_size_without_a_length_is_rejected(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"is not a length; write the side of a pixel with its unit"):
            PixelSize.parse(text)

    @pytest.mark.parametrize("text", ["0.65um", " 0.65 \u00b5m", "0.65\u03bcm", "6.5e-1um"])
    def test_pixel_size_of_all_spellings(self, text: str) -> None:
        assert PixelSize.parse(text) == PixelSize(0.65, "um")


class TestEscaping:
    def test_names_that_are_formulas_are_escaped(self) -> None:
        text = to_csv(image_cell(Path("=1+1.png")), [["@SUM(A1)", -3], ["plain", None]])
        assert text == "./=1+1.png,'@SUM(A1),-3\n./=1+1.png,plain,\n"

    def test_separators_and_bytes_that_are_not_utf8_survive(self) -> None:
        image = image_cell('a,"b"\nc\udce9')
        (row,) = csv.reader(to_csv(image, [["x, y"]]).splitlines(keepends=True))
        assert row == ['a,"b"\nc\\udce9', "x, y"]


class TestCsvFile:
    def write(self, path: Path, images: str) -> CsvFile:
        file = CsvFile(path, ["class", "pixels"])
        for image in images:
            file.append(image, to_csv(image, [["cat", 1], ["dog, or\nwolf", 2]]), 2)
        file.close()
        return file

    def test_a_row_that_was_cut_off_is_dropped(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        whole = self.write(path, "abc")
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            file = CsvFile(path, ["class", "pixels"])
            file.load()
            complete = [image for image in "abc" if (block := file.blocks.get(image)) and block.rows == 2]
            assert complete == [image for image, block in zip("abc", whole.blocks, strict=True) if block.stop <= length]
            file.keep(complete)
            for image in "abc"[len(complete) :]:
                file.append(image, to_csv(image, [["cat", 1], ["dog, or\nwolf", 2]]), 2)
            file.close()
            assert path.read_bytes() == content

    def test_rows_are_sorted(self, tmp_path: Path) -> None:
        file = self.write(tmp_path / "t.csv", "cab")
        file.keep("abc")
        assert (tmp_path / "t.csv").read_bytes() == (self.write(tmp_path / "o.csv", "abc").path).read_bytes()

    def test_other_columns_are_an_error(self, tmp_path: Path) -> None:
        self.write(tmp_path / "t.csv", "a")
        with pytest.raises(OutputExistsError, match="has other columns; use the same `pixel_size`"):
            CsvFile(tmp_path / "t.csv", ["class"]).load()

    def test_a_file_without_rows_stays_until_new_rows_are_written(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "t.csv", "ab").path
        before = path.read_bytes()
        file = CsvFile(path, ["class", "pixels"])
        file.keep([])
        file.close()
        assert path.read_bytes() == before
        file.append("c", to_csv("c", [["cat", 1]]), 1)
        file.close()
        assert path.read_bytes() == b"image,class,pixels\nc,cat,1\n"
        file.keep([])
        file.remove_if_empty()
        assert not path.exists()

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text('image,class,pixels\n"' + "a" * 200_000 + "\n")
        (tmp_path / "folder.csv").mkdir()
        for name in ("t.csv", "folder.csv"):
            with pytest.raises(OutputExistsError, match=rf"{name}: cannot be read"):
                CsvFile(tmp_path / name, ["class", "pixels"]).load()
