"""The rules: which setting follows from which property of the data."""

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

import pixelwise as pw
from pixelwise.config import Config
from pixelwise.planning.rules import RULES, make_plan
from pixelwise.planning.size_rules import IMAGE_SIZES
from tests.planning.helpers import make_report


def set_memory(monkeypatch: pytest.MonkeyPatch, gibibytes: float) -> None:
    memory = SimpleNamespace(total=round(gibibytes * 2**30))
    monkeypatch.setattr("pixelwise.planning.memory.psutil.virtual_memory", lambda: memory)


def settings_for(**properties: Any) -> dict[str, Any]:
    """Return the planned settings of a data set with these properties."""
    plan = make_plan(make_report(**properties), timed=False)
    assert set(plan.settings) <= set(plan.reasons), "each setting has a reason"
    assert all(plan.reasons.values())
    config = Config.from_preset(base=plan.settings)
    assert {name: getattr(config, name) for name in plan.settings} == plan.settings
    return dict(plan.settings)


def test_each_rule_decides_a_setting() -> None:
    others = {"scale", "decoder", "mosaic"}  # of tiles, and of images with a known symmetry
    assert list(settings_for(images=80)) == [name for name in RULES if name not in others]
    tiles = settings_for(size=(4000, 3000), widths=(500.0, 4.0))
    of_whole_images = ("patience", "start_size", "mosaic", "eval_scale", "freeze_stride", "validate_every")
    assert list(tiles) == [name for name in RULES if name not in of_whole_images]
    assert set(RULES) <= set(Config.model_fields)


def test_narrow_objects_need_large_images() -> None:
    widths = (0.3, 0.04, 0.025, 0.02, 0.013, 0.001)
    sizes = [settings_for(sides=(0.5, 2 * width), size=(1500, 1200))["image_size"] for width in widths]
    assert sizes == sorted(sizes) and sizes[:2] == [256, 256] and len(set(sizes)) >= 4
    assert all(size % 32 == 0 for size in sizes)
    assert settings_for(sides=(0.5, 0.1), size=(200, 190))["image_size"] == 192, "wide enough in images of their size"
    assert settings_for(sides=(0.5, 0.4), size=(150, 140))["image_size"] == 128


@pytest.mark.parametrize("width", [0.03, 0.025, 0.02])
def test_the_narrowest_class_is_wide_enough_from_the_start(width: float) -> None:
    plan = make_plan(make_report(sides=(0.5, 2 * width), size=(3000, 3000)), timed=False)
    smallest = next(size for size in IMAGE_SIZES if size * width >= 6 and size >= 192)
    assert abs(plan.settings["start_size"] - smallest) <= 16, "sizes are multiples of 32"
    assert plan.settings["image_size"] == 32 * round(smallest / 0.75 / 32)
    assert "px at the start of the training (the target is 6)" in plan.reasons["image_size"]


def test_images_of_one_aspect_ratio_keep_it() -> None:
    report = make_report(sides=(0.5, 0.01), size=(480, 360), same_aspect=True)
    plan = make_plan(report, {"time_budget": "5m"}, timed=False)
    config = Config.from_preset(base=plan.settings)
    assert (str(config.image_size), str(config.start_size)) == ("352x480", "256x352")
    assert plan.settings["image_size"] == "352x480", "as a file contains it"
    assert "a size above the images' own (480x360) takes too much time or memory" in plan.reasons["image_size"]
    assert settings_for(size=(512, 512), same_aspect=True)["image_size"] == 256


