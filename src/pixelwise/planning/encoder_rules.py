"""The rules of a plan for the encoder: its default, and the size that fits a time budget."""

from collections.abc import Callable

from pixelwise.config import Config
from pixelwise.models.encoder_table import MODEL_SIZES
from pixelwise.models.pretrained import has_bundled_weights
from pixelwise.planning.rule import Decision, RuleInput
from pixelwise.runtime.durations import format_duration

MIN_BUDGET = 300.0
"""Time budget in seconds above which the encoder's size is chosen. The measurement takes about 10 s of the budget."""

TARGET_SECONDS = 540.0
"""Estimated duration in seconds up to which a plan uses a larger encoder and more epochs (docs/decisions.md)."""

MAX_COST = 1.25
"""Duration of a training with a larger encoder divided by that with the smallest, up to which a plan for a narrow class
uses the larger encoder above `TARGET_SECONDS` too (docs/decisions.md)."""

MAX_LENGTHENING = 2.0
"""Maximum number of epochs of a plan divided by the minimum number."""

MIN_LENGTHENING = 1.2
"""Number of epochs divided by the minimum number below which the minimum is kept."""

_SMALLEST = MODEL_SIZES["s"]

_EPOCHS = 10
"""Number of epochs of the training whose duration is estimated, to compute the images per second."""


def choose_encoder(facts: RuleInput) -> Decision:
    """Choose the default encoder. `fit_encoder` can replace it."""
    return Decision(_SMALLEST.name, "fast on any machine; an installed package has its ImageNet weights")


def fit_encoder(config: Config, train_count: int, target: int, estimate: Callable[[Config], float]) -> Decision | None:
    """Choose the largest encoder of `MODEL_SIZES` that trains on enough images within the time budget.

    Args:
        config: the settings, with the smallest encoder.
        train_count: number of training images.
        target: minimum number of images to train on. Each image counts once per epoch.
        estimate: a function (settings) → estimated duration of a training in seconds.

    Returns:
        The encoder. None if there is no time budget above `MIN_BUDGET`, or if no weights of larger encoders are
        installed.
    """
    sizes = [info for info in MODEL_SIZES.values() if info is _SMALLEST or has_bundled_weights(info.name)]
    if config.time_budget is None or config.time_budget <= MIN_BUDGET or len(sizes) < 2:
        return None
    seconds = estimate(config.replace(time_budget=None, epochs=_EPOCHS))
    seen = config.time_budget / seconds * _EPOCHS * train_count
    fitting = [info for info in sizes if seen / (info.cost or 1.0) >= target]
    chosen = fitting[-1] if fitting else _SMALLEST
    reason = (
        f"size {chosen.size}: in {format_duration(config.time_budget)} it sees about "
        f"{seen / (chosen.cost or 1.0):,.0f} images"
    )
    if chosen is not sizes[-1]:
        larger = sizes[sizes.index(chosen) + 1]
        reason += f"; size {larger.size} would see {seen / (larger.cost or 1.0):,.0f}, and {target:,} are needed"
    return Decision(chosen.name, reason)


def use_time(
    config: Config, estimate: Callable[[Config], float], may_grow: bool, may_lengthen: bool, is_narrow: bool = False
) -> tuple[dict[str, Decision], float]:
    """Use the time up to `TARGET_SECONDS` for a larger encoder and for more epochs.

    Args:
        config: the settings of the plan, with the minimum number of epochs.
        estimate: a function (settings) → estimated duration of a training in seconds. It is called for these settings,
            and for each encoder that may fit.
        may_grow: True if the encoder is the smallest of `MODEL_SIZES` and can be replaced.
        may_lengthen: True if the number of epochs can be raised.
        is_narrow: True if a class is narrow. A larger encoder may then take `MAX_COST` times as long, even if that is
            more than `TARGET_SECONDS`.

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
    factor = min(TARGET_SECONDS / seconds, MAX_LENGTHENING)
    if may_lengthen and factor >= MIN_LENGTHENING:
        epochs = int(config.epochs * factor)
        reason = f"{epochs / config.epochs:.1f} times the minimum of {config.epochs}, which fit in {target}"
        changes["epochs"] = Decision(epochs, reason)
        seconds *= epochs / config.epochs
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
