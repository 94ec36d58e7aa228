"""A drawn stand-in for Oxford-IIIT Pet: cartoon animals on busy backgrounds, for machines without a network.

Animals and the things around them pass through one painter with the same palettes, coats and shading, so
neither colour nor texture tells them apart: a model has to learn shapes.
"""

from __future__ import annotations

import colorsys
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Floats = NDArray[np.floating]
Bytes = NDArray[np.uint8]
Rng = np.random.Generator

SUPERSAMPLE = 3  # outlines are drawn this much larger and averaged down, for smooth edges
PET, BACKGROUND, BORDER = 1, 2, 3  # the official trimap values
FURS = 9  # the first colours of NATURAL are also fur
NATURAL = np.array(  # wood, sand, stone, leaves: floors and furniture share the colours of fur on purpose
    [(52, 48, 52), (92, 90, 98), (150, 148, 152), (238, 232, 222), (222, 142, 70), (232, 196, 140),
     (122, 82, 56), (176, 122, 82), (206, 176, 138), (96, 110, 74), (132, 152, 92), (150, 176, 196)],
    float)  # fmt: skip

# The poses of each kind; Cat and Dog come first because 1 and 2 are their official species numbers.
KINDS = {
    "Cat": ("stand", "sit", "lie"),
    "Dog": ("stand", "sit", "lie"),
    "Bird": ("perch", "fly"),
    "Fish": ("swim",),
    "Rabbit": ("sit", "lie"),
}
# A figure is a list of parts, later ones on top, about two units tall, x to the right, y down:
#   ink oval x y rx ry [turn];  ink blob x,y ... (a smooth closed curve);  ink half x,y ... (its right half);
#   ink limb widths : x,y ... (a stroke along a curve);
#   use NAME x y scale (insert a figure, the kind's own if it has one; a negative scale looks the other way)
# Marks before the ink: "." flat, not shaded; "&" on both sides; "?" in half of the drawings; "@" turns
# with the look. A box has every corner twice, so that the curve keeps it sharp.
FIGURES = {
    "cat head": """
        &coat blob .16,-.72 .5,-1.08 .9,-1.4 .98,-.85 .9,-.2 ;
        .&pink blob .36,-.68 .55,-.82 .8,-1.12 .82,-.75 .77,-.4 ;
        coat half 0,-.84 .56,-.74 .98,-.12 1.04,.24 .62,.68 0,.8 ; .&@dark oval .44 -.1 .27 .255 ;
        .&@iris oval .44 -.1 .24 .22 ; .&@dark oval .44 -.1 .1 .2 ; .@white oval .51 -.2 .07 .07 ;
        .@white oval -.37 -.2 .07 .07 ; use snout 0 0 1""",
    "rabbit head": """
        &coat limb .2,.31,.25,.1 : .34,-.5 .4,-1.3 .56,-2.05 ;
        &pink limb .08,.17,.13,.03 : .34,-.5 .4,-1.3 .54,-1.9 ;
        coat half 0,-.8 .46,-.68 .74,-.1 .86,.34 .5,.76 0,.84 ; .&@dark oval .44 -.14 .17 .19 ;
        .@white oval .49 -.21 .05 .05 ; .@white oval -.39 -.21 .05 .05 ; .@white oval 0 .62 .09 .14 ;
        use snout 0 0 1""",
    "snout": """
        &@pale oval .19 .4 .26 .2 ; .@pink blob -.13,.18 .13,.18 0,.32 ;
        .&@dark limb .028,.028 : 0,.3 .08,.46 .26,.46 ;
        .&@whisker limb .016,.008 : .3,.31 .8,.18 1.25,.16 ;
        .&@whisker limb .016,.008 : .3,.38 .8,.32 1.25,.38 ;
        .&@whisker limb .016,.008 : .3,.45 .8,.46 1.25,.6""",
    "dog head lop": """
        use muzzle 0 0 1 ; &second blob .4,-.86 .82,-.8 1.08,-.3 1.15,.3 .95,.56 .72,.1 .66,-.4""",
    "dog head pointed": """
        &coat blob .1,-.75 .42,-1.1 .74,-1.5 .86,-.95 .8,-.3 ;
        .&pink blob .3,-.75 .5,-.95 .68,-1.22 .73,-.85 .68,-.5 ; use muzzle 0 0 1""",
    "muzzle": """
        coat half 0,-.92 .5,-.84 .82,-.3 .72,.3 .52,.82 0,1.02 ; .@?pale oval 0 .1 .16 .85 ;
        .&@dark oval .36 -.2 .145 .16 ; .@white oval .41 -.26 .045 .045 ;
        .@white oval -.31 -.26 .045 .045 ; @?pink oval .04 .94 .17 .27 ; @pale oval 0 .5 .46 .42 ;
        .@dark limb .028,.028 : 0,.4 0,.7 ; .&@dark limb .028,.028 : 0,.7 .1,.76 .26,.66 ;
        .@dark oval 0 .3 .21 .15 ; .@white oval -.05 .25 .06 .03""",
    "cat tail": "coat limb .06,.08,.07,.04 : -.1,0 .3,-.05 .5,-.4 .55,-.85",
    "dog tail": "coat limb .09,.11,.1,.05 : -.1,0 .25,-.1 .42,-.4 .4,-.65",
    "dog tail long": "coat limb .06,.09,.1,.04 : -.1,0 .25,.0 .5,-.2 .75,-.6",
    "rabbit tail": "pale oval .02 0 .16 .15",
    "stand": """
        far limb .19,.105,.085 : -.34,-.02 -.4,.36 -.42,.7 ; far oval -.37 .73 .13 .075 ;
        far limb .19,.105,.085 : .52,-.02 .56,.36 .66,.68 ; far oval .71 .71 .13 .075 ;
        use tail -.62 -.12 -1 ;
        coat blob -.66,-.2 -.2,-.27 .3,-.26 .66,-.34 .76,0 .5,.25 0,.22 -.4,.22 -.72,.12 ;
        coat limb .19,.105,.085 : -.5,-.02 -.56,.4 -.58,.76 ; sock oval -.54 .79 .13 .075 ;
        coat limb .19,.105,.085 : .4,-.02 .37,.4 .36,.76 ; sock oval .41 .79 .13 .075 ;
        coat limb .26,.24,.2 : .42,-.02 .62,-.3 .74,-.55 ; use head .78 -.66 .38""",
    "sit": """
        use tail .36 .5 1 ; coat half 0,-.62 .27,-.5 .36,-.1 .47,.35 .42,.62 0,.66 ;
        &coat oval .4 .42 .22 .29 ; &coat oval .45 .67 .19 .09 ; ?pale oval 0 -.24 .2 .25 ;
        &coat limb .13,.1,.09 : .19,0 .16,.36 .15,.66 ; &sock oval .155 .69 .12 .085 ;
        use head 0 -.72 .39""",
    "lie": """
        use tail -.78 .24 -1 ; coat blob -.86,.2 -.68,-.2 -.1,-.32 .5,-.22 .76,.12 .66,.4 0,.42 -.7,.42 ;
        coat oval -.46 .14 .34 .29 -.3 ; coat oval -.3 .4 .24 .085 ;
        coat limb .12,.1,.09 : .4,.3 .75,.32 .98,.3 ; sock oval 1 .3 .12 .09 ;
        coat limb .12,.1,.09 : .4,.38 .75,.4 .98,.38 ; sock oval 1 .38 .12 .09 ; use head .58 -.3 .39""",
    "perch": """
        far limb .12,.11,.08 : -.4,.1 -.8,.2 -1.25,.3 ; second limb .12,.11,.08 : -.4,.1 -.8,.15 -1.2,.2 ;
        beak limb .035,.03 : -.05,.3 .03,.78 ; beak limb .035,.03 : .16,.3 .24,.78 ;
        &beak limb .03,.02 : .03,.78 .13,.84 ; beak limb .03,.02 : .24,.78 .38,.84 ; use plumage 0 0 1 ;
        second blob .34,-.16 .1,.26 -.3,.24 -.72,.22 -.2,-.1 ;
        second blob .28,-.1 .1,.24 -.36,.24 -.7,.24 -.2,-.02 ;
        second blob .22,-.03 .08,.22 -.42,.24 -.68,.26 -.2,.06""",
    "fly": """
        far limb .12,.11,.06 : -.4,.1 -.8,.1 -1.2,.05 ; second limb .12,.11,.06 : -.4,.1 -.8,.2 -1.2,.28 ;
        use wing .38 .02 .85 ; use plumage 0 0 1 ; use wing 0 0 1""",
    "wing": """
        second limb .1,.12,.07 : .05,-.1 -.25,-.04 -.55,.1 ;
        second limb .1,.12,.07 : .04,-.24 -.27,-.2 -.58,-.1 ;
        second limb .1,.12,.07 : .04,-.4 -.28,-.38 -.6,-.32 ;
        second limb .1,.12,.07 : .02,-.56 -.29,-.58 -.62,-.54 ;
        second limb .1,.12,.07 : -.04,-.72 -.34,-.76 -.66,-.76 ;
        second limb .1,.12,.07 : -.12,-.88 -.42,-.94 -.74,-.98 ;
        second limb .1,.12,.07 : -.22,-1.02 -.5,-1.12 -.8,-1.22 ;
        second limb .2,.17,.12,.07 : .08,-.1 .02,-.5 -.24,-1.05""",
    "plumage": """
        coat blob -.62,.12 -.2,-.22 .25,-.36 .56,-.3 .6,.05 .3,.38 -.15,.36 ;
        pale blob .5,-.1 .52,.12 .26,.34 -.1,.32 .2,.16 ;
        ?second limb .08,.06,.02 : .4,-.6 .26,-.85 .06,-.92 ; beak blob .66,-.52 .96,-.43 .68,-.4 ;
        beak blob .66,-.42 .9,-.36 .64,-.32 ; coat oval .48 -.44 .27 .26 ; pale oval .52 -.34 .16 .11 ;
        .white oval .55 -.49 .075 .075 ; .dark oval .56 -.49 .055 .058 ; .white oval .575 -.51 .018 .018""",
    "swim": """
        second blob -.6,0 -.9,-.35 -1.2,-.45 -1.02,0 -1.2,.45 -.9,.35 ;
        second blob .35,-.38 0,-.7 -.45,-.58 -.4,-.15 .1,-.3 ;
        second blob .05,.4 -.2,.68 -.42,.58 -.3,.25 ;
        coat blob .86,.02 .6,-.33 .1,-.48 -.4,-.27 -.72,-.1 -.72,.1 -.4,.27 .1,.48 .6,.34 ;
        pale blob .7,.22 .35,.38 -.1,.41 -.5,.16 .1,.24 ; .far limb .02,.03,.02 : .34,-.32 .24,0 .36,.32 ;
        second blob .2,.08 0,-.04 -.26,.14 -.2,.3 .04,.24 ;
        .dark limb .016,.012 : .85,.08 .74,.12 .66,.1 ; .white oval .54 -.13 .115 .115 ;
        .dark oval .56 -.13 .07 .075 ; .white oval .59 -.16 .025 .025""",
    "thing ball": "coat oval 0 .4 .6 .6 ; second limb .05,.14,.05 : -.55,.5 0,.3 .55,.3",
    "thing box": """
        second blob -.7,.2 -.7,.2 .7,.2 .7,.2 1,-.05 1,-.05 -.4,-.05 -.4,-.05 ;
        far blob .7,.2 .7,.2 1,-.05 1,-.05 1,.7 1,.7 .7,1 .7,1 ;
        coat blob -.7,.2 -.7,.2 .7,.2 .7,.2 .7,1 .7,1 -.7,1 -.7,1""",
    "thing plant": """
        coat limb .04,.15,.02 : 0,.5 -.1,-.3 -.3,-.9 ; far limb .04,.18,.02 : 0,.5 -.3,-.2 -.9,-.3 ;
        ?coat limb .04,.2,.02 : 0,.5 .1,-.3 .2,-1 ; far limb .04,.13,.02 : 0,.5 .3,0 .9,-.1 ;
        coat limb .04,.16,.02 : 0,.5 .3,-.3 .7,-.7 ; second blob -.42,.4 .42,.4 .32,1 -.32,1""",
    "thing post": "coat limb .15,.15 : 0,1 .05,0 0,-3",
    "thing cushion": "coat blob -1,.1 -.5,0 0,.05 .5,0 1,.1 .9,.5 1,.95 0,1 -1,.95 -.9,.5",
    "thing bush": """
        far oval -.4 .1 .45 .4 ; ?second oval .3 -.1 .4 .36 ; &coat oval .5 .5 .45 .4 ;
        far oval 0 .2 .45 .4 ; coat oval -.2 .6 .5 .36 ; ?second oval .3 .7 .4 .3""",
    "thing stone": "coat blob -.9,.9 -.8,.4 -.3,.1 .3,.2 .8,.3 .9,.8 .4,1 -.4,1",
}


