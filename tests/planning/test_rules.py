"""The plan: what is decided from which finding, and that a person can read and change it."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import pixelwise as pw
from pixelwise.config import Config
from pixelwise.data.analysis.class_stats import ClassStats, Percentiles
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.schema import LabelMap, ReadSpec
from pixelwise.data.spec import DatasetSpec
from pixelwise.palette import default_palette
from pixelwise.planning.plan import Plan
from pixelwise.planning.rules import SIZES, make_plan
from pixelwise.planning.timing import estimate_training_time


def even(value: float) -> Percentiles:
    return Percentiles(value, value, value, value, value)


def found(
    images: int = 100, sides: tuple[float, ...] = (0.5, 0.2), shares: tuple[float, ...] = (0.7, 0.3),
    names: tuple[str, ...] = ("background", "cat"), size: tuple[int, int] = (500, 375), val: int = 0,
    kind: str = "index", grouped: str = "",
) -> DatasetReport:  # fmt: skip
    """A look at images that are not there."""
    mapping = {0: 0, 255: 1} if kind == "multilabel" else {0: 0, 7: 1, 255: 255}
    records = tuple(pw.Record(Path(f"{i}.jpg"), Path(f"{i}.png")) for i in range(images + val))
    data = pw.DatasetIndex(
        Path("cats"), "folders", names, default_palette(len(names)), ReadSpec(LabelMap(kind, mapping)),  # type: ignore[arg-type]
        records[:images], records[images:], group_summary=grouped,
    )  # fmt: skip
    classes = tuple(
        ClassStats(name, (0, 0, 0), round(share * 1e6), share, images, images, even(side), share, side / 2)
        for name, share, side in zip(names, shares, sides, strict=True)
    )
    return DatasetReport(
        data, images, images, even(size[0]), even(size[1]), even(size[0] / size[1]), classes, 0.0, (), (100.0,) * 3,
        (50.0,) * 3,
    )  # fmt: skip


def planned(**facts: object) -> dict[str, object]:
    plan = make_plan(found(**facts), timed=False)  # type: ignore[arg-type]
    assert set(plan.settings) <= set(plan.reasons), "each decision has its reason"
    Config.from_preset(base=plan.settings)
    return dict(plan.settings)


def test_narrow_things_ask_for_large_images() -> None:
    sizes = [planned(sides=(0.5, 2 * width))["size"] for width in (0.3, 0.04, 0.025, 0.02, 0.013, 0.001)]
    assert sizes == sorted(sizes) and sizes[:2] == [192, 192] and len(set(sizes)) >= 4
    assert all(size in SIZES for size in sizes)
    assert planned(sides=(0.5, 0.001), size=(200, 190))["size"] == 192, "never larger than the images"
    assert planned(sides=(0.5, 0.4), size=(150, 140))["size"] == 128


def test_epochs_follow_the_number_of_images() -> None:
    epochs = {count: planned(images=count)["epochs"] for count in (10, 40, 300, 3000, 100_000)}
    assert list(epochs.values()) == sorted(epochs.values(), reverse=True)
    assert epochs[10] == 200 and epochs[100_000] == 8
    assert 20 <= epochs[300] <= 80


def test_few_images_freeze_the_encoder_and_get_small_batches() -> None:
    few, many = planned(images=15), planned(images=300)
    assert few["freeze_encoder"] and not many["freeze_encoder"]
    assert few["batch_size"] < many["batch_size"] == 16


def test_a_batch_fits_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        total = 2 * 2**30

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    small = planned(sides=(0.5, 0.02), images=1000)
    assert small["size"] == 384 and small["batch_size"] == 2


@pytest.mark.parametrize("name", ["left hand", "hand_right", "Links", "oeil-gauche", "lung (L)"])
def test_no_mirroring_where_a_class_is_about_sides(name: str) -> None:
    assert planned(names=("background", name))["augment"] == "crop-unmirrored"


@pytest.mark.parametrize("name", ["cat", "cleft", "bright", "lung", "spirits"])
def test_mirroring_where_no_class_is_about_sides(name: str) -> None:
    assert planned(names=("background", name))["augment"] == "crop"


@pytest.mark.parametrize(
    ("shares", "kind", "loss", "weights"),
    [
        ((0.99, 0.01), "index", "cross_entropy_dice", "tempered"),
        ((0.6, 0.4), "index", "cross_entropy", "none"),
        ((1.0, 0.0), "index", "cross_entropy", "none"),  # a class that is on no image is not rare but absent
        ((0.6, 0.01), "multilabel", "sigmoid_dice", "none"),
    ],
)
def test_a_rare_class_asks_for_dice_and_weights(shares: tuple[float, ...], kind: str, loss: str, weights: str) -> None:
    plan = planned(shares=shares, kind=kind)
    assert (plan["loss"], plan["class_weights"]) == (loss, weights)


def test_weights_go_with_the_loss_and_are_told_in_numbers() -> None:
    rare = found(shares=(0.96, 0.015))
    assert make_plan(rare, {"loss": "dice"}, timed=False).settings["class_weights"] == "none"
    plan = make_plan(rare, {"loss": "focal"}, timed=False)
    assert plan.settings["class_weights"] == "tempered"
    assert "a pixel of 'cat' counts 8.0 times one of 'background'" in plan.reasons["class_weights"]
    assert make_plan(rare, {"class_weights": "none"}, timed=False).settings["class_weights"] == "none"


def test_groups_and_splits_are_told() -> None:
    plan = make_plan(found(grouped="video frames: 4 sequences"), timed=False)
    assert "video frames: 4 sequences" in plan.reasons["validation_fraction"]
    assert "validation_fraction" not in make_plan(found(val=20), timed=False).settings


def test_a_plan_reads_back_and_can_be_changed(tmp_path: Path) -> None:
    plan = make_plan(found(names=("background", "it's: a #cat, [no]")), timed=False)
    plan.write(tmp_path / "plan.yaml")
    again = Plan.read(tmp_path / "plan.yaml")
    assert again.data == plan.data and again.settings == plan.settings
    text = (tmp_path / "plan.yaml").read_text()
    for name, value in plan.settings.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{name}:"))
        assert plan.reasons[name] in line and yaml.safe_load(line) == {name: value}
    (tmp_path / "plan.yaml").write_text(text.replace("values: ['7']", "values: [7, 9]"))
    assert list(Plan.read(tmp_path / "plan.yaml").data.classes.values())[1].values == ("7", "9")


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ("size:", "  size: 7", "size: "),
        ("epochs:", "  epochs: many", "epochs: "),
        ("size:", "  sise: 128", "unknown setting 'sise' (did you mean 'size'?)"),
        ("settings:", "settings:\n - 3", "plan.yaml"),
        ("  kind:", "  kind: shapely", "data.kind"),
        ("data:", "data: [", "plan.yaml"),
    ],
)
def test_a_wrong_line_is_named(line: str, wrong: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    make_plan(found(), timed=False).write(path)
    changed = [wrong if each.strip().startswith(line.strip()) else each for each in path.read_text().splitlines()]
    path.write_text("\n".join(changed))
    with pytest.raises(pw.ConfigError) as error:
        Plan.read(path)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_what_is_given_stays_and_the_rest_goes_with_it() -> None:
    given = {"size": 512, "encoder": "resnet18", "encoder_weights": "none", "lr": 0.5}
    plan = make_plan(found(images=1000), given, timed=False)
    assert {name: plan.settings[name] for name in given} == given
    assert all(plan.reasons[name] == "as given" for name in given)
    assert plan.settings["freeze_encoder"] is False
    assert make_plan(found(), {"encoder": "resnet18"}, timed=False).settings["encoder_weights"] == "hub"
    with pytest.raises(pw.ConfigError, match="unknown class 'dog'"):
        make_plan(found(), {"class_weights": {"dog": 1.0}}, timed=False)
    with pytest.raises(pw.ConfigError, match="unknown encoder 'resnet19'"):
        make_plan(found(), {"encoder": "resnet19"})


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(pw.ConfigError, match="no such plan"):
        Plan.read(tmp_path / "plan.yaml")


def test_the_time_grows_with_the_work() -> None:
    facts = found(images=40)
    config = Config.from_preset(size=64, batch_size=4, encoder_weights="none", epochs=3)
    once = estimate_training_time(facts, config, 40)
    assert 0 < once < estimate_training_time(facts, replace_epochs(config, 300), 40)


def replace_epochs(config: Config, epochs: int) -> Config:
    return config.model_copy(update={"epochs": epochs})


def test_training_takes_the_plan_and_flags_go_over_it(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    facts = replace(found(images=len(pets.train)), data=pets, classes=())
    plan = Plan(DatasetSpec.of(pets), {"size": 64, "epochs": 3, "batch_size": 4, "encoder_weights": "none"})
    run = pw.train(facts.data, tmp_path / "run", plan=plan, epochs=1, defaults=False)
    assert (run.config.size, run.config.epochs, run.config.batch_size) == (64, 1, 4)
    assert Plan.read(run.plan_file).settings == plan.settings
    assert run.read_dataset_spec() == DatasetSpec.of(pets)


def test_whole_images_are_as_large_as_crops_showed_them() -> None:
    narrow = make_plan(found(sides=(0.5, 0.04)), timed=False)
    assert (narrow.settings["size"], narrow.settings["predict_scale"]) == (320, 1.25)
    assert narrow.reasons["predict_scale"].endswith(": 384 px"), "400, down to a multiple of 32"
    assert make_plan(found(), {"augment": "flip"}, timed=False).settings["predict_scale"] == 1.0
    one_size = {"encoder": "vit_tiny_patch16_224", "encoder_weights": "none"}
    assert make_plan(found(), one_size, timed=False).settings["predict_scale"] == 1.0
    assert make_plan(found(), {"predict_scale": 2.0}, timed=False).reasons["predict_scale"] == "as given: 384 px"
