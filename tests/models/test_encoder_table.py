"""The table of recommended encoders, and the licenses of pretrained weights."""

import re
from importlib.metadata import metadata
from pathlib import Path

import pytest
import timm

import pixelwise as pw
from pixelwise.config import expand_shorthands
from pixelwise.errors import ConfigError
from pixelwise.models.encoder_table import ENCODERS, MODEL_SIZES, EncoderInfo
from pixelwise.models.licenses import check_license
from pixelwise.models.model import SegmentationModel
from pixelwise.models.pretrained import PRETRAINED_SOURCES, PretrainedWeights, license_of, register_pretrained_source


@pytest.mark.parametrize("info", ENCODERS, ids=lambda info: info.name)
def test_the_table_states_what_timm_and_the_packages_state(info: EncoderInfo) -> None:
    assert timm.is_model(info.name)
    if info.module is None:
        assert timm.is_model_pretrained(info.name) and info.source == "hub"
        assert license_of(info.name, "hub") == info.license
    else:
        assert info.package is not None
        assert license_of(info.name, "bundled") == info.license
        text = metadata(info.package)["Name"]
        assert text == info.package


def test_sizes_grow() -> None:
    assert list(MODEL_SIZES) == ["s", "m", "l"]
    costs = [info.cost for info in MODEL_SIZES.values()]
    assert costs[0] == 1 and None not in costs and costs == sorted(costs)  # type: ignore[type-var]
    assert all(info.module for info in MODEL_SIZES.values()), "they need no network"


def test_costs_are_those_of_the_results_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    for info in MODEL_SIZES.values():
        row = re.search(rf"^\| {info.name} \| [^|]+ \| ([\d.]+)×", page, re.MULTILINE)
        assert row is not None and info.cost == pytest.approx(float(row[1]), abs=0.05), info.name


@pytest.mark.parametrize(
    "license", ["cc-by-nc-4.0", "apple-amlr", "seer-license", "fair-noncommercial-research-license"]
)
def test_weights_that_are_not_for_commercial_use_need_an_acceptance(license: str) -> None:
    with pytest.raises(ConfigError, match=rf"'net' have the license {license}: it does not allow commercial use; set "
                                          rf"`accept_license` to {license}"):  # fmt: skip
        check_license("net", license, None)
    with pytest.raises(ConfigError, match="set `accept_license`"):
        check_license("net", license, "mit")
    check_license("net", license, license)


def test_weights_with_other_conditions_need_an_acceptance_too() -> None:
    with pytest.raises(ConfigError, match="dinov3-license: it has conditions of its own"):
        check_license("net", "dinov3-license", None)


def test_the_license_is_checked_before_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.models.model.load_pretrained_weights", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(ConfigError, match=r"'convnextv2_atto' have the license cc-by-nc-4\.0"):
        pw.create_model("convnextv2_atto")
    with pytest.raises(ConfigError, match=r"'convnextv2_atto' have the license cc-by-nc-4\.0"):
        pw.Config(encoder="convnextv2_atto").create_model(("a", "b"))
    with pytest.raises(pytest.fail.Exception, match="downloaded"):
        pw.Config(encoder="convnextv2_atto", accept_license="cc-by-nc-4.0").create_model(("a", "b"))


def test_random_weights_need_no_license() -> None:
    assert license_of("convnextv2_atto", "none") == "none"
    check_license("convnextv2_atto", "none", None)


def test_a_source_of_ones_own_can_state_a_license() -> None:
    def mine(encoder: str) -> PretrainedWeights:
        raise NotImplementedError

    register_pretrained_source("mine", mine, license=lambda encoder: f"license of {encoder}")
    register_pretrained_source("other", mine)
    try:
        assert license_of("resnet18", "mine") == "license of resnet18"
        assert license_of("resnet18", "other") == license_of("resnet18", "weights.safetensors") == "unknown"
    finally:
        PRETRAINED_SOURCES.unregister("mine")
        PRETRAINED_SOURCES.unregister("other")


def test_the_model_file_states_the_license_of_each_part(tmp_path: Path) -> None:
    model = pw.create_model("test_efficientnet", encoder_weights="none", image_size=32)
    model.save(tmp_path)
    licenses = SegmentationModel.load(tmp_path).config.licenses
    assert licenses == {
        "encoder weights": "none",
        "encoder code": "apache-2.0",
        "decoder": "apache-2.0",
        "training data": "unknown",
    }


def test_model_sizes_are_short_for_encoders() -> None:
    assert expand_shorthands({"model_size": "m", "epochs": 3}) == {"encoder": "tf_efficientnet_lite1", "epochs": 3}
    assert pw.Config.from_preset(model_size="l").encoder == "tf_efficientnet_lite2"
    assert pw.Config.from_preset("tutorial", model_size="s").encoder_layers is None
    with pytest.raises(ConfigError, match="`model_size`: must be one of s, m, l"):
        pw.Config.from_preset(model_size="xl")
    with pytest.raises(ConfigError, match="m is the encoder tf_efficientnet_lite1, but `encoder` is resnet18"):
        pw.Config.from_preset(model_size="m", encoder="resnet18")
    assert pw.Config.from_preset(model_size="m", encoder="tf_efficientnet_lite1").encoder == "tf_efficientnet_lite1"
