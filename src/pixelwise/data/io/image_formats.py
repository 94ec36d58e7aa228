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

Pillow's other formats are not opened, for security. An EPS file, for example, is a program that Ghostscript runs.
"""

PILLOW_FORMATS = tuple(IMAGE_FORMATS)
"""The only formats that Pillow may open."""

HEIF_SUFFIXES = ("heic", "heif", "hif")
"""Suffixes of HEIF images, as phones save them. Reading them needs the optional dependency `heic` of this package."""

IMAGE_SUFFIXES = frozenset(HEIF_SUFFIXES).union(*IMAGE_FORMATS.values())
"""Suffixes of image and mask files, in lower case and without the dot."""

VIDEO_SUFFIXES = ("mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "wmv", "flv", "3gp", "ogv", "mts")
"""Suffixes of video files, in lower case and without the dot."""
