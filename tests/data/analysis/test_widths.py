"""The width of regions in pixels: strips at any angle, compact regions, and thin lines of large masks."""

from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.data.analysis.regions import reduce_mask
from pixelwise.data.analysis.widths import region_width, value_widths
from tests.thin_structures import draw_thin_structures


def strip(angle: float, width: float, side: int = 400) -> np.ndarray:
    """Return a strip 250 pixels long in the middle of a mask."""
    rows, columns = np.mgrid[:side, :side] + 0.5 - side / 2
    turn = np.radians(angle)
    along, across = columns * np.cos(turn) + rows * np.sin(turn), rows * np.cos(turn) - columns * np.sin(turn)
    return (abs(along) < 125) & (abs(across) < width / 2)


@pytest.mark.parametrize("angle", [0, 10, 30, 45, 72, 90])
@pytest.mark.parametrize("width", [4, 8, 20])
def test_a_strip_has_its_width_at_any_angle(angle: float, width: float) -> None:
    assert region_width(strip(angle, width)) == pytest.approx(width, rel=0.1)


@pytest.mark.parametrize("diameter", [4, 8, 40])
def test_a_disc_has_the_side_of_a_square_of_its_area(diameter: int) -> None:
    rows, columns = np.mgrid[:80, :80] + 0.5 - 40
    disc = rows**2 + columns**2 < diameter**2 / 4
    assert region_width(disc) == pytest.approx(diameter * np.sqrt(np.pi) / 2, rel=0.05)
    assert region_width(np.tile(disc, (3, 3))) == pytest.approx(region_width(disc)), "a mean over the regions"


def test_no_region_and_the_whole_image() -> None:
    assert region_width(np.zeros((5, 5), bool)) == 0.0
    assert region_width(np.ones((30, 20), bool)) == 20.0


def test_thin_lines_of_large_masks_are_measured_at_full_size() -> None:
    mask = np.zeros((2000, 1500), np.uint8)
    mask[:, 100:103] = 1
    for row in range(50, 1900, 97):
        mask[row : row + 8, 700:708] = 2
    mask[:, 1000:1400] = 3
    reduced = reduce_mask(mask)
    widths = value_widths(mask, reduced, [0, 1, 2, 3])
    assert widths[1:].tolist() == pytest.approx([3, 8, 400], rel=0.1)

    assert value_widths(mask, reduced, [1], exact=False)[0] != pytest.approx(3, rel=0.2)


def test_a_part_of_huge_masks_is_measured() -> None:
    mask = np.zeros((10, 20_000), np.uint8)
    mask[3:7, 9000:19_000] = 1
    assert value_widths(mask, reduce_mask(mask), [1])[0] == pytest.approx(4, rel=0.1)


def test_the_report_has_the_width_of_each_class(tmp_path: Path) -> None:
    report = pw.inspect(draw_thin_structures(tmp_path / "data", 3, (900, 700)))
    background, line, dot = report.classes
    assert line.width is not None and 2.5 < line.width < 4.5
    assert dot.width == pytest.approx(7.2, abs=0.3)
    assert background.width is not None and background.width > 100
