"""Writers of annotations for programs in the browser: Label Studio and CVAT."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt

from pixelwise.inference.writers.base import WRITERS, Entry, PredictedImage, Writer
from pixelwise.inference.writers.regions import POLYGON_PACKAGES, Region, annotated_classes, find_regions
from pixelwise.palette import to_hex
from pixelwise.runtime.atomic import atomic_write, write_text

_WORD_SIZES = (3, 4, 8, 16)
"""Numbers of bits for the lengths of runs in brush masks, which Label Studio itself uses."""

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@WRITERS.register("label-studio")
class LabelStudioWriter(Writer):
    """label-studio.json: a task per image, whose prediction has a polygon or a brush mask per region.

    Regions without holes are polygons, and those with holes brush masks. label-studio.xml is the labeling interface.
    https://labelstud.io/guide/predictions
    """

    shared: ClassVar[tuple[str, ...]] = ("label-studio.json", "label-studio.xml")
    packages: ClassVar[Mapping[str, str]] = POLYGON_PACKAGES

    def entry(self, image: PredictedImage) -> Entry:
        names = image.config.classes
        regions = [
            _label_studio_region(region, names[region.class_id], (image.height, image.width), number)
            for number, region in enumerate(find_regions(image))
        ]
        is_local = isinstance(image.source, Path)
        name = quote(image.name, errors="surrogateescape")
        url = f"/data/local-files/?d={name}" if is_local else str(image.source)
        return {"data": {"image": url}, "predictions": [{"model_version": "pixelwise", "result": regions}]}

    def finish(self, entries: Iterable[Entry], out: Path) -> None:
        write_text(out / "label-studio.xml", self._interface())
        with atomic_write(out / "label-studio.json") as part, part.open("w", encoding="ascii") as file:
            file.write("[")
            for number, entry in enumerate(entries):
                file.write(("," if number else "") + "\n" + json.dumps(entry, separators=(",", ":")))
            file.write("\n]\n")

    def _interface(self) -> str:
        config = self.options.config
        colors = ((config.classes[index], to_hex(config.palette[index])) for index in annotated_classes(config))
        labels = "".join(f'    <Label value={_attribute(name)} background="{color}"/>\n' for name, color in colors)
        return (
            '<View>\n  <Image name="image" value="$image" zoom="true" zoomControl="true"/>\n'
            f'  <PolygonLabels name="polygon" toName="image">\n{labels}  </PolygonLabels>\n'
            f'  <BrushLabels name="brush" toName="image">\n{labels}  </BrushLabels>\n</View>\n'
        )


def _label_studio_region(region: Region, label: str, size: tuple[int, int], number: int) -> dict[str, Any]:
    height, width = size
    value: dict[str, Any]
    if region.has_holes:
        kind, value = "brush", {"format": "rle", "rle": encode_brush(row_runs(region, size), height * width)}
    else:
        points = (100 * (region.rings[0] / (width, height))).tolist()  # at most 100, without rounding
        kind, value = "polygon", {"points": points, "closed": True}
    return {
        "id": f"region{number}",
        "type": f"{kind}labels",
        "from_name": kind,
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value | {f"{kind}labels": [label]},
    }


def row_runs(region: Region, size: tuple[int, int] | None = None) -> list[int]:
    """Return the lengths of runs that are alternately outside and inside a region, row by row.

    Args:
        region: the region.
        size: (height, width) of the image in pixels. None for the runs within the box of the region.
    """
    left, top, right, bottom = region.box
    if size is None:
        left, top, size = 0, 0, (bottom - top, right - left)
    edges = np.diff(region.pixels().astype(np.int8), axis=1, prepend=0, append=0)
    starts, stops = (
        (top + rows) * size[1] + left + columns for rows, columns in (np.nonzero(edges == sign) for sign in (1, -1))
    )
    is_joined = np.append(starts[1:] == stops[:-1], False)  # the last run of a row goes on in the next one
    starts, stops = starts[~np.append(False, is_joined[:-1])], stops[~is_joined]
    bounds = np.stack([starts, stops], axis=1).ravel()
    runs: list[int] = np.diff(bounds, prepend=0, append=size[0] * size[1]).tolist()
    return runs


def encode_brush(runs: Iterable[int], pixels: int) -> list[int]:
    """Encode a mask as the run lengths of RGBA values that Label Studio reads, see `decode_brush_rle`.

    Args:
        runs: lengths of runs that are alternately outside and inside the mask, row by row.
        pixels: number of pixels.

    Returns:
        Bytes, each in [0, 255].

    >>> encode_brush([1, 2, 1], 4)[:4]
    [0, 0, 0, 16]
    """
    parts = [f"{4 * pixels:032b}{7:05b}", *(f"{size - 1:04b}" for size in _WORD_SIZES)]
    longest = 1 << _WORD_SIZES[-1]
    for number, run in enumerate(runs):
        value, length = (number % 2) * 255, 4 * run
        while length:
            part = min(length, longest)
            index = next(index for index, size in enumerate(_WORD_SIZES) if part <= 1 << size)
            parts.append(f"1{index:02b}{part - 1:0{_WORD_SIZES[index]}b}{value:08b}")
            length -= part
    bits: npt.NDArray[np.uint8] = np.frombuffer("".join(parts).encode(), np.uint8) - ord("0")
    packed: list[int] = np.packbits(bits).tolist()
    return packed


@WRITERS.register("cvat")
class CvatWriter(Writer):
    """cvat.xml, "CVAT for images 1.1": a polygon for each region without holes, and a mask for each with holes.

    https://docs.cvat.ai/docs/manual/advanced/xml_format/
    """

    shared: ClassVar[tuple[str, ...]] = ("cvat.xml",)
    packages: ClassVar[Mapping[str, str]] = POLYGON_PACKAGES

    def entry(self, image: PredictedImage) -> Entry:
        names = image.config.classes
        shapes = "".join(_cvat_shape(region, names[region.class_id]) for region in find_regions(image))
        return {"name": image.name, "width": image.width, "height": image.height, "shapes": shapes}

    def finish(self, entries: Iterable[Entry], out: Path) -> None:
        with atomic_write(out / "cvat.xml") as part, part.open("w", encoding="utf-8", errors="backslashreplace") as xml:
            xml.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
            xml.write(f"  <meta>\n    <task>\n      <labels>\n{self._labels()}      </labels>\n")
            xml.write("    </task>\n  </meta>\n")
            for number, entry in enumerate(entries):
                size = f'width="{entry["width"]}" height="{entry["height"]}"'
                xml.write(f'  <image id="{number}" name={_attribute(entry["name"])} {size}>\n')
                xml.write(f"{entry['shapes']}  </image>\n")
            xml.write("</annotations>\n")

    def _labels(self) -> str:
        config = self.options.config
        return "".join(
            f"        <label><name>{escape(_xml_text(config.classes[index]))}</name>"
            f"<color>{to_hex(config.palette[index])}</color><type>any</type><attributes></attributes></label>\n"
            for index in annotated_classes(config)
        )


def _cvat_shape(region: Region, label: str) -> str:
    common = f'label={_attribute(label)} source="auto" occluded="0" z_order="0"'
    if region.has_holes:
        left, top, right, bottom = region.box
        box = f'left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
        return f'    <mask {common} rle="{", ".join(map(str, row_runs(region)))}" {box}></mask>\n'
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in region.rings[0].tolist())
    return f'    <polygon {common} points="{points}"></polygon>\n'


def _xml_text(text: str) -> str:
    """Replace characters that XML cannot contain."""
    return _NOT_IN_XML.sub("_", text)


def _attribute(text: str) -> str:
    return quoteattr(_xml_text(text))