def test_images_with_a_narrow_class_are_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 24)
    assert settings_for(sides=(0.5, 0.02), size=(200, 190))["image_size"] == 288, "at most 1.6 times the images"
    report = make_report(sides=(0.5, 0.01), size=(480, 360), same_aspect=True)
    plan = make_plan(report, timed=False)
    config = Config.from_preset(base=plan.settings)
    assert (str(config.image_size), str(config.start_size)) == ("576x768", "448x576")
    assert "3 px in images larger than their own size (480x360)" in plan.reasons["image_size"]
    given = make_plan(report, {"image_size": "352x480"}, timed=False)
    assert plan.settings["epochs"] == 86 and given.settings["epochs"] == 171, "half as many larger images"
    assert (plan.settings["eval_scale"], given.settings["eval_scale"]) == (1.45, 1.25)
    assert plan.reasons["eval_scale"].endswith("more of it is found in larger ones: 832x1088 px")
    wider = make_plan(make_report(sides=(0.5, 0.022), size=(480, 360), same_aspect=True), timed=False).settings
    assert (wider["image_size"], wider["eval_scale"]) == ("576x768", 1.25), "wide enough in enlarged images"
    for gibibytes, size in ((16, "480x640"), (8, "352x480")):
        set_memory(monkeypatch, gibibytes)
        assert make_plan(report, timed=False).settings["image_size"] == size


def test_images_are_smaller_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 24)
    settings = settings_for()
    assert (settings["start_size"], settings["image_size"]) == (192, 256)
    assert make_plan(make_report(), {"start_size": 128}, timed=False).settings["start_size"] == 128
    rectangles = make_plan(make_report(), {"image_size": "192x256", "start_size": "128x192"}, timed=False)
    assert (rectangles.settings["image_size"], rectangles.settings["start_size"]) == ("192x256", "128x192")
    assert make_plan(make_report(), {"image_size": 512}, timed=False).settings["start_size"] == 384
    small = make_plan(make_report(), {"image_size": 128}, timed=False)
    assert "start_size" not in small.settings
    assert small.settings["epochs"] == 141 and settings["epochs"] == 94, "both take about as long"
    narrow = settings_for(sides=(0.5, 0.01))
    assert narrow["start_size"] == 512 and narrow["epochs"] == 86, "a class that is too narrow in all images"
    assert (narrow["encoder_training"], settings["encoder_training"]) == ("all", "auto")
    fixed = {"encoder": "vit_tiny_patch16_224", "encoder_weights": "none"}
    assert "start_size" not in make_plan(make_report(), fixed, timed=False).settings