class Part(NamedTuple):
    """One closed outline; `core` is the lit inside of a rounded part, None if it is flat (an eye)."""

    ink: str
    outline: Floats  # (N, 2) x, y
    core: Floats | None = None


def _spline(points: Floats, closed: bool) -> Floats:
    """Catmull-Rom curve through (N, 2) points, eight steps between two of them."""
    padded = np.concatenate(
        [points[-1:], points, points[:2]] if closed else [points[:1], points, points[-1:]]
    )
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = (np.arange(8) / 8)[None, :, None]
    square, cube = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2, (3 * p1 - p0 - 3 * p2 + p3) * t**3
    curve = (p1 + ((p2 - p0) * t + square + cube) / 2).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


def _limb(path: Floats, widths: Floats) -> Floats:
    """The outline, with a round end, of a stroke along `path` whose half-width goes through `widths`."""
    width = np.interp(np.linspace(0, 1, len(path)), np.linspace(0, 1, len(widths)), widths)[:, None]
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = along[:, ::-1] * (-1, 1)
    bend = np.linspace(0.4, np.pi - 0.4, 6)[:, None]
    cap = path[-1] + (np.cos(bend) * across[-1] + np.sin(bend) * along[-1]) * width[-1]
    return np.concatenate([path + across * width, cap, (path - across * width)[::-1]])


