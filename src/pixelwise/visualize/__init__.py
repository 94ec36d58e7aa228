"""All pictures of the project: class colours, overlays, sheets of samples, plots, diagrams, animations.

matplotlib is imported only by the functions that plot or letter, when they are called: importing this
package stays cheap. No function shows a window or touches matplotlib's global state. Every function that
writes a file replaces it in one step, so that a killed process leaves the previous picture or none, never
half of one.
"""

from pixelwise.visualize.animation import animate
from pixelwise.visualize.architecture import Step, draw_architecture
from pixelwise.visualize.colours import (
    IGNORE_COLOUR,
    Colour,
    Palette,
    all_as_shown,
    as_shown,
    colour_mask,
    default_palette,
    index_image,
    overlay,
    photo_as_shown,
)
from pixelwise.visualize.history import plot_history
from pixelwise.visualize.saving import save_picture
from pixelwise.visualize.sheets import photo_sheet, sample_sheet

__all__ = [
    "IGNORE_COLOUR",
    "Colour",
    "Palette",
    "Step",
    "all_as_shown",
    "animate",
    "as_shown",
    "colour_mask",
    "default_palette",
    "draw_architecture",
    "index_image",
    "overlay",
    "photo_as_shown",
    "photo_sheet",
    "plot_history",
    "sample_sheet",
    "save_picture",
]
