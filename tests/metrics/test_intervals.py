"""Bootstrap intervals of the IoU: coverage in a simulation, groups, absent classes."""

import numpy as np
import numpy.typing as npt
import pytest

from pixelwise.metrics import intervals
from pixelwise.metrics.intervals import bootstrap_iou

CLASSES = ("cat", "dog", "rest")


def draw_counts(rng: np.random.Generator, images: int) -> npt.NDArray[np.int64]:
    """Draw (images, 3, 3) true positives, false positives and false negatives of objects that differ in size."""
    size = rng.lognormal(8, 0.8, (images, 3)) * (rng.random((images, 3)) < 0.7)
    found = size * rng.beta(6, 1.5, (images, 3))
    return np.stack([found, rng.gamma(1, 400, (images, 3)), size - found], -1).astype(np.int64)


def iou(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return counts[..., 0].sum(-2) / counts.sum((-3, -1))


def test_95_percent_of_the_intervals_contain_the_true_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 300)
    rng = np.random.default_rng(0)
    truth = iou(draw_counts(rng, 300_000))
    means, classes = [], []
    for seed in range(500):
        found = bootstrap_iou(draw_counts(rng, 60), CLASSES, seed=seed)
        assert found.mean_iou is not None
        means.append(found.mean_iou.low <= truth.mean() <= found.mean_iou.high)
        for index, interval in enumerate(found.classes.values()):
            assert interval is not None
            classes.append(interval.low <= truth[index] <= interval.high)
    assert 0.93 <= np.mean(means) <= 0.97
    assert 0.93 <= np.mean(classes) <= 0.97


def test_four_times_the_images_halve_the_interval() -> None:
    rng = np.random.default_rng(1)
    small, large = (bootstrap_iou(draw_counts(rng, images), CLASSES).mean_iou for images in (200, 800))
    assert small is not None and large is not None
    assert small.half_width / large.half_width == pytest.approx(2, rel=0.25)
    assert bootstrap_iou(draw_counts(rng, 200), CLASSES).units_to_halve == 600


def test_the_interval_is_of_the_sum_over_images() -> None:
    """Large images decide the IoU of a data set: the interval contains the ratio of sums, not the mean of ratios."""
    counts = np.array([[[1, 0, 9]]] * 30 + [[[900, 0, 100]]] * 30)
    interval = bootstrap_iou(counts, ("cat",)).classes["cat"]
    assert interval is not None
    assert interval.low < (30 * 901) / (30 * 1010) < interval.high
    assert interval.low > np.mean([0.1, 0.9])


def test_equal_frames_of_a_group_carry_no_information() -> None:
    counts = draw_counts(np.random.default_rng(2), 30)
    frames = np.repeat(counts, 10, axis=0)
    groups = [f"video {index // 10}" for index in range(300)]
    grouped, alone, one_each = bootstrap_iou(frames, CLASSES, groups), bootstrap_iou(frames, CLASSES), counts
    assert (grouped.unit, grouped.units, alone.unit, alone.units) == ("group", 30, "image", 300)
    assert grouped.mean_iou == pytest.approx(bootstrap_iou(one_each, CLASSES).mean_iou)
    assert grouped.mean_iou is not None and alone.mean_iou is not None
    assert grouped.mean_iou.half_width > 2.5 * alone.mean_iou.half_width


def test_an_image_without_a_group_is_its_own_group() -> None:
    counts = draw_counts(np.random.default_rng(3), 6)
    assert bootstrap_iou(counts, CLASSES, ["a", "a", None, None, "b", None]).units == 5


def test_absent_classes_and_single_images_have_no_interval() -> None:
    counts = draw_counts(np.random.default_rng(4), 20)
    counts[:, 1] = 0
    found = bootstrap_iou(counts, CLASSES)
    assert found.classes["dog"] is None and found.classes["cat"] is not None
    assert found.mean_iou is not None
    single = bootstrap_iou(counts[:1], CLASSES)
    assert single.mean_iou is None and set(single.classes.values()) == {None}
    assert single.to_dict()["miou"] is None


def test_blocks_of_samples_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many images or classes are drawn in blocks, to limit memory."""
    counts = draw_counts(np.random.default_rng(5), 50)
    whole = bootstrap_iou(counts, CLASSES)
    monkeypatch.setattr(intervals, "_MAX_CELLS", 50 * 7)
    assert bootstrap_iou(counts, CLASSES) == whole


def test_a_single_group_is_cut_into_blocks() -> None:
    """Frames of one video change slowly: the blocks of its frames differ more than random frames would."""
    counts = np.repeat(draw_counts(np.random.default_rng(6), 24), 10, axis=0)
    single, images = bootstrap_iou(counts, CLASSES, ["video"] * 240), bootstrap_iou(counts, CLASSES)
    assert (single.unit, single.units) == ("block", 12)
    assert single.mean_iou is not None and images.mean_iou is not None
    assert single.mean_iou.half_width > 2 * images.mean_iou.half_width
    assert bootstrap_iou(counts[:20], CLASSES, ["video"] * 20).mean_iou is None
