"""The image formats that are read, and their suffixes. Training, prediction and listings use this one table."""

IMAGE_FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "PNG": ("png", "apng"),
    "TIFF": ("tif", "tiff"),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "BMP": ("bmp",),
    "DIB": ("dib",),
    "AVIF": ("avif",),
    "JPEG2000": ("jp2", "j2k", "jpx"),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
    "PCX": ("pcx",),
    "TGA": ("tga",),
}
"""Pillow's name of a format → suffixes in lower case, without the dot. The content decides the format, not the suffix.

Other formats of Pillow are not opened: EPS, for example, would run a stranger's PostScript with Ghostscript.
"""

PILLOW_FORMATS = tuple(IMAGE_FORMATS)
"""The only formats that Pillow may open."""

HEIF_SUFFIXES = ("heic", "heif", "hif")
"""Suffixes of the photos of phones, which the extra `heic` decodes."""

IMAGE_SUFFIXES = frozenset(HEIF_SUFFIXES).union(*IMAGE_FORMATS.values())
"""Suffixes of image and mask files, in lower case and without the dot."""
