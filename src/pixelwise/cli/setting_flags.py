"""The flags for the settings of a training as plain data.

They are stored in setting_flags.json, so that `pixelwise train --help` imports neither torch nor `Config`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel, create_model

from pixelwise.cli.components import LIST_FLAG, OPEN_CHOICE, open_choice, parse_components, parse_parameters
from pixelwise.cli.encoders import encoder_names
from pixelwise.cli.flags import flag_of, flag_words
from pixelwise.errors import ConfigError

FLAGS_FILE = Path(__file__).with_name("setting_flags.json")

COMPONENTS = ("augmentation", "encoder_weights", "decoder", "loss")
"""Settings that are a component. The flag --NAME sets the component's name, and --NAME-args its parameters."""

COMPONENT_LISTS = ("callbacks", "loggers")
"""Settings that are several components."""

_GROUPS = ("Data", "Model", "Training", "Machine")
"""Headings of the help, in order."""

_TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}

_SMP_PREFIX, _SMP_PACKAGE = "smp/", "segmentation_models_pytorch"
"""Components with this prefix are registered only if the package is installed."""


ValueKind = Literal["int", "float", "str", "bool"]


@dataclass(frozen=True)
class SettingFlag:
    """The flag of a setting.

    Attributes:
        name: the setting, or its parameters (`loss_args`).
        flag: the flag.
        group: the heading in the help.
        kind: the type of the value, or of each value.
        help: the help text. "{choices}" stands for the choices.
        choices: the possible values. For parameters, each component that has some, with their names: "focal (gamma)".
        is_open: True if the shell completes the choices and other values are valid too. False if only the choices are
            valid. None if the value is not one of the choices.
        is_list: True if the flag has several values.
    """

    name: str
    flag: str
    group: str
    kind: ValueKind
    help: str
    choices: tuple[str, ...] = ()
    is_open: bool | None = None
    is_list: bool = False


def write_flags(
    flags: Iterable[SettingFlag], names: Mapping[Literal["formats", "metrics", "exporters"], Iterable[str]], file: Path
) -> None:
    """Write flags, and the names of data set formats and metrics, to a JSON file.

    Args:
        flags: the flags, in the order of the help.
        names: the names of the formats and of the metrics.
        file: the path. An existing file is replaced.
    """
    content = {kind: list(each) for kind, each in names.items()} | {"flags": [asdict(flag) for flag in flags]}
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_flags(file: Path = FLAGS_FILE) -> list[SettingFlag]:
    """Read the flags that `write_flags` wrote."""
    entries = json.loads(file.read_text(encoding="utf-8"))["flags"]
    return [SettingFlag(**entry | {"choices": tuple(entry["choices"])}) for entry in entries]


def read_names(kind: Literal["formats", "metrics", "exporters"], file: Path = FLAGS_FILE) -> tuple[str, ...]:
    """Read the names of the data set formats, of the metrics or of the export targets that `write_flags` wrote."""
    return tuple(json.loads(file.read_text(encoding="utf-8"))[kind])


def settings_model(flags: Sequence[SettingFlag] | None = None) -> type[BaseModel]:
    """Return a pydantic model whose fields are the flags for all settings. `given_settings` reads its instances.

    Args:
        flags: the flags. None for those of setting_flags.json.
    """
    fields: dict[str, Any] = {flag.name: _field(flag) for flag in (read_flags() if flags is None else flags)}
    return create_model("Settings", **fields)


def _field(flag: SettingFlag) -> tuple[Any, None]:
    """Return the type and the default of the pydantic field for a flag."""
    choices = tuple(name for name in flag.choices if not name.startswith(_SMP_PREFIX) or find_spec(_SMP_PACKAGE))
    kind: Any = _TYPES[flag.kind]
    if flag.is_open:
        kind = open_choice(encoder_names() if flag.name == "encoder" else choices)
    elif flag.is_open is False:
        kind = Literal[choices]
    if flag.is_list:
        kind = tuple[kind, ...]
    parameter = Parameter(
        name=flag.flag,
        help=flag.help.replace("{choices}", ", ".join(choices) or "none"),
        group=Group(flag.group, sort_key=_GROUPS.index(flag.group)),
        **LIST_FLAG,
        **(OPEN_CHOICE if flag.is_open else {}),
    )
    return Annotated[kind | None, parameter], None


def setting_words(settings: BaseModel | None, leave_out: Sequence[str] = ()) -> list[str]:
    """Return the settings that were given as flags, with their values, as words of a command.

    Args:
        settings: an instance of the result of `settings_model`, or None.
        leave_out: names of settings that are not returned.
    """
    given = set() if settings is None else settings.model_fields_set - set(leave_out)
    values = [(flag.flag, getattr(settings, flag.name)) for flag in read_flags() if flag.name in given]
    return [word for flag, value in values for word in flag_words(flag, value)]


def given_settings(settings: BaseModel | None) -> dict[str, Any]:
    """Return the settings that were given as flags, as arguments of `Config`.

    Raises:
        ConfigError: There are parameters without a component, or a word is not PARAMETER=VALUE.
    """
    if settings is None:
        return {}
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    for name in COMPONENTS:
        words = given.pop(f"{name}_args", None)
        if words is not None:
            flag = flag_of(name)
            if name not in given:
                raise ConfigError(f"{flag}-args needs {flag}, the component that has the parameters; add {flag} NAME")
            given[name] = {"name": given[name], **parse_parameters(f"{flag}-args", words)}
    for name in COMPONENT_LISTS:
        if name in given:
            given[name] = parse_components(flag_of(name), given[name])
    return given