def _shape(shape: str, numbers: str) -> tuple[Floats, Floats]:
    """Outline and core of one line of FIGURES."""
    values = np.array(re.findall(r"[-.\d]+", numbers), float)
    if shape == "limb":
        count = len(re.findall(r"[-.\d]+", numbers.split(":")[0]))
        path = _spline(values[count:].reshape(-1, 2), closed=False)
        return _limb(path, values[:count]), _limb(path, values[:count] / 2)
    if shape == "oval":
        turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
        outline = _turned(np.stack([np.cos(turn), np.sin(turn)], 1) * values[2:4], *values[4:]) + values[:2]
    else:
        points = values.reshape(-1, 2)
        outline = _spline(
            np.concatenate([points, points[::-1] * (-1, 1)]) if shape == "half" else points, closed=True
        )
    centre = outline.mean(0)
    return outline, centre + (outline - centre) * 0.66


def _turned(points: Floats, angle: float = 0.0) -> Floats:
    turned: Floats = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return turned


def _moved(part: Part, scale: float | Floats, angle: float, shift: Floats) -> Part:
    core = None if part.core is None else _turned(part.core * scale, angle) + shift
    return Part(part.ink, _turned(part.outline * scale, angle) + shift, core)


def _figure(rng: Rng, name: str, kind: str) -> list[Part]:
    """The parts of a figure in FIGURES, in its own units; optional parts and the look are drawn by lot."""
    parts: list[Part] = []
    look = np.array([rng.uniform(-0.16, 0.16), rng.uniform(-0.06, 0.06)])
    for entry in FIGURES[name].split(";"):
        first, shape, numbers = entry.split(maxsplit=2)
        if first == "use":
            choices = [n for n in FIGURES if n.startswith(f"{kind} {shape}")] or [shape]
            x, y, scale = map(float, numbers.split())
            tilt = rng.uniform(-0.25, 0.25) if shape in ("head", "tail", "wing") else 0.0
            size = np.array([scale, abs(scale)])
            inner = _figure(rng, rng.choice(choices), kind)
            parts += [_moved(part, size, tilt, np.array([x, y])) for part in inner]
            continue
        if "?" in first and rng.random() < 0.5:
            continue
        outline, core = _shape(shape, numbers)
        for side in (1, -1) if "&" in first else (1,):
            part = Part(first.strip(".&@?"), outline * (side, 1), None if "." in first else core * (side, 1))
            parts.append(_moved(part, 1.0, 0.0, look if "@" in first else np.zeros(2)))
    return parts


