"""Animals and objects as lists of parts, and their random variation: pose, gaze and body shape."""

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Rng = np.random.Generator

KINDS = {
    "Cat": ("stand", "sit", "lie"),
    "Dog": ("stand", "sit", "lie"),
    "Bird": ("perch", "fly"),
    "Fish": ("swim",),
    "Rabbit": ("sit", "lie"),
}
"""Kind of animal → its poses. Cat and Dog are first, because their species numbers in Oxford-IIIT Pet are 1 and 2."""

# Syntax of a figure. A figure is about two units high. x points right, y points down. ";" separates the parts. Later
# parts cover earlier ones. INK is the name of a color, see `painter`. A part is one of:
#   INK oval x y rx ry [angle]     an ellipse, rotated by an angle in radians
#   INK blob x,y ...               a smooth closed curve through the points
#   INK half x,y ...               a symmetric closed curve; the points are its right half
#   INK limb widths : x,y ...      a stroke along a curve through the points; the widths are half-widths
#   use NAME x y scale             a random figure whose name starts with "KIND NAME", if there is one, else the figure
#                                  NAME; a negative scale mirrors it
# Marks around INK: "." draws the part without shading; "&" also draws its mirror image; "?" draws it with probability
# 0.5; "@" shifts it in the direction of the gaze. A point that is given twice makes a sharp corner.
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
    "object ball": "coat oval 0 .4 .6 .6 ; second limb .05,.14,.05 : -.55,.5 0,.3 .55,.3",
    "object box": """
        second blob -.7,.2 -.7,.2 .7,.2 .7,.2 1,-.05 1,-.05 -.4,-.05 -.4,-.05 ;
        far blob .7,.2 .7,.2 1,-.05 1,-.05 1,.7 1,.7 .7,1 .7,1 ;
        coat blob -.7,.2 -.7,.2 .7,.2 .7,.2 .7,1 .7,1 -.7,1 -.7,1""",
    "object plant": """
        coat limb .04,.15,.02 : 0,.5 -.1,-.3 -.3,-.9 ; far limb .04,.18,.02 : 0,.5 -.3,-.2 -.9,-.3 ;
        ?coat limb .04,.2,.02 : 0,.5 .1,-.3 .2,-1 ; far limb .04,.13,.02 : 0,.5 .3,0 .9,-.1 ;
        coat limb .04,.16,.02 : 0,.5 .3,-.3 .7,-.7 ; second blob -.42,.4 .42,.4 .32,1 -.32,1""",
    "object post": "coat limb .15,.15 : 0,1 .05,0 0,-3",
    "object cushion": "coat blob -1,.1 -.5,0 0,.05 .5,0 1,.1 .9,.5 1,.95 0,1 -1,.95 -.9,.5",
    "object bush": """
        far oval -.4 .1 .45 .4 ; ?second oval .3 -.1 .4 .36 ; &coat oval .5 .5 .45 .4 ;
        far oval 0 .2 .45 .4 ; coat oval -.2 .6 .5 .36 ; ?second oval .3 .7 .4 .3""",
    "object stone": "coat blob -.9,.9 -.8,.4 -.3,.1 .3,.2 .8,.3 .9,.8 .4,1 -.4,1",
}


class Part(NamedTuple):
    """One part of a figure.

    Attributes:
        ink: name of the color, see `painter`.
        outline: (N, 2) x, y of a closed curve.
        core: (M, 2) x, y of a closed curve around the brighter inner area. None for a part without shading.
    """

    ink: str
    outline: Floats
    core: Floats | None = None


def _spline(points: Floats, closed: bool) -> Floats:
    """Return the points (M, 2) of a Catmull-Rom curve through (N, 2) points, with eight steps from one to the next."""
    padded = np.concatenate([points[-1:], points, points[:2]] if closed else [points[:1], points, points[-1:]])
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = (np.arange(8) / 8)[None, :, None]
    square, cube = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2, (3 * p1 - p0 - 3 * p2 + p3) * t**3
    curve = (p1 + ((p2 - p0) * t + square + cube) / 2).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


def _limb(path: Floats, widths: Floats) -> Floats:
    """Return the outline (M, 2) of a stroke along a path (N, 2). Half-widths are interpolated. The end is round."""
    width = np.interp(np.linspace(0, 1, len(path)), np.linspace(0, 1, len(widths)), widths)[:, None]
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = along[:, ::-1] * (-1, 1)
    bend = np.linspace(0.4, np.pi - 0.4, 6)[:, None]
    cap = path[-1] + (np.cos(bend) * across[-1] + np.sin(bend) * along[-1]) * width[-1]
    return np.concatenate([path + across * width, cap, (path - across * width)[::-1]])


