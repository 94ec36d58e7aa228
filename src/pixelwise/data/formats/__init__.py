"""One function for each way that data sets lie on disk: a folder → records and classes. FORMATS names them."""

from collections.abc import Callable
from pathlib import Path

from pixelwise.data.formats.ade20k import ade20k
from pixelwise.data.formats.camvid import camvid
from pixelwise.data.formats.carvana import carvana
from pixelwise.data.formats.cityscapes import cityscapes
from pixelwise.data.formats.coco import coco
from pixelwise.data.formats.folders import folders
from pixelwise.data.formats.huggingface import huggingface
from pixelwise.data.formats.label_studio import label_studio
from pixelwise.data.formats.labelme import labelme
from pixelwise.data.formats.oxford_pets import oxford_pets
from pixelwise.data.formats.table import table
from pixelwise.data.formats.voc import voc
from pixelwise.data.formats.webdataset import shards
from pixelwise.data.formats.yolo import yolo_seg
from pixelwise.data.schema import FormatResult
from pixelwise.errors import ConfigError, DataError, first_line, unknown_name

FORMATS: dict[str, Callable[[Path], FormatResult | None]] = {
    "table": table,  # before shards: a server may refuse, where it should miss, what would lie in a table
    "shards": shards,
    "oxford-pets": oxford_pets,
    "camvid": camvid,
    "carvana": carvana,
    "voc": voc,
    "cityscapes": cityscapes,
    "ade20k": ade20k,
    "coco": coco,
    "yolo-seg": yolo_seg,
    "labelme": labelme,
    "label-studio": label_studio,
    "huggingface": huggingface,
    "folders": folders,
}
"""Name → function of the folder (or file); None where it does not look like this format. Tried in this order."""


def detect_format(root: Path, format: str | None = None) -> tuple[str, FormatResult]:
    """The format of a folder, or of a file that lists a data set, and what it finds there; no pixel is read.

    `format` is a name in FORMATS, or None to tell by the folder. Raises DataError for a folder that is not there or
    is of no known format, ConfigError for an unknown name.
    """
    try:
        there = root.exists()
    except Exception as error:  # each protocol has its own: of the network, of keys; and folders may be closed
        raise DataError(f"{root}: cannot be reached ({first_line(error)})") from None
    if not there:
        raise DataError(f"{root}: no such folder")
    if format is not None and format not in FORMATS:
        raise ConfigError(unknown_name("format", format, FORMATS))
    for name in [format] if format else FORMATS:
        layout = FORMATS[name](root)
        if layout is not None:
            return name, layout
    wanted = f"the format {format}" if format else f"any format pixelwise reads ({', '.join(FORMATS)})"
    raise DataError(f"{root}: is not laid out as {wanted}")
