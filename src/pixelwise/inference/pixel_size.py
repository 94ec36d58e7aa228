"""The size of a pixel with its unit, to convert counts of pixels to areas."""

import math
import re
from dataclasses import dataclass

from pixelwise.errors import ConfigError

_UNITS = ("nm", "um", "mm", "cm", "m", "km")

_PATTERN = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z\u00b5\u03bc]+)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class PixelSize:
    """The side of a square pixel.

    Attributes:
        length: the side in the unit, greater than 0.
        unit: "nm", "um", "mm", "cm", "m" or "km".
    """

    length: float
    unit: str

    @staticmethod
    def parse(text: str) -> "PixelSize":
        """Return the pixel size of a text such as "0.65um" or "30 m".

        Micrometers can also be written with the micro sign or the Greek letter mu.

        Raises:
            ConfigError: The text is not a positive number with a unit of length.

        >>> PixelSize.parse("0.65 um")
        PixelSize(length=0.65, unit='um')
        """
        match = _PATTERN.fullmatch(text)
        unit = match[2].replace("\u00b5", "u").replace("\u03bc", "u") if match else ""
        try:
            length = float(match[1]) if match else math.nan
        except ValueError:
            length = math.nan
        if unit not in _UNITS or not 0 < length < math.inf:
            raise ConfigError(
                f"`pixel_size`: '{text}' is not a length; write the side of a pixel with its unit, such as 0.65um "
                f"({', '.join(_UNITS)})"
            )
        return PixelSize(length, unit)

    @property
    def area(self) -> float:
        """Area of a pixel in the square of the unit."""
        return self.length**2
