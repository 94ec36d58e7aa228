"""The survey of a folder that cannot be read as a data set."""

from pathlib import Path

import pytest

from pixelwise.data.analysis import file_survey
from pixelwise.data.analysis.file_survey import survey_files
from pixelwise.data.analysis.inspection import inspect
from pixelwise.errors import DataError
from pixelwise.runtime.progress import no_progress
from tests.data.analysis.helpers import background, noise, save_pair


def test_folders_and_images_are_listed(tmp_path: Path) -> None:
    for number in range(5):
        save_pair(tmp_path, f"p{number}", noise(number), background())
    (tmp_path / "images/p4.png").write_bytes(b"damaged")
    survey = survey_files(tmp_path, no_progress)
    assert survey is not None
    images, masks = survey.folders
    assert (images.folder, images.suffixes, images.role) == ("images", {"png": 5}, "images")
    assert [path.name for path in masks.examples] == ["p0.png", "p1.png", "p2.png", "p3.png"]
    assert survey.images.modes == {"RGB": 4}, "masks are not images"
    assert [issue.kind for issue in survey.images.issues] == ["unreadable image"]


def test_large_folders_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_survey, "MAX_SCANNED_IMAGES", 3)
    for number in range(8):
        save_pair(tmp_path, f"p{number}", noise(number), None)
    survey = survey_files(tmp_path, no_progress)
    assert survey is not None and sum(survey.images.modes.values()) == 3
    assert survey.messages == ("scanned: 3 of 8 images",)


def test_a_folder_without_readable_images_has_no_survey(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"damaged")
    assert survey_files(tmp_path, no_progress) is None
    assert survey_files(tmp_path / "missing", no_progress) is None
    with pytest.raises(DataError, match="does not match any format"):
        inspect(tmp_path, skip_unreadable=True)


def test_images_without_masks_give_a_report_only_if_files_may_be_unusable(tmp_path: Path) -> None:
    for number in range(3):
        save_pair(tmp_path, f"p{number}", noise(number), None)
    with pytest.raises(DataError, match="does not match any format"):
        inspect(tmp_path)
    report = inspect(tmp_path, skip_unreadable=True)
    assert (report.image_count, report.mask_count, report.classes) == (3, 0, ())
    assert not report.is_decided and "does not match any format" in report.obstacle
    assert [folder.folder for folder in report.folders] == ["images"]
    with pytest.raises(DataError, match="does not match any format"):
        report.data.records("train")
