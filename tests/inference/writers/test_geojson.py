"""GeoJSON is valid, and its polygons are the regions of the mask, in pixels or in degrees."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.features
from rasterio.warp import transform_geom

from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.writers.regions import signed_area
from tests.inference.helpers import make_image
from tests.inference.writers.helpers import CLASSES, make_config, predicted, write_all
from tests.inference.writers.test_annotations import hard_masks

TRANSFORM = rasterio.Affine(0.5, 0, 440720, 0, -0.5, 3751320)


def read_features(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a collection and its features. Checks the rules of RFC 7946 for polygons."""
    collection = json.loads(path.read_text(encoding="utf-8"))
    assert collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        assert feature["type"] == "Feature" and feature["geometry"]["type"] == "Polygon"
        for number, ring in enumerate(feature["geometry"]["coordinates"]):
            assert len(ring) >= 4 and ring[0] == ring[-1]
            assert (signed_area(np.array(ring[:-1])) > 0) == (number == 0), "outlines are counterclockwise"
    return collection, collection["features"]


@pytest.mark.parametrize("name", hard_masks())
def test_pixel_coordinates_are_the_regions(name: str, tmp_path: Path) -> None:
    mask = hard_masks()[name]
    write_all("geojson", [predicted(tmp_path / "a.png", mask, make_config())], tmp_path)
    collection, features = read_features(tmp_path / "a.geojson")
    assert collection["image"] == "a.png" and collection["coordinates"].startswith("pixels: x to the right, y down")
    drawn = np.zeros(mask.shape, np.uint8)
    for feature in features:
        pixels = rasterio.features.rasterize([(feature["geometry"], 1)], mask.shape, dtype="uint8") == 1
        assert pixels.sum() == feature["properties"]["area_px"]
        drawn[pixels] = CLASSES.index(feature["properties"]["class"])
    np.testing.assert_array_equal(drawn, mask)


@pytest.mark.parametrize(
    ("crs", "unit"), [("EPSG:32611", 0.25), ("EPSG:2229", 0.25 * 0.3048006096**2), ("EPSG:4326", None)]
)
def test_degrees_of_a_georeferenced_image(crs: str, unit: float | None, predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    affine = rasterio.Affine(1e-5, 0, -117.5, 0, -1e-5, 34) if unit is None else TRANSFORM
    with rasterio.open(
        path, "w", driver="GTiff", width=90, height=70, count=3, dtype="uint8", crs=crs, transform=affine
    ) as file:
        file.write(np.moveaxis(make_image(70, 90), 2, 0))
    predict_folder(predictor, [path], tmp_path / "out", write=["geojson", "mask"])
    with rasterio.open(tmp_path / "out" / "map_mask.tif") as file:
        mask = file.read(1)
    collection, features = read_features(tmp_path / "out" / "map.geojson")
    assert collection["coordinates"] == "WGS 84 longitude and latitude in degrees"
    drawn = np.full(mask.shape, 1, np.uint8)
    for feature in features:
        geometry = transform_geom("EPSG:4326", crs, feature["geometry"])
        pixels = rasterio.features.rasterize([(geometry, 1)], mask.shape, transform=affine, dtype="uint8") == 1
        drawn[pixels] = predictor.classes.index(feature["properties"]["class"])
        area = feature["properties"].get("area_m2")
        expected = None if unit is None else pytest.approx(feature["properties"]["area_px"] * unit, rel=1e-5)
        assert area == expected
        longitude, latitude = np.array(feature["geometry"]["coordinates"][0]).T
        assert (np.abs(longitude) <= 180).all() and (np.abs(latitude) <= 90).all()
    np.testing.assert_array_equal(drawn, mask)


def test_a_coordinate_system_without_a_name_leaves_pixels(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=40, height=30, count=3, dtype="uint8", transform=TRANSFORM
    ) as file:
        file.write(np.moveaxis(make_image(30, 40), 2, 0))
    predict_folder(predictor, [path], tmp_path / "out", write=["geojson"])
    collection, _ = read_features(tmp_path / "out" / "map.geojson")
    assert collection["coordinates"].startswith("pixels")


def test_ground_control_points(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    corners = [(0, 0), (0, 40), (30, 0), (30, 40)]
    points = [
        rasterio.control.GroundControlPoint(row, column, 440720 + 0.5 * column, 3751320 - 0.5 * row)
        for row, column in corners
    ]
    with rasterio.open(
        path, "w", driver="GTiff", width=40, height=30, count=3, dtype="uint8", gcps=points, crs="EPSG:32611"
    ) as file:
        file.write(np.moveaxis(make_image(30, 40), 2, 0))
    predict_folder(predictor, [path], tmp_path / "out", write=["geojson"])
    _, features = read_features(tmp_path / "out" / "map.geojson")
    geometry = transform_geom("EPSG:4326", "EPSG:32611", features[0]["geometry"])
    x, y = np.array(geometry["coordinates"][0]).T
    assert x.min() >= 440720 - 1e-3 and x.max() <= 440740 + 1e-3 and y.min() >= 3751305 - 1e-3
