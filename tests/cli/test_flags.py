"""Flags for library arguments, and flags of version 0.1."""

from pathlib import Path

import pytest

from pixelwise.cli.flags import OLD_FLAGS, flag_of, refuse_old_names, with_flags
from pixelwise.config import Config
from pixelwise.config.version1 import RENAMED_SETTINGS
from pixelwise.errors import ConfigError
from tests.cli.helpers import RunCommand, assert_one_line_error


def test_every_renamed_setting_with_another_flag_has_an_entry() -> None:
    for old, new in RENAMED_SETTINGS.items():
        old_flag = f"--{old.replace('_', '-')}"
        assert OLD_FLAGS.get(old_flag, old_flag) == flag_of(new)
    assert not set(OLD_FLAGS) & {flag_of(name) for name in Config.model_fields}


@pytest.mark.parametrize("old", OLD_FLAGS)
def test_an_old_flag_is_refused_with_the_new_one(old: str, run_cli: RunCommand, tmp_path: Path) -> None:
    for flag in (old, f"{old}=7"):
        assert_one_line_error(run_cli("train", tmp_path, flag), f"pixelwise: error: {old} is now {OLD_FLAGS[old]}")


def test_an_old_negative_flag() -> None:
    with pytest.raises(ConfigError, match="--no-skip-bad is now --no-skip-unreadable"):
        refuse_old_names(["train", "data", "--no-skip-bad"])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["show", "data"], "the command 'show' is now 'preview'"),
        (["evaluate", "run", "data", "--resolution", "photo"], "--resolution photo is now --resolution original"),
        (["evaluate", "run", "data", "--resolution=photo"], "--resolution photo is now --resolution original"),
        (["train", "data", "--loss", "sigmoid"], "--loss: 'sigmoid' is now 'bce'"),
        (["train", "data", "--precision", "bf16"], "precision"),
    ],
)
def test_old_commands_and_values(
    tokens: list[str], message: str, run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert_one_line_error(run_cli(*tokens), message)


def test_values_that_equal_an_old_command_are_allowed() -> None:
    refuse_old_names([])
    refuse_old_names(["train", "show", "--out", "photo"])
    with pytest.raises(ConfigError):
        refuse_old_names(["show", "train", "--out", "photo"])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("set `encoder_weights` to hub", "set --encoder-weights to hub"),
        ("raise `image_size` or `batch_size`", "raise --size or --batch-size"),
        ("`num_workers`: too many", "--workers: too many"),
        ("call `Config.from_preset` or `pip install x`", "call `Config.from_preset` or `pip install x`"),
        ("no flag here", "no flag here"),
    ],
)
def test_arguments_in_messages_become_flags(message: str, expected: str) -> None:
    assert with_flags(message) == expected
