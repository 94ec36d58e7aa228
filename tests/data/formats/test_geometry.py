"""Outlines of circles, ellipses and lines."""

import numpy as np
import pytest

from pixelwise.data.formats._geometry import check_line_width, ellipse, ellipse_of_axes, polygon_area, stroke
from pixelwise.errors import ConfigError


def test_an_ellipse_of_axes_is_a_rotated_ellipse() -> None:
    angle = np.deg2rad(30)
    ends = np.array([[5 * np.cos(angle), 5 * np.sin(angle)], [-2 * np.sin(angle), 2 * np.cos(angle)]])
    center = np.array([[10.0, 20.0]])
    points = ellipse_of_axes(np.concatenate([center, center + ends]))
    assert np.allclose(points, ellipse(10, 20, 5, 2, 30))


@pytest.mark.parametrize("angle", [0, 17, 90, 200])
def test_a_stroke_has_its_width_and_round_ends(angle: float) -> None:
    direction = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    (outline,) = stroke(np.array([[3.0, 4.0], [3.0, 4.0] + 10 * direction]), 4, count=64)
    assert polygon_area(outline) == pytest.approx(10 * 4 + np.pi * 4, rel=0.01)
    along = (outline - [3.0, 4.0]) @ direction
    assert along.min() == pytest.approx(-2, abs=0.01) and along.max() == pytest.approx(12, abs=0.01)


def test_a_stroke_has_a_polygon_for_each_piece_and_a_circle_for_a_point() -> None:
    assert len(stroke(np.array([[0.0, 0], [1, 0], [1, 1], [1, 1]]), 2)) == 3
    (circle,) = stroke(np.array([[5.0, 5.0]]), 6)
    assert np.allclose(np.hypot(*(circle - 5).T), 3)


def test_line_widths_have_a_range() -> None:
    check_line_width(None)
    for width in (1.0, 1000.0):
        check_line_width(width)
    for width in (0.0, 0.99, 1001.0, float("nan"), -1.0):
        with pytest.raises(ConfigError, match=r"`line_width` must be from 1 to 1000 pixels, and is"):
            check_line_width(width)
