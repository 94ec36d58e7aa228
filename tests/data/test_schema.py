"""The index of a data set."""

import pytest

import pixelwise as pw
from pixelwise.data.schema import DataIssue
from pixelwise.errors import DataError


def test_a_missing_split_is_an_error_that_lists_the_others(pets: pw.DatasetIndex) -> None:
    assert pets.records("train") == pets.train and pets.records("test") == pets.test
    with pytest.raises(DataError, match=rf"{pets.root}: no 'val' split; splits with images: train, test"):
        pets.records("val")
    with pytest.raises(DataError, match="no 'root' split"):
        pets.records("root")  # type: ignore[arg-type]


def test_an_issue_is_an_error_unless_it_is_a_warning() -> None:
    issue = DataIssue("missing mask", "cat.jpg", "has no mask")
    assert issue.severity == "error" and str(issue) == "cat.jpg: has no mask"
