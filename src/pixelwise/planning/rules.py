"""Rules that derive the settings of a training from a data set.

The idea is from nnU-Net (Isensee et al. 2021), whose rules derive settings from statistics of the data set (its
"fingerprint"). Each rule is one function that returns a value and the reason for it. The plan lists both, and the user
can change the value. To add a rule, write a function and add it to `RULES`.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pixelwise.config import Config, check_length, expand_shorthands
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.input_size import to_plain
from pixelwise.data.joined_spec import spec_of
from pixelwise.errors import ConfigError, DataError
from pixelwise.losses import check_loss
from pixelwise.losses.class_weights import check_class_weights
from pixelwise.planning.augmentation_rules import choose_augmentation, choose_mosaic
from pixelwise.planning.encoder_rules import (
    choose_encoder,
    choose_encoder_training,
    choose_encoder_weights,
    choose_freeze_stride,
    describe_sizes,
    fit_encoder,
    use_time,
)
from pixelwise.planning.loss_rules import choose_class_weights, choose_loss
from pixelwise.planning.memory import device_memory, max_batch, step_bytes
from pixelwise.planning.plan import Plan
from pixelwise.planning.rule import Decision, Rule, RuleInput
from pixelwise.planning.size_rules import (
    MIN_IMAGE_SIZE,
    choose_eval_scale,
    choose_image_size,
    choose_start_size,
    enlarge,
    is_enlarged,
    starts_narrow,
)
from pixelwise.planning.timing import estimate_training_time
from pixelwise.planning.view_rules import (
    choose_decoder,
    choose_scale,
    choose_view,
    items_per_epoch,
)
from pixelwise.runtime.durations import format_duration
from pixelwise.runtime.progress import Progress, no_progress

TARGET_IMAGES_SEEN = 12_000
"""Target of the number of epochs times the number of training images, if all have the same size."""

TARGET_IMAGES_GROWING = 8_000
"""The same if images are smaller at the start, and all classes are wide enough in them.

Both trainings take about as long, with their validations.
"""

TARGET_IMAGES_NARROW = 14_500
"""The same if images are smaller at the start, and a class is too narrow in them (docs/decisions.md)."""

TARGET_IMAGES_ENLARGED = 7_300
"""The same if a class is too narrow, and the images are enlarged (docs/decisions.md)."""

MAX_EPOCHS = 200
"""Maximum number of epochs of a plan."""

TARGET_IMAGES_OF_TILES = 8_000
"""Target for tiles, in images of `MIN_IMAGE_SIZE` with as many pixels as all windows together (docs/decisions.md)."""

MIN_STEPS_PER_EPOCH = 8
"""Minimum number of steps per epoch, which limits the batch size on small data sets."""

VALIDATED_FRACTION = 0.17
"""Maximum number of validated pixels divided by that of training pixels, for each epoch on average.

