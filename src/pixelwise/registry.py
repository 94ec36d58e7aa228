"""Registries of components by name. Each component has a pydantic model of its parameters."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, overload

from pydantic import BaseModel, ConfigDict, ValidationError

from pixelwise.errors import ConfigError, first_finding, unknown_name

T = TypeVar("T", bound=Callable[..., Any])
C = TypeVar("C", bound=Callable[..., Any])

ComponentSpec = str | dict[str, Any]
"""A component in a setting: its name, or {"name": name, parameter: value, …}."""


class Params(BaseModel):
    """Base class for the parameters of a component, and the parameters of a component that has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered component.

    Attributes:
        name: the name in settings.
        component: a function or a class. Its parameters are keyword arguments.
        params: the model that checks the parameters and holds their defaults.
        traits: properties of the component for the code that selects or uses it, for example
            {"tasks": ("multiclass",)}. A component with the trait `hidden` can be built, but is not listed as a choice
            for users.
    """

    name: str
    component: T
    params: type[Params] = Params
    traits: Mapping[str, Any] = field(default_factory=dict)


class Registry(Generic[T]):
    """Components of one kind by name. They are looked up at each use, so later registrations are effective everywhere.

    Args:
        kind: the kind of component, for error messages, for example "loss".
        hint: text at the end of the error message about an unknown name.

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
            traits: properties of the component, see `Entry`.

        Returns:
            The component, or the decorator.

        Raises:
            ConfigError: The name is already registered, or a field of `params` is called "name".
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
        """Remove a component. Raise KeyError if the name is unknown."""
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, entry in self._entries.items() if not entry.traits.get("hidden"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry[T]:
        """Return the entry with a name. If there is none, raise ConfigError with the known names."""
        if name not in self._entries:
            raise ConfigError(unknown_name(self.kind, name, self) + self.hint)
        return self._entries[name]

    def names(self, **traits: Any) -> list[str]:
        """Return the names in order of registration.

        Args:
            traits: trait → value. Only entries that have this value for each trait, or a collection that contains it,
                are returned.

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
            ConfigError: The name or a parameter is unknown, or a value is invalid.
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
            if finding["type"] == "extra_forbidden":
                parameter = ".".join(map(str, finding["loc"]))
                known = ", ".join(entry.params.model_fields) or "no parameters"
                raise ConfigError(f"{self.kind} '{name}' has no parameter '{parameter}'; it has {known}") from None
            raise ConfigError(
                f"{self.kind} '{name}': {first_finding(error)} (got {repr(finding['input'])[:100]})"
            ) from None

    def normalize(self, spec: ComponentSpec) -> ComponentSpec:
        """Check a setting as in `parse` and return its shortest form.

        Parameters that have their default are left out. A setting without parameters is the name alone.
        """
        entry, params = self.parse(spec)
        parameters = params.model_dump(mode="json", exclude_defaults=True)
        return {"name": entry.name, **parameters} if parameters else entry.name

    def build(self, spec: ComponentSpec) -> Callable[..., Any]:
        """Check a setting as in `parse`. Return its component with the parameters bound as keyword arguments."""
        entry, params = self.parse(spec)
        values = {name: getattr(params, name) for name in type(params).model_fields}
        return partial(entry.component, **values) if values else entry.component


def name_of(spec: ComponentSpec) -> str:
    """Return the name in a component's setting.

    >>> name_of({"name": "focal", "gamma": 3})
    'focal'
    """
    return spec if isinstance(spec, str) else str(spec["name"])
