"""One animal in a cluttered scene: backdrop, things, shadow, camera, and the true trimap."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from pixelwise.data.demo.synthetic.figures import FIGURES, KINDS, Floats, Rng, figure, moved, turned, warped
from pixelwise.data.demo.synthetic.painter import FURS, bright, natural, noise, paint

Bytes = NDArray[np.uint8]


PET, BACKGROUND, BORDER = 1, 2, 3  # the official trimap values


def _paint_thing(rng: Rng, image: Floats, coat: Floats, unit: float, at: tuple[float, float]) -> Floats:
    """Paint a ball, box, plant or the like, often in the animal's own color; returns its cover."""
    color = [coat + rng.normal(0, 10), natural(rng), bright(rng)][rng.integers(3)]
    name, angle = str(rng.choice([name for name in FIGURES if name.startswith("thing")])), rng.normal(0, 0.12)
    parts = [moved(part, unit, angle, np.array(at)) for part in warped(rng, figure(rng, name, "thing"))]
    return paint(rng, image, parts, color, unit, angle)


def _texture(rng: Rng, shape: tuple[int, int], first: Floats, floor: bool) -> Floats:
    """A wall, a sky or a floor in two colors: (H, W, 3) float32."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    if floor:  # lines run together towards the horizon
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
    second = first * rng.uniform(0.72, 1.25) if rng.random() < 0.6 else (first + natural(rng)) / 2
    grain = 1 + (noise(rng, shape, rng.uniform(1.5, 5), octaves=2) - 0.5) * rng.uniform(0.04, 0.22)
    mix = np.clip(field, 0, 1).astype(np.float32)[..., None]
    texture: Floats = (first.astype(np.float32) * (1 - mix) + second.astype(np.float32) * mix) * grain[..., None]
    return texture


def _backdrop(rng: Rng, width: int, height: int, coat: Floats) -> tuple[Floats, int]:
    """The scene behind the animal, (H, W, 3) float32 in [0, 255], and the row of its horizon."""

    def color() -> Floats:
        near = 0.75 * coat + 0.25 * coat.mean() + rng.normal(0, 14)  # the animal hardly stands out from it
        choices: list[Floats] = [near, natural(rng), bright(rng, 0.1, 0.45), bright(rng, 0.1, 0.35)]
        return choices[rng.integers(4)]

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
    """Darken the ground under a standing body, (N, 2) points, in place."""
    (left, _), (right, bottom) = body.min(0).tolist(), body.max(0).tolist()
    shadow = Image.new("L", image.shape[1::-1])
    ImageDraw.Draw(shadow).ellipse((left, bottom - unit * 0.22, right, bottom + unit * 0.06), fill=110)
    dark = np.asarray(shadow.filter(ImageFilter.GaussianBlur(unit * 0.07)), np.float32) / 255
    image *= 1 - dark[..., None]


def _simulate_camera(rng: Rng, scene: Floats) -> Bytes:
    """What a camera does: exposure, tint, vignette, blur and noise. Returns (H, W, 3) uint8."""
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


def _trimap(cover: Floats) -> Bytes:
    """The official values, (H, W) uint8, for a body's cover, (H, W) in [0, 1].

    The band is where the blurred silhouette is neither full nor empty. A blurred edge never falls from 0.92
    to 0.08 within one pixel, so the band always parts pet from background, also along an occluder; where the
    image itself cuts the animal off there is no band.
    """
    inside = cover >= 0.5
    blurred = Image.fromarray(inside.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(2.2))
    soft = np.asarray(blurred) / 255
    trimap = np.full(cover.shape, BACKGROUND, np.uint8)
    trimap[inside | (soft > 0.08)] = BORDER
    trimap[inside & (soft > 0.92)] = PET
    return trimap


def draw_animal_scene(rng: Rng, size: tuple[int, int], kind: str) -> tuple[Bytes, Bytes]:
    """Draw one animal of a kind in KINDS somewhere in a cluttered scene of `size` = (width, height) pixels.

    Returns the image, (height, width, 3) uint8 RGB in [0, 255], and its trimap, (height, width) uint8:
    1 = pet, 2 = background, 3 = the border band between them. Things in front of the animal are background.
    """
    (width, height), short, u = size, min(size), rng.uniform
    coat = bright(rng) if kind in ("Bird", "Fish") and rng.random() < 0.6 else natural(rng, FURS)
    image, horizon = _backdrop(rng, width, height, coat)
    for _ in range(rng.integers(0, 5)):
        foot, thing = u(max(horizon, height * 0.3), height * 1.1), short * u(0.12, 0.4)
        _paint_thing(rng, image, coat, thing, (u(0, width), foot - thing))
    pose, close = rng.choice(KINDS[kind]), rng.random() < 0.15
    unit, floating = short * (u(0.6, 0.85) if close else u(0.24, 0.5)), pose in ("fly", "swim")
    angle = rng.normal(0, 0.6 if rng.random() < 0.12 else 0.22 if floating else 0.08)
    parts = warped(rng, figure(rng, pose, kind.lower()))
    anchor = [p.outline for p in parts if p.ink == "dark" or not close]  # a close-up is about the eyes
    middle = (np.concatenate(anchor).min(0) + np.concatenate(anchor).max(0)) / 2
    at = np.array([u(0.22, 0.78) * width, u(0.35, 0.7) * height])
    placed = [moved(part, unit, angle, at - turned(middle * unit, angle)) for part in parts]
    if not floating:
        _cast_shadow(image, np.concatenate([part.outline for part in placed]), unit)
    cover = paint(rng, image, placed, coat, unit, angle)
    if rng.random() < 0.4:  # something stands in front
        spot = (at[0] + u(-1, 1) * unit, at[1] + u(0, 1) * unit)
        cover = cover * (1 - _paint_thing(rng, image, coat, short * u(0.12, 0.3), spot))
    trimap = _trimap(cover)
    if (trimap == PET).mean() < 0.03:  # hidden or out of frame: nothing to learn from
        return draw_animal_scene(rng, size, kind)
    return _simulate_camera(rng, image), trimap
