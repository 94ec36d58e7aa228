"""Small objects and holes are removed as a slow reference does, in memory, by bands, packed, and in videos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter, label

from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError, OutputExistsError
from pixelwise.inference import large_file, mask_filter
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.mask_filter import MaskFilter
from pixelwise.inference.packed_mask import PackedMask
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.predictor import Predictor
from tests.inference.helpers import contents, make_image
from tests.inference.writers.helpers import make_config

CORNERS, SIDES = np.ones((3, 3)), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
Mask = npt.NDArray[np.uint8]


def regions(mask: Mask, values: Sequence[int], structure: npt.NDArray[np.float64]) -> list[npt.NDArray[np.bool_]]:
    """Return the connected regions of some values."""
    found = []
    for value in values:
        numbers, count = label(mask == value, structure)
        found += [numbers == number for number in range(1, count + 1)]
    return found


def border_values(mask: Mask, region: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the value of each pair of a pixel of the region and a neighbor outside of it and of `others`."""
    values = []
    for axis in (0, 1):
        for shift in (1, -1):
            near = np.roll(region, shift, axis)
            edge = [slice(None)] * 2
            edge[axis] = slice(0, 1) if shift == 1 else slice(-1, None)
            near[tuple(edge)] = False
            values += mask[near & ~region & ~others].tolist()
    return np.array(values, np.int64)


def remove_objects(mask: Mask, values: Sequence[int], classes: int, size: int, fallback: int) -> Mask:
    small = [region for region in regions(mask, values, CORNERS) if region.sum() < size]
    every, result = np.any([np.zeros(mask.shape, bool), *small], axis=0), mask.copy()
    for region in small:
        around = border_values(mask, region, every)
        around = around[around < classes]
        result[region] = np.bincount(around).argmax() if len(around) else fallback
    return result


def fill_holes(mask: Mask, background: int, size: int) -> Mask:
    result = mask.copy()
    small = []
    for region in regions(mask, [background], SIDES):
        rows, columns = np.nonzero(region)
        is_inside = (
            min(rows.min(), columns.min()) > 0 and rows.max() < len(mask) - 1 and columns.max() < mask.shape[1] - 1
        )
        if is_inside and region.sum() < size:
            small.append(region)
    for region in small:
        around = np.unique(mask[binary_dilation(region, SIDES) & ~region])
        if len(around) == 1 and around[0] != 255:
            result[region] = around[0]
    return result


def noisy(seed: int, classes: int) -> Mask:
    """Return a mask with regions, specks, holes and nodata."""
    generator = np.random.default_rng(seed)
    smooth = gaussian_filter(generator.normal(size=(classes, 70, 90)), (0, 3, 3)).argmax(0).astype(np.uint8)
    specks = generator.random(smooth.shape) < 0.05
    smooth[specks] = generator.integers(0, classes, specks.sum())
    smooth[30:33, 40:44] = 255
    return smooth


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rows", [7, 512])
def test_filters_equal_the_reference(seed: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_filter, "_ROWS", rows)
    config, mask = make_config(("background", "a", "b", "c")), noisy(seed, 4)
    first, second = mask.copy(), mask.copy()
    MaskFilter(min_object=12).change(first, 0, config)
    np.testing.assert_array_equal(first, remove_objects(mask, [1, 2, 3], 4, 12, 0))
    MaskFilter(min_hole=9).change(second, 0, config)
    np.testing.assert_array_equal(second, fill_holes(mask, 0, 9))
    assert (first != mask).any() and (second != mask).any() and ((first == 255) == (mask == 255)).all()
    both = mask.copy()
    MaskFilter(12, 9).change(both, 0, config)
    np.testing.assert_array_equal(both, fill_holes(first, 0, 9), err_msg="objects are removed first")


def test_a_model_without_background_replaces_by_the_border() -> None:
    config = make_config(("sky", "road", "tree"))
    mask = np.zeros((9, 9), np.uint8)
    mask[5:], mask[2, 2], mask[5, 4] = 1, 2, 2
    MaskFilter(min_object=5).change(mask, 0, config)
    assert np.unique(mask[:5]).tolist() == [0] and np.unique(mask[5:]).tolist() == [1]
    with pytest.raises(ConfigError, match="has no background class, so its masks have no holes"):
        MaskFilter(min_hole=5).check(config)
    with pytest.raises(ConfigError, match="`min_object` must be a number of pixels from 0, and is -1"):
        MaskFilter(min_object=-1).check(config)


