"""Masks that are drawn on the stored pixels of images with an EXIF orientation."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

import pixelwise as pw
from pixelwise.data.io.exif import exif_orientation, find_mask_orientation, rotate_as_stored, rotate_upright
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import LabelMap, MultilabelMask, ReadSpec, Record
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import DataError

MASK = np.array([[0, 1, 1, 0, 2, 2], [0, 0, 1, 0, 0, 2], [2, 0, 0, 0, 0, 1], [1, 1, 0, 2, 0, 0]], np.uint8)


def save_image(path: Path, orientation: int, size: tuple[int, int] = (6, 4)) -> Path:
    """Save a JPEG of this (width, height) in stored pixels."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def save_mask(path: Path, mask: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask).save(path)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_rotate_as_images_do(orientation: int) -> None:
    image = Image.fromarray(MASK)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(rotate_upright(MASK, orientation), expected)
    channels = rotate_upright(np.stack([MASK, MASK + 1]), orientation)
    np.testing.assert_array_equal(channels, [expected, expected + 1])
    np.testing.assert_array_equal(rotate_as_stored(expected, orientation), MASK)
    np.testing.assert_array_equal(rotate_as_stored(channels, orientation), [MASK, MASK + 1])


def test_the_orientation_of_a_local_file_is_read_from_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_image(tmp_path / "a.jpg", 6, (300, 200))
    os.truncate(path, 1000)  # without most of its pixels
    os.mkfifo(tmp_path / "pipe.jpg")

    def fail(*_: object) -> bytes:
        raise AssertionError("the file is read as a whole")

    monkeypatch.setattr("pixelwise.data.io.exif.read_content", fail)
    assert [exif_orientation(tmp_path / name) for name in ("a.jpg", "pipe.jpg", "gone.jpg")] == [6, 1, 1]


def test_a_mask_of_the_stored_size_is_rotated_with_its_image(tmp_path: Path) -> None:
    record = Record(save_image(tmp_path / "a.jpg", 6), save_mask(tmp_path / "a.png", MASK))
    label_map = LabelMap("index", {0: 0, 1: 1, 2: 2})
    image, mask = read_image_and_mask(record, ReadSpec(label_map))
    assert image.shape == (6, 4, 3)
    np.testing.assert_array_equal(mask, rotate_upright(MASK, 6))
    # An upright mask stays as it is, also if others are as stored.
    save_mask(tmp_path / "a.png", rotate_upright(MASK, 6))
    for as_stored in (False, True):
        mask = read_image_and_mask(record, ReadSpec(label_map, masks_as_stored=as_stored))[1]
        np.testing.assert_array_equal(mask, rotate_upright(MASK, 6))


def test_a_mask_of_exchanged_sides_is_an_error_without_an_orientation(tmp_path: Path) -> None:
    record = Record(save_image(tmp_path / "a.jpg", 1), save_mask(tmp_path / "a.png", MASK.T))
    with pytest.raises(DataError, match=r"image is 6x4 but its mask .* is 4x6"):
        read_image_and_mask(record, ReadSpec(LabelMap("index", {0: 0, 1: 1, 2: 2})))


def test_the_masks_of_all_classes_are_rotated(tmp_path: Path) -> None:
    mask = MultilabelMask((save_mask(tmp_path / "a.png", MASK % 2), None))
    record = Record(save_image(tmp_path / "a.jpg", 8), mask)
    read = read_image_and_mask(record, ReadSpec(LabelMap("multilabel", {0: 0, 1: 1})))[1]
    np.testing.assert_array_equal(read, [rotate_upright(MASK % 2, 8), np.zeros((6, 4))])


def test_files_without_an_orientation_are_upright(tmp_path: Path) -> None:
    save_mask(tmp_path / "a.png", MASK)
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8Exif, but damaged")
    for name in ("a.png", "b.jpg", "missing.jpg"):
        assert exif_orientation(tmp_path / name) == 1
        assert find_mask_orientation(tmp_path / name, (4, 6)) is None


def data_set(root: Path, *pairs: tuple[int, tuple[int, int], bool]) -> Path:
    """Write images (EXIF orientation, stored width and height, whether the mask is as stored) and their masks."""
    for number, (orientation, (width, height), as_stored) in enumerate(pairs):
        save_image(root / "images" / f"{number}.jpg", orientation, (width, height))
        mask = np.random.default_rng(number).integers(0, 3, (height, width), dtype=np.uint8)
        save_mask(root / "masks" / f"{number}.png", mask if as_stored else rotate_upright(mask, orientation))
    return root


