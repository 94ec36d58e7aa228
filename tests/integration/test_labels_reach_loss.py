"""Only class indices and "ignore" reach the loss, each mask with its own image."""

import logging
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import pixelwise as pw
from pixelwise import losses
from pixelwise.data.analysis.inspection import inspect
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.mask import values_to_classes
from pixelwise.data.spec import DatasetSpec
from pixelwise.data.task import Task
from pixelwise.errors import PixelwiseError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.planning.plan import Plan
from pixelwise.planning.rules import make_plan
from pixelwise.registry import ComponentSpec

SETTINGS: dict[str, Any] = {
    "encoder": "test_efficientnet", "encoder_weights": "none", "freeze_encoder": True, "image_size": 32, "epochs": 1,
    "batch_size": 2, "sample_predictions": 1, "device": "cpu", "augmentation": "crop",
}  # fmt: skip

pytestmark = pytest.mark.integration

no_shrinking = settings(
    derandomize=True, deadline=None, max_examples=5, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
"""Each example is a training: shrinking a failing example would take minutes."""


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Return a list that gets (logits, mask) of every batch that reaches the loss."""
    batches: list[tuple[Tensor, Tensor]] = []
    module = import_module("pixelwise.training.setup")
    get_loss = losses.get_loss

    def recording(spec: ComponentSpec, task: Task) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
        loss = get_loss(spec, task)

        def record(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
            batches.append((logits.detach(), mask.clone()))
            return loss(logits, mask, weights)

        return record

    monkeypatch.setattr(module, "get_loss", recording)
    return batches


def write_dataset(folder: Path, masks: Sequence[np.ndarray]) -> Path:
    """Write images of noise with these masks."""
    rng = np.random.default_rng(len(masks))
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number, mask in enumerate(masks):
        image = rng.integers(0, 256, (*mask.shape, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return folder


def train(data: DatasetIndex, out: Path, cache: bool, **settings: Any) -> pw.Run:
    return pw.train(data, out, defaults=False, **{**SETTINGS, "cache_images": cache, **settings})


def mask_values(batches: Sequence[tuple[Tensor, Tensor]]) -> set[int]:
    return {value for _, mask in batches for value in mask.unique().tolist()}


def class_name(index: int) -> str:
    return "ignore" if index == IGNORE_INDEX else f"class {index}"


@st.composite
def random_masks(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[int, int], int]:
    """Draw 6 masks of 8 or 16 bits, the class index or "ignore" of each value, and the number of classes."""
    max_value, dtype = draw(st.sampled_from([(255, np.uint8), (65535, np.uint16)]))
    pixel_values = sorted(draw(st.sets(st.integers(0, max_value), min_size=2, max_size=7)))
    count = draw(st.integers(2, len(pixel_values)))
    length = len(pixel_values)
    more = draw(st.lists(st.sampled_from([*range(count), IGNORE_INDEX]), min_size=length, max_size=length))
    classes = [*range(count), *more[count:]]
    value_to_class = dict(zip(draw(st.permutations(pixel_values)), classes, strict=True))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    masks = [rng.choice(pixel_values, (rng.integers(5, 40), rng.integers(5, 40))).astype(dtype) for _ in range(5)]
    return [*masks, np.resize(pixel_values, (20, 20)).astype(dtype)], value_to_class, count


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no-cache"])
@no_shrinking
@given(drawn=random_masks())
def test_only_classes_and_ignore_reach_the_loss(
    cache: bool, drawn: tuple[list[np.ndarray], dict[int, int], int],
    reached: list[tuple[Tensor, Tensor]], tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    masks, value_to_class, count = drawn
    folder = tmp_path_factory.mktemp("labels")
    label_map = {str(value): class_name(index) for value, index in value_to_class.items()}
    data = pw.load_dataset(write_dataset(folder / "data", masks), label_map=label_map)
    assert len(data.classes) == count
    reached.clear()
    train(data, folder / "run", cache)
    assert reached and mask_values(reached) <= {*range(count), IGNORE_INDEX}
    assert all(logits.shape[1] == count for logits, _ in reached)


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no-cache"])
@no_shrinking
@given(drawn=random_masks(), which=st.integers(0, 6))
def test_a_spec_without_a_value_is_an_error_before_the_loss(
    cache: bool, drawn: tuple[list[np.ndarray], dict[int, int], int], which: int,
    reached: list[tuple[Tensor, Tensor]], tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    masks, value_to_class, count = drawn
    folder = tmp_path_factory.mktemp("labels")
    root = write_dataset(folder / "data", masks)
    removed = sorted(value_to_class)[which % len(value_to_class)]
    label_map = {str(value): class_name(index) for value, index in value_to_class.items()}
    fields = DatasetSpec.of(pw.load_dataset(root, label_map=label_map)).model_dump()
    for spec in fields["classes"].values():
        spec["values"] = [value for value in spec["values"] if value != str(removed)]
    fields["ignore"] = [value for value in fields["ignore"] if value != str(removed)]
    assume(any(spec["values"] for spec in fields["classes"].values()))
    data = DatasetSpec(**fields).load(root)
    reached.clear()
    with pytest.raises(PixelwiseError) as error:
        train(data, folder / "run", cache)
    assert str(root / "masks") in str(error.value) and str(removed) in str(error.value)
    assert "\n" not in str(error.value)
    # Without the cache each image is read when it is drawn, and those before it may have reached the loss.
    assert mask_values(reached) <= {*range(count), IGNORE_INDEX}
    assert not (cache and reached)
    assert not cache or not (folder / "run").exists()


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no-cache"])
def test_skipped_files_reach_the_loss_as_ignore_only(
    cache: bool, reached: list[tuple[Tensor, Tensor]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 3, (20, 30)).astype(np.uint8) for _ in range(8)]
    root = write_dataset(tmp_path / "data", masks)
    spec = DatasetSpec.of(inspect(root).data)
    masks[3][0, 0] = 77
    Image.fromarray(masks[3]).save(root / "masks" / "3.png")
    Image.fromarray(masks[5][:10]).save(root / "masks" / "5.png")
    with caplog.at_level(logging.WARNING, "pixelwise"):
        train(spec.load(root, skip_unreadable=True), tmp_path / "run", cache, skip_unreadable=True)
    assert mask_values(reached) <= {0, 1, 2, IGNORE_INDEX}
    for name, fault in (("masks/3.png", "77"), ("images/5.png", "same size")):
        (message,) = [message for message in caplog.messages if name in message]
        assert message.startswith("left out: ") and fault in message
    drawn = sum(len(mask) for _, mask in reached)
    ignored = sum(bool((item == IGNORE_INDEX).all()) for _, mask in reached for item in mask)
    assert (drawn, ignored) == ((6, 0) if cache else (8, 2))


def test_every_mask_reaches_the_loss_with_its_own_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image has one gray value, from which the class in its mask follows."""
    drawn: list[tuple[Tensor, Tensor]] = []
    module = import_module("pixelwise.training.epoch")
    batches = module._batches

    def recording(setup: object) -> Iterator[tuple[Tensor, Tensor]]:
        for images, masks in batches(setup):
            drawn.append((images.clone(), masks.clone()))
            yield images, masks

    monkeypatch.setattr(module, "_batches", recording)
    root = tmp_path / "data"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(12):
        # The order of these names differs from the order of the numbers.
        stem = f"{'zyxwvutsrqpo'[number]}{number}"
        Image.new("RGB", (40, 30), (20 * number,) * 3).save(root / "images" / f"{stem}.png")
        Image.new("L", (40, 30), number).save(root / "masks" / f"{stem}.bmp")
    data = pw.load_dataset(root, classes=[f"c{index}" for index in range(12)])
    # "flip" does not change colors.
    train(data, tmp_path / "run", True, augmentation="flip")
    train(data, tmp_path / "streamed", False, augmentation="flip")
    assert sum(len(images) for images, _ in drawn) >= 20
    for images, masks in drawn:
        for image, mask in zip(images, masks, strict=True):
            (label,) = mask.unique().tolist()
            assert image.unique().tolist() == [20 * label]


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no-cache"])
def test_multilabel_masks_reach_the_loss_as_absent_present_and_ignore(
    cache: bool, reached: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        for name in ("images", "masks/cat", "masks/dog"):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            pixels = rng.choice([0, 255], (20, 30)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    report = inspect(tmp_path / "data")
    plan = make_plan(report, timed=False)
    train(report.data, tmp_path / "run", cache, plan=plan)
    assert mask_values(reached) <= {0, 1, IGNORE_INDEX} and all(mask.shape[1] == 2 for _, mask in reached)
    damaged = tmp_path / "data" / "masks" / "cat" / "2.png"
    Image.new("L", (30, 20), 7).save(damaged)
    reached.clear()
    data = plan.data.load(tmp_path / "data")
    with pytest.raises(PixelwiseError, match="mask value 7 is outside") as error:
        train(data, tmp_path / "again", cache, loss="bce")
    assert str(damaged) in str(error.value) and mask_values(reached) <= {0, 1, IGNORE_INDEX}


def test_a_value_removed_from_a_plan_file_is_an_error(reached: list[tuple[Tensor, Tensor]], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    root = write_dataset(tmp_path / "data", [rng.integers(0, 3, (20, 30)).astype(np.uint8) for _ in range(6)])
    path = tmp_path / "plan.yaml"
    make_plan(inspect(root), timed=False).write(path)
    text = path.read_text(encoding="utf-8")
    assert "values: ['2']" in text
    path.write_text(text.replace("values: ['2']", "values: []"), encoding="utf-8")
    data = Plan.read(path).data.load(root)
    assert values_to_classes(np.array([0, 1, 2]), data.read_spec.label_map).tolist() == [0, 1, -1]
    with pytest.raises(PixelwiseError, match=r"masks/0\.png: mask value 2 is outside the classes"):
        train(data, tmp_path / "run", True)
    assert not reached
