"""Painting of animals and objects. Both have the same colors, patterns, shading and fur."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pixelwise.data.demo.synthetic.figures import Floats, Part, Rng

SUPERSAMPLE = 3
"""Factor by which outlines are drawn larger. They are then averaged down, for smooth edges."""

FUR_COLORS = 9
"""Number of colors at the start of `NATURAL_COLORS` that are also colors of fur."""

# Colors of wood, sand, stone and leaves. Floors and furniture have the colors of fur, so that color alone does not
# separate them from animals.
NATURAL_COLORS = np.array(
    [(52, 48, 52), (92, 90, 98), (150, 148, 152), (238, 232, 222), (222, 142, 70), (232, 196, 140),
     (122, 82, 56), (176, 122, 82), (206, 176, 138), (96, 110, 74), (132, 152, 92), (150, 176, 196)],
    float)  # fmt: skip


def noise(rng: Rng, shape: tuple[int, int], cell: float, stretch: float = 1, octaves: int = 1) -> Floats:
    """Return value noise: random values on a grid, interpolated smoothly.

    Args:
        rng: the random generator.
        shape: (H, W).
        cell: height of its features in pixels.
        stretch: width of its features divided by their height.
        octaves: number of layers. Each has half the feature size and half the amplitude of the previous one.

    Returns:
        (H, W) float32 in about [0, 1].
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows, columns = (max(1, round(n / cell * 2**octave)) + 2 for n in (shape[0], shape[1] / stretch))
        grid = Image.fromarray(rng.random((rows, columns), np.float32))
        box = (0.5, 0.5, columns - 0.5, rows - 0.5)
        total += np.asarray(grid.resize(shape[::-1], Image.Resampling.BICUBIC, box)) * 0.5**octave
    scaled: Floats = total / (2 - 0.5 ** (octaves - 1))
    return scaled


def natural_color(rng: Rng, count: int = len(NATURAL_COLORS)) -> Floats:
    """Return a random color near one of the first colors of `NATURAL_COLORS`.

    Args:
        rng: the random generator.
        count: number of colors to choose from.

    Returns:
        (3,) red, green, blue in about [0, 255].
    """
    color: Floats = NATURAL_COLORS[rng.integers(count)] + rng.normal(0, 10) + rng.normal(0, 6, 3)
    return color


def bright_color(rng: Rng, low: float = 0.35, high: float = 0.75) -> Floats:
    """Return a random color of any hue.

    Args:
        rng: the random generator.
        low: minimum saturation, in [0, 1].
        high: maximum saturation, in [0, 1].

    Returns:
        (3,) red, green, blue in [0, 255].
    """
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(low, high), rng.uniform(0.55, 1))) * 255


def _inks(rng: Rng, coat: Floats) -> dict[str, Floats]:
    """Return ink name → color, (3,) in [12, 250], of one animal or object. "pattern" colors its spots or stripes."""
    lighter = coat.mean() < 110 and rng.random() < 0.7
    pattern = coat * 0.5 + 125 if lighter else coat * rng.uniform(0.35, 0.65)
    pale = coat + (np.array([250, 244, 236]) - coat) * rng.choice([0.25, 0.6, 0.9])
    iris = np.array([(146, 180, 74), (224, 172, 56), (104, 166, 206)])[rng.integers(3)]
    inks = {"coat": coat, "far": coat * 0.72, "pattern": pattern, "pale": pale, "iris": iris}
    inks["sock"] = pale if rng.random() < 0.5 else coat
    inks["second"] = coat * 0.8 if rng.random() < 0.5 else pattern
    fixed = {"pink": (214, 142, 138), "beak": (214, 144, 48), "dark": (38, 32, 36), "white": (250, 248, 244)}
    inks |= {name: np.array(ink) for name, ink in (fixed | {"whisker": (246, 244, 240)}).items()}
    return {name: np.clip(ink, 12, 250).astype(np.float32) for name, ink in inks.items()}


def _coat_pattern(rng: Rng, shape: tuple[int, int], unit: float, angle: float) -> Floats:
    """Return the opacity of the color of a random pattern, (H, W) in [0, 1]: plain, patches, spots or stripes."""
    style = rng.choice(["plain", "patches", "spots", "stripes"])
    if style == "plain":
        return np.zeros(shape, np.float32)
    if style == "stripes":
        y, x = np.ogrid[: shape[0], : shape[1]]
        along = (x * np.cos(angle) + y * np.sin(angle)) / unit + 0.35 * noise(rng, shape, unit * 0.3)
        field = np.sin(along * 2 * np.pi / rng.uniform(0.16, 0.34)) * 4 - rng.uniform(0, 2.5)
    else:
        cell, threshold = (0.55, 0.56) if style == "patches" else (rng.uniform(0.1, 0.2), 0.62)
        field = (noise(rng, shape, max(3, unit * cell)) - threshold) * 14
    pattern: Floats = np.clip(field, 0, 1).astype(np.float32)
    return pattern


