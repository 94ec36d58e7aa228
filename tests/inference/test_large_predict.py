"""Tests of large TIFF files: their masks, tags, tables and overlay are those of a prediction of the whole image."""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import tifffile
from affine import Affine
from PIL import Image
from rasterio.control import GroundControlPoint

from pixelwise.data.input_size import View
from pixelwise.data.mask_format import MaskFormat
from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.errors import OutputExistsError
from pixelwise.inference import large_file, large_predict, views
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.large_mask import MaskFile, MaskPart
from pixelwise.inference.objects import ObjectFinder, counted_values, find_objects
from pixelwise.inference.outputs import read_mark
from pixelwise.inference.predictor import Predictor
from tests.inference.conftest import make_model
from tests.inference.helpers import make_image

HEIGHT, WIDTH = 210, 170

GEOREFERENCE = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0), True),
    (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32611), True),
    (315, "s", 0, "the artist", True),
]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let images of 1,000 pixels be large, and overlays small."""
    monkeypatch.setattr(large_file, "LARGE_PIXELS", 1_000)
    monkeypatch.setattr(large_predict, "MAX_OVERLAY_SIDE", 105)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "map.tif"
    tifffile.imwrite(
        path, make_image(HEIGHT, WIDTH), photometric="rgb", tile=(64, 64), compression="zlib", resolution=(200, 200),
        resolutionunit="CENTIMETER", description="a map", extratags=GEOREFERENCE, metadata=None,
    )  # fmt: skip
    return path


def read_mask(path: Path) -> np.ndarray:
    return np.asarray(tifffile.imread(path))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "mean_confidence"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("view", ["whole", "tiles"])
def test_masks_and_tables_are_those_of_the_whole_image(
    predictor: Predictor, image: Path, tmp_path: Path, large: None, view: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MAX_STRIP_BYTES", 60_000)
    viewed = Predictor(predictor.model, "cpu", "32-true", view)
    assert viewed.image_view.strips(WIDTH) == (1 if view == "whole" else 3)
    expected = viewed(image)
    result = predict_folder(viewed, [image], tmp_path / "out")
    mask = read_mask(tmp_path / "out" / "map_mask.tif")
    assert mask.dtype == np.uint8 and len(np.unique(mask)) == 3
    assert np.mean(mask == expected.mask) > 0.999, "rounding of the resized image"
    shares = result.report["photos"][0]["shares"]
    assert shares == {name: round(float(np.mean(mask == index)), 6) for index, name in enumerate(expected.classes)}
    assert result.report["photos"][0]["mask"] == "map_mask.tif"
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    table = find_objects(mask, MULTICLASS, 3, (1,))
    assert [int(row["pixels"]) for row in rows] == [int(np.sum(mask == index)) for index in range(3)]
    assert [row["objects"] for row in rows] == [
        str(np.sum(table.class_ids == 0)),
        "",
        str(np.sum(table.class_ids == 2)),
    ]
    objects = rows_of(tmp_path / "out" / "objects.csv")
    assert [int(row["area"]) for row in objects] == table.areas.tolist()
    assert [int(row["bbox-3"]) for row in objects] == table.boxes[:, 3].tolist()


def test_the_mask_is_a_tiled_bigtiff_with_the_tags_of_the_image(
    predictor: Predictor, image: Path, tmp_path: Path, large: None
) -> None:
    predict_folder(predictor, [image], tmp_path / "out")
    with tifffile.TiffFile(tmp_path / "out" / "map_mask.tif") as mask, tifffile.TiffFile(image) as source:
        assert mask.is_bigtiff and mask.pages.first.is_tiled and mask.pages.first.compression == 8
        tags, expected = mask.pages.first.tags, source.pages.first.tags
        for code in (33550, 33922, 34735, 315, 282, 283, 296, 270):
            assert tags[code].value == expected[code].value, code
        assert mask.geotiff_metadata == source.geotiff_metadata is not None
    with Image.open(tmp_path / "out" / "map_mask.tif") as opened:
        assert opened.size == (WIDTH, HEIGHT) and opened.mode == "L"
    with Image.open(tmp_path / "out" / "map_overlay.jpg") as overlay:
        assert overlay.size == (85, 105)
        colors = np.asarray(overlay)
    assert np.abs(colors.astype(int) - np.asarray(predictor(image).overlay().resize((85, 105)))).mean() < 20
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "map_mask.tif", "map_overlay.jpg", "objects.csv", "predictions.csv", "predictions.json",
    ]  # fmt: skip


def test_the_mask_of_a_small_image_keeps_the_georeference(predictor: Predictor, image: Path, tmp_path: Path) -> None:
    expected = predictor(image)
    predict_folder(predictor, [image], tmp_path / "out")
    with tifffile.TiffFile(tmp_path / "out" / "map_mask.tif") as mask, tifffile.TiffFile(image) as source:
        assert mask.geotiff_metadata == source.geotiff_metadata is not None
        assert np.mean(mask.asarray() == expected.mask) > 0.999, "rounding of the resized image"
    with Image.open(tmp_path / "out" / "map_overlay.jpg") as overlay:
        assert overlay.size == (WIDTH, HEIGHT)


def test_the_mask_of_a_small_image_without_a_georeference_is_a_png(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, make_image(HEIGHT, WIDTH), photometric="rgb", tile=(64, 64))
    predict_folder(predictor, [path], tmp_path / "out")
    assert (tmp_path / "out" / "plain_mask.png").exists() and not list((tmp_path / "out").glob("*.tif"))


@pytest.mark.parametrize("kind", ["COG", "JP2OpenJPEG", "VRT", "sheared", "points"])
def test_the_mask_has_the_georeference_of_the_image(
    predictor: Predictor, tmp_path: Path, large: None, kind: str
) -> None:
    suffix = {"JP2OpenJPEG": "jp2", "VRT": "vrt"}.get(kind, "tif")
    source, path = tmp_path / "source.tif", tmp_path / f"map.{suffix}"
    shear = -0.2 if kind == "sheared" else 0
    transform = Affine(0.5, shear, 440720, shear, -0.5, 3751320)
    points = [GroundControlPoint(*point) for point in ((0, 0, 3, 9), (200, 0, 3, 5), (0, 150, 7, 9), (200, 150, 7, 6))]
    georeference: Any = {"gcps": points} if kind == "points" else {"transform": transform}
    with rasterio.open(
        source,
        "w",
        driver="GTiff",
        height=HEIGHT,
        width=WIDTH,
        count=3,
        dtype="uint8",
        crs="EPSG:32611",
        **georeference,
    ) as file:
        file.write(np.moveaxis(make_image(HEIGHT, WIDTH), 2, 0))
    options = {"REVERSIBLE": "YES", "QUALITY": 100} if kind == "JP2OpenJPEG" else {}
    rasterio.shutil.copy(source, path, driver="GTiff" if kind in ("sheared", "points") else kind, **options)
    predict_folder(predictor, [path], tmp_path / "out")
    with rasterio.open(path) as image, rasterio.open(tmp_path / "out" / "map_mask.tif") as mask:
        assert mask.crs == image.crs and mask.transform.almost_equals(image.transform, 1e-9)
        assert kind == "sheared" or mask.bounds == image.bounds
        assert [(point.row, point.col, point.x, point.y) for point in mask.gcps[0]] == [
            (point.row, point.col, point.x, point.y) for point in image.gcps[0]
        ]
        assert (
            (len(mask.gcps[0]) == 4 and mask.gcps[1] == "EPSG:32611") if kind == "points" else mask.crs == "EPSG:32611"
        )
        assert np.mean(mask.read(1) == predictor(source).mask) > 0.999


def test_a_large_file_that_needs_a_package_names_it(
    predictor: Predictor, tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(make_image(HEIGHT, WIDTH)).save(tmp_path / "map.jp2")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.setattr(large_file, "MAX_PIXELS", 1_000)
    result = predict_folder(predictor, [tmp_path / "map.jp2"], tmp_path / "out")
    assert [str(error) for error in result.failed] == [
        f"{tmp_path / 'map.jp2'}: reading it in parts needs rasterio; pip install 'pixelwise[geo]'"
    ]


def test_multilabel_masks_have_a_file_for_each_class(
    multilabel_predictor: Predictor, image: Path, tmp_path: Path, large: None
) -> None:
    viewed = Predictor(multilabel_predictor.model, "cpu", "32-true", "tiles")
    expected = viewed(image).mask
    result = predict_folder(viewed, [image], tmp_path / "out")
    names = [
        tmp_path / "out" / result.report["photos"][0][kind]
        for kind in ("mask_left_eye", "mask_left_eye-2", "mask_face")
    ]
    masks = np.stack([read_mask(name) for name in names])
    assert np.mean(masks == expected) > 0.999
    table = find_objects(masks, MULTILABEL, 3, ())
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert [int(row["pixels"]) for row in rows] == masks.sum((1, 2)).tolist()
    assert [int(row["objects"]) for row in rows] == [int(np.sum(table.class_ids == index)) for index in range(3)]


@pytest.mark.parametrize(
    ("mask_format", "pixels"),
    [
        (MaskFormat("L", (255, 0)), [255, 0]),
        (MaskFormat("I;16", (300, 7)), [300, 7]),
        (MaskFormat("RGB", (0xFF0000, 0x00FF80)), [(255, 0, 0), (0, 255, 128)]),
        (MaskFormat("P", (4, 9), ((255, 0, 0), (0, 0, 255))), [4, 9]),
        (MaskFormat("1", (255, 0)), [255, 0]),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_masks_as_given(image: Path, tmp_path: Path, large: None, mask_format: MaskFormat, pixels: list[Any]) -> None:
    model = make_model(("lesion", "healthy"))
    predictor = Predictor(model, "cpu", "32-true")
    predict_folder(predictor, [image], tmp_path / "index")
    model.set_data_facts(mask_format, None)
    predict_folder(predictor, [image], tmp_path / "out", masks="as-given")
    indices = read_mask(tmp_path / "index" / "map_mask.tif")
    assert len(np.unique(indices)) == 2
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "map_mask.tif"), np.array(pixels)[indices])


def test_a_prediction_of_large_files_is_resumed(predictor: Predictor, image: Path, tmp_path: Path, large: None) -> None:
    Image.fromarray(make_image(20, 30)).save(tmp_path / "small.png")
    first = predict_folder(predictor, [image, tmp_path / "small.png"], tmp_path / "out")
    mark = read_mark(tmp_path / "out" / "map_mask.tif")
    assert mark is not None and (mark.width, mark.height) == (WIDTH, HEIGHT)
    written = (tmp_path / "out" / "map_mask.tif").stat().st_mtime_ns
    again = predict_folder(predictor, [image, tmp_path / "small.png"], tmp_path / "out", resume=True)
    assert again.resumed == 2 and again.report == first.report
    assert (tmp_path / "out" / "map_mask.tif").stat().st_mtime_ns == written
    for name in ("predictions.json", "predictions.csv", "objects.csv"):
        (tmp_path / "out" / name).unlink()
    with pytest.raises(OutputExistsError, match=r"map_mask\.tif: exists already"):
        predict_folder(predictor, [image], tmp_path / "out")


@pytest.mark.parametrize("view", ["whole", "tiles"])
def test_nodata_pixels_of_large_files_are_ignored(view: View, tmp_path: Path, large: None) -> None:
    bands = make_image(HEIGHT, WIDTH).astype(np.int16) * 10
    bands[20:90, 30:100] = -9999
    path = tmp_path / "bands.tif"
    tifffile.imwrite(path, bands, photometric="rgb", tile=(64, 64), extratags=[(42113, "s", 0, "-9999", True)])
    model = make_model(("pet", "background", "border"))
    model.config = model.config.model_copy(update={"band_ranges": ((0.0, 2550.0),) * 3})
    predictor = Predictor(model, "cpu", "32-true", view)
    expected = predictor(path)
    result = predict_folder(predictor, [path], tmp_path / "out")
    mask = read_mask(tmp_path / "out" / "bands_mask.tif")
    np.testing.assert_array_equal(mask == 255, expected.mask == 255)
    assert np.sum(mask == 255) == 70 * 70
    shares = result.report["photos"][0]["shares"]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5), "fractions of the pixels with data"
    assert list(shares.values()) == pytest.approx(list(expected.class_fractions.values()), abs=1e-3)
    with (tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        confidences = [row["mean_confidence"] for row in csv.DictReader(file)]
    assert expected.class_confidences is not None
    assert [float(value) if value else None for value in confidences] == [
        None if mean is None else pytest.approx(mean, abs=1e-3) for mean in expected.class_confidences.values()
    ]


def test_the_internal_mask_of_a_large_file_is_ignored(tmp_path: Path, large: None) -> None:
    path, valid = tmp_path / "ortho.tif", np.ones((HEIGHT, WIDTH), bool)
    valid[20:90, 30:100] = False
    with tifffile.TiffWriter(path) as file:
        file.write(make_image(HEIGHT, WIDTH), photometric="rgb", tile=(64, 64), metadata=None)
        file.write(valid, photometric="mask", subfiletype=4, tile=(64, 64), compression="zlib", metadata=None)
    model = make_model(("pet", "background", "border"))
    model.config = model.config.model_copy(update={"band_ranges": ((0.0, 255.0),) * 3})
    predictor = Predictor(model, "cpu", "32-true")
    predict_folder(predictor, [path], tmp_path / "out")
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "ortho_mask.tif") == 255, ~valid)
    np.testing.assert_array_equal(predictor(path).mask == 255, ~valid)


def test_a_large_file_that_cannot_be_read_is_skipped(
    predictor: Predictor, image: Path, tmp_path: Path, large: None
) -> None:
    content = bytearray(image.read_bytes())
    with tifffile.TiffFile(image) as tiff:
        offset = tiff.pages.first.dataoffsets[7]
    content[offset : offset + 40] = bytes(40)
    image.write_bytes(content)
    Image.fromarray(make_image(20, 30)).save(tmp_path / "small.png")
    result = predict_folder(predictor, [image, tmp_path / "small.png"], tmp_path / "out")
    assert [str(error).split(" (")[0] for error in result.failed] == [f"{image}: truncated or corrupt"]
    assert result.image_count == 1
    assert not list((tmp_path / "out").glob("map*")), "no part of a mask"


def test_images_with_large_logits_keep_none(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewed = Predictor(predictor.model, "cpu", "32-true", "tiles")
    path = tmp_path / "image.png"
    Image.fromarray(make_image(HEIGHT, WIDTH)).save(path)
    expected = viewed(path)
    predict_folder(viewed, [path], tmp_path / "kept")
    monkeypatch.setattr(large_file, "_MAX_LOGITS_BYTES", 1_000)
    assert large_file.has_large_logits(path, viewed) and not large_file.has_large_logits(path, predictor)
    steps: list[int] = []

    def progress(items: Any, total: int) -> Any:
        for item in items:
            steps.append(total)
            yield item

    predict_folder(viewed, [path], tmp_path / "out", row_progress=progress)
    assert steps == [4] * 4, "a step for each 64 rows"
    with Image.open(tmp_path / "out" / "image_mask.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), expected.mask)
    assert (tmp_path / "out" / "image_mask.png").read_bytes() == (tmp_path / "kept" / "image_mask.png").read_bytes()
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert rows == rows_of(tmp_path / "kept" / "predictions.csv")


@pytest.mark.parametrize("rows", [1, 2, 7, 60])
def test_objects_of_bands_are_those_of_the_mask(rows: int) -> None:
    mask = np.random.default_rng(rows).integers(0, 3, (59, 41)).astype(np.uint8)
    mask[20:40, 10:30] = 2
    finder = ObjectFinder(counted_values(MULTICLASS, 3, (0,))[0])
    for start in range(0, len(mask), rows):
        finder.add(mask[start : start + rows])
    table, expected = finder.table(), find_objects(mask, MULTICLASS, 3, (0,))
    for name in ("class_ids", "labels", "areas", "boxes"):
        np.testing.assert_array_equal(getattr(table, name), getattr(expected, name), err_msg=name)
    np.testing.assert_allclose(table.centroids, expected.centroids)


def test_a_mask_file_returns_what_was_written(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 9, (2, 12, 10)).astype(np.uint8)
    with MaskFile(tmp_path / "mask.part", mask.shape) as file:
        for rows in (range(5), range(5, 12)):
            for columns in (range(4), range(4, 10)):
                part = mask[:, rows.start : rows.stop, columns.start : columns.stop]
                file.write(MaskPart(rows, columns, part))
        assert file.channels == 2
        for channel in (0, 1):
            np.testing.assert_array_equal(np.concatenate(list(file.bands(channel, 5))), mask[channel])
    assert not (tmp_path / "mask.part").exists()
