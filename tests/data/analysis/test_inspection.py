"""The report on a data set: exact statistics of small data sets, and every kind of issue with its file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis.class_stats import Percentiles
from pixelwise.data.analysis.inspection import DatasetReport, inspect
from pixelwise.data.schema import DataIssue
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import DataError
from tests.data.analysis.helpers import background, noise, save_pair


def issues_by_file(report: DatasetReport) -> dict[tuple[str, str], DataIssue]:
    """Return (kind, file name) → issue."""
    return {(issue.kind, Path(issue.file).name): issue for issue in report.issues}


@pytest.fixture
def three_images(tmp_path: Path) -> Path:
    """Three images of 30x20 pixels: two squares of class 1; one square of class 2 and ignored rows; background only."""
    first, second = background(), background()
    first[1:5, 1:5] = 1  # 16 pixels
    first[10:14, 20:25] = 1  # 20
    first[18, 29] = 1  # 1: too small for an object
    second[0:10, 0:10] = 2  # 100
    second[12:15] = 255  # 90
    for number, mask in enumerate((first, second, background())):
        save_pair(tmp_path, f"p{number}", noise(number), mask)
    return tmp_path


def test_exact_statistics(three_images: Path) -> None:
    report = inspect(three_images)
    assert (report.image_count, report.mask_count, len(report.data.train)) == (3, 3, 3)
    assert report.widths == Percentiles(30, 30, 30, 30, 30) and report.heights == Percentiles(20, 20, 20, 20, 20)
    assert report.aspect_ratios == Percentiles(1.5, 1.5, 1.5, 1.5, 1.5) and report.modes == {"RGB": 3}
    assert report.ignored_fraction == pytest.approx(90 / 1800)
    counts = {each.name: (each.pixels, each.image_count, each.object_count) for each in report.classes}
    # Four regions of background: the ignored rows cut one image in two.
    assert counts == {"background": (1573, 3, 4), "class 1": (37, 1, 2), "class 2": (100, 1, 1)}
    fractions = [each.pixel_fraction for each in report.classes]
    assert fractions == pytest.approx([1573 / 1710, 37 / 1710, 100 / 1710])
    sizes = report.classes[1].relative_size
    assert sizes is not None
    assert (sizes.min, sizes.max) == pytest.approx(((16 / 600) ** 0.5, (20 / 600) ** 0.5))
    assert [record.image.name for record in report.classes[1].examples] == ["p0.png"]
    assert [record.image.name for record in report.classes[0].examples] == ["p2.png", "p0.png", "p1.png"]
    pixels = np.stack([noise(number) for number in range(3)]).reshape(-1, 3)
    assert report.channel_means == pytest.approx(pixels.mean(0))
    assert report.channel_stds == pytest.approx(pixels.std(0))


def test_percentiles_of_image_sizes(tmp_path: Path) -> None:
    for number in range(11):
        size = (10 + number, 20)
        mask = background(size)
        mask[0] = 1
        save_pair(tmp_path, f"p{number}", noise(number, size), mask)
    report = inspect(tmp_path)
    assert report.heights == Percentiles(10, 11, 15, 19, 20) and report.widths == Percentiles(20, 20, 20, 20, 20)
    assert report.aspect_ratios is not None and report.aspect_ratios.max == 2.0


@pytest.mark.parametrize("maximum", [199, 4095, 39_999])
def test_images_with_16_bits_are_scaled_by_percentiles(maximum: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, maximum, (3, 20, 30)).astype(np.uint16)
    images[:, 0, 0] = 65_535  # hot pixels
    mask = background()
    mask[:9] = 1
    for number, image in enumerate(images):
        save_pair(tmp_path, f"p{number}", image, mask)
    report = inspect(tmp_path)
    low, high = np.percentile(images, (0.5, 99.5))
    np.testing.assert_allclose(report.data.read_spec.band_ranges, [(low, high)] * 3)
    expected = 1 + 254 * (np.clip(images, low, high) - low) / (high - low)
    assert report.channel_means == pytest.approx([expected.mean()] * 3, abs=0.5)
    assert report.channel_stds == pytest.approx([expected.std()] * 3, abs=0.5)
    assert f"99.5 % percentile: {low:g} to {high:g}" in report.data.messages[-1]


def test_nodata_pixels_are_counted_and_left_out_of_the_means(tmp_path: Path) -> None:
    mask = background()
    mask[:9] = 1
    for number in range(3):
        image = noise(number)
        image[:, :15] = 0
        save_pair(tmp_path, f"p{number}", image, mask)
    report = inspect(tmp_path, nodata=0)
    assert report.data.messages[-1].startswith("50 % of the pixels have no data (0, the tag")
    assert min(report.channel_means) > 100 and report.data.read_spec.nodata == 0
    assert (report.data.read(report.data.train[0])[1][:, :15] == 255).all()


def save_half_image(folder: Path, number: int, mask: np.ndarray | None) -> None:
    """Save an image of 20x30 pixels whose columns 0 to 14 have no data if they are 0."""
    image = noise(number)
    image[:, :15] = 0
    save_pair(folder, f"p{number}", image, mask)


def test_nodata_pixels_are_in_no_class(tmp_path: Path) -> None:
    for number in range(3):
        mask = background()
        mask[:9, 5:20] = 1
        mask[12:, 8:12] = 2  # without data
        mask[10, 2], mask[10, 20:23] = 3, 255
        if number == 2:
            mask[12:15, 20:30], mask[11, 29] = 2, 3
        save_half_image(tmp_path, number, mask)
    options = {"nodata": 0, "label_map": {"0": "ground", "1": "wide", "2": "half", "3": "dot", "255": "ignore"}}
    report = inspect(tmp_path, **options)  # type: ignore[arg-type]
    ground, wide, half, dot = report.classes
    assert [stats.pixels for stats in report.classes] == [900 - 9 - 3 * 45 - 30 - 1, 3 * 45, 30, 1]
    assert [stats.image_count for stats in report.classes] == [3, 3, 1, 1]
    assert (wide.object_count, half.object_count, dot.object_count) == (3, 1, 0)
    assert wide.relative_size is not None and wide.relative_size.max == pytest.approx((45 / 600) ** 0.5)
    assert wide.pixel_fraction == wide.train_fraction == pytest.approx(135 / 891)
    assert ground.pixel_fraction + half.pixel_fraction + dot.pixel_fraction == pytest.approx(1 - 135 / 891)
    assert report.ignored_fraction == pytest.approx(909 / 1800)
    assert wide.width is not None and wide.width == pytest.approx(inspect_valid_part(tmp_path, options), rel=0.01)


def inspect_valid_part(folder: Path, options: dict[str, object]) -> float | None:
    """Return the width of the class "wide" in the images without their left halves."""
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            image.crop((15, 0, 30, 20)).save(path)
    return inspect(folder, **options).classes[1].width  # type: ignore[arg-type]


def test_nodata_pixels_are_in_no_class_of_multilabel_masks(tmp_path: Path) -> None:
    for number in range(3):
        save_half_image(tmp_path, number, None)
        for name, columns in (("cat", 20), ("dog", 30)):
            mask = background()
            mask[:10, :columns] = 255
            (tmp_path / "masks" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(tmp_path / "masks" / name / f"p{number}.png")
    report = inspect(tmp_path, nodata=0)
    assert report.data.read_spec.task is MULTILABEL
    assert [stats.pixels for stats in report.classes] == [3 * 50, 3 * 150]
    assert [stats.pixel_fraction for stats in report.classes] == pytest.approx([50 / 300, 150 / 300])
    assert report.ignored_fraction == 0.5


@pytest.mark.parametrize(("maximum", "bit_depth"), [(199, 8), (1023, 10), (4095, 12), (39_999, 16)])
def test_bit_depth_of_16_bit_images_among_many_8_bit_images(maximum: int, bit_depth: int, tmp_path: Path) -> None:
    mask = background()
    mask[:9] = 1
    for number in range(6):
        save_pair(tmp_path, f"p{number}", noise(number), mask)
    deep = np.full((20, 30), maximum, np.uint16)
    save_pair(tmp_path, "q", deep, mask)
    spec = inspect(tmp_path).data.read_spec
    assert (spec.bit_depth, spec.band_ranges) == (bit_depth, ())


def test_multilabel_classes_count_independently(tmp_path: Path) -> None:
    for number in range(4):
        save_pair(tmp_path, f"p{number}", noise(number), None)
        for name, rows in (("cat", 10), ("dog", 15)):
            if (number, name) == (2, "dog"):
                continue
            mask = background()
            mask[:rows] = 255
            (tmp_path / "masks" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(tmp_path / "masks" / name / f"p{number}.png")
    report = inspect(tmp_path)
    assert report.data.read_spec.task is MULTILABEL and report.data.classes == ("cat", "dog")
    cat, dog = report.classes
    assert (cat.pixels, cat.image_count, cat.object_count) == (4 * 300, 4, 4)
    assert (dog.pixels, dog.image_count, dog.object_count) == (3 * 450, 3, 3)
    assert (cat.pixel_fraction, dog.pixel_fraction) == pytest.approx((1200 / 2400, 1350 / 2400))


def test_statistics_for_plans_leave_out_the_test_split(tmp_path: Path) -> None:
    strip, half = background((40, 60)), background((40, 60))
    strip[:, 10:12] = 1
    half[:, :30] = 1
    for split, mask in (("train", half), ("test", strip)):
        for number in range(3):
            image = np.full((40, 60, 3), 20 * number + len(split), np.uint8)
            save_pair(tmp_path, f"{split}/{number}", image, mask)
    foreground = inspect(tmp_path).classes[1]
    assert foreground.train_fraction == 0.5 and foreground.pixel_fraction == (30 + 2) / 120
    (tmp_path / "test").rename(tmp_path / "unused")
    for path in (tmp_path / "unused").rglob("*.png"):
        path.unlink()
    alone = inspect(tmp_path).classes[1]
    assert (alone.mean_width, alone.train_fraction) == (foreground.mean_width, foreground.train_fraction)


class TestIssues:
    @pytest.fixture
    def split(self, tmp_path: Path) -> Path:
        """6 images in train and 3 in val, without any issue."""
        for number in range(9):
            mask = background()
            mask[: 3 + number] = 1
            save_pair(tmp_path, f"{'train' if number < 6 else 'val'}/p{number}", noise(number), mask)
        return tmp_path

    def inspect(self, root: Path, label_map: dict[str, str] | None = None) -> DatasetReport:
        return inspect(root, skip_unreadable=True, label_map=label_map)

    def test_a_data_set_without_faults_has_no_issues(self, split: Path) -> None:
        report = inspect(split)
        assert report.issues == () and (len(report.data.train), len(report.data.val)) == (6, 3)

    def test_an_image_in_two_splits_is_leakage(self, split: Path) -> None:
        (split / "val/images/p7.png").write_bytes((split / "train/images/p1.png").read_bytes())
        issue = issues_by_file(self.inspect(split))["leakage", "p7.png"]
        assert issue.severity == "warning"
        assert all(word in issue.message for word in ("train", "p1.png", "differ"))
        (split / "val/masks/p7.png").write_bytes((split / "train/masks/p1.png").read_bytes())
        assert "differ" not in issues_by_file(self.inspect(split))["leakage", "p7.png"].message

    def test_a_copy_within_a_split(self, split: Path) -> None:
        for role in ("images", "masks"):
            (split / f"train/{role}/p4.png").write_bytes((split / f"train/{role}/p1.png").read_bytes())
        report = self.inspect(split)
        assert list(issues_by_file(report)) == [("copy", "p4.png")] and report.issues[0].severity == "warning"
        save_pair(split, "train/p4", None, np.roll(background() + np.eye(20, 30, dtype=np.uint8), 3))
        assert list(issues_by_file(self.inspect(split))) == [("copy with another mask", "p4.png")]

    def test_sizes_that_differ(self, split: Path) -> None:
        save_pair(split, "train/p2", None, np.eye(21, 30, dtype=np.uint8))
        report = self.inspect(split)
        issue = issues_by_file(report)["size mismatch", "p2.png"]
        assert issue.severity == "error" and "30x20" in issue.message and "30x21" in issue.message
        assert sum(each.pixels for each in report.classes) == 8 * 600, "unusable records do not count"
        assert len(report.data.train) == 5 and any("left out: 1 file" in line for line in report.data.messages)
        with pytest.raises(DataError, match=r"p2\.png"):
            inspect(split)

    def test_an_image_with_other_channels(self, tmp_path: Path) -> None:
        tifffile = pytest.importorskip("tifffile")
        for number in range(4):
            bands = 5 if number < 3 else 4
            mask = background()
            mask[: 3 + number] = 1
            save_pair(tmp_path, f"p{number}", None, mask)
            (tmp_path / "images").mkdir(exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (20, 30, bands)).astype(np.uint8)
            tifffile.imwrite(
                tmp_path / "images" / f"p{number}.tif", pixels, photometric="minisblack", planarconfig="contig"
            )
        issue = issues_by_file(self.inspect(tmp_path))["other channels", "p3.tif"]
        assert issue.severity == "error" and "4 channels" in issue.message and "5" in issue.message

    def test_an_image_of_floats_among_8_bits(self, split: Path) -> None:
        expected = self.inspect(split)
        save_pair(split, "train/p9", None, np.tri(20, 30, dtype=np.uint8))
        Image.fromarray(np.full((20, 30), 1e4, np.float32)).save(split / "train/images/p9.tif")
        report = self.inspect(split)
        assert list(issues_by_file(report)) == [("other number type", "p9.tif")]
        assert report.channel_means == expected.channel_means and report.channel_stds == expected.channel_stds

    def test_an_empty_mask(self, split: Path) -> None:
        save_pair(split, "train/p2", None, background())
        issue = issues_by_file(self.inspect(split))["empty mask", "p2.png"]
        assert issue.severity == "warning" and "background" in issue.message
        save_pair(split, "train/p2", None, background() + np.uint8(255))
        save_pair(split, "train/p3", None, np.where(np.eye(20, 30) > 0, 255, np.tri(20, 30)).astype(np.uint8))
        report = self.inspect(split, label_map={"0": "background", "1": "cat", "255": "ignore"})
        assert "no pixel of any class" in issues_by_file(report)["empty mask", "p2.png"].message

    def test_a_value_outside_the_classes(self, split: Path) -> None:
        save_pair(split, "train/p2", None, np.tri(20, 30, dtype=np.uint8) * np.uint8(7))
        report = self.inspect(split, label_map={"0": "background", "1": "cat"})
        issue = issues_by_file(report)["value outside", "p2.png"]
        assert issue.severity == "error" and issue.message.startswith("mask value 7 is outside the classes")
        assert len(report.data.train) == 5

    def test_the_advice_for_a_value_outside_the_classes_works(self, split: Path) -> None:
        save_pair(split, "train/p2", None, np.tri(20, 30, dtype=np.uint8) * np.uint8(7))
        label_map = {"0": "background", "1": "cat"}
        (issue,) = self.inspect(split, label_map=label_map).issues
        assert "set `label_map` or `ignore_values`" in issue.message
        assert inspect(split, label_map=label_map, ignore_values=["7"]).data.classes == ("background", "cat")
        assert inspect(split, label_map=label_map | {"7": "dog"}).data.classes == ("background", "cat", "dog")

    def test_missing_and_unreadable_files(self, split: Path) -> None:
        (split / "train/masks/p0.png").unlink()
        (split / "train/images/p1.png").unlink()
        (split / "train/images/p2.png").write_bytes(b"")
        content = (split / "val/masks/p7.png").read_bytes()
        (split / "val/masks/p7.png").write_bytes(content[: len(content) - 30])
        report = self.inspect(split)
        assert set(issues_by_file(report)) == {
            ("missing mask", "p0.png"), ("missing image", "p1.png"), ("unreadable image", "p2.png"),
            ("truncated mask", "p7.png"),
        }  # fmt: skip
        assert all(issue.severity == "error" for issue in report.issues)
        assert [record.image.name for record in report.data.records("val")] == ["p6.png", "p8.png"]
        assert [record.image.name for record in report.data.train] == ["p3.png", "p4.png", "p5.png"]
