"""The report on joined data sets is that on all images, as far as the reports on each allow."""

from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.data.analysis.class_stats import Percentiles
from pixelwise.data.analysis.groups import assign_groups
from pixelwise.data.analysis.joined import _mixture, join_reports
from pixelwise.data.join import join_datasets
from tests.data.joined import draw_shapes


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[pw.DatasetReport]:
    """Inspect 4 images of 32 pixels with squares only, and 8 images of 64 pixels with discs only."""
    root = tmp_path_factory.mktemp("shapes")
    small = draw_shapes(root / "square", ["square"], count=4)
    large = draw_shapes(root / "disc", ["disc"], count=8, size=64)
    return [pw.inspect(small), pw.inspect(large)]


def test_pixels_are_summed_and_fractions_are_of_all_pixels(reports: list[pw.DatasetReport]) -> None:
    joined = join_reports(reports)
    background, square, disc = joined.classes
    total = 4 * 32**2 + 8 * 64**2
    assert [stats.name for stats in joined.classes] == list(joined.data.classes) == ["background", "square", "disc"]
    assert square.pixels == reports[0].classes[1].pixels and disc.pixels == reports[1].classes[1].pixels
    assert background.pixels + square.pixels + disc.pixels == total
    for stats in joined.classes:
        assert stats.pixel_fraction == pytest.approx(stats.pixels / total) == pytest.approx(stats.train_fraction)
    assert (square.image_count, disc.image_count, background.image_count) == (4, 8, 12)
    assert square.mean_width == reports[0].classes[1].mean_width
    assert [stats.color for stats in joined.classes] == list(joined.data.palette)


def test_images_are_counted_and_sizes_are_mixed(reports: list[pw.DatasetReport]) -> None:
    joined = join_reports(reports)
    assert joined.image_count == joined.mask_count == 12 and joined.modes == {"RGB": 12}
    assert joined.widths is not None
    assert (joined.widths.min, joined.widths.median, joined.widths.max) == (32, 64, 64)
    means = [np.array(report.channel_means) for report in reports]
    assert joined.channel_means == pytest.approx((means[0] * 4 + means[1] * 8) / 12)


def test_one_report_is_returned_itself(reports: list[pw.DatasetReport]) -> None:
    assert join_reports(reports[:1]) is reports[0]


def test_a_plan_is_made_from_all_data_sets(reports: list[pw.DatasetReport]) -> None:
    plan = pw.make_plan(join_reports(reports), timed=False)
    assert plan.settings["epochs"] == 200 and "10 training images" in plan.reasons["epochs"]
    assert "in 12 images" in plan.reasons["class background"]
    assert plan.settings["val_fraction"] == 0.15


def test_a_plan_reads_back(reports: list[pw.DatasetReport], tmp_path: Path) -> None:
    plan = pw.make_plan(join_reports(reports), timed=False)
    plan.write(tmp_path / "plan.yaml")
    again = pw.Plan.read(tmp_path / "plan.yaml")
    assert again.data == plan.data and again.settings == plan.settings
    (tmp_path / "plan.yaml").write_text(plan.to_yaml().replace("kind: index", "kind: colors", 1))
    with pytest.raises(pw.ConfigError, match=r"plan\.yaml: data\.sets\.square\.kind"):
        pw.Plan.read(tmp_path / "plan.yaml")


def test_percentiles_of_a_mixture_are_those_of_all_values() -> None:
    rng = np.random.default_rng(0)
    samples = [rng.uniform(100, 200, 500), rng.uniform(150, 600, 1500)]
    mixed = _mixture([Percentiles.of(sample) for sample in samples], [500, 1500])
    exact = Percentiles.of(np.concatenate(samples))
    assert mixed is not None and (mixed.min, mixed.max) == (exact.min, exact.max)
    assert (mixed.p10, mixed.median, mixed.p90) == pytest.approx((exact.p10, exact.median, exact.p90), rel=0.05)
    assert _mixture([None, Percentiles.of(samples[0])], [3, 5]) == _mixture([Percentiles.of(samples[0])], [5])
    assert _mixture([None], [3]) is None


def test_groups_are_found_in_each_data_set(tmp_path: Path) -> None:
    """The copy of an image is a group. Equal names in two data sets are two groups."""
    folders = [draw_shapes(tmp_path / name, [name], count=4) for name in ("square", "disc")]
    for folder in folders:
        for kind in ("images", "masks"):
            (folder / kind / "copy.png").write_bytes((folder / kind / "000.png").read_bytes())
    data = assign_groups(join_datasets([pw.load_dataset(folder) for folder in folders]))
    groups = [record.group for record in data.train if record.group is not None]
    assert len(groups) == 4 and len(set(groups)) == 2 and data.group_summary == ""
    assert [record.read_spec for record in data.train[:5]] == [data.train[0].read_spec] * 5
    assert assign_groups(data) is data
