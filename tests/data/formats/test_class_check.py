"""Well-known classes are used only if they fit the masks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.formats.cityscapes import _CLASSES as CITYSCAPES
from pixelwise.data.spec import DatasetSpec

OWN = np.zeros((24, 32), np.uint8)
OWN[2:10, 2:10], OWN[12:20, 2:10], OWN[2:10, 20:28] = 1, 2, 3


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_voc(root: Path, mask: np.ndarray, name: str = "00000{}") -> None:
    for number in range(6):
        stem = name.format(number)
        save(root / "JPEGImages" / f"{stem}.jpg", np.zeros((24, 32, 3), np.uint8))
        save(root / "SegmentationClass" / f"{stem}.png", np.roll(mask, number, 1))
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(name.format(number) for number in range(4)))
    (lists / "val.txt").write_text("\n".join(name.format(number) for number in (4, 5)))


def write_cityscapes(root: Path, mask: np.ndarray) -> None:
    for number, split in enumerate(("train", "train", "train", "train", "val", "val")):
        stem = f"{split}/site/site_{number:06}_000019"
        save(root / "leftImg8bit" / f"{stem}_leftImg8bit.png", np.zeros((24, 32, 3), np.uint8))
        save(root / "gtFine" / f"{stem}_gtFine_labelIds.png", np.roll(mask, number, 1))
        save(root / "gtFine" / f"{stem}_gtFine_color.png", np.zeros((24, 32, 3), np.uint8))


def write_ade20k(root: Path, mask: np.ndarray) -> None:
    for number, split in enumerate(("training", "training", "training", "training", "validation", "validation")):
        save(root / "images" / split / f"ADE_{number}.jpg", np.zeros((24, 32, 3), np.uint8))
        save(root / "annotations" / split / f"ADE_{number}.png", np.roll(mask, number, 1))


def write_camvid(root: Path, mask: np.ndarray) -> None:
    for number, split in enumerate(("train", "train", "train", "train", "val", "val")):
        save(root / split / f"0001TP_{number}.png", np.zeros((24, 32, 3), np.uint8))
        save(root / f"{split}annot" / f"0001TP_{number}.png", np.roll(mask, number, 1))


def write_oxford_pets(root: Path, mask: np.ndarray) -> None:
    names = [f"cat_{number}" for number in range(6)]
    for number, name in enumerate(names):
        save(root / "images" / f"{name}.jpg", np.zeros((24, 32, 3), np.uint8))
        save(root / "annotations" / "trimaps" / f"{name}.png", np.roll(mask, number, 1))
    (root / "annotations" / "trainval.txt").write_text("\n".join(names[:4]))
    (root / "annotations" / "test.txt").write_text("\n".join(names[4:]))


def write_carvana(root: Path, mask: np.ndarray) -> None:
    for number in range(6):
        name = f"00087a6bd4dc_{number:02}"
        save(root / "train" / f"{name}.jpg", np.zeros((24, 32, 3), np.uint8))
        (root / "train_masks").mkdir(exist_ok=True)
        Image.fromarray(np.roll(mask, number, 1)).save(root / "train_masks" / f"{name}_mask.gif")


Writer = Callable[[Path, np.ndarray], None]

CASES: dict[str, tuple[Writer, np.ndarray, np.ndarray, int]] = {
    "voc": (write_voc, OWN, np.where(OWN == 2, 255, OWN).astype(np.uint8), 21),
    "cityscapes": (write_cityscapes, OWN, np.array([7, 11, 21, 3], np.uint8)[OWN], 19),
    "ade20k": (write_ade20k, OWN, OWN + 1, 150),
    "camvid": (write_camvid, OWN * 5, OWN, 11),
    "oxford-pets": (write_oxford_pets, OWN, OWN % 3 + 1, 3),
    "carvana": (write_carvana, OWN, (OWN > 0).astype(np.uint8), 2),
}
"""Format → its writer, a mask of other data, a mask of its own data, and its number of classes."""


@pytest.mark.parametrize("format", CASES)
def test_masks_of_other_data_define_the_classes(format: str, tmp_path: Path) -> None:
    write, other, _, _ = CASES[format]
    write(tmp_path, other)
    data = pw.load_dataset(tmp_path)
    assert data.classes[0] == "background" and len(data.classes) == 4
    (message,) = [line for line in data.messages if "but the masks are not" in line]
    assert f"set `format` {format}" in message
    assert len(data.train) + len(data.val) + len(data.test) == 6
    # More data is read in the same way.
    again = DatasetSpec.of(data).load(tmp_path)
    assert (again.classes, again.read_spec, again.train) == (data.classes, data.read_spec, data.train)
    report = pw.inspect(tmp_path)
    assert report.data.classes == data.classes
    assert [issue.severity for issue in report.issues if issue.kind == "other classes"] == ["warning"]


@pytest.mark.parametrize("format", CASES)
def test_masks_of_the_data_set_have_its_classes(format: str, tmp_path: Path) -> None:
    write, _, own, count = CASES[format]
    write(tmp_path, own)
    data = pw.load_dataset(tmp_path)
    assert (data.format, len(data.classes)) == (format, count)
    assert not any("but the masks are not" in line for line in data.messages)


@pytest.mark.parametrize("format", ["voc", "cityscapes"])
def test_the_advice_to_set_the_format_works(format: str, tmp_path: Path) -> None:
    write, other, _, count = CASES[format]
    write(tmp_path, other)
    assert len(pw.load_dataset(tmp_path, format=format).classes) == count


def test_a_class_list_names_the_classes_of_other_data(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, OWN)
    (tmp_path / "classes.txt").write_text("field\nroad\nhouse\ntree\n")
    assert pw.load_dataset(tmp_path).classes == ("field", "road", "house", "tree")


def test_one_mask_with_a_fault_does_not_change_the_classes(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, np.array([7, 11, 21, 3], np.uint8)[OWN])
    path = tmp_path / "gtFine" / "train" / "site" / "site_000001_000019_gtFine_labelIds.png"
    save(path, np.full((24, 32), 99, np.uint8))
    data = pw.load_dataset(tmp_path)
    assert data.classes == tuple(name for name, _, _ in CITYSCAPES)
    with pytest.raises(pw.PixelwiseError, match="mask value 99 is outside the classes"):
        data.read(data.train[1])


def test_own_classes_as_train_ids_have_no_ignored_pixels(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, OWN)
    for path in tmp_path.rglob("*_labelIds.png"):
        path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    assert pw.load_dataset(tmp_path).classes == ("background", "class 1", "class 2", "class 3")


def test_many_classes_need_no_border(tmp_path: Path) -> None:
    """Masks of other authors for Pascal VOC's images have no border."""
    mask = (np.arange(24 * 32) // 64).astype(np.uint8).reshape(24, 32)
    write_voc(tmp_path, mask, "2007_00000{}")
    assert len(pw.load_dataset(tmp_path).classes) == 21


def test_colors_are_other_classes(tmp_path: Path) -> None:
    colors = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    write_camvid(tmp_path, OWN)
    for path in tmp_path.rglob("*annot/*.png"):
        with Image.open(path) as image:
            pixels = np.asarray(image)
        save(path, colors[pixels])
    data = pw.load_dataset(tmp_path)
    assert data.classes == ("background", "#0000ff", "#00ff00", "#ff0000")
    assert any("they have colors" in line for line in data.messages)