def _warped(rng: Rng, parts: list[Part]) -> list[Part]:
    """The figure with a build of its own: proportions, length of leg, bent by smooth waves, maybe flipped."""
    build = rng.uniform(0.88, 1.14, 2) * (rng.choice([-1, 1]), 1)
    legs, waves, phases = rng.uniform(-0.35, 0.4), rng.normal(0, 2.2, (2, 2)), rng.uniform(0, 2 * np.pi, 2)

    def warp(points: Floats) -> Floats:
        longer = points + np.maximum(points - 0.15, 0) * (0, legs)
        bent: Floats = (longer + 0.06 * np.sin(longer @ waves + phases)) * build
        return bent

    return [Part(p.ink, warp(p.outline), None if p.core is None else warp(p.core)) for p in parts]


def _noise(rng: Rng, shape: tuple[int, int], cell: float, stretch: float = 1, octaves: int = 1) -> Floats:
    """Value noise, (H, W) float32 in about [0, 1]; its features are `cell` high, `stretch` times as wide."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows, columns = (max(1, round(n / cell * 2**octave)) + 2 for n in (shape[0], shape[1] / stretch))
        grid = Image.fromarray(rng.random((rows, columns), np.float32))
        box = (0.5, 0.5, columns - 0.5, rows - 0.5)
        total += np.asarray(grid.resize(shape[::-1], Image.Resampling.BICUBIC, box)) * 0.5**octave
    scaled: Floats = total / (2 - 0.5 ** (octaves - 1))
    return scaled


def _natural(rng: Rng, count: int = len(NATURAL)) -> Floats:
    colour: Floats = NATURAL[rng.integers(count)] + rng.normal(0, 10) + rng.normal(0, 6, 3)
    return colour


def _bright(rng: Rng, low: float = 0.35, high: float = 0.75) -> Floats:
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(low, high), rng.uniform(0.55, 1))) * 255


def _inks(rng: Rng, coat: Floats) -> dict[str, Floats]:
    """The colours of one animal or thing, (3,) each; `pattern` is that of its spots or stripes."""
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
    """Where a coat shows its second colour: (H, W) in [0, 1]; plain, patches, spots or stripes."""
    style = rng.choice(["plain", "patches", "spots", "stripes"])
    if style == "plain":
        return np.zeros(shape, np.float32)
    if style == "stripes":
        y, x = np.ogrid[: shape[0], : shape[1]]
        along = (x * np.cos(angle) + y * np.sin(angle)) / unit + 0.35 * _noise(rng, shape, unit * 0.3)
        field = np.sin(along * 2 * np.pi / rng.uniform(0.16, 0.34)) * 4 - rng.uniform(0, 2.5)
    else:
        cell, level = (0.55, 0.56) if style == "patches" else (rng.uniform(0.1, 0.2), 0.62)
        field = (_noise(rng, shape, max(3, unit * cell)) - level) * 14
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


def _paint(rng: Rng, picture: Floats, parts: list[Part], coat: Floats, unit: float, angle: float) -> Floats:
    """Paint the placed parts onto the picture, (H, W, 3) float32 in [0, 255], in place.

    `unit` is the length of one drawing unit in pixels. Returns the body's cover, (H, W) float32 in [0, 1];
    whiskers are painted, but are no part of the body.
    """
    inks, limits = _inks(rng, coat), np.array(picture.shape[1::-1])
    points = np.concatenate([part.outline for part in parts])
    corner = np.clip(points.min(0).astype(int) - 3, 0, limits - 1)  # work in the parts' own window only
    width, height = (np.clip(points.max(0).astype(int) + 4, corner + 1, limits) - corner).tolist()
    names, big = ("cover", "body", "fur"), (width * SUPERSAMPLE, height * SUPERSAMPLE)
    layers = {name: Image.new("L", big) for name in names} | {"colour": Image.new("RGB", big)}
    layers["tone"] = Image.new("L", (width, height), 120)
    draw = {name: ImageDraw.Draw(layer) for name, layer in layers.items()}
    tuft = unit * SUPERSAMPLE * rng.choice([0.0, 0.03, 0.06])
    for part in parts:
        outline = (part.outline - corner) * SUPERSAMPLE
        ruffle = tuft and part.ink in ("coat", "far", "pale") and part.core is not None
        corners = _corners(_ruffled(rng, outline, tuft) if ruffle else outline)
        draw["colour"].polygon(corners, fill=tuple(inks[part.ink].astype(int).tolist()))
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
    grain = _noise(rng, (height, width), 1.6, rng.choice([0.5, 1, 3])) - 0.5
    tone *= 1 + (0.04 + (0.16 if tuft else 0) * fur) * grain
    # The canvas is black outside the outline: undo its share in the averaged edge pixels.
    colour = np.asarray(layers["colour"].reduce(SUPERSAMPLE), np.float32) / np.maximum(cover, 0.01)[..., None]
    colour += (inks["pattern"] - colour) * (_marks(rng, (height, width), unit, angle) * fur)[..., None]
    window = (slice(corner[1], corner[1] + height), slice(corner[0], corner[0] + width))
    picture[window] += (colour * tone[..., None] - picture[window]) * cover[..., None]
    whole = np.zeros(picture.shape[:2], np.float32)
    whole[window] = body
    return whole


def _paint_thing(rng: Rng, picture: Floats, coat: Floats, unit: float, at: tuple[float, float]) -> Floats:
    """Paint a ball, box, plant or the like, often in the animal's own colour; returns its cover."""
    colour = [coat + rng.normal(0, 10), _natural(rng), _bright(rng)][rng.integers(3)]
    name, angle = rng.choice([name for name in FIGURES if name.startswith("thing")]), rng.normal(0, 0.12)
    parts = [_moved(part, unit, angle, np.array(at)) for part in _warped(rng, _figure(rng, name, "thing"))]
    return _paint(rng, picture, parts, colour, unit, angle)


