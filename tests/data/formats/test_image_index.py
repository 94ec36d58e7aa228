"""Lookup of images by the names in annotation files."""

from pathlib import Path

import pytest

from pixelwise.data.formats._image_index import ImageIndex
from pixelwise.errors import DataError

LISTING = {"": ["a.PNG"], "train": ["a.png", "B.jpg", "caf\u00e9.png"], "val": ["b.jpg", "c.png"]}


@pytest.fixture
def images() -> ImageIndex:
    return ImageIndex(Path("root"), LISTING)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "train/a.png"),  # the exact name comes first
        ("a.PNG", "a.PNG"),
        ("C.Png", "val/c.png"),
        ("D:\\data\\VAL\\C.PNG", "val/c.png"),
        ("cafe\u0301.png", "train/caf\u00e9.png"),
        ("c.jpg", "None"),
        ("", "None"),
    ],
)
def test_names_may_differ_in_case_and_in_the_form_of_accents(name: str, expected: str, images: ImageIndex) -> None:
    assert str(images.find(name)) == expected


def test_two_images_that_differ_only_in_case_are_ambiguous_for_a_third_form(images: ImageIndex) -> None:
    with pytest.raises(DataError, match=r"x\.json: A\.Png matches a\.PNG and train/a\.png"):
        images.find("A.Png", "val", source="x.json")
    assert str(images.find("B.JPG", split="val")) == "val/b.jpg"


def test_an_image_is_found_by_stem_in_the_folder_of_the_file_or_if_it_is_the_only_one(images: ImageIndex) -> None:
    assert str(images.find_stem("A", "train")) == "train/a.png"
    assert str(images.find_stem("c", "labels")) == "val/c.png"
    assert images.find_stem("b", "labels") is None  # there are two
    assert str(images.find_stem("b", "labels", "train")) == "train/B.jpg"
