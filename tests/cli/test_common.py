"""Names and checks of output paths."""

import os
from pathlib import Path

import pytest

from pixelwise.cli.common import check_absent, check_output, data_name
from pixelwise.errors import ConfigError, OutputError, OutputExistsError


def test_a_long_name_is_cut_between_characters(tmp_path: Path) -> None:
    name = data_name(str(tmp_path / ("é" * 120)))
    assert name == "é" * 100, "200 bytes"


@pytest.mark.parametrize("out", ["s3://bucket/x", "gs://bucket", "https://host/x"])
def test_a_url_is_no_output(out: str) -> None:
    with pytest.raises(ConfigError, match=r"is a URL; choose a path on this machine"):
        check_output(Path(out))


def test_a_path_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_output(tmp_path / "new" / "out")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError) as error:
        check_output(tmp_path / "new" / "out")
    assert str(error.value) == f"{tmp_path}: may not be written; choose a path in another directory"


def test_an_existing_path_is_not_overwritten(tmp_path: Path) -> None:
    check_absent(tmp_path / "new")
    with pytest.raises(OutputExistsError, match="exists already"):
        check_absent(tmp_path)
