"""Faults that only the whole data set shows: nothing to learn, partly labeled images, splits without images."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.analysis.inspection import DatasetReport, inspect
from pixelwise.errors import DataError
from pixelwise.planning.rules import make_plan
from tests.data.analysis.helpers import background, noise, save_pair, scene


def kinds(report: DatasetReport) -> list[str]:
    return [issue.kind for issue in report.issues]


def write_masks(folder: Path, masks: list[np.ndarray], split: str = "train") -> None:
    for number, mask in enumerate(masks):
        save_pair(folder, f"{split}/{split}{number}", noise(hash_of(split) + number, mask.shape), mask)


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def half(value: int) -> np.ndarray:
    mask = background()
    mask[:10] = value
    return mask


class TestObstacle:
    def test_training_masks_with_one_class_are_a_problem(self, tmp_path: Path) -> None:
        write_masks(tmp_path, [background() + np.uint8(1)] * 4)
        write_masks(tmp_path, [half(1)], "val")
        report = inspect(tmp_path)
        assert "only the class 'foreground'" in report.obstacle
        (issue,) = [issue for issue in report.issues if issue.kind == "nothing to learn"]
        assert (issue.severity, issue.file) == ("error", str(tmp_path))
        with pytest.raises(DataError, match="only the class 'foreground'"):
            make_plan(report, timed=False)

    def test_masks_that_are_all_ignored_are_a_problem(self, tmp_path: Path) -> None:
        write_masks(tmp_path, [background() + np.uint8(255)] * 3)
        write_masks(tmp_path, [half(1), half(2)], "val")
        report = inspect(tmp_path, label_map={"0": "a", "1": "b", "2": "c", "255": "ignore"})
        assert "no pixel of any class" in report.obstacle and "nothing to learn" in kinds(report)

    @pytest.mark.parametrize("split", ["val", "test"])
    def test_a_data_set_without_training_images_is_reported(self, split: str, tmp_path: Path) -> None:
        write_masks(tmp_path, [half(1), half(1)], split)
        report = inspect(tmp_path)
        assert report.obstacle == f"{tmp_path}: no 'train' split; splits with images: {split}"
        assert report.is_decided and report.issues == () and report.image_count == 2
        assert report.classes[1].pixels == 600

    def test_damaged_training_images_leave_the_others(self, tmp_path: Path) -> None:
        write_masks(tmp_path, [half(1)] * 3)
        write_masks(tmp_path, [half(1)] * 2, "test")
        for path in (tmp_path / "train/images").iterdir():
            path.write_bytes(b"damaged")
        report = inspect(tmp_path, skip_unreadable=True)
        assert "no image of the train split can be used" in report.obstacle
        assert len(report.data.test) == 2 and kinds(report) == ["unreadable image"] * 3


class TestRareClasses:
    @pytest.fixture
    def listed(self, tmp_path: Path) -> Path:
        """12 images, one of which has 150 pixels of the class "dog"."""
        masks = [half(1) for _ in range(12)]
        masks[3][:5] = 2
        write_masks(tmp_path, masks)
        (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
        return tmp_path

    def test_a_listed_class_in_one_image_of_many_is_a_warning(self, listed: Path) -> None:
        (issue,) = inspect(listed).issues
        assert (issue.kind, issue.severity, issue.file) == ("rare class", "warning", str(listed))
        assert issue.message.startswith("class 'dog' has 2.0833% of the pixels, in 1 of 12 images")

    def test_the_advice_settles_it(self, listed: Path) -> None:
        (issue,) = inspect(listed).issues
        assert issue.message.endswith("set `ignore_values` 2")
        report = inspect(listed, ignore_values=["2"])
        assert report.issues == () and report.ignored_fraction == pytest.approx(150 / 7200)

    def test_a_class_in_several_images_is_none(self, listed: Path) -> None:
        mask = half(1)
        mask[:5] = 2
        save_pair(listed, "train/train7", None, mask)
        assert inspect(listed).issues == ()


class TestPartialLabels:
    @staticmethod
    def patch(touching: bool, seed: int) -> np.ndarray:
        """Return a mask, mostly 0, with patches of classes 1 and 2 that touch or do not touch."""
        mask = background((40, 60))
        top = 2 + seed
        mask[top : top + 12, 5:11] = 1
        left = 11 if touching else 25
        mask[top : top + 12, left : left + 6] = 2
        return mask

    def test_classes_that_touch_in_part_are_a_warning(self, tmp_path: Path) -> None:
        write_masks(tmp_path, [self.patch(True, number) for number in range(6)])
        (issue,) = inspect(tmp_path).issues
        assert (issue.kind, issue.severity, issue.file) == ("partly labeled", "warning", str(tmp_path))
        assert "set `unlabeled` to ignore" in issue.message

    def test_objects_on_a_background_are_none(self, tmp_path: Path) -> None:
        write_masks(tmp_path, [self.patch(False, number) for number in range(6)])
        assert inspect(tmp_path).issues == ()

    def test_objects_that_cover_each_other_are_none(self, tmp_path: Path) -> None:
        masks = [self.patch(False, number) for number in range(6)]
        for mask in masks:
            mask[10:20, 8:14] = 2  # covers a corner of the object of class 1
        write_masks(tmp_path, masks)
        assert inspect(tmp_path).issues == ()

    def test_the_advice_settles_it(self, tmp_path: Path) -> None:
        write_masks(tmp_path, [self.patch(True, number) for number in range(6)])
        report = inspect(tmp_path, unlabeled="ignore")
        assert report.issues == () and report.ignored_fraction > 0.5
        assert report.data.classes == ("class 1", "class 2")

    def test_images_that_are_mostly_labeled_are_none(self, tmp_path: Path) -> None:
        masks = [
            np.kron(self.patch(True, number)[2 + number : 14 + number, 4:18], np.ones((2, 2), np.uint8))
            for number in range(6)
        ]
        write_masks(tmp_path, masks)
        assert inspect(tmp_path).issues == ()


class TestDuplicates:
    @pytest.fixture
    def split(self, tmp_path: Path) -> Path:
        for number in range(6):
            mask = half(1)
            mask[12, number] = 1
            save_pair(tmp_path, f"{'train' if number < 4 else 'val'}/p{number}", scene(number, (20, 30)), mask)
        return tmp_path

    def test_an_image_that_was_made_darker_is_a_near_duplicate(self, split: Path) -> None:
        assert inspect(split).issues == ()
        darker = (scene(2, (20, 30)) * 0.8).astype(np.uint8)
        save_pair(split, "val/p5", darker, None)
        (issue,) = inspect(split).issues
        assert (issue.kind, issue.severity) == ("near-duplicate", "warning")
        assert issue.file.endswith("p5.png") and "train/images/p2.png" in issue.message.replace("\\", "/")

    def test_near_duplicates_in_one_split_are_not_reported(self, split: Path) -> None:
        save_pair(split, "train/p3", (scene(2, (20, 30)) * 0.8).astype(np.uint8), None)
        assert inspect(split).issues == ()

    def test_frames_of_a_video_in_two_splits_are_warnings(self, tmp_path: Path) -> None:
        start, end = scene(0, (20, 30)).astype(float), scene(1, (20, 30)).astype(float)
        for number in range(30):
            frame = (start + (end - start) * number / 30).astype(np.uint8)
            mask = half(1)
            mask[12, number] = 1
            save_pair(tmp_path, f"{'val' if number % 3 == 0 else 'train'}/f{number:03}", frame, mask)
        report = inspect(tmp_path)
        assert set(kinds(report)) == {"near-duplicate"} and len(report.issues) == 10
        assert all(issue.severity == "warning" for issue in report.issues) and not report.obstacle
