"""The command-line flags for the settings of a training, generated from the fields of `Config`.

Importing this module takes seconds. `pixelwise train` reads the flags from setting_flags.json instead, which this
command writes: python -m pixelwise.cli.settings
"""

from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from pixelwise.cli.components import DEVICES
from pixelwise.cli.flags import flag_of
from pixelwise.cli.setting_flags import COMPONENT_LISTS, COMPONENTS, FLAGS_FILE, SettingFlag, ValueKind, write_flags
from pixelwise.config import Config, registry_of
from pixelwise.data.formats.registry import FORMATS
from pixelwise.export.targets import EXPORTERS
from pixelwise.metrics import METRICS
from pixelwise.models.encoder_table import MODEL_SIZES
from pixelwise.registry import Registry
from pixelwise.training.callbacks import CALLBACKS
from pixelwise.training.loggers import LOGGERS

_LISTS: dict[str, Registry[Any]] = dict(zip(COMPONENT_LISTS, (CALLBACKS, LOGGERS), strict=True))

_OPEN_CHOICES: dict[str, tuple[str, ...]] = {
    "encoder": (),  # the names are those of the installed timm, see `encoder_names`
    "class_weights": ("none", "balanced", "inverse_sqrt"),
    "device": DEVICES,
}
"""Setting that is text → the values that the shell completes."""

_DERIVED_DEFAULTS = {"encoder_layers": "one per stage of the encoder", "callbacks": "none"}
"""Setting → help text of its default, if the default value itself (None or an empty tuple) would be unclear."""

_PLANNED = frozenset(
    ("view", "scale", "image_size", "batch_size", "epochs", "patience", "encoder", "encoder_weights",
     "encoder_training", "decoder", "augmentation", "start_size", "eval_scale", "loss", "mosaic", "class_weights",
     "val_fraction", "freeze_stride", "validate_every")
)  # fmt: skip
"""Settings that a plan decides. They are the keys of `pixelwise.planning.rules.RULES`, whose import takes seconds."""


def config_flags() -> list[SettingFlag]:
    """Return the flags for all settings, with the components that are registered now."""
    flags = []
    for name, field in Config.model_fields.items():
        group, flag = str((field.json_schema_extra or {})["group"]), flag_of(name)  # type: ignore[index]
        kind, choices, is_open = _type_of(name, field)
        is_list = name in _LISTS or name == "encoder_layers"
        flags.append(SettingFlag(name, flag, group, kind, _help_text(name, field), choices, is_open, is_list))
        if name in COMPONENTS:
            text = f"Parameters of {flag}, each PARAMETER=VALUE: {{choices}}."
            parameters = _parameters_of(name)
            flags.append(SettingFlag(f"{name}_args", f"{flag}-args", group, "str", text, parameters, None, True))
        if name == "encoder":
            sizes = ", ".join(f"{size} is {info.name}" for size, info in MODEL_SIZES.items())
            text = f"Short for an encoder: {sizes}."
            flags.append(SettingFlag("model_size", "--model-size", group, "str", text, tuple(MODEL_SIZES), False))
        if name == "encoder_training":
            text = "The same as --encoder-training none. --no-freeze-encoder is the same as --encoder-training auto."
            flags.append(SettingFlag("freeze_encoder", "--freeze-encoder", group, "bool", text))
    return flags


def _type_of(name: str, field: FieldInfo) -> tuple[ValueKind, tuple[str, ...], bool | None]:
    """Return `kind`, `choices` and `is_open` of the flag of a setting, see `SettingFlag`.

    `Config` parses the text of components, class weights, sizes and times.
    """
    registry = _LISTS.get(name) or registry_of(name)
    if registry is not None:
        return "str", tuple(registry), True
    if name in _OPEN_CHOICES:
        return "str", _OPEN_CHOICES[name], True
    annotations = [kind for kind in (field.annotation, *get_args(field.annotation)) if kind is not type(None)]
    for kind in annotations:
        if get_origin(kind) is Literal:
            return "str", get_args(kind), False
    if bool in annotations:
        return "bool", (), None
    if int in annotations and name not in ("image_size", "start_size"):
        return "int", (), None
    if float in annotations and name != "time_budget":
        return "float", (), None
    return "str", (), None


def _help_text(name: str, field: FieldInfo) -> str:
    """Return the help of a setting's flag: description, choices and default."""
    parts = [str(field.description)]
    registry = _LISTS.get(name) or registry_of(name)
    if registry is not None and name != "encoder_weights":
        parts.append("Choices: {choices}.")
    if name in _LISTS:
        parts.append("Write NAME, or NAME:PARAMETER=VALUE,… for parameters.")
    default = _DERIVED_DEFAULTS.get(name, "" if field.default is None else str(field.default).lower())
    if name in _PLANNED:
        default = "the plan's" + (f"; with --preset default {default}" if default else "")
    if default:
        parts.append(f"[default: {default}]")
    return " ".join(parts)


def _parameters_of(name: str) -> tuple[str, ...]:
    """Return each component of a setting that has parameters, with their names: "focal (gamma)"."""
    registry = registry_of(name)
    assert registry is not None
    return tuple(
        f"{each} ({', '.join(registry[each].params.model_fields)})" for each in registry
        if registry[each].params.model_fields
    )  # fmt: skip


if __name__ == "__main__":
    write_flags(config_flags(), {"formats": FORMATS, "metrics": METRICS, "exporters": EXPORTERS}, FLAGS_FILE)