Validations then take about a tenth of the time (docs/decisions.md).
"""

MIN_VALIDATIONS = 10
"""Minimum number of validated epochs of a plan that does not validate every epoch."""

MIN_EPOCHS_FOR_PATIENCE = 100
"""Minimum number of epochs of a plan that sets `patience`. Such a plan is for 120 training images or fewer."""

PATIENCE_FRACTION = 0.25
"""Patience as a fraction of the epochs (docs/decisions.md)."""

_DEFAULT = Config()


def make_plan(
    report: DatasetReport,
    settings: Mapping[str, Any] | None = None,
    timed: bool = True,
    progress: Progress = no_progress,
) -> Plan:
    """Derive the settings of a training from a data set.

    Args:
        report: the result of `inspect`.
        settings: fields of `Config` that the user gave. The other settings are chosen to fit them.
        timed: measure a few training steps to estimate the duration on this machine. The sizes of the encoder and the
            images and the number of epochs depend on the measurement if they are not given, except for tiles (see
            `use_time`, and `fit_encoder` for a time budget).
        progress: reports the progress of the measured steps, see `Progress`.

    Returns:
        The plan, with a reason for each setting.

    Raises:
        DataError: No model can be trained on the data set, see `DatasetReport.obstacle`.
        ConfigError: `report` is not the result of `inspect`, or a given setting cannot work or does not fit the data
            set.
    """
    if not isinstance(report, DatasetReport):
        raise ConfigError("`report` is not the result of pixelwise.inspect; pass pixelwise.inspect(FOLDER)")
    if report.obstacle:
        raise DataError(report.obstacle)
    data = report.data
    given = _check_given(settings or {})
    train_count = sum(
        len(train) if val else round(len(train) * (1 - _DEFAULT.val_fraction))
        for train, val in data.records_by_set("train", "val")
    )
    decisions: dict[str, Decision] = {}
    for name, rule in RULES.items():
        if name in given:
            decisions[name] = Decision(given[name], "as given")
            continue
        decided = {name: decision.value for name, decision in decisions.items()}
        decision = rule(RuleInput(report, train_count, given | decided, frozenset(given)))
        if decision is not None:
            decisions[name] = decision
    decisions |= {name: Decision(value, "as given") for name, value in given.items() if name not in decisions}

    chosen = {name: decision.value for name, decision in decisions.items()}
    reasons = {name: decision.reason for name, decision in decisions.items()}
    config = Config.from_preset(base=chosen)
    check_class_weights(config.class_weights, data.classes)
    check_loss(config.loss, data.read_spec.task)
    seconds = None
    if timed:
        estimate = partial(estimate_training_time, data, train_count=train_count, progress=progress)
        facts = RuleInput(report, train_count, chosen, frozenset(given))
        changes, seconds = _fit_to_machine(config, given, facts, estimate)
        for name, decision in changes.items():
            chosen[name], reasons[name] = decision
    if "eval_scale" in reasons:
        reasons["eval_scale"] += f": {Config.from_preset(base=chosen).eval_size} px"
    if seconds is not None:
        reasons["epochs"] += f"; about {format_duration(seconds)} on this machine, estimated from a few steps"
        reasons["encoder"] += describe_sizes(chosen["encoder"], seconds)
    for stats in report.classes:
        images = f"{stats.image_count} image{'s' * (stats.image_count != 1)}"
        reasons[f"class {stats.name}"] = f"{stats.pixel_fraction:.2%} of pixels, in {images}"
    # A plan is written as YAML, which has no `HeightWidth`.
    chosen |= {name: to_plain(chosen[name]) for name in ("image_size", "start_size") if name in chosen}
    return Plan(spec_of(data), chosen, reasons, seconds)


def _fit_to_machine(
    config: Config, given: Mapping[str, Any], facts: RuleInput, estimate: Callable[[Config], float]
) -> tuple[dict[str, Decision], float | None]:
    """Fit the encoder, the sizes of the images and the number of epochs to the speed of this machine.

    Args:
        config: the settings of the plan.
        given: the settings that the user gave. They do not change.
        facts: the data set, and the settings of the plan.
        estimate: a function (settings) → estimated duration of a training in seconds.

    Returns:
        The decisions that replace those of the plan, and the estimated duration. It is None with a time budget.
    """
    is_whole = config.view == "whole"
    larger = enlarge(facts)
    if larger:
        sizes = {name: decision.value for name, decision in larger.items()}
        batch = choose_batch_size(RuleInput(facts.report, facts.train_count, {**facts.settings, **sizes}))
        # Otherwise, the memory does not suffice for larger images.
        larger = larger | {"batch_size": batch} if batch.value == config.batch_size else {}
    may_grow = is_whole and given.keys().isdisjoint(("encoder", "encoder_weights", "start_from"))
    if config.time_budget is not None:
        target = _target_images(facts)
        changes = fit_encoder(config, facts.train_count, target, estimate, larger) if may_grow else {}
        return changes, None
    may_lengthen = is_whole and "epochs" not in given and config.patience is None
    is_narrow = is_whole and starts_narrow(facts)
    return use_time(config, estimate, may_grow, may_lengthen, is_narrow, larger)


def _check_given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given settings as `Config` normalizes them."""
    expanded = expand_shorthands(settings)
    check_length(settings)
    config = Config.from_preset(**expanded)
    return {name: getattr(config, name) for name in expanded}


