"""The tree of errors, and the texts that messages are made of."""

import inspect

import pytest

from pixelwise import errors
from pixelwise.data.schema import DataIssue
from pixelwise.errors import ConfigError, DataError, PixelwiseError, first_line, printable, unknown_name, without_name

CLASSES = {
    name: value for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)
}


def test_the_tree_in_the_documentation_is_complete() -> None:
    documented = []
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None or "  " not in line.strip():
            continue
        depth = (len(line) - len(line.lstrip(" │├└─"))) // 4
        parents[depth - 1 :] = [name]
        documented.append(name)
        base = Exception if len(parents) == 1 else CLASSES[parents[-2]]
        assert CLASSES[name].__bases__ == (base,), "no ValueError or OSError is caught by mistake"
    assert sorted(documented) == sorted(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_one_except_catches_them_all_and_the_text_is_kept(name: str) -> None:
    with pytest.raises(PixelwiseError) as error:
        raise CLASSES[name]("cat.jpg: truncated; replace it")
    assert str(error.value) == "cat.jpg: truncated; replace it"


def test_all_errors_are_in_one_module() -> None:
    """Other modules import theirs from `pixelwise.errors`."""
    import ast
    from pathlib import Path

    source = Path(errors.__file__)
    for file in source.parent.rglob("*.py"):
        if file == source:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base) for base in node.bases}
                assert not any(base.endswith(("Error", "Exception")) for base in bases), f"{file}: {node.name}"


def test_an_unknown_name_gets_the_nearest_choice_and_all_of_them() -> None:
    choices = {"fpn": 1, "pix2pix": 2, "unet": 3}
    assert unknown_name("decoder", "pix2pi", choices) == (
        "unknown decoder 'pix2pi' (did you mean 'pix2pix'?); choose from: fpn, pix2pix, unet"
    )
    assert unknown_name("decoder", "unte", choices).count("did you mean 'unet'?") == 1


def test_a_name_unlike_all_choices_gets_no_hint() -> None:
    assert unknown_name("loss", "zzz", ["dice", "focal"]) == "unknown loss 'zzz'; choose from: dice, focal"
    assert unknown_name("loss", "", ["dice"]) == "unknown loss ''; choose from: dice"


def test_choices_can_be_an_iterator() -> None:
    text = unknown_name("class", "boarder", iter(["pet", "border"]))
    assert text == "unknown class 'boarder' (did you mean 'border'?); choose from: pet, border"


def test_no_control_character_of_a_name_reaches_a_terminal() -> None:
    name = "\x1b]0;gone\x07\x9b2J\r猫  \u3000.jpg\x7f"
    printable = r"\x1b]0;gone\x07\x9b2J\x0d猫  " + "\u3000" + r".jpg\x7f"
    assert str(DataError(f"{name}: truncated")) == f"{printable}: truncated"
    assert str(DataIssue("truncated image", name, "replace it")) == f"{printable}: replace it"
    assert without_name(DataError(f"{name}: truncated"), name) == "truncated"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("no route\nto host"), "no route"),
        (OSError(""), "OSError"),
        (ConfigError(""), "ConfigError"),
        (ValueError("\n  second"), "second"),
    ],
)
def test_the_first_line_of_an_error(error: Exception, text: str) -> None:
    assert first_line(error) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2Jcat", r"\x1b[2Jcat"),
        ("new\nskipped: all is well.jpg", r"new\x0askipped: all is well.jpg"),
        ("a\tb\rc\x7f\x9b", r"a\x09b\x0dc\x7f\x9b"),
        ("\u202egpj.tac\u2066", r"\u202egpj.tac\u2066"),
        ("a\u2028b\u2029c\u200bd\ufeff", r"a\u2028b\u2029c\u200bd\ufeff"),
        ("caf\udce9.jpg", r"caf\udce9.jpg"),
        ("猫 dög [/red] $x_$ 👩‍🔬 שלום", "猫 dög [/red] $x_$ 👩‍🔬 שלום"),
    ],
)
def test_names_cannot_change_the_terminal_or_begin_a_line(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert str(DataError(text)) == expected
    assert str(DataIssue("kind", text, "message")) == f"{expected}: message"
