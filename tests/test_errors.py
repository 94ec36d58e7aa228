"""The tree of errors, and the text for a name that is none of the choices."""

import inspect

import pytest

from pixelwise import errors
from pixelwise.data.schema import DataIssue
from pixelwise.errors import ConfigError, DataError, PixelwiseError, RunError, WeightsError, unknown_name


def test_the_tree_is_the_one_that_is_drawn() -> None:
    found = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    leaves = {DataError, ConfigError, WeightsError, RunError}
    assert found == {"PixelwiseError"} | {leaf.__name__ for leaf in leaves}
    assert all(leaf.__bases__ == (PixelwiseError,) for leaf in leaves)
    assert PixelwiseError.__bases__ == (Exception,), "no ValueError or OSError is caught by mistake"
    for name in found:
        assert name in errors.__doc__, "drawn at the top of the file"


@pytest.mark.parametrize("kind", [DataError, ConfigError, WeightsError, RunError])
def test_one_except_catches_them_all_and_the_text_is_kept(kind: type[PixelwiseError]) -> None:
    with pytest.raises(PixelwiseError) as error:
        raise kind("cat.jpg: truncated; replace it")
    assert str(error.value) == "cat.jpg: truncated; replace it"


def test_an_unknown_name_gets_the_nearest_choice_and_all_of_them() -> None:
    choices = {"light": 1, "pix2pix": 2, "unet": 3}
    assert unknown_name("decoder", "pix2pi", choices) == (
        "unknown decoder 'pix2pi' (did you mean 'pix2pix'?); choose from: light, pix2pix, unet"
    )
    assert unknown_name("decoder", "lihgt", choices).count("did you mean 'light'?") == 1


def test_a_name_like_none_of_the_choices_gets_no_hint() -> None:
    assert unknown_name("loss", "zzz", ["dice", "focal"]) == "unknown loss 'zzz'; choose from: dice, focal"
    assert unknown_name("loss", "", ["dice"]) == "unknown loss ''; choose from: dice"


def test_choices_may_come_from_anything_that_can_be_walked_once() -> None:
    text = unknown_name("class", "boarder", iter(["pet", "border"]))
    assert text == "unknown class 'boarder' (did you mean 'border'?); choose from: pet, border"


def test_no_control_character_of_a_name_reaches_a_terminal() -> None:
    name = "\x1b]0;gone\x07\x9b2J\r猫  \u3000.jpg\x7f"
    shown = r"\x1b]0;gone\x07\x9b2J\x0d猫  " + "\u3000" + r".jpg\x7f"
    assert str(DataError(f"{name}: truncated\nreplace it")) == f"{shown}: truncated\nreplace it"
    assert str(DataIssue("truncated image", name, "replace it")) == f"{shown}: replace it"
