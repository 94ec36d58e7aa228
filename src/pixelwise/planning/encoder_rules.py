"""The rules of a plan for the encoder: its default, its frozen layers, and the size that fits a time budget."""

import math
from collections.abc import Callable, Mapping

from pixelwise.config import Config
from pixelwise.data.input_size import mean_side
from pixelwise.models.encoder_table import MODEL_SIZES
from pixelwise.models.pretrained import has_bundled_weights
from pixelwise.planning.rule import Decision, RuleInput
from pixelwise.planning.size_rules import starts_narrow
from pixelwise.planning.view_rules import items_per_epoch
from pixelwise.runtime.device import resolve_device
from pixelwise.runtime.durations import format_duration

MIN_BUDGET = 300.0
"""Time budget in seconds above which the encoder's size is chosen. The measurement takes about 10 s of the budget."""

MIN_IMAGE_BUDGET = 150.0
"""Time budget in seconds above which the size of the images is chosen. The measurement takes about 5 s."""

MIN_SEEN = 0.45
"""Minimum number of larger images in a training with a time budget, divided by the target (docs/decisions.md)."""

TARGET_SECONDS = 540.0
"""Estimated duration in seconds up to which a plan uses a larger encoder and more epochs (docs/decisions.md)."""

MAX_COST = 1.5
"""Duration of a training with a larger encoder divided by that with the smallest, up to which a plan for a narrow class
uses the larger encoder above `TARGET_SECONDS` too (docs/decisions.md)."""

MAX_LENGTHENING = 2.0
"""Maximum number of epochs of a plan divided by the default number."""

MIN_SHORTENING = 0.85
"""Minimum number of epochs with larger images divided by the default number (docs/decisions.md)."""

MIN_IMAGES_TO_TRAIN_ENCODER = 24
"""Minimum number of training images to train the encoder. With fewer images, its pretrained weights are frozen. For
tiles, windows count as images."""

_STRIDE, _NARROW_STRIDE = 8, 4
"""Stride up to which the layers of the encoder do not train, and the one if a class is narrow (docs/decisions.md)."""

_SMALLEST, _LARGEST = MODEL_SIZES["s"], MODEL_SIZES["l"]

_EPOCHS = 10
"""Number of epochs of the training whose duration is estimated, to compute the images per second."""


def choose_encoder(facts: RuleInput) -> Decision:
    """Choose the default encoder. `fit_encoder` can replace it."""
    return Decision(_SMALLEST.name, "fast on any machine; an installed package has its ImageNet weights")


def choose_encoder_weights(facts: RuleInput) -> Decision:
    """Choose the default pretrained weights of the encoder."""
    weights = Config(encoder=facts.settings["encoder"]).encoder_weights
    return Decision(weights, "pretrained weights need far fewer images than random ones")


def choose_encoder_training(facts: RuleInput) -> Decision:
    """Freeze a pretrained encoder if there are too few images to train it.

    If a class is narrow even at the start of the training, the encoder trains from the first step (docs/decisions.md).
    """
    if facts.settings["encoder_weights"] == "none":
        return Decision("auto", "the encoder starts from random weights")
    is_tiled = facts.settings["view"] == "tiles"
    count, items = (items_per_epoch(facts), "windows") if is_tiled else (facts.train_count, "images")
    if count < MIN_IMAGES_TO_TRAIN_ENCODER:
        return Decision("none", f"{count} {items} are too few to train the encoder")
    if not is_tiled and starts_narrow(facts):
        return Decision("all", f"{count} images are enough; it trains from the first step, because a class is narrow")
    return Decision("auto", f"{count} {items} are enough to train the encoder")


def choose_freeze_stride(facts: RuleInput) -> Decision | None:
    """Freeze the shallow layers of a pretrained encoder on a CPU. Return None if all layers train, or none.

    They have the largest outputs, so their gradients take a quarter of a step. For tiles and for images with other than
    three channels, this was not measured, so all layers train.
    """
    settings, is_color = facts.settings, facts.report.data.read_spec.channels == 3
    trains = settings["encoder_weights"] != "none" and settings["encoder_training"] != "none"
    is_cpu = resolve_device(settings.get("device", Config().device)).type == "cpu"
    if not (is_cpu and trains and is_color and settings["view"] == "whole"):
        return None
    stride = _NARROW_STRIDE if starts_narrow(facts) else _STRIDE
    return Decision(stride, "steps take a quarter less time, and masks are as good as if all layers train")