def _corners(points: Floats) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points.tolist()]


def _ruffle(rng: Rng, outline: Floats, tuft: float) -> Floats:
    """Add tufts of fur, about `tuft` pixels long, to an outline, (N, 2)."""
    closed = np.concatenate([outline, outline[:1]])
    distances = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    sampled = np.arange(0, distances[-1], max(1.0, tuft * 0.7))
    points = np.stack([np.interp(sampled, distances, closed[:, axis]) for axis in (0, 1)], 1)
    return points + rng.normal(0, tuft * 0.35, points.shape)


def paint(rng: Rng, image: Floats, parts: list[Part], coat: Floats, unit: float, angle: float) -> Floats:
    """Paint parts onto an image, in place.

    Args:
        rng: the random generator.
        image: (H, W, 3) float32 in [0, 255].
        parts: the parts of the figure, in pixel coordinates.
        coat: (3,) the main color, in [0, 255].
        unit: length of one unit of the figure in pixels.
        angle: rotation of the figure in radians, for the direction of stripes.

    Returns:
        The opacity of the body, (H, W) float32 in [0, 1]. Whiskers are painted but do not belong to the body.
    """
    inks, limits = _inks(rng, coat), np.array(image.shape[1::-1])
    points = np.concatenate([part.outline for part in parts])
    corner = np.clip(points.min(0).astype(int) - 3, 0, limits - 1)  # paint only the window around the parts
    width, height = (np.clip(points.max(0).astype(int) + 4, corner + 1, limits) - corner).tolist()
    names, big = ("cover", "body", "fur"), (width * SUPERSAMPLE, height * SUPERSAMPLE)
    layers = {name: Image.new("L", big) for name in names} | {"color": Image.new("RGB", big)}
    layers["tone"] = Image.new("L", (width, height), 120)
    draw = {name: ImageDraw.Draw(layer) for name, layer in layers.items()}
    tuft = unit * SUPERSAMPLE * rng.choice([0.0, 0.03, 0.06])
    for part in parts:
        outline = (part.outline - corner) * SUPERSAMPLE
        ruffle = tuft and part.ink in ("coat", "far", "pale") and part.core is not None
        corners = _corners(_ruffle(rng, outline, tuft) if ruffle else outline)
        draw["color"].polygon(corners, fill=tuple(inks[part.ink].astype(int).tolist()))
        draw["cover"].polygon(corners, fill=255)
        draw["fur"].polygon(corners, fill=255 if part.ink in ("coat", "far", "second") else 0)
        if part.ink != "whisker":
            draw["body"].polygon(corners, fill=255)
        if part.core is not None:  # the light comes from above
            draw["tone"].polygon(_corners(part.outline - corner), fill=128)
            draw["tone"].polygon(_corners(part.core - corner - (0.02 * unit, 0.04 * unit)), fill=212)
    cover, body, fur = (np.asarray(layers[name].reduce(SUPERSAMPLE), np.float32) / 255 for name in names)
    shade = np.asarray(layers["tone"].filter(ImageFilter.GaussianBlur(unit * 0.045)), np.float32) / 255
    tone = 0.62 + 0.62 * shade - 0.12 * np.linspace(-0.5, 1, height, dtype=np.float32)[:, None]
    grain = noise(rng, (height, width), 1.6, float(rng.choice([0.5, 1, 3]))) - 0.5
    tone *= 1 + (0.04 + (0.16 if tuft else 0) * fur) * grain
    # The layer is black outside the outline. Remove the black from the averaged edge pixels.
    color = np.asarray(layers["color"].reduce(SUPERSAMPLE), np.float32) / np.maximum(cover, 0.01)[..., None]
    color += (inks["pattern"] - color) * (_coat_pattern(rng, (height, width), unit, angle) * fur)[..., None]
    window = (slice(corner[1], corner[1] + height), slice(corner[0], corner[0] + width))
    image[window] += (color * tone[..., None] - image[window]) * cover[..., None]
    opacity = np.zeros(image.shape[:2], np.float32)
    opacity[window] = body
    return opacity
