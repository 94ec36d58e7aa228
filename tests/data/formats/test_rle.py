"""Decoding of run lengths."""

import numpy as np
import pytest
from pycocotools import mask as coco

from pixelwise.data.formats._rle import decode_brush_rle, decode_rle_counts, encode_part
from pixelwise.errors import AnnotationError
from tests.data.formats.writers.annotations import (
    brush_codes,
    packed,
    runs_of,
)

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def test_brush_masks_are_decoded_and_damaged_ones_raise() -> None:
    random = np.random.default_rng(0)
    inside = np.kron(random.random((15, 20)) < 0.5, np.ones((10, 10), bool))
    inside[:30] ^= random.random((30, 200)) < 0.5  # values one by one
    assert np.array_equal(decode_brush_rle(brush_codes(inside), *inside.shape), inside)
    for codes in (brush_codes(inside)[:-9], [1, 2], [256], ["a"], None, [], brush_codes(inside[:-1])):
        with pytest.raises(AnnotationError):
            decode_brush_rle(codes, *inside.shape)


def test_compressed_counts_decode_to_the_run_lengths() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        inside = random.random(tuple(random.integers(1, 60, 2))) < random.random() ** 3
        assert decode_rle_counts(packed(inside)["counts"]).tolist() == runs_of(inside)["counts"]


@pytest.mark.parametrize(("left", "top"), [(0, 0), (3, 2), (-2, -3), (8, 4), (20, 0), (0, -9)])
def test_a_part_is_encoded_at_its_place_and_cut_at_the_borders(left: int, top: int) -> None:
    random = np.random.default_rng(0)
    for part in (random.random((7, 5)) < 0.5, np.ones((7, 5), bool), np.ones((30, 30), bool)):
        canvas = np.zeros((90, 90), bool)
        canvas[30 + top : 30 + top + part.shape[0], 30 + left : 30 + left + part.shape[1]] = part
        expected = canvas[30:37, 30:42]
        assert np.array_equal(coco.decode(encode_part(part, left, top, (7, 12))), expected)