def choose_batch_size(facts: RuleInput) -> Decision:
    """Choose the largest batch size of 2, 4, 8 and 16 that fits in memory and gives `MIN_STEPS_PER_EPOCH` steps.

    The batch size is 2 if none does. For tiles, a batch has at most as many pixels as 16 images of `MIN_IMAGE_SIZE`:
    four windows of 384 px. A training has few windows, so larger batches would give it too few steps.
    """
    size = facts.settings["image_size"]
    memory, _, kind = device_memory(facts.settings)
    max_fit = max_batch(size, facts.settings)
    count = items_per_epoch(facts)
    is_tiled = facts.settings["view"] == "tiles"
    largest = min(16, max(2, 16 * MIN_IMAGE_SIZE**2 // size**2)) if is_tiled else 16
    target = min(largest, max(2, count // MIN_STEPS_PER_EPOCH))
    batch = next((each for each in (16, 8, 4, 2) if each <= min(max_fit, target)), 2)
    reason = f"{batch * step_bytes(size) / 2**30:.1f} GiB of {memory / 2**30:.0f} GiB of {kind}"
    if target < largest:
        reason += f"; an epoch of {count} images has {-(-count // batch)} steps"
    return Decision(batch, reason)


def choose_epochs(facts: RuleInput) -> Decision | None:
    """Choose a number of epochs, from 8 to `MAX_EPOCHS`, so that the model is trained on enough images.

    The targets are `TARGET_IMAGES_SEEN`, `TARGET_IMAGES_GROWING`, `TARGET_IMAGES_NARROW` and `TARGET_IMAGES_ENLARGED`.
    For tiles, the epochs are from 4 to `MAX_EPOCHS`, for as many pixels as `TARGET_IMAGES_OF_TILES` images of
    `MIN_IMAGE_SIZE` have. Return None if there is a time budget.
    """
    if facts.settings.get("time_budget") is not None:
        return None
    if facts.settings["view"] == "tiles":
        count = items_per_epoch(facts)
        target = TARGET_IMAGES_OF_TILES * MIN_IMAGE_SIZE**2 / facts.settings["image_size"] ** 2
        epochs = min(max(round(target / count), 4), 200)
        images = f"{facts.train_count} training images"
        return Decision(epochs, f"{images}, {count} windows an epoch, {epochs * count:,} windows seen in all")
    epochs = min(max(round(_target_images(facts) / max(facts.train_count, 1)), 8), MAX_EPOCHS)
    return Decision(epochs, f"{facts.train_count} training images, {epochs * facts.train_count:,} images seen in all")


def _target_images(facts: RuleInput) -> int:
    """Return the target of the number of whole images that the model is trained on, each counted once per epoch."""
    if facts.settings.get("start_size") is None:
        return TARGET_IMAGES_SEEN
    if not starts_narrow(facts):
        return TARGET_IMAGES_GROWING
    return TARGET_IMAGES_ENLARGED if is_enlarged(facts) else TARGET_IMAGES_NARROW


def choose_patience(facts: RuleInput) -> Decision | None:
    """Choose the patience of a training of many epochs. Return None for fewer epochs, and if the length is given."""
    epochs = facts.settings.get("epochs", 0)
    if epochs < MIN_EPOCHS_FOR_PATIENCE or not facts.given.isdisjoint(("epochs", "time_budget")):
        return None
    patience = round(PATIENCE_FRACTION * epochs)
    return Decision(patience, f"few images: {epochs} epochs may be more than are needed")


def choose_val_fraction(facts: RuleInput) -> Decision | None:
    """Choose the fraction of the train split used for validation. Return None if there is a val split."""
    data = facts.report.data
    if not data.lacks_val:
        return None
    how = f"whole groups ({data.group_summary})" if data.group_summary else "random images, with balanced strata"
    whose = "a data set has no val split" if data.val else "there is no val split"
    return Decision(_DEFAULT.val_fraction, f"{whose}: {how} from train; test is not used")


def choose_validate_every(facts: RuleInput) -> Decision | None:
    """Choose how many epochs have one validation, so that validations of many images do not take most of the time.

    Return None if each epoch is validated, if there is a time budget, which limits validations by the clock, and for
    tiles.
    """
    data, epochs, settings = facts.report.data, facts.settings.get("epochs"), facts.settings
    if epochs is None or settings["view"] == "tiles":
        return None
    val_count = len(data.train) + len(data.val) - facts.train_count
    pixels = val_count * settings["eval_scale"] ** 2 / max(facts.train_count, 1)
    every = min(math.ceil(pixels / VALIDATED_FRACTION), epochs // MIN_VALIDATIONS)
    if every <= 1:
        return None
    images = f"{facts.train_count} training and {val_count} validation images"
    return Decision(every, f"with {images}, validating every epoch would take more than a tenth of the time")


RULES: dict[str, Rule] = {
    "view": choose_view,
    "scale": choose_scale,
    "image_size": choose_image_size,
    "encoder": choose_encoder,
    "start_size": choose_start_size,
    "batch_size": choose_batch_size,
    "epochs": choose_epochs,
    "patience": choose_patience,
    "encoder_weights": choose_encoder_weights,
    "encoder_training": choose_encoder_training,
    "freeze_stride": choose_freeze_stride,
    "decoder": choose_decoder,
    "augmentation": choose_augmentation,
    "mosaic": choose_mosaic,
    "eval_scale": choose_eval_scale,
    "loss": choose_loss,
    "class_weights": choose_class_weights,
    "val_fraction": choose_val_fraction,
    "validate_every": choose_validate_every,
}
"""Setting → rule. Rules are called in this order, so that a rule can use the settings above its own."""
