"""Text on images: shortened, in one line, whatever the names are."""

import time

import pytest

from pixelwise.visualization.text import font, plain, shorten


def test_both_ends_of_a_long_text_are_kept() -> None:
    face = font(14)
    text = "american_bulldog_151.jpg"
    assert shorten(text, 1000, face) == text
    for width in range(10, 180, 10):
        short = shorten(text, width, face)
        start, _, end = short.partition("…")
        assert face.getlength(short) <= width or short == "…"
        assert text.startswith(start) and text.endswith(end) and 0 <= len(start) - len(end) <= 1
        longer = text[: len(start) + 1] + "…" + end if len(start) == len(end) else start + "…" + text[-len(end) - 1 :]
        assert face.getlength(longer) > width, "no letter more fits"
    assert shorten(text, 1, face) == "…"


def test_a_text_of_a_hundred_thousand_letters_is_shortened_at_once() -> None:
    started = time.process_time()
    short = shorten("a" + "b" * 100_000 + "c", 100, font(14))
    assert short.startswith("ab") and short.endswith("bc") and "…" in short
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("char", ["\n", "\x1b", "\x00", "\u2028", "\udce9", "\u202e", "\u2066", "\u202a"])
def test_characters_that_break_or_turn_a_line_are_replaced(char: str) -> None:
    assert plain(f"a{char}b") == "a\ufffdb"
    assert shorten(f"a{char}b", 100, font(14)) == "a\ufffdb"


def test_other_characters_are_kept() -> None:
    assert plain("猫 dög $x_$ 👩‍🔬 שלום") == "猫 dög $x_$ 👩‍🔬 שלום"
