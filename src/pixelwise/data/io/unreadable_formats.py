"""File types that cannot be read, with the fix for each."""

from pixelwise.data.io.image_formats import VIDEO_SUFFIXES

_TO_PNG = "save them as PNG or TIFF"
_UNPACK = "unpack them"
_FRAMES = "extract their frames as images"
_TO_TIFF = "export them as TIFF, for example with Fiji (ImageJ) or QuPath, or with the Python package bioio"

_MICROSCOPES = ("czi", "lif", "nd2", "oib", "oif", "oir", "vsi", "svs", "ndpi", "mrxs", "scn")
"""Suffixes of the files of microscopes and slide scanners."""

UNREADABLE: dict[str, str] = {
    **dict.fromkeys(("psd", "psb", "xcf", "kra", "ai", "svg", "pdf", "exr", "hdr", "jxl"), _TO_PNG),
    **dict.fromkeys(("dng", "cr2", "cr3", "nef", "arw", "orf", "raf", "rw2", "raw"), "convert them to TIFF or PNG"),
    **dict.fromkeys(("dcm", "dicom", "nii", "nii.gz", "mha", "mhd", "nrrd", "img.gz"), f"{_TO_PNG}, slice by slice"),
    **dict.fromkeys(("npy", "npz", "mat", "h5", "hdf5", "pkl", "pt", "zarr"), _TO_PNG),
    **dict.fromkeys(_MICROSCOPES, _TO_TIFF),
    **dict.fromkeys(VIDEO_SUFFIXES, _FRAMES),
    **dict.fromkeys(("zip", "tar", "tar.gz", "tgz", "rar", "7z", "gz"), _UNPACK),
    **dict.fromkeys(("shp", "geojson", "gpkg", "kml"), "rasterize the shapes to masks"),
    **dict.fromkeys(("tfrecord", "tfrecords", "lmdb", "rec"), "extract the images and masks"),
}  # fmt: skip
"""Suffix in lower case → instruction for files of this type."""


def suffix_of(name: str) -> str:
    """Return the suffix of a file in lower case, with both parts of double suffixes such as "nii.gz".

    >>> suffix_of("brain.NII.GZ"), suffix_of("IMG_1.NEF"), suffix_of("README")
    ('nii.gz', 'nef', '')
    """
    stem, dot, suffix = name.lower().rpartition(".")
    if not dot or not stem:
        return ""
    double = f"{stem.rpartition('.')[2]}.{suffix}"
    return double if double in UNREADABLE else suffix


def unreadable_format(name: str) -> str:
    """Return the fault and the fix of a file whose type cannot be read, or "" for other types.

    Args:
        name: the name of the file.

    >>> unreadable_format("scan.nii.gz"), unreadable_format("scan.png")
    ('.nii.gz files are not read; save them as PNG or TIFF, slice by slice', '')
    """
    suffix = suffix_of(name)
    return f".{suffix} files are not read; {UNREADABLE[suffix]}" if suffix in UNREADABLE else ""
