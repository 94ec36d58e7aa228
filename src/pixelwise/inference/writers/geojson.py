"""Writer of GeoJSON: the regions of a mask in degrees, or in pixels if the image has no georeference."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from pixelwise.inference.large_tiff import page_has_georeference
from pixelwise.inference.sources import ImageSource
from pixelwise.inference.writers.base import WRITERS, FileSpec, PredictedImage, Writer
from pixelwise.inference.writers.regions import POLYGON_PACKAGES, Region, Ring, find_regions, signed_area
from pixelwise.runtime.atomic import atomic_write

_WGS84 = "EPSG:4326"


@WRITERS.register("geojson")
class GeoJsonWriter(Writer):
    """NAME.geojson: a feature per region, with its class and its area.

    The coordinates of a georeferenced image are longitude and latitude (WGS 84, RFC 7946). Those of another image are
    pixels: x to the right, y downwards. The member "coordinates" of the collection names them.
    """

    packages: ClassVar[Mapping[str, str]] = POLYGON_PACKAGES

    def files(self) -> dict[str, FileSpec]:
        return {"geojson": FileSpec(".geojson", folder="", has_mark=False)}

    def write(self, image: PredictedImage, files: Mapping[str, Path]) -> None:
        has_place = image.page is not None and page_has_georeference(image.page)
        place = _read_georeference(image.source) if has_place else None
        head: dict[str, Any] = {"type": "FeatureCollection", "image": image.name}
        if place is None:
            head["coordinates"] = "pixels: x to the right, y downwards, from the upper left corner of the image"
        else:
            head["coordinates"] = "WGS 84 longitude and latitude in degrees"
        with atomic_write(files["geojson"]) as part, part.open("w", encoding="ascii") as file:
            file.write(json.dumps(head)[:-1] + ', "features": [')
            for number, region in enumerate(find_regions(image)):
                feature = _feature(region, image.config.classes[region.class_id], place)
                file.write(("," if number else "") + "\n" + json.dumps(feature, separators=(",", ":")))
            file.write("\n]}\n")


class _Georeference(NamedTuple):
    """The georeference of an image.

    Attributes:
        to_degrees: converts corners in pixels to longitude and latitude.
        pixel_area: area of a pixel in square meters on the map, or None if the unit of the map is degrees.
    """

    to_degrees: Callable[[Ring], Ring]
    pixel_area: float | None


def _read_georeference(source: ImageSource) -> _Georeference | None:
    """Return the georeference of an image file, or None if it has none or names no coordinate system."""
    import rasterio
    from rasterio.transform import from_gcps
    from rasterio.warp import transform

    with rasterio.open(source) as file:
        points, points_crs = file.gcps
        crs, affine = (points_crs, from_gcps(points)) if points and file.crs is None else (file.crs, file.transform)
    if crs is None or affine.is_identity:
        return None

    def to_degrees(ring: Ring) -> Ring:
        column, row = ring.T
        x, y = affine.a * column + affine.b * row + affine.c, affine.d * column + affine.e * row + affine.f
        return np.stack(transform(crs, _WGS84, x, y), axis=1)

    area = None
    if crs.is_projected:
        area = abs(affine.determinant) * crs.linear_units_factor[1] ** 2
    return _Georeference(to_degrees, area)


def _feature(region: Region, label: str, place: _Georeference | None) -> dict[str, Any]:
    properties: dict[str, Any] = {"class": label, "area_px": region.area}
    rings = list(region.rings)
    if place is not None:
        rings = [place.to_degrees(ring).round(9) for ring in rings]
        if place.pixel_area is not None:
            properties["area_m2"] = float(f"{region.area * place.pixel_area:.6g}")
    # RFC 7946: outlines are counterclockwise, holes clockwise.
    rings = [ring if (signed_area(ring) > 0) == (index == 0) else ring[::-1] for index, ring in enumerate(rings)]
    coordinates = [[*ring.tolist(), ring[0].tolist()] for ring in rings]
    return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": coordinates}}