def expected_mask(number: int, orientation: int, width: int, height: int) -> np.ndarray:
    mask = np.random.default_rng(number).integers(0, 3, (height, width), dtype=np.uint8)
    return rotate_upright(mask, orientation)


STORED = [(6, (60, 40), True), (8, (60, 40), True), (3, (60, 40), True), (6, (50, 50), True), (1, (60, 40), True)]


def test_all_masks_follow_those_whose_size_shows_the_orientation(tmp_path: Path) -> None:
    data = pw.load_dataset(data_set(tmp_path, *STORED))
    assert data.read_spec.masks_as_stored
    assert any(line.startswith("4 masks are rotated by the EXIF orientation") for line in data.messages)
    again = DatasetSpec.of(data).load(tmp_path)
    assert again.read_spec == data.read_spec
    for number, (orientation, (width, height), _) in enumerate(STORED):
        for index in (data, again):
            mask = index.read(index.train[number])[1]
            np.testing.assert_array_equal(mask, expected_mask(number, orientation, width, height))
    report = pw.inspect(tmp_path)
    assert report.data.read_spec.masks_as_stored and not [issue for issue in report.issues if "size" in issue.kind]


def test_masks_of_images_in_other_formats_are_rotated_too(tmp_path: Path) -> None:
    root = data_set(tmp_path, (6, (60, 40), True), (1, (60, 40), True))
    with Image.open(root / "images" / "0.jpg") as image:
        image.save(root / "images" / "0.png", exif=image.getexif())
    (root / "images" / "0.jpg").unlink()
    report = pw.inspect(root)
    assert not [issue for issue in report.issues if issue.severity == "error"]
    (record,) = [record for record in report.data.train if record.image.name == "0.png"]
    np.testing.assert_array_equal(report.data.read(record)[1], expected_mask(0, 6, 60, 40))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_polygons_on_the_stored_pixels_are_rotated(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "0.jpg", 6, (60, 40))
    save_image(tmp_path / "images" / "1.jpg", 1, (60, 40))
    expected = np.zeros((40, 60), np.uint8)
    expected[0:10, 0:20] = 1
    images = [{"id": number, "file_name": f"{number}.jpg", "width": 60, "height": 40} for number in (0, 1)]
    outline = {"category_id": 1, "iscrowd": 0, "segmentation": [[0, 0, 20, 0, 20, 10, 0, 10]]}
    items = [{"id": number, "image_id": number, **outline} for number in (0, 1)]
    content = {"images": images, "annotations": items, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    report = pw.inspect(tmp_path)
    assert not [issue for issue in report.issues if issue.severity == "error"]
    assert any(line.startswith("1 mask is rotated by the EXIF orientation") for line in report.data.messages)
    for data in (report.data, pw.load_dataset(tmp_path)):
        np.testing.assert_array_equal(data.read(data.train[0])[1], rotate_upright(expected, 6))
        np.testing.assert_array_equal(data.read(data.train[1])[1], expected)


def test_upright_masks_are_not_rotated(tmp_path: Path) -> None:
    upright = [(orientation, size, False) for orientation, size, _ in STORED]
    data = pw.load_dataset(data_set(tmp_path, *upright))
    assert not data.read_spec.masks_as_stored and not any("EXIF" in line for line in data.messages)
    for number, (orientation, (width, height), _) in enumerate(upright):
        np.testing.assert_array_equal(
            data.read(data.train[number])[1], expected_mask(number, orientation, width, height)
        )


def test_an_orientation_that_cannot_be_verified_is_a_warning(tmp_path: Path) -> None:
    root = data_set(tmp_path, (6, (50, 50), True), (3, (60, 40), True), (1, (60, 40), True))
    (warning,) = [line for line in pw.load_dataset(root).messages if "EXIF" in line]
    assert "rotates or mirrors 2 images" in warning and "cannot be verified" in warning
    (issue,) = [issue for issue in pw.inspect(root).issues if issue.kind == "orientation of masks"]
    assert issue.severity == "warning" and issue.file == str(root / "masks" / "0.png")
