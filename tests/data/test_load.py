"""`load_dataset`: faults that concern the whole data set."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import assert_one_line
from tests.data.formats.writers.folders import save


@pytest.mark.parametrize("content", [b"\x00\x00\x00\x18ftypheic" + bytes(12), b"no image", b""])
@pytest.mark.parametrize("skip_unreadable", [False, True])
def test_a_data_set_without_any_readable_image_raises(content: bytes, skip_unreadable: bool, tmp_path: Path) -> None:
    for index in range(5):
        save(tmp_path / "masks" / f"{index}.png", np.eye(8, dtype=np.uint8))
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{index}.heic").write_bytes(content)
    with pytest.raises(DataError) as error:
        load_dataset(tmp_path, skip_unreadable=skip_unreadable)
    assert_one_line(error, tmp_path / "images" / "0.heic", "(and other images too, of 5)")
    (tmp_path / "images" / "4.heic").unlink()
    save(tmp_path / "images" / "4.png", np.zeros((8, 8, 3), np.uint8))
    assert len(load_dataset(tmp_path).train) == 5, "single faults are found when the images are read"


def test_a_table_of_which_no_row_can_be_used_names_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("image,mask\n1.png,1_mask.png\n2.png,2_mask.png\n")
    with pytest.raises(DataError, match=r"1\.png.*; no other image can be used"):
        load_dataset(tmp_path / "table.csv", skip_unreadable=True)


def test_mask_values_can_be_numbers(tmp_path: Path) -> None:
    for index in range(5):
        mask = np.full((8, 8), 7, np.uint8)
        mask[:2], mask[2:4] = 0, 255
        save(tmp_path / "masks" / f"{index}.png", mask)
        save(tmp_path / "images" / f"{index}.png", np.zeros((8, 8, 3), np.uint8))
    data = load_dataset(tmp_path, ignore_values=[255], label_map={0: "floor", 7: "leaf"})
    assert data.classes == load_dataset(tmp_path, ignore_values=["255"], label_map={"0": "floor", "7": "leaf"}).classes
    assert data.classes == ("floor", "leaf")
