"""All images of the project: class colors, overlays, sheets of samples, plots, diagrams, animations.

matplotlib is imported only by the functions that plot or letter, when they are called: importing this
package stays cheap. No function shows a window or touches matplotlib's global state. Every function that
writes a file replaces it in one step, so that a killed process leaves the previous image or none, never
half of one.
"""

from pixelwise.palette import IGNORE_COLOR, Color, Palette, default_palette
from pixelwise.visualization.architecture import ModelStage, draw_architecture
from pixelwise.visualization.curves import plot_history
from pixelwise.visualization.gif import make_gif
from pixelwise.visualization.grid import overlay_grid, prediction_grid
from pixelwise.visualization.overlay import (
    color_mask,
    index_image,
    overlay,
    to_display_image,
)
from pixelwise.visualization.save import save_image

__all__ = [
    "IGNORE_COLOR",
    "Color",
    "ModelStage",
    "Palette",
    "color_mask",
    "default_palette",
    "draw_architecture",
    "index_image",
    "make_gif",
    "overlay",
    "overlay_grid",
    "plot_history",
    "prediction_grid",
    "save_image",
    "to_display_image",
]
