"""Multi-label masks: one file per class, with a value for "absent" and a value for "present"."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pixelwise.data.label_map.noise import LOSSY_TOLERANCE, MAX_NOISE, check_all_named, is_noisy_pair
from pixelwise.data.label_map.options import IGNORE, LabelOptions, ResolvedLabels, apply_options, parse_value
from pixelwise.data.label_map.strays import describe_strays, find_strays
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import FormatResult, LabelMap
from pixelwise.errors import ConfigError, DataError
from pixelwise.palette import IGNORE_INDEX

_STATES = {"absent": 0, "present": 1, IGNORE: IGNORE_INDEX}


def resolve_multilabel(result: FormatResult, counts: MaskValueCounts, options: LabelOptions) -> ResolvedLabels:
    """Find the mask values for "absent" and "present", from the options or the values in the masks.

    Args:
        result: the records and their classes.
        counts: the value counts of all masks.
        options: the user's options.

    Returns:
        The classes and the label map, with a message about the values.

    Raises:
        DataError: The masks are not gray, or their values do not fit. The message names a mask.
        ConfigError: The options do not fit the masks.
    """
    if options.unlabeled == IGNORE:
        raise ConfigError("`unlabeled`: these masks have one file per class, in which 0 is 'absent'; leave it out")
    if set(counts.mask_counts) != {"index"}:
        raise DataError(f"{counts.any_example()}: the mask file of a single class must be gray, with two values")
    states = {text: name for text, name in options.label_map if text not in result.classes}
    new_names = tuple((text, name) for text, name in options.label_map if text in result.classes)
    if states:
        label_map, message = _parse_states(states, counts, options)
    elif options.instances:
        label_map = LabelMap("multilabel", {0: 0}, other_class=1)
        message = "masks: values are the numbers of objects: 0 → absent, all others → present"
    else:
        label_map, message = _infer_states(counts)
    without = replace(options, label_map=new_names, instances=False)
    labels = apply_options(replace(result, label_map=label_map), without)
    return replace(labels, messages=(message, *labels.messages))


def _parse_states(states: Mapping[str, str], counts: MaskValueCounts, options: LabelOptions) -> tuple[LabelMap, str]:
    """Return the label map from options (value → "absent", "present" or "ignore"), and a message for the user."""
    for text, name in states.items():
        if name not in _STATES:
            raise ConfigError(
                f"`label_map` {text}={name}: these masks have one file per class; use VALUE=absent, VALUE=present or "
                "VALUE=ignore, or rename a class by CLASS=NAME"
            )
    value_to_class = {parse_value(text, "index"): _STATES[name] for text, name in states.items()}
    check_all_named(value_to_class, "index", counts, options)
    shown = ", ".join(f"{text} → {name}" for text, name in states.items())
    return LabelMap("multilabel", value_to_class, LOSSY_TOLERANCE if counts.lossy_count else 0), f"masks: {shown}"


def _infer_states(counts: MaskValueCounts) -> tuple[LabelMap, str]:
    """Return the label map from the values in the masks, and a message for the user.

    The masks have two values, and may have 255 to ignore, noise, or stray values.
    """
    values = list(counts.values("index"))
    if is_noisy_pair(values, counts):
        return LabelMap("multilabel", {0: 0, 255: 1}, MAX_NOISE), "masks: about 0 → absent, about 255 → present"
    strays = find_strays("index", values, counts)
    label_map, message = _find_states([value for value in values if value not in strays], counts)
    value_to_class = {**label_map.value_to_class, **dict.fromkeys(sorted(strays), IGNORE_INDEX)}
    lines = filter(None, (message, describe_strays("index", strays, counts)))
    return replace(label_map, value_to_class=value_to_class), "; ".join(lines)


def _find_states(values: Sequence[int], counts: MaskValueCounts) -> tuple[LabelMap, str]:
    """Return the label map from sorted values without noise and stray values, and a message for the user."""
    if len(values) == 3 and {0, 255} < set(values):
        middle = values[1]
        value_to_class = {0: 0, middle: 1, 255: IGNORE_INDEX}
        return LabelMap("multilabel", value_to_class), f"masks: 0 → absent, {middle} → present, 255 → ignore"
    if len(values) != 2 or 0 not in values:
        shown = ", ".join(map(str, values[:6]))
        raise DataError(
            f"{counts.example('index')}: the mask file of a single class must have 0 and one other value; "
            f"the masks have {shown}; set `label_map` (VALUE=absent VALUE=present …), or `instances` if values are the "
            "numbers of objects"
        )
    present = max(values)
    return LabelMap("multilabel", {0: 0, present: 1}), f"masks: 0 → absent, {present} → present"
