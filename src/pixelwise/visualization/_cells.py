"""Fit images into the cells of a grid, and draw the headings of its columns."""

import numpy as np
from PIL import Image, ImageDraw

from pixelwise.visualization.overlay import Pixels
from pixelwise.visualization.text import FAINT_TEXT_COLOR, TEXT_COLOR, font, shorten


def fit_image(
    image: Pixels, cell: tuple[int, int], resampling: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    """Return an (H, W, 3) uint8 image as large as fits into a cell of (width, height) pixels, without distortion."""
    return Image.fromarray(image).resize(_fitted_size(image, cell), resampling)


def fit_mask(mask: Pixels, cell: tuple[int, int]) -> Pixels:
    """Return an (H, W) uint8 mask as large as fits into a cell of (width, height) pixels, without distortion."""
    return np.array(Image.fromarray(mask).resize(_fitted_size(mask, cell), Image.Resampling.NEAREST))


def _fitted_size(array: Pixels, cell: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (width, height) in the cell that keeps the aspect ratio of an (H, W, …) array."""
    height, width = array.shape[:2]
    scale = min(cell[0] / width, cell[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def paste_centered(grid: Image.Image, corner: tuple[int, int], cell: tuple[int, int], image: Image.Image) -> None:
    """Paste an image into the center of the cell whose upper left corner is `corner`."""
    x, y = corner
    grid.paste(image, (x + (cell[0] - image.width) // 2, y + (cell[1] - image.height) // 2))


def draw_title(grid: Image.Image, corner: tuple[int, int], title: str, size: int, width: int) -> None:
    """Draw a title of `size` pixels. It is shortened to `width` pixels."""
    face = font(size, bold=True)
    text = shorten(title, width, face)
    ImageDraw.Draw(grid).text(corner, text, font=face, fill=TEXT_COLOR, anchor="la")


def draw_heading(grid: Image.Image, middle: int, bottom: int, heading: str, size: int) -> None:
    """Draw the heading of a column, centered at the column `middle` of the grid."""
    draw = ImageDraw.Draw(grid)
    draw.text((middle, bottom), heading, font=font(size), fill=FAINT_TEXT_COLOR, anchor="ms")
