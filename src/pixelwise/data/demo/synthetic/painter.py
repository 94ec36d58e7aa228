"""The one painter through which animals and things pass: coats, shading, fur."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pixelwise.data.demo.synthetic.figures import Floats, Part, Rng

SUPERSAMPLE = 3  # outlines are drawn this much larger and averaged down, for smooth edges


FURS = 9  # the first colors of NATURAL are also fur


NATURAL = np.array(  # wood, sand, stone, leaves: floors and furniture share the colors of fur on purpose
    [(52, 48, 52), (92, 90, 98), (150, 148, 152), (238, 232, 222), (222, 142, 70), (232, 196, 140),
     (122, 82, 56), (176, 122, 82), (206, 176, 138), (96, 110, 74), (132, 152, 92), (150, 176, 196)],
    float)  # fmt: skip


def noise(rng: Rng, shape: tuple[int, int], cell: float, stretch: float = 1, octaves: int = 1) -> Floats:
    """Value noise, (H, W) float32 in about [0, 1]; its features are `cell` high, `stretch` times as wide."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows, columns = (max(1, round(n / cell * 2**octave)) + 2 for n in (shape[0], shape[1] / stretch))
        grid = Image.fromarray(rng.random((rows, columns), np.float32))
        box = (0.5, 0.5, columns - 0.5, rows - 0.5)
        total += np.asarray(grid.resize(shape[::-1], Image.Resampling.BICUBIC, box)) * 0.5**octave
    scaled: Floats = total / (2 - 0.5 ** (octaves - 1))
    return scaled


def natural(rng: Rng, count: int = len(NATURAL)) -> Floats:
    """A color near one of the first `count` in NATURAL, (3,) on the scale 0..255."""
    color: Floats = NATURAL[rng.integers(count)] + rng.normal(0, 10) + rng.normal(0, 6, 3)
    return color


def bright(rng: Rng, low: float = 0.35, high: float = 0.75) -> Floats:
    """A color of any hue, of a saturation between `low` and `high`, (3,) on the scale 0..255."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(low, high), rng.uniform(0.55, 1))) * 255


def _inks(rng: Rng, coat: Floats) -> dict[str, Floats]:
    """The colors of one animal or thing, (3,) each; `pattern` is that of its spots or stripes."""
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


def _marks(rng: Rng, shape: tuple[int, int], unit: float, angle: float) -> Floats:
    """Where a coat shows its second color: (H, W) in [0, 1]; plain, patches, spots or stripes."""
    style = rng.choice(["plain", "patches", "spots", "stripes"])
    if style == "plain":
        return np.zeros(shape, np.float32)
    if style == "stripes":
        y, x = np.ogrid[: shape[0], : shape[1]]
        along = (x * np.cos(angle) + y * np.sin(angle)) / unit + 0.35 * noise(rng, shape, unit * 0.3)
        field = np.sin(along * 2 * np.pi / rng.uniform(0.16, 0.34)) * 4 - rng.uniform(0, 2.5)
    else:
        cell, level = (0.55, 0.56) if style == "patches" else (rng.uniform(0.1, 0.2), 0.62)
        field = (noise(rng, shape, max(3, unit * cell)) - level) * 14
    marks: Floats = np.clip(field, 0, 1).astype(np.float32)
    return marks


def _corners(points: Floats) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points.tolist()]


def _ruffled(rng: Rng, outline: Floats, tuft: float) -> Floats:
    """The outline with tufts of fur about `tuft` pixels long."""
    closed = np.concatenate([outline, outline[:1]])
    place = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.arange(0, place[-1], max(1.0, tuft * 0.7))
    points = np.stack([np.interp(at, place, closed[:, axis]) for axis in (0, 1)], 1)
    return points + rng.normal(0, tuft * 0.35, points.shape)


def paint(rng: Rng, image: Floats, parts: list[Part], coat: Floats, unit: float, angle: float) -> Floats:
    """Paint the placed parts onto the image, (H, W, 3) float32 in [0, 255], in place.

    `unit` is the length of one drawing unit in pixels. Returns the body's cover, (H, W) float32 in [0, 1];
    whiskers are painted, but are no part of the body.
    """
    inks, limits = _inks(rng, coat), np.array(image.shape[1::-1])
    points = np.concatenate([part.outline for part in parts])
    corner = np.clip(points.min(0).astype(int) - 3, 0, limits - 1)  # work in the parts' own window only
    width, height = (np.clip(points.max(0).astype(int) + 4, corner + 1, limits) - corner).tolist()
    names, big = ("cover", "body", "fur"), (width * SUPERSAMPLE, height * SUPERSAMPLE)
    layers = {name: Image.new("L", big) for name in names} | {"color": Image.new("RGB", big)}
    layers["tone"] = Image.new("L", (width, height), 120)
    draw = {name: ImageDraw.Draw(layer) for name, layer in layers.items()}
    tuft = unit * SUPERSAMPLE * rng.choice([0.0, 0.03, 0.06])
    for part in parts:
        outline = (part.outline - corner) * SUPERSAMPLE
        ruffle = tuft and part.ink in ("coat", "far", "pale") and part.core is not None
        corners = _corners(_ruffled(rng, outline, tuft) if ruffle else outline)
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
    # The canvas is black outside the outline: undo its share in the averaged edge pixels.
    color = np.asarray(layers["color"].reduce(SUPERSAMPLE), np.float32) / np.maximum(cover, 0.01)[..., None]
    color += (inks["pattern"] - color) * (_marks(rng, (height, width), unit, angle) * fur)[..., None]
    window = (slice(corner[1], corner[1] + height), slice(corner[0], corner[0] + width))
    image[window] += (color * tone[..., None] - image[window]) * cover[..., None]
    whole = np.zeros(image.shape[:2], np.float32)
    whole[window] = body
    return whole
