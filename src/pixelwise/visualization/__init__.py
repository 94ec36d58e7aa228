"""All pictures of the project: class colours, overlays, sheets of samples, plots, diagrams, animations.

matplotlib is imported only by the functions that plot or letter, when they are called: importing this
package stays cheap. No function shows a window or touches matplotlib's global state. Every function that
writes a file replaces it in one step, so that a killed process leaves the previous picture or none, never
half of one.
"""

from pixelwise.palette import IGNORE_COLOUR, Colour, Palette, default_palette
from pixelwise.visualization.architecture import Step, draw_architecture
from pixelwise.visualization.curves import plot_history
from pixelwise.visualization.gif import animate
from pixelwise.visualization.grid import photo_sheet, sample_sheet
from pixelwise.visualization.overlay import all_as_shown, as_shown, colour_mask, index_image, overlay, photo_as_shown
from pixelwise.visualization.save import save_picture

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