def _texture(rng: Rng, shape: tuple[int, int], first: Floats, floor: bool) -> Floats:
    """A wall, a sky or a floor in two colours: (H, W, 3) float32."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    if floor:  # lines run together towards the horizon
        depth = 1 / (0.3 + y / shape[0])
        x, y = (x - shape[1] * rng.random()) * depth, 160 * depth
    angle, period = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]), rng.uniform(12, 70)
    across = np.broadcast_to(x * np.cos(angle) + y * np.sin(angle), shape).astype(np.float32)
    match rng.choice(["cloud", "stripes", "checks", "gradient", "blobs", "planks"]):
        case "cloud":
            field = _noise(rng, shape, rng.uniform(15, 80), rng.uniform(1, 3), octaves=4) * 2.4 - 0.7
        case "stripes":
            bend = rng.choice([0, 12]) * _noise(rng, shape, 60)
            field = np.sin((across + bend) * 2 * np.pi / period) * 3 + 0.5
        case "checks":
            field = (x // period + y // period) % 2
        case "gradient":
            field = across / (abs(across).max() + 1)
        case "blobs":
            field = (_noise(rng, shape, rng.uniform(10, 40)) - rng.uniform(0.45, 0.65)) * 12
        case _:  # planks
            board = across // period
            field = board * 0.618 % 1 * 0.7 + 0.3 * _noise(rng, shape, 4, 8)
            field -= 0.6 * (across / period - board < 0.05)
    second = first * rng.uniform(0.72, 1.25) if rng.random() < 0.6 else (first + _natural(rng)) / 2
    grain = 1 + (_noise(rng, shape, rng.uniform(1.5, 5), octaves=2) - 0.5) * rng.uniform(0.04, 0.22)
    mix = np.clip(field, 0, 1).astype(np.float32)[..., None]
    texture: Floats = (first.astype(np.float32) * (1 - mix) + second.astype(np.float32) * mix) * grain[
        ..., None
    ]
    return texture


def _backdrop(rng: Rng, width: int, height: int, coat: Floats) -> tuple[Floats, int]:
    """The scene behind the animal, (H, W, 3) float32 in [0, 255], and the row of its horizon."""

    def colour() -> Floats:
        near = 0.75 * coat + 0.25 * coat.mean() + rng.normal(0, 14)  # the animal hardly stands out from it
        choices: list[Floats] = [near, _natural(rng), _bright(rng, 0.1, 0.45), _bright(rng, 0.1, 0.35)]
        return choices[rng.integers(4)]

    horizon = int(height * rng.uniform(0.25, 0.7)) if rng.random() < 0.7 else 0
    grassy = rng.random() < 0.3
    green = np.array([122, 152, 74]) * rng.uniform(0.6, 1.15) + rng.normal(0, 14, 3)
    base, floor = (green, False) if grassy else (colour(), horizon > 0)
    ground = _texture(rng, (height - horizon, width), base, floor)
    picture = (
        np.concatenate([_texture(rng, (horizon, width), colour(), False), ground]) if horizon else ground
    )
    if grassy:
        canvas = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(canvas)
        roots = rng.uniform((0, horizon), (width, height * 1.05), (350, 2))
        for x, y in roots[np.argsort(roots[:, 1])].tolist():
            shade = np.clip(green * rng.uniform(0.6, 1.35), 0, 255).astype(int).tolist()
            tip = (x + rng.normal(0, 3), y - 4 - 14 * (y - horizon) / (height - horizon))
            draw.line([(x, y), tip], fill=tuple(shade), width=int(rng.integers(1, 3)))
        picture = np.asarray(canvas, np.float32).copy()
    return picture, horizon


def _cast_shadow(picture: Floats, body: Floats, unit: float) -> None:
    """Darken the ground under a standing body, (N, 2) points, in place."""
    (left, _), (right, bottom) = body.min(0).tolist(), body.max(0).tolist()
    shadow = Image.new("L", picture.shape[1::-1])
    ImageDraw.Draw(shadow).ellipse((left, bottom - unit * 0.22, right, bottom + unit * 0.06), fill=110)
    dark = np.asarray(shadow.filter(ImageFilter.GaussianBlur(unit * 0.07)), np.float32) / 255
    picture *= 1 - dark[..., None]


def _photograph(rng: Rng, picture: Floats) -> Bytes:
    """What a camera does: exposure, tint, vignette, blur and noise. Returns (H, W, 3) uint8."""
    height, width = picture.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 1 - rng.uniform(0, 0.22) * (x * x + y * y) + rng.uniform(-0.15, 0.15) * x
    tint = rng.uniform(0.8, 1.25) * rng.uniform(0.94, 1.06, 3)
    lit = picture * light[..., None].astype(np.float32) * tint.astype(np.float32)
    image = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.4)))
    noise = rng.standard_normal((height, width, 1), np.float32) * rng.uniform(0, 5)
    return np.clip(np.asarray(image, np.float32) + noise, 0, 255).astype(np.uint8)


def _trimap(cover: Floats) -> Bytes:
    """The official values, (H, W) uint8, for a body's cover, (H, W) in [0, 1].

    The band is where the blurred silhouette is neither full nor empty. A blurred edge never falls from 0.92
    to 0.08 within one pixel, so the band always parts pet from background, also along an occluder; where the
    picture itself cuts the animal off there is no band.
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
    coat = _bright(rng) if kind in ("Bird", "Fish") and rng.random() < 0.6 else _natural(rng, FURS)
    picture, horizon = _backdrop(rng, width, height, coat)
    for _ in range(rng.integers(0, 5)):
        foot, thing = u(max(horizon, height * 0.3), height * 1.1), short * u(0.12, 0.4)
        _paint_thing(rng, picture, coat, thing, (u(0, width), foot - thing))
    pose, close = rng.choice(KINDS[kind]), rng.random() < 0.15
    unit, floating = short * (u(0.6, 0.85) if close else u(0.24, 0.5)), pose in ("fly", "swim")
    angle = rng.normal(0, 0.6 if rng.random() < 0.12 else 0.22 if floating else 0.08)
    parts = _warped(rng, _figure(rng, pose, kind.lower()))
    anchor = [p.outline for p in parts if p.ink == "dark" or not close]  # a close-up is about the eyes
    middle = (np.concatenate(anchor).min(0) + np.concatenate(anchor).max(0)) / 2
    at = np.array([u(0.22, 0.78) * width, u(0.35, 0.7) * height])
    placed = [_moved(part, unit, angle, at - _turned(middle * unit, angle)) for part in parts]
    if not floating:
        _cast_shadow(picture, np.concatenate([part.outline for part in placed]), unit)
    cover = _paint(rng, picture, placed, coat, unit, angle)
    if rng.random() < 0.4:  # something stands in front
        spot = (at[0] + u(-1, 1) * unit, at[1] + u(0, 1) * unit)
        cover = cover * (1 - _paint_thing(rng, picture, coat, short * u(0.12, 0.3), spot))
    trimap = _trimap(cover)
    if (trimap == PET).mean() < 0.03:  # hidden or out of frame: nothing to learn from
        return draw_animal_scene(rng, size, kind)
    return _photograph(rng, picture), trimap


