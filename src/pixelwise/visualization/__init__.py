"""Overlays, grids of images and masks, training curves, architecture diagrams and animations.

Functions that need matplotlib import it when they are called, so that importing this package is quick. No function
opens a window or changes matplotlib's global state. Files are written atomically: a killed process leaves the previous
file, if there is one, unchanged.
"""

from pixelwise.palette import IGNORE_COLOR, Color, Palette, default_palette
from pixelwise.visualization.architecture import ModelStage, draw_architecture
from pixelwise.visualization.curves import plot_history
from pixelwise.visualization.gif import make_gif
from pixelwise.visualization.grid import mask_grid, overlay_grid, overlay_pair, prediction_grid
from pixelwise.visualization.overlay import (
    color_mask,
    index_image,
    overlay,
    to_display_image,
)
from pixelwise.visualization.overlay_legend import add_legend
from pixelwise.visualization.save import save_image

__all__ = [
    "IGNORE_COLOR",
    "Color",
    "ModelStage",
    "Palette",
    "add_legend",
    "color_mask",
    "default_palette",
    "draw_architecture",
    "index_image",
    "make_gif",
    "mask_grid",
    "overlay",
    "overlay_grid",
    "overlay_pair",
    "plot_history",
    "prediction_grid",
    "save_image",
    "to_display_image",
]
