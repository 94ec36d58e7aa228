"""A label that is no class, or belongs to another image, never reaches the loss."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import pixelwise as pw
from pixelwise import losses
from pixelwise.data.analysis.inspection import inspect
from pixelwise.data.io.mask import values_to_classes
from pixelwise.data.schema import DatasetIndex
from pixelwise.data.spec import DatasetSpec
from pixelwise.data.task import Task
from pixelwise.errors import PixelwiseError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.planning.plan import Plan
from pixelwise.planning.rules import make_plan
from pixelwise.registry import ComponentSpec

SETTINGS = {
    "encoder": "test_efficientnet", "encoder_weights": "none", "freeze_encoder": True, "image_size": 32, "epochs": 1,
    "batch_size": 2, "sample_predictions": 1, "device": "cpu", "augmentation": "crop",
}  # fmt: skip

no_shrinking = settings(
    derandomize=True, deadline=None, max_examples=8, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
"""A training for each example: to look for the smallest one that fails would take minutes."""


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """(images as the model saw them, masks) of every batch that reached the loss."""
    seen: list[tuple[Tensor, Tensor]] = []
    module = import_module("pixelwise.training.setup")
    named = losses.get_loss

    def watched(spec: ComponentSpec, task: Task) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
        loss = named(spec, task)

        def keep(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
            seen.append((logits.detach(), mask.clone()))
            return loss(logits, mask, weights)

        return keep

    monkeypatch.setattr(module, "get_loss", watched)
    return seen


def write(folder: Path, masks: Sequence[np.ndarray]) -> Path:
    """Images of noise, and these levels as masks."""
    rng = np.random.default_rng(len(masks))
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number, mask in enumerate(masks):
        image = rng.integers(0, 256, (*mask.shape, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return folder


def train(data: DatasetIndex, out: Path, cache: bool, **more: object) -> pw.Run:
    return pw.train(data, out, defaults=False, **{**SETTINGS, "cache_images": cache, **more})


def values(seen: Sequence[tuple[Tensor, Tensor]]) -> set[int]:
    return {value for _, mask in seen for value in mask.unique().tolist()}


@st.composite
def level_masks(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[int, int], int]:
    """6 masks of any levels, 8 or 16 bits, and a mapping of every one of them to a class or to "ignore"."""
    most, dtype = draw(st.sampled_from([(255, np.uint8), (65535, np.uint16)]))
    levels = sorted(draw(st.sets(st.integers(0, most), min_size=2, max_size=7)))
    count = draw(st.integers(2, len(levels)))
    extra = draw(st.lists(st.sampled_from([*range(count), IGNORE_INDEX]), min_size=len(levels), max_size=len(levels)))
    classes = [*range(count), *extra[count:]]
    mapping = dict(zip(draw(st.permutations(levels)), classes, strict=True))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    masks = [rng.choice(levels, (rng.integers(5, 40), rng.integers(5, 40))).astype(dtype) for _ in range(5)]
    return [*masks, np.resize(levels, (20, 20)).astype(dtype)], mapping, count


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no-cache"])
@no_shrinking
@given(drawn=level_masks())
def test_only_classes_and_ignore_reach_the_loss(
    cache: bool, drawn: tuple[list[np.ndarray], dict[int, int], int],
    reached: list[tuple[Tensor, Tensor]], tmp_path_factory: pytest.TempPathFactory,
):  # fmt: skip
    masks, mapping, count = drawn
    folder = tmp_path_factory.mktemp("labels")
    named = {str(level): "ignore" if each == IGNORE_INDEX else f"class {each}" for level, each in mapping.items()}
    data = pw.load_dataset(write(folder / "data", masks), label_map=named)
    assert len(data.classes) == count
    reached.clear()
    train(data, folder / "run", cache)
    assert reached and values(reached) <= {*range(count), IGNORE_INDEX}
    assert all(logits.shape[1] == count for logits, _ in reached)


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no-cache"])
@no_shrinking
@given(drawn=level_masks(), which=st.integers(0, 6))
def test_a_plan_without_a_level_is_an_error_before_the_loss(
    cache: bool, drawn: tuple[list[np.ndarray], dict[int, int], int], which: int,
    reached: list[tuple[Tensor, Tensor]], tmp_path_factory: pytest.TempPathFactory,
):  # fmt: skip
    masks, mapping, count = drawn
    folder = tmp_path_factory.mktemp("labels")
    root = write(folder / "data", masks)
    gone = sorted(mapping)[which % len(mapping)]
    named = {str(level): "ignore" if each == IGNORE_INDEX else f"class {each}" for level, each in mapping.items()}
    whole = DatasetSpec.of(pw.load_dataset(root, label_map=named)).model_dump()
    for each in whole["classes"].values():
        each["values"] = [value for value in each["values"] if value != str(gone)]
    whole["ignore"] = [value for value in whole["ignore"] if value != str(gone)]
    if not any(each["values"] for each in whole["classes"].values()):
        return
    data = DatasetSpec(**whole).load(root)
    reached.clear()
    with pytest.raises(PixelwiseError) as error:
        train(data, folder / "run", cache)
    assert str(root / "masks") in str(error.value) and str(gone) in str(error.value)
    assert "\n" not in str(error.value)
    # Without a cache each image is read when it is drawn: those before it may have trained, itself never.
    assert values(reached) <= {*range(count), IGNORE_INDEX}
    assert not (cache and reached)
    assert not cache or not (folder / "run").exists()


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no-cache"])
def test_what_is_left_out_reaches_the_loss_as_ignore_alone(
    cache: bool, reached: list[tuple[Tensor, Tensor]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 3, (20, 30)).astype(np.uint8) for _ in range(8)]
    root = write(tmp_path / "data", masks)
    found = inspect(root)
    manifest = DatasetSpec.of(found.data)
    masks[3][0, 0] = 77
    Image.fromarray(masks[3]).save(root / "masks" / "3.png")
    Image.fromarray(masks[5][:10]).save(root / "masks" / "5.png")
    train(manifest.load(root, skip_unreadable=True), tmp_path / "run", cache, skip_unreadable=True)
    assert values(reached) <= {0, 1, 2, IGNORE_INDEX}
    told = capfd.readouterr().err
    for name, what in (("masks/3.png", "77"), ("images/5.png", "one size")):
        (line,) = [line for line in told.splitlines() if name in line]
        assert line.startswith("left out: ") and what in line
    shown = sum(len(mask) for _, mask in reached)
    empty = sum(bool((each == IGNORE_INDEX).all()) for _, mask in reached for each in mask)
    assert (shown, empty) == ((6, 0) if cache else (8, 2))


def test_every_mask_reaches_the_loss_with_its_own_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image has one gray value, and its mask the class of it: any pair that is torn apart is seen."""
    seen: list[tuple[Tensor, Tensor]] = []
    module = import_module("pixelwise.training.setup")
    batches = module._batches

    def watched(session: object):  # type: ignore[no-untyped-def]
        for images, masks in batches(session):
            seen.append((images.clone(), masks.clone()))
            yield images, masks

    monkeypatch.setattr(module, "_batches", watched)
    root = tmp_path / "data"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(12):
        # Names whose order differs between the two folders' own listings.
        stem = f"{'zyxwvutsrqpo'[number]}{number}"
        Image.new("RGB", (40, 30), (20 * number,) * 3).save(root / "images" / f"{stem}.png")
        Image.new("L", (40, 30), number).save(root / "masks" / f"{stem}.bmp")
    data = pw.load_dataset(root, classes=[f"c{index}" for index in range(12)])
    # Nothing that changes colors.
    train(data, tmp_path / "run", True, augmentation="flip")
    train(data, tmp_path / "streamed", False, augmentation="flip")
    assert sum(len(images) for images, _ in seen) >= 20
    for images, masks in seen:
        for image, mask in zip(images, masks, strict=True):
            (label,) = mask.unique().tolist()
            assert image.unique().tolist() == [20 * label]


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no-cache"])
def test_layers_reach_the_loss_as_absent_present_and_ignore(
    cache: bool, reached: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        for name in ("images", "masks/cat", "masks/dog"):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            levels = rng.choice([0, 255], (20, 30)).astype(np.uint8)
            Image.fromarray(levels).save(tmp_path / "data" / name / f"{number}.png")
    found = inspect(tmp_path / "data")
    plan = make_plan(found, timed=False)
    train(found.data, tmp_path / "run", cache, plan=plan)
    assert values(reached) <= {0, 1, IGNORE_INDEX} and all(mask.shape[1] == 2 for _, mask in reached)
    damaged = tmp_path / "data" / "masks" / "cat" / "2.png"
    Image.new("L", (30, 20), 7).save(damaged)
    reached.clear()
    data = plan.data.load(tmp_path / "data")
    with pytest.raises(PixelwiseError, match="mask value 7 is outside") as error:
        train(data, tmp_path / "again", cache, loss="bce")
    assert str(damaged) in str(error.value) and values(reached) <= {0, 1, IGNORE_INDEX}


def test_a_plan_on_disk_that_drops_a_level(reached: list[tuple[Tensor, Tensor]], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    root = write(tmp_path / "data", [rng.integers(0, 3, (20, 30)).astype(np.uint8) for _ in range(6)])
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