class TestUsingTheTime:
    """A plan uses the time up to `TARGET_SECONDS` for a larger encoder and for more epochs."""

    @pytest.fixture(autouse=True)
    def weights(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pixelwise.planning.encoder_rules.has_bundled_weights", lambda name: True)

    COSTS: ClassVar = {"tf_efficientnet_lite0": 1.0, "tf_efficientnet_lite1": 1.1, "tf_efficientnet_lite2": 1.3}
    """Measured duration of a training relative to that of the smallest encoder."""

    EPOCHS: ClassVar = 31
    """Epochs of a plan for these images."""

    def plan_for(
        self, monkeypatch: pytest.MonkeyPatch, seconds: float, sides: tuple[float, ...] = (0.5, 0.2), **given: Any
    ) -> pw.Plan:
        """Return the plan of a machine that takes this long for 31 epochs of 256 px with the smallest encoder."""

        def estimate(data: pw.DatasetIndex, config: Config, **others: object) -> float:
            epochs = config.epochs / self.EPOCHS if config.epochs < self.EPOCHS else 1.0
            return seconds * self.COSTS[config.encoder] * epochs * (1.5 if config.image_size == 320 else 1.0)

        monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", estimate)
        return make_plan(make_report(images=300, sides=sides), given)

    def test_a_slow_machine_has_the_minimum(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = self.plan_for(monkeypatch, 530)
        assert (plan.settings["encoder"], plan.settings["epochs"]) == ("tf_efficientnet_lite0", 31)
        assert plan.seconds == 530
        assert "; model size m about 10 min and l about 10 min" in plan.reasons["encoder"]

    def test_a_larger_encoder_is_measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A step with size l costs 1.16 times one with size s in general, and 1.3 times on this machine."""
        plan = self.plan_for(monkeypatch, 450)
        assert (plan.settings["encoder"], plan.settings["epochs"]) == ("tf_efficientnet_lite1", 33)
        assert plan.seconds == pytest.approx(450 * 1.1 * 33 / 31)

    def test_a_larger_encoder_comes_before_larger_images_and_epochs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = self.plan_for(monkeypatch, 390)
        assert [plan.settings[name] for name in ("encoder", "image_size", "epochs")] == [
            "tf_efficientnet_lite2", 256, 33,
        ]  # fmt: skip
        assert plan.reasons["encoder"] == "size l, the largest whose training takes at most 9 min on this machine"
        assert plan.seconds == pytest.approx(390 * 1.3 * 33 / 31)

    def test_a_narrow_class_gets_a_larger_encoder_for_a_little_more_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_memory(monkeypatch, 24)
        plan = self.plan_for(monkeypatch, 1000, sides=(0.5, 0.01))
        assert plan.settings["encoder"] == "tf_efficientnet_lite2" and plan.seconds == pytest.approx(1300 * 29 / 31)
        assert plan.reasons["encoder"].startswith(
            "size l, because a class is narrow; a training takes 1.30 times as long as size s"
        )
        monkeypatch.setattr("pixelwise.planning.encoder_rules.MAX_COST", 1.2)
        set_memory(monkeypatch, 24)
        plan = self.plan_for(monkeypatch, 1000, sides=(0.5, 0.01))
        assert plan.settings["encoder"] == "tf_efficientnet_lite1", "a training with size l takes too long"

    def test_larger_images_come_before_more_epochs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = self.plan_for(monkeypatch, 310)
        assert (plan.settings["encoder"], plan.settings["epochs"]) == ("tf_efficientnet_lite2", 27)
        assert (plan.settings["image_size"], plan.settings["start_size"]) == (320, 224)
        assert plan.reasons["image_size"].startswith("larger images have more accurate edges")
        assert plan.reasons["eval_scale"].endswith(": 384 px")
        assert plan.reasons["batch_size"].startswith("2.3 GiB of ")
        assert plan.reasons["epochs"].startswith("31 by default; 27 fit in 9 min; about 9 min")
        assert plan.seconds is not None and plan.seconds <= 540
        assert self.plan_for(monkeypatch, 1).settings["epochs"] == 62, "at most twice the default"

    @pytest.mark.parametrize("given", [{"image_size": 256}, {"start_size": 128}, {"batch_size": 8}, {"epochs": 31}])
    def test_larger_images_are_not_chosen_beside_given_settings(
        self, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
    ) -> None:
        plan = self.plan_for(monkeypatch, 100, **given)
        assert (plan.settings["encoder"], plan.settings["image_size"]) == ("tf_efficientnet_lite2", 256)

    def test_larger_images_must_fit_in_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.plan_for(monkeypatch, 1).settings["image_size"] == 320
        set_memory(monkeypatch, 8)
        plan = self.plan_for(monkeypatch, 1)
        assert (plan.settings["image_size"], plan.settings["batch_size"]) == (256, 16)

    def test_given_settings_stay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = self.plan_for(monkeypatch, 100, epochs=5, encoder="tf_efficientnet_lite0")
        assert (plan.settings["encoder"], plan.settings["epochs"]) == ("tf_efficientnet_lite0", 5)
        assert plan.seconds == pytest.approx(100 * 5 / 31)


@pytest.mark.parametrize(
    ("properties", "given", "stride"),
    [
        ({}, {}, 8),
        ({"sides": (0.5, 0.01)}, {}, 4),
        ({"sides": (0.5, 0.01)}, {"freeze_stride": 0}, 0),
        ({"images": 15}, {}, None),  # the encoder does not train
        ({}, {"encoder_weights": "none"}, None),
        ({"size": (4000, 3000), "widths": (500.0, 4.0)}, {}, None),  # tiles
        ({"channels": 5}, {}, None),
    ],
)
def test_shallow_layers_are_frozen_on_a_cpu(
    properties: dict[str, Any], given: dict[str, Any], stride: int | None
) -> None:
    settings = make_plan(make_report(**properties), {"device": "cpu"} | given, timed=False).settings
    assert settings.get("freeze_stride") == stride


def test_all_layers_train_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.planning.encoder_rules.resolve_device", lambda name: torch.device("mps"))
    assert "freeze_stride" not in settings_for(images=300)


def test_epochs_decrease_with_the_number_of_images() -> None:
    epochs = {count: settings_for(images=count)["epochs"] for count in (10, 40, 300, 1000, 3000)}
    assert list(epochs.values()) == sorted(epochs.values(), reverse=True)
    assert epochs[10] == 200 and epochs[3000] == 8
    assert 20 <= epochs[300] <= 80


def test_few_images_get_patience() -> None:
    few, many = settings_for(images=40), settings_for(images=300)
    assert few["patience"] == round(0.25 * few["epochs"]) and "patience" not in many
    plan = make_plan(make_report(images=40), timed=False)
    assert f"few images: {few['epochs']} epochs may be more than are needed" in plan.reasons["patience"]
    for given in ({"epochs": 200}, {"time_budget": 60}):
        assert "patience" not in make_plan(make_report(images=40), given, timed=False).settings
    assert make_plan(make_report(images=40), {"patience": 3}, timed=False).settings["patience"] == 3


def test_validations_of_many_images_are_rarer() -> None:
    """Images to validate have 1.25 times the side."""
    assert "validate_every" not in settings_for(images=400, val=40), "0.16 of the training pixels"
    assert settings_for(images=400, val=60)["validate_every"] == 2
    few = make_plan(make_report(images=40, val=101), timed=False)
    assert few.settings["validate_every"] == few.settings["epochs"] // 10, "by the pixels, it would be 24"
    assert few.reasons["validate_every"].startswith("with 40 training and 101 validation images, ")
    assert settings_for(images=240)["validate_every"] == 2, "0.28: 36 images of train are for validation"
    for given in ({"time_budget": 60}, {"view": "tiles"}, {"epochs": 19}):
        assert "validate_every" not in make_plan(make_report(images=240), given, timed=False).settings
    assert make_plan(make_report(), {"validate_every": 5}, timed=False).settings["validate_every"] == 5


def test_a_time_budget_replaces_the_epochs() -> None:
    plan = make_plan(make_report(), {"time_budget": "5m"}, timed=False)
    assert plan.settings["time_budget"] == 300 and "epochs" not in plan.settings
    assert make_plan(make_report(), {"time_budget": "5m"}).seconds is None, "the length is given, so nothing is timed"
    with pytest.raises(pw.ConfigError, match="`epochs` and `time_budget` are two ways"):
        make_plan(make_report(), {"time_budget": 60, "epochs": 3}, timed=False)


def test_few_images_freeze_the_encoder_and_get_small_batches() -> None:
    few, many = settings_for(images=15), settings_for(images=300)
    assert (few["encoder_training"], many["encoder_training"]) == ("none", "auto")
    assert few["batch_size"] < many["batch_size"] == 16


def test_a_batch_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 2)
    small = settings_for(sides=(0.5, 0.02), images=1000)
    assert small["image_size"] == 416 and small["batch_size"] == 2


@pytest.mark.parametrize("name", ["left hand", "hand_right", "Links", "oeil-gauche", "lung (L)"])
def test_no_mirroring_if_a_class_is_about_left_and_right(name: str) -> None:
    assert settings_for(names=("background", name))["augmentation"]["name"] == "crop-noflip"


@pytest.mark.parametrize("name", ["cat", "cleft", "bright", "lung", "spirits"])
def test_mirroring_if_no_class_is_about_left_and_right(name: str) -> None:
    assert settings_for(names=("background", name))["augmentation"]["name"] == "crop"


@pytest.mark.parametrize(
    ("fractions", "kind", "loss", "weights"),
    [
        ((0.99, 0.01), "index", "cross_entropy_dice", "inverse_sqrt"),
        ((0.6, 0.4), "index", "cross_entropy", "none"),
        ((1.0, 0.0), "index", "cross_entropy", "none"),  # a class without pixels is absent, not rare
        ((0.6, 0.01), "multilabel", "bce_dice", "none"),
    ],
)
def test_a_rare_class_adds_dice_and_class_weights(
    fractions: tuple[float, ...], kind: str, loss: str, weights: str
) -> None:
    settings = settings_for(fractions=fractions, kind=kind)
    assert (settings["loss"], settings["class_weights"]) == (loss, weights)


def test_class_weights_depend_on_the_loss() -> None:
    rare = make_report(fractions=(0.96, 0.015))
    for loss in ("dice", "tversky", {"name": "tversky", "alpha": 0.5}):
        assert make_plan(rare, {"loss": loss}, timed=False).settings["class_weights"] == "none"
    plan = make_plan(rare, {"loss": "focal"}, timed=False)
    assert plan.settings["class_weights"] == "inverse_sqrt"
    assert "a pixel of 'cat' weighs 8.0 times one of 'background'" in plan.reasons["class_weights"]
    assert make_plan(rare, {"class_weights": "none"}, timed=False).settings["class_weights"] == "none"


def test_reasons_have_groups_and_classes() -> None:
    plan = make_plan(make_report(group_summary="video frames: 4 sequences"), timed=False)
    assert "video frames: 4 sequences" in plan.reasons["val_fraction"]
    assert plan.reasons["class cat"] == "30.00% of pixels, in 100 images"
    assert "val_fraction" not in make_plan(make_report(val=20), timed=False).settings


def test_whole_images_are_scaled_like_the_crops() -> None:
    narrow = make_plan(make_report(sides=(0.5, 0.04)), timed=False)
    assert (narrow.settings["image_size"], narrow.settings["eval_scale"]) == (416, 1.25)
    assert narrow.reasons["eval_scale"].endswith(": 512 px"), "520, rounded down to a multiple of 32"
    report = make_report()
    whole = make_plan(report, {"augmentation": "flip"}, timed=False)
    assert whole.settings["eval_scale"] == 1.0
    assert whole.reasons["eval_scale"].startswith("training uses whole images too")
    fixed_size = {"encoder": "vit_tiny_patch16_224", "encoder_weights": "none"}
    assert make_plan(report, fixed_size, timed=False).settings["eval_scale"] == 1.0
    assert make_plan(report, {"eval_scale": 2.0}, timed=False).reasons["eval_scale"] == "as given: 512 px"


def test_given_settings_stay_and_the_others_fit_them() -> None:
    given: dict[str, Any] = {"image_size": 512, "encoder": "resnet18", "encoder_weights": "none", "lr": 0.5}
    plan = make_plan(make_report(images=1000), given, timed=False)
    assert {name: plan.settings[name] for name in given} == given
    assert all(plan.reasons[name].startswith("as given") for name in given)
    assert plan.settings["encoder_training"] == "auto"
    assert make_plan(make_report(), {"encoder": "resnet18"}, timed=False).settings["encoder_weights"] == "hub"
    assert (
        make_plan(make_report(images=15), {"freeze_encoder": False}, timed=False).settings["encoder_training"] == "auto"
    )
    parameters = make_plan(make_report(), {"loss": {"name": "focal", "gamma": 3}}, timed=False)
    assert parameters.settings["loss"] == {"name": "focal", "gamma": 3.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"class_weights": {"dog": 1.0}}, "unknown class 'dog'"),
        ({"loss": "bce"}, "bce"),
        ({"epochs": 0}, "`epochs`"),
        ({"size": 64}, "`size` is now `image_size`"),
    ],
)
def test_given_settings_that_do_not_fit(given: dict[str, Any], message: str) -> None:
    with pytest.raises(pw.ConfigError, match=message):
        make_plan(make_report(), given, timed=False)


def test_an_unknown_encoder_is_found_when_the_steps_are_timed() -> None:
    with pytest.raises(pw.ConfigError, match="unknown encoder 'resnet19'"):
        make_plan(make_report(), {"encoder": "resnet19"})