def _shape(shape: str, numbers: str) -> tuple[Floats, Floats]:
    """Return the outline and the core of a part in `FIGURES`."""
    values = np.array(re.findall(r"[-.\d]+", numbers), float)
    if shape == "limb":
        count = len(re.findall(r"[-.\d]+", numbers.split(":")[0]))
        path = _spline(values[count:].reshape(-1, 2), closed=False)
        return _limb(path, values[:count]), _limb(path, values[:count] / 2)
    if shape == "oval":
        turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
        outline = rotate(np.stack([np.cos(turn), np.sin(turn)], 1) * values[2:4], *values[4:]) + values[:2]
    else:
        points = values.reshape(-1, 2)
        outline = _spline(np.concatenate([points, points[::-1] * (-1, 1)]) if shape == "half" else points, closed=True)
    center = outline.mean(0)
    return outline, center + (outline - center) * 0.66


def rotate(points: Floats, angle: float = 0.0) -> Floats:
    """Rotate points around the origin.

    Args:
        points: (N, 2) x, y.
        angle: in radians.

    Returns:
        The rotated points, (N, 2).
    """
    rotated: Floats = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return rotated


def transform(part: Part, scale: float | Floats, angle: float, shift: Floats) -> Part:
    """Scale a part, then rotate it around the origin, then shift it.

    Args:
        part: the part.
        scale: one factor, or (2,) factors for x and y.
        angle: in radians.
        shift: (2,) x, y.

    Returns:
        The transformed part.
    """
    core = None if part.core is None else rotate(part.core * scale, angle) + shift
    return Part(part.ink, rotate(part.outline * scale, angle) + shift, core)


def draw_figure(rng: Rng, name: str, kind: str) -> list[Part]:
    """Build the parts of a figure. Optional parts, variants and the gaze are random.

    Args:
        rng: the random generator.
        name: a key of `FIGURES`.
        kind: kind of animal in lower case. For "cat", a part `use head` draws the figure "cat head".

    Returns:
        The parts in drawing order, in the units of `FIGURES`.
    """
    parts: list[Part] = []
    gaze = np.array([rng.uniform(-0.16, 0.16), rng.uniform(-0.06, 0.06)])
    for entry in FIGURES[name].split(";"):
        first, shape, numbers = entry.split(maxsplit=2)
        if first == "use":
            variants = [figure for figure in FIGURES if figure.startswith(f"{kind} {shape}")] or [shape]
            x, y, scale = map(float, numbers.split())
            tilt = rng.uniform(-0.25, 0.25) if shape in ("head", "tail", "wing") else 0.0
            size = np.array([scale, abs(scale)])
            inner = draw_figure(rng, rng.choice(variants), kind)
            parts += [transform(part, size, tilt, np.array([x, y])) for part in inner]
            continue
        if "?" in first and rng.random() < 0.5:
            continue
        outline, core = _shape(shape, numbers)
        for side in (1, -1) if "&" in first else (1,):
            part = Part(first.strip(".&@?"), outline * (side, 1), None if "." in first else core * (side, 1))
            parts.append(transform(part, 1.0, 0.0, gaze if "@" in first else np.zeros(2)))
    return parts


def deform(rng: Rng, parts: list[Part]) -> list[Part]:
    """Vary a figure at random: proportions, leg length, smooth bends, and left or right direction.

    Args:
        rng: the random generator.
        parts: the parts of the figure, see `draw_figure`.

    Returns:
        The deformed parts.
    """
    build = rng.uniform(0.88, 1.14, 2) * (rng.choice([-1, 1]), 1)
    legs, waves, phases = rng.uniform(-0.35, 0.4), rng.normal(0, 2.2, (2, 2)), rng.uniform(0, 2 * np.pi, 2)

    def warp(points: Floats) -> Floats:
        longer = points + np.maximum(points - 0.15, 0) * (0, legs)
        bent: Floats = (longer + 0.06 * np.sin(longer @ waves + phases)) * build
        return bent

    return [Part(part.ink, warp(part.outline), None if part.core is None else warp(part.core)) for part in parts]