def _checked(root: Path, readme: str, count: int) -> Path:
    """`root`, if it is what the README line says, as cheaply as that can be seen."""
    note = root / "annotations" / "README"
    if note.is_file() and note.read_text() == readme and len(list((root / "images").iterdir())) == count:
        return root
    raise FileExistsError(f"{root} exists and is not the drawn data set asked for: name another folder")


def draw_dataset(
    root: Path, train: int = 300, test: int = 150, seed: int = 0, size: tuple[int, int] = (320, 240)
) -> Path:
    """Write `train` + `test` photos of about `size` = (width, height) laid out like Oxford-IIIT Pet.

    The same arguments give the same pictures. A `root` that such a call wrote before is returned as it is;
    any other existing `root` raises FileExistsError. The folder gets its name only when it is complete.
    """
    readme = f"Drawn by pixelwise: train={train} test={test} seed={seed} size={size[0]}x{size[1]}\n"
    if root.exists():
        return _checked(root, readme, train + test)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        made = Path(scratch) / root.name
        notes = made / "annotations"
        (notes / "trimaps").mkdir(parents=True)
        (made / "images").mkdir()
        lines = []
        for index in range(train + test):
            rng, number = np.random.default_rng((seed, index)), index % len(KINDS)
            kind = list(KINDS)[number]
            name = f"{kind}_{index // len(KINDS) + 1}"
            wide, high = (round(side * rng.uniform(0.85, 1.2)) for side in size)
            image, trimap = draw_animal_scene(rng, (high, wide) if rng.random() < 0.4 else (wide, high), kind)
            Image.fromarray(image).save(made / "images" / f"{name}.jpg", quality=int(rng.integers(60, 96)))
            Image.fromarray(trimap).save(notes / "trimaps" / f"{name}.png")
            lines.append(f"{name} {number + 1} {number + 1} 1\n")  # each kind is a species with one breed
        for file, part in (("trainval", lines[:train]), ("test", lines[train:]), ("list", lines)):
            (notes / f"{file}.txt").write_text("".join(sorted(part)))
        (notes / "README").write_text(readme)
        try:
            made.rename(root)
        except OSError:  # another process was quicker
            return _checked(root, readme, train + test)
    return root
