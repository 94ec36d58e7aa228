"""HTML of objects in notebooks: tables, class names with their colors, and embedded images.

All texts are escaped, because names can come from an untrusted data set. The HTML has no script and no style sheet, and
takes its colors from the notebook's theme.
"""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from PIL import Image

from pixelwise.palette import Color, to_hex
from pixelwise.visualization.text import plain

_MAX_LENGTH = 100
"""Maximum number of characters of a text, unless a caller sets another."""

_JPEG_QUALITY = 80

_CELL = "text-align:right;padding:2px 10px"
_FIRST_CELL = "text-align:left;padding:2px 10px"


def text(value: object, max_length: int = _MAX_LENGTH) -> str:
    """Return a value as escaped text. Texts that are too long are cut.

    Args:
        value: the value.
        max_length: maximum number of characters.

    >>> text("<b>cat\\n</b>") == "&lt;b&gt;cat\\ufffd&lt;/b&gt;"
    True
    """
    line = plain(str(value))
    return html.escape(line if len(line) <= max_length else f"{line[: max_length - 1]}…")


def class_name(name: str, color: Color) -> str:
    """Return a class name with a square in its color before it."""
    style = f"display:inline-block;width:0.8em;height:0.8em;margin-right:0.4em;background:{to_hex(color)}"
    return f'<span style="{style}"></span>{text(name)}'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table.

    Args:
        headings: the texts of the first row.
        rows: cells that are HTML already. The first column is aligned to the left, the others to the right.
    """
    head = "".join(f'<th style="{_style(column)}">{text(heading)}</th>' for column, heading in enumerate(headings))
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cells(row: Sequence[str]) -> str:
    return "".join(f'<td style="{_style(column)}">{cell}</td>' for column, cell in enumerate(row))


def _style(column: int) -> str:
    return _CELL if column else _FIRST_CELL


def paragraph(content: str) -> str:
    """Return a paragraph of HTML."""
    return f'<p style="margin:4px 0">{content}</p>'


def image_tag(image: Image.Image, description: str, width: int = 900) -> str:
    """Return an image as an HTML element that contains the image as a JPEG.

    Args:
        image: an image of any mode. It is converted to RGB, and scaled down if it is wider than `width`.
        description: the alternative text.
        width: maximum width in pixels.
    """
    if image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
    style = "max-width:100%;height:auto;margin:0 4px 4px 0"
    url = data_url(image.convert("RGB"), "jpeg", _JPEG_QUALITY)
    return f'<img alt="{text(description)}" style="{style}" src="{url}">'


def data_url(image: Image.Image, format: Literal["jpeg", "webp"], quality: int) -> str:
    """Return a URL that contains an image.

    Args:
        image: an image of mode "RGB".
        format: the file format, with lossy compression.
        quality: 0 to 100.

    >>> data_url(Image.new("RGB", (8, 8)), "jpeg", 80)[:30]
    'data:image/jpeg;base64,/9j/4AA'
    """
    content = io.BytesIO()
    image.save(content, format, quality=quality)
    return f"data:image/{format};base64,{base64.b64encode(content.getvalue()).decode()}"


def image_file_tag(path: Path, description: str, width: int = 900) -> str:
    """Return a PNG file as an HTML element, see `image_tag`. Return "" if the file is missing or cannot be read."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image_tag(image, description, width)
    except (OSError, SyntaxError, ValueError):
        return ""


def block(*parts: str) -> str:
    """Return the HTML of one output from its parts. It is one line, so that Markdown keeps it."""
    return f"<div>{''.join(filter(None, parts))}</div>"