def test_a_hole_in_two_classes_and_at_the_edge_stays() -> None:
    config = make_config(("background", "a", "b"))
    mask = np.ones((9, 9), np.uint8)
    mask[:, 5:], mask[4, 4:6], mask[0, 0], mask[7, 2] = 2, 0, 0, 0
    expected = mask.copy()
    expected[7, 2] = 1
    MaskFilter(min_hole=5).change(mask, 0, config)
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("is_packed", [False, True])
def test_multilabel_masks_and_packed_ones(is_packed: bool) -> None:
    config = make_config(("a", "b"), MULTILABEL)
    mask = np.stack([noisy(5, 2), noisy(6, 2)])
    ignored = mask[0] == 255
    mask[:, ignored] = 255
    given = PackedMask(np.where(ignored, 0, channel) for channel in mask).with_ignored(ignored) if is_packed else mask
    prediction = Prediction.from_config(np.zeros((70, 90, 3), np.uint8), given, config, nodata_pixels=12)  # type: ignore[arg-type]
    before = np.asarray(prediction.mask).copy()
    found = MaskFilter(10, 10).apply(prediction, config)
    assert isinstance(found.mask, PackedMask) == is_packed
    np.testing.assert_array_equal(np.asarray(prediction.mask), before, err_msg="the argument does not change")
    for channel, result in zip(before, np.asarray(found.mask), strict=True):
        objects = remove_objects(channel, [1], 2, 10, 0)
        np.testing.assert_array_equal(result, fill_holes(objects, 0, 10))


def test_masks_tables_and_annotations_are_filtered(predictor: Predictor, tmp_path: Path) -> None:
    Image.fromarray(make_image(80, 90, 4)).save(tmp_path / "a.png")
    result = predict_folder(predictor, [tmp_path / "a.png"], tmp_path / "out", min_object=200, min_hole=100)
    mask = np.asarray(Image.open(tmp_path / "out" / "a_mask.png"))
    expected = MaskFilter(200, 100).apply(predictor(tmp_path / "a.png"), predictor.config)
    np.testing.assert_array_equal(mask, expected.mask)
    assert (mask != predictor(tmp_path / "a.png").mask).any(), "the test needs small objects"
    assert result.report["photos"][0]["shares"] == pytest.approx(expected.class_fractions, abs=1e-5)
    with pytest.raises(OutputExistsError, match="was not made by this model"):
        predict_folder(predictor, [tmp_path / "a.png"], tmp_path / "out", resume=True)
    again = predict_folder(predictor, [tmp_path / "a.png"], tmp_path / "out", resume=True, min_object=200, min_hole=100)
    assert again.resumed == 1
    plain, unused = tmp_path / "plain", tmp_path / "unused"
    predict_folder(predictor, [tmp_path / "a.png"], plain)
    predict_folder(predictor, [tmp_path / "a.png"], unused, min_object=1, min_hole=0)
    assert contents(plain) == contents(unused)


def test_large_images_and_videos_are_filtered(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.tif"
    tifffile.imwrite(path, make_image(130, 90), photometric="rgb", tile=(64, 64), compression="zlib", metadata=None)
    frames = [Image.fromarray(make_image(60, 70, number)) for number in range(2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    monkeypatch.setattr(large_file, "LARGE_PIXELS", 1_000)
    out = tmp_path / "out"
    predict_folder(predictor, [path, tmp_path / "a.gif"], out, min_object=300, frame_masks=True)
    plain = predict_folder(predictor, [path], tmp_path / "plain")
    mask, before = tifffile.imread(out / "map_mask.tif"), tifffile.imread(tmp_path / "plain" / "map_mask.tif")
    expected = before.copy()
    MaskFilter(300).change(expected, 0, predictor.config)
    np.testing.assert_array_equal(mask, expected)
    assert plain.image_count == 1 and (mask != before).any()
    for number, frame in enumerate(sorted((out / "a_masks").iterdir())):
        found = np.asarray(Image.open(frame))
        cleaned = found.copy()
        MaskFilter(300).change(cleaned, 0, predictor.config)
        np.testing.assert_array_equal(found, cleaned, err_msg=f"frame {number}")


def test_the_order_of_regions_at_sides_is_that_of_scipy() -> None:
    from pixelwise.inference.objects import ObjectFinder

    mask = np.random.default_rng(0).integers(0, 2, (40, 30)).astype(np.uint8)
    counted = np.zeros(256, bool)
    counted[1] = True
    finder = ObjectFinder(counted, corners=False)
    for start in range(0, 40, 9):
        finder.add(mask[start : start + 9])
    numbers, count = label(mask, SIDES)
    assert finder.table().areas.tolist() == np.bincount(numbers.ravel())[1:].tolist() and count > 20