def fit_encoder(
    config: Config,
    train_count: int,
    target: int,
    estimate: Callable[[Config], float],
    larger: Mapping[str, Decision] | None = None,
) -> dict[str, Decision]:
    """Choose the largest encoder of `MODEL_SIZES` that trains on enough images within the time budget, then their size.

    Args:
        config: the settings, with the smallest encoder.
        train_count: number of training images.
        target: minimum number of images to train on. Each image counts once per epoch.
        estimate: a function (settings) → estimated duration of a training in seconds.
        larger: the sizes of larger images, see `enlarge`. They are used if the training sees at least `MIN_SEEN` times
            the target with them.

    Returns:
        The changed decisions. The encoder is chosen for a time budget above `MIN_BUDGET` if weights of larger encoders
        are installed, and the size of the images for one above `MIN_IMAGE_BUDGET`.
    """
    budget = config.time_budget or 0.0
    sizes = [_SMALLEST]
    if budget > MIN_BUDGET:
        sizes += [info for info in MODEL_SIZES.values() if info is not _SMALLEST and has_bundled_weights(info.name)]
    if budget <= MIN_IMAGE_BUDGET or (len(sizes) < 2 and not larger):
        return {}
    seconds = estimate(config.replace(time_budget=None, epochs=_EPOCHS))
    seen = budget / seconds * _EPOCHS * train_count
    fitting = [info for info in sizes if seen / (info.cost or 1.0) >= target]
    chosen = fitting[-1] if fitting else _SMALLEST
    seen_then = seen / (chosen.cost or 1.0)
    changes: dict[str, Decision] = {}
    if len(sizes) > 1:
        reason = f"size {chosen.size}: in {format_duration(budget)} it sees about {seen_then:,.0f} images"
        if chosen is not sizes[-1]:
            next_size = sizes[sizes.index(chosen) + 1]
            count = seen / (next_size.cost or 1.0)
            reason += f"; size {next_size.size} would see {count:,.0f}, and {target:,} are needed"
        changes["encoder"] = Decision(chosen.name, reason)
    if larger:
        pixels = (mean_side(larger["image_size"].value) / mean_side(config.image_size)) ** 2
        if seen_then / pixels >= MIN_SEEN * target:
            changes |= larger
    return changes


def use_time(
    config: Config,
    estimate: Callable[[Config], float],
    may_grow: bool,
    may_lengthen: bool,
    is_narrow: bool = False,
    larger: Mapping[str, Decision] | None = None,
) -> tuple[dict[str, Decision], float]:
    """Use the time up to `TARGET_SECONDS` for a larger encoder, then for larger images and for more epochs.

    Args:
        config: the settings of the plan, with the default number of epochs.
        estimate: a function (settings) → estimated duration of a training in seconds. It is called for these settings,
            and for each encoder that may fit.
        may_grow: True if the encoder is the smallest of `MODEL_SIZES` and can be replaced.
        may_lengthen: True if the number of epochs can be raised.
        is_narrow: True if a class is narrow. A larger encoder may then take `MAX_COST` times as long, even if that is
            more than `TARGET_SECONDS`.
        larger: the sizes of larger images, see `enlarge`. They are used with the largest encoder only, if at least
            `MIN_SHORTENING` times the number of epochs fit into the time.

    Returns:
        The changed decisions, and the estimated duration of the training.
    """
    seconds = estimate(config)
    changes: dict[str, Decision] = {}
    target = format_duration(TARGET_SECONDS)
    if may_grow:
        limit = max(TARGET_SECONDS, seconds * MAX_COST if is_narrow else 0.0)
        for info in reversed(MODEL_SIZES.values()):
            likely = info is not _SMALLEST and seconds * (info.cost or 1.0) <= limit
            if not likely or not has_bundled_weights(info.name):
                continue
            measured = estimate(config.replace(encoder=info.name))
            if measured <= limit:
                reason = f"size {info.size}, the largest whose training takes at most {target} on this machine"
                if measured > TARGET_SECONDS:
                    longer = f"takes {measured / seconds:.2f} times as long as size {_SMALLEST.size}"
                    reason = f"size {info.size}, because a class is narrow; a training {longer}"
                changes["encoder"], seconds = Decision(info.name, reason), measured
                break
    epochs = config.epochs
    is_largest = "encoder" in changes and changes["encoder"].value == _LARGEST.name
    if larger and is_largest and may_lengthen:
        shortest = config.replace(
            encoder=_LARGEST.name,
            epochs=math.ceil(MIN_SHORTENING * config.epochs),
            **{name: decision.value for name, decision in larger.items()},
        )
        measured = estimate(shortest)
        if measured <= TARGET_SECONDS:
            changes |= larger
            epochs, seconds = shortest.epochs, measured
    if may_lengthen:
        fitting = max(epochs, int(min(epochs * TARGET_SECONDS / seconds, config.epochs * MAX_LENGTHENING)))
        epochs, seconds = fitting, seconds * fitting / epochs
    if epochs != config.epochs:
        changes["epochs"] = Decision(epochs, f"{config.epochs} by default; {epochs} fit in {target}")
    return changes, seconds


def describe_sizes(encoder: str, seconds: float) -> str:
    """Return the estimated durations of a training with the larger encoders of `MODEL_SIZES`.

    Args:
        encoder: timm's name of the encoder of the training.
        seconds: the estimated duration of the training.

    Returns:
        The durations as the end of a sentence. Empty if the encoder has no size, or it is the largest.
    """
    sizes = list(MODEL_SIZES.values())
    own = next((info for info in sizes if info.name == encoder), None)
    larger = sizes[sizes.index(own) + 1 :] if own is not None else []
    times = [
        f"{info.size} about {format_duration(seconds * (info.cost or 1.0) / (own.cost or 1.0))}"
        for info in larger
        if own is not None
    ]
    return f"; model size {' and '.join(times)}" if times else ""
