"""Scenes of one animal with its trimap: background, objects, shadow, and camera effects."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from pixelwise.data.demo.synthetic.figures import (
    FIGURES,
    KINDS,
    Floats,
    Part,
    Rng,
    deform,
    draw_figure,
    rotate,
    transform,
)
from pixelwise.data.demo.synthetic.painter import FUR_COLORS, bright_color, natural_color, noise, paint

Bytes = NDArray[np.uint8]

PET, BACKGROUND, BORDER = 1, 2, 3
"""The trimap values of Oxford-IIIT Pet."""

_MIN_PET_FRACTION = 0.03


def _paint_object(rng: Rng, image: Floats, coat: Floats, unit: float, center: tuple[float, float]) -> Floats:
    """Paint a ball, box, plant or similar object, often in the animal's color. Return its opacity, (H, W)."""
    color = [coat + rng.normal(0, 10), natural_color(rng), bright_color(rng)][rng.integers(3)]
    name, angle = str(rng.choice([name for name in FIGURES if name.startswith("object")])), rng.normal(0, 0.12)
    parts = [transform(part, unit, angle, np.array(center)) for part in deform(rng, draw_figure(rng, name, "object"))]
    return paint(rng, image, parts, color, unit, angle)


def _texture(rng: Rng, shape: tuple[int, int], first: Floats, floor: bool) -> Floats:
    """Return a texture in two colors for a wall, the sky or a floor, (H, W, 3) float32 in about [0, 255]."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    if floor:  # lines converge towards the horizon
        depth = 1 / (0.3 + y / shape[0])
        x, y = (x - shape[1] * rng.random()) * depth, 160 * depth
    angle, period = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]), rng.uniform(12, 70)
    across = np.broadcast_to(x * np.cos(angle) + y * np.sin(angle), shape).astype(np.float32)
    match rng.choice(["cloud", "stripes", "checks", "gradient", "blobs", "planks"]):
        case "cloud":
            field = noise(rng, shape, rng.uniform(15, 80), rng.uniform(1, 3), octaves=4) * 2.4 - 0.7
        case "stripes":
            bend = rng.choice([0, 12]) * noise(rng, shape, 60)
            field = np.sin((across + bend) * 2 * np.pi / period) * 3 + 0.5
        case "checks":
            field = (x // period + y // period) % 2
        case "gradient":
            field = across / (abs(across).max() + 1)
        case "blobs":
            field = (noise(rng, shape, rng.uniform(10, 40)) - rng.uniform(0.45, 0.65)) * 12
        case _:  # planks
            board = across // period
            field = board * 0.618 % 1 * 0.7 + 0.3 * noise(rng, shape, 4, 8)
            field -= 0.6 * (across / period - board < 0.05)
    second = first * rng.uniform(0.72, 1.25) if rng.random() < 0.6 else (first + natural_color(rng)) / 2
    grain = 1 + (noise(rng, shape, rng.uniform(1.5, 5), octaves=2) - 0.5) * rng.uniform(0.04, 0.22)
    mix = np.clip(field, 0, 1).astype(np.float32)[..., None]
    texture: Floats = (first.astype(np.float32) * (1 - mix) + second.astype(np.float32) * mix) * grain[..., None]
    return texture


def _draw_background(rng: Rng, width: int, height: int, coat: Floats) -> tuple[Floats, int]:
    """Return the scene behind the animal, (H, W, 3) float32 in about [0, 255], and the row of its horizon or 0."""

    def color() -> Floats:
        near = 0.75 * coat + 0.25 * coat.mean() + rng.normal(0, 14)  # a color with low contrast to the animal
        colors: list[Floats] = [near, natural_color(rng), bright_color(rng, 0.1, 0.45), bright_color(rng, 0.1, 0.35)]
        return colors[rng.integers(4)]

    horizon = int(height * rng.uniform(0.25, 0.7)) if rng.random() < 0.7 else 0
    grassy = rng.random() < 0.3
    green = np.array([122, 152, 74]) * rng.uniform(0.6, 1.15) + rng.normal(0, 14, 3)
    base, floor = (green, False) if grassy else (color(), horizon > 0)
    ground = _texture(rng, (height - horizon, width), base, floor)
    image = np.concatenate([_texture(rng, (horizon, width), color(), False), ground]) if horizon else ground
    if grassy:
        canvas = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(canvas)
        roots = rng.uniform((0, horizon), (width, height * 1.05), (350, 2))
        for x, y in roots[np.argsort(roots[:, 1])].tolist():
            shade = np.clip(green * rng.uniform(0.6, 1.35), 0, 255).astype(int).tolist()
            tip = (x + rng.normal(0, 3), y - 4 - 14 * (y - horizon) / (height - horizon))
            draw.line([(x, y), tip], fill=tuple(shade), width=int(rng.integers(1, 3)))
        image = np.asarray(canvas, np.float32).copy()
    return image, horizon


def _cast_shadow(image: Floats, body: Floats, unit: float) -> None:
    """Darken the ground under a body, in place.

    Args:
        image: (H, W, 3) float32 in about [0, 255].
        body: (N, 2) points x, y of its outlines in pixels.
        unit: length of one unit of the figure in pixels.
    """
    (left, _), (right, bottom) = body.min(0).tolist(), body.max(0).tolist()
    shadow = Image.new("L", image.shape[1::-1])
    ImageDraw.Draw(shadow).ellipse((left, bottom - unit * 0.22, right, bottom + unit * 0.06), fill=110)
    dark = np.asarray(shadow.filter(ImageFilter.GaussianBlur(unit * 0.07)), np.float32) / 255
    image *= 1 - dark[..., None]


def _simulate_camera(rng: Rng, scene: Floats) -> Bytes:
    """Apply exposure, tint, vignette, blur and noise. Return (H, W, 3) uint8."""
    height, width = scene.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 1 - rng.uniform(0, 0.22) * (x * x + y * y) + rng.uniform(-0.15, 0.15) * x
    tint = rng.uniform(0.8, 1.25) * rng.uniform(0.94, 1.06, 3)
    lit = scene * light[..., None].astype(np.float32) * tint.astype(np.float32)
    image = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.4)))
    speckle = rng.standard_normal((height, width, 1), np.float32) * rng.uniform(0, 5)
    return np.clip(np.asarray(image, np.float32) + speckle, 0, 255).astype(np.uint8)


def _make_trimap(opacity: Floats) -> Bytes:
    """Return the trimap (H, W) of a body from its opacity, (H, W) in [0, 1].

    The silhouette (opacity of at least 0.5) is blurred. Pixels inside it are pet if their blurred value is above 0.92.
    Pixels outside it are background if their blurred value is at most 0.08. All others are border. A blurred edge does
    not fall from 0.92 to 0.08 within one pixel, so the border always separates pet from background, also along an
    object in front. There is no border along an image edge that cuts the animal off.
    """
    inside = opacity >= 0.5
    blurred = Image.fromarray(inside.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(2.2))
    soft = np.asarray(blurred) / 255
    trimap = np.full(opacity.shape, BACKGROUND, np.uint8)
    trimap[inside | (soft > 0.08)] = BORDER
    trimap[inside & (soft > 0.92)] = PET
    return trimap


def _place_animal(rng: Rng, size: tuple[int, int], kind: str) -> tuple[list[Part], Floats, float, float, bool]:
    """Choose a pose, a size and a position at random.

    Args:
        rng: the random generator.
        size: (width, height) of the image in pixels.
        kind: a key of `KINDS`.

    Returns:
        The parts in pixel coordinates, the center (2,) as x, y in pixels, the length of a unit in pixels, the angle in
        radians, and True if the animal stands on the ground.
    """
    (width, height), short, uniform = size, min(size), rng.uniform
    pose, is_close_up = rng.choice(KINDS[kind]), rng.random() < 0.15
    unit, floating = short * (uniform(0.6, 0.85) if is_close_up else uniform(0.24, 0.5)), pose in ("fly", "swim")
    angle = rng.normal(0, 0.6 if rng.random() < 0.12 else 0.22 if floating else 0.08)
    parts = deform(rng, draw_figure(rng, pose, kind.lower()))
    # A close-up is centered on the dark parts, which are the eyes, the nose and the mouth.
    centered = np.concatenate([part.outline for part in parts if part.ink == "dark" or not is_close_up])
    middle = (centered.min(0) + centered.max(0)) / 2
    center = np.array([uniform(0.22, 0.78) * width, uniform(0.35, 0.7) * height])
    shift = center - rotate(middle * unit, angle)
    return [transform(part, unit, angle, shift) for part in parts], center, unit, angle, not floating


def draw_animal_scene(rng: Rng, size: tuple[int, int], kind: str) -> tuple[Bytes, Bytes]:
    """Draw one animal in a cluttered scene. A scene that shows too little of the animal is drawn again.

    Args:
        rng: the random generator.
        size: (width, height) in pixels.
        kind: a key of `KINDS`.

    Returns:
        The image, (height, width, 3) uint8 RGB, and its trimap, (height, width) uint8. The trimap has 1 for the pet, 2
        for the background, and 3 for the border between them. Objects in front of the animal are background.
    """
    (width, height), short, uniform = size, min(size), rng.uniform
    colorful = kind in ("Bird", "Fish") and rng.random() < 0.6
    coat = bright_color(rng) if colorful else natural_color(rng, FUR_COLORS)
    image, horizon = _draw_background(rng, width, height, coat)
    for _ in range(rng.integers(0, 5)):
        bottom, unit = uniform(max(horizon, height * 0.3), height * 1.1), short * uniform(0.12, 0.4)
        _paint_object(rng, image, coat, unit, (uniform(0, width), bottom - unit))
    parts, center, unit, angle, on_ground = _place_animal(rng, size, kind)
    if on_ground:
        _cast_shadow(image, np.concatenate([part.outline for part in parts]), unit)
    opacity = paint(rng, image, parts, coat, unit, angle)
    if rng.random() < 0.4:  # an object in front
        position = (center[0] + uniform(-1, 1) * unit, center[1] + uniform(0, 1) * unit)
        opacity = opacity * (1 - _paint_object(rng, image, coat, short * uniform(0.12, 0.3), position))
    trimap = _make_trimap(opacity)
    if (trimap == PET).mean() < _MIN_PET_FRACTION:  # the animal is hidden or outside the image
        return draw_animal_scene(rng, size, kind)
    return _simulate_camera(rng, image), trimap
