"""Registries: components by name, each with a pydantic model of its parameters."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, overload

from pydantic import BaseModel, ConfigDict, ValidationError

from pixelwise.errors import ConfigError, unknown_name

T = TypeVar("T", bound=Callable[..., Any])
C = TypeVar("C", bound=Callable[..., Any])

ComponentSpec = str | dict[str, Any]
"""A component in a setting: its name, or {"name": name, parameter: value, …}."""


class Params(BaseModel):
    """Base class for the parameters of a component. It has no parameters itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered component.

    Attributes:
        name: the name in settings.
        component: a function or a class. Its parameters are keyword arguments.
        params: the model that checks the parameters and holds their defaults.
        traits: facts that the code around it needs, for example {"tasks": ("multiclass",)}. An entry with the trait
            `hidden` can be built, but is not listed: it is no choice for a user.
    """

    name: str
    component: T
    params: type[Params] = Params
    traits: Mapping[str, Any] = field(default_factory=dict)


class Registry(Generic[T]):
    """Components of one kind by name. Code reads it at each use, so a later registration counts everywhere.

    Args:
        kind: the kind of component, for error messages, for example "loss".
        hint: added to the message about an unknown name.

    >>> GREETINGS: Registry[Callable[..., str]] = Registry("greeting")
    >>> class Loud(Params):
    ...     times: int = 1
    >>> @GREETINGS.register("hello", params=Loud)
    ... def hello(name: str, *, times: int) -> str:
    ...     return "hello " * times + name
    >>> GREETINGS.build({"name": "hello", "times": 2})("Ada")
    'hello hello Ada'
    """

    def __init__(self, kind: str, hint: str = "") -> None:
        self.kind = kind
        self.hint = hint
        self._entries: dict[str, Entry[T]] = {}

    @overload
    def register(self, name: str, component: T, *, params: type[Params] = ..., **traits: Any) -> T: ...
    @overload
    def register(
        self, name: str, component: None = None, *, params: type[Params] = ..., **traits: Any
    ) -> Callable[[C], C]: ...
    def register(self, name: str, component: T | None = None, *, params: type[Params] = Params, **traits: Any) -> Any:
        """Add a component. Without `component`, return a decorator that adds one.

        Args:
            name: the name in settings.
            component: a function or a class that takes the parameters as keyword arguments.
            params: the model of the parameters.
            traits: facts about the component, see `Entry`.

        Raises:
            ConfigError: The name is taken, or a field of `params` is called "name".
        """
        if component is None:
            return lambda added: self.register(name, added, params=params, **traits)
        if name in self._entries:
            raise ConfigError(f"the {self.kind} '{name}' exists already; register it under another name")
        if "name" in params.model_fields:
            raise ConfigError(f"{self.kind} '{name}': a parameter cannot be called 'name'; rename the field")
        self._entries[name] = Entry(name, component, params, traits)
        return component

    def unregister(self, name: str) -> None:
        """Remove a component."""
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, entry in self._entries.items() if not entry.traits.get("hidden"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry[T]:
        """Return an entry; ConfigError lists the names if there is none."""
        if name not in self._entries:
            raise ConfigError(unknown_name(self.kind, name, self) + self.hint)
        return self._entries[name]

    def names(self, **traits: Any) -> list[str]:
        """Return the names in order of registration; with traits, only of entries whose trait is or contains the value.

        >>> LAYERS: Registry[Callable[..., int]] = Registry("layer")
        >>> _ = LAYERS.register("a", lambda: 1, tasks=("x", "y")), LAYERS.register("b", lambda: 2, tasks=("y",))
        >>> LAYERS.names(tasks="x")
        ['a']
        """

        def fits(entry: Entry[T]) -> bool:
            for trait, expected in traits.items():
                value = entry.traits.get(trait)
                if value != expected and not (isinstance(value, tuple | list | set | frozenset) and expected in value):
                    return False
            return True

        return [name for name in self if fits(self._entries[name])]

    def parse(self, spec: ComponentSpec) -> tuple[Entry[T], Params]:
        """Return the entry and the checked parameters of a setting.

        Args:
            spec: a name, or {"name": name, parameter: value, …}.

        Raises:
            ConfigError: The name or a parameter is unknown, or a value is out of range.
        """
        parameters = {"name": spec} if isinstance(spec, str) else dict(spec)
        name = parameters.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"a {self.kind} needs a name: one of {', '.join(self)}")
        entry = self[name]
        try:
            return entry, entry.params(**parameters)
        except ValidationError as error:
            finding = error.errors()[0]
            parameter = ".".join(map(str, finding["loc"]))
            if finding["type"] == "extra_forbidden":
                known = ", ".join(entry.params.model_fields) or "no parameters"
                raise ConfigError(f"{self.kind} '{name}' has no parameter '{parameter}'; it has {known}") from None
            raise ConfigError(
                f"{self.kind} '{name}': {parameter}: {finding['msg']} (got {repr(finding['input'])[:100]})"
            ) from None

    def normalize(self, spec: ComponentSpec) -> ComponentSpec:
        """Check a setting and return its shortest form: the name alone if all parameters have their defaults."""
        entry, params = self.parse(spec)
        parameters = params.model_dump(mode="json", exclude_defaults=True)
        return {"name": entry.name, **parameters} if parameters else entry.name

    def build(self, spec: ComponentSpec) -> Callable[..., Any]:
        """Return the component of a setting with its parameters bound."""
        entry, params = self.parse(spec)
        values = {name: getattr(params, name) for name in type(params).model_fields}
        return partial(entry.component, **values) if values else entry.component


def name_of(spec: ComponentSpec) -> str:
    """Return the name in a component's setting.

    >>> name_of({"name": "focal", "gamma": 3})
    'focal'
    """
    return spec if isinstance(spec, str) else str(spec["name"])
