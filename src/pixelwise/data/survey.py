"""What mask pictures hold, before anyone knows what it means: levels, counted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pixelwise.data.records import MaskSource

LevelKind = Literal["values", "colours", "alpha"]

MANY = 1024
"""More levels than this are not told apart: such a picture is a photo, or a mask saved as JPEG."""


@dataclass(frozen=True)
class MaskLook:
    """What one mask holds.

    Attributes:
        kind: which kind of levels the picture itself suggests (see `MaskEncoding`): "colours" where it has colours,
            "alpha" where only its opacity varies, else "values".
        levels: level → number of pixels, the `MANY` commonest at most; of shapes and layers, class index → pixels.
        all_levels: how many different levels there are.
        colours: palette index → 0xRRGGBB of the levels present, where the picture has a palette.
        lossy: whether it was saved as JPEG or lossy WebP.
        size: (height, width).
    """

    kind: LevelKind
    levels: Mapping[int, int]
    all_levels: int
    size: tuple[int, int]
    colours: Mapping[int, int] = field(default_factory=dict)
    lossy: bool = False


@dataclass
class LevelSurvey:
    """What all masks hold together; a small thing, however many masks there are.

    Attributes:
        masks: kind → number of masks that suggest it.
        pixels, shown_in, example: kind → level → how many pixels, in how many masks, and one file that has it.
        colours: palette index → its colour (0xRRGGBB) and in how many masks: more than one where palettes differ.
        lossy: how many masks are lossy; `lossy_example` names one.
    """

    masks: Counter[str] = field(default_factory=Counter)
    pixels: dict[str, Counter[int]] = field(default_factory=dict)
    shown_in: dict[str, Counter[int]] = field(default_factory=dict)
    example: dict[str, dict[int, str]] = field(default_factory=dict)
    colours: dict[int, Counter[int]] = field(default_factory=dict)
    lossy: int = 0
    lossy_example: str = ""

    def add(self, mask: MaskSource, look: MaskLook) -> None:
        """Count one more mask."""
        raise NotImplementedError


def look_at_mask(mask: MaskSource, size: tuple[int, int] | None = None) -> MaskLook:
    """What one mask holds; `size` is the photo's (height, width), which shapes need. DataError where unreadable."""
    raise NotImplementedError
