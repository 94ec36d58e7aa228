"""Registries: names, checked parameters, traits, and one clear line for what cannot work."""

from collections.abc import Callable
from functools import partial

import pytest
from pydantic import Field, model_validator

from pixelwise.errors import ConfigError
from pixelwise.registry import Params, Registry, name_of


class ScaleParams(Params):
    """Parameters of `scale`."""

    factor: float = Field(2.0, gt=0)
    shift: int = 0

    @model_validator(mode="after")
    def _check(self) -> "ScaleParams":
        if self.shift > self.factor:
            raise ValueError("shift must not exceed factor")
        return self


def scale(value: float, *, factor: float = 2.0, shift: int = 0) -> float:
    return value * factor + shift


@pytest.fixture
def registry() -> Registry[Callable[..., float]]:
    """Return a registry with one component that has parameters and two that have none."""
    registry: Registry[Callable[..., float]] = Registry("function")
    registry.register("scale", scale, params=ScaleParams, kinds=("linear", "affine"))
    registry.register("square", lambda value: value**2, kinds="power")
    registry.register("internal", lambda value: value, hidden=True)
    return registry


Functions = Registry[Callable[..., float]]


def test_a_component_is_built_with_its_parameters(registry: Functions) -> None:
    assert registry.build("square")(3) == 9
    assert registry.build("scale")(3) == 6
    assert registry.build({"name": "scale", "factor": 10, "shift": 1})(3) == 31
    assert isinstance(registry.build("scale"), partial), "the defaults are bound too"


def test_the_shortest_form_of_a_setting(registry: Functions) -> None:
    assert registry.normalize({"name": "scale"}) == "scale"
    assert registry.normalize({"name": "scale", "factor": 2}) == "scale"
    assert registry.normalize({"name": "scale", "factor": "3"}) == {"name": "scale", "factor": 3.0}
    assert registry.normalize(registry.normalize({"name": "scale", "shift": 1})) == {"name": "scale", "shift": 1}


def test_parsing_does_not_change_the_setting(registry: Functions) -> None:
    spec = {"name": "scale", "factor": 3}
    entry, params = registry.parse(spec)
    assert (entry.name, params) == ("scale", ScaleParams(factor=3))
    assert spec == {"name": "scale", "factor": 3}


def test_names_are_in_order_and_filtered_by_traits(registry: Functions) -> None:
    assert list(registry) == registry.names() == ["scale", "square"]
    assert registry.names(kinds="affine") == ["scale"]
    assert registry.names(kinds="power") == ["square"]
    assert registry.names(kinds="pow") == [], "a text is not searched for a part of it"
    assert registry.names(other=1) == []


def test_a_hidden_component_can_be_built_and_is_not_listed(registry: Functions) -> None:
    assert "internal" in registry and "internal" not in list(registry)
    assert len(registry) == 2
    assert registry.build("internal")(3) == 3
    with pytest.raises(ConfigError) as error:
        registry["interna"]
    assert "internal" not in str(error.value).replace("'interna'", "")


def test_a_decorator_registers_and_returns_the_function(registry: Functions) -> None:
    @registry.register("half")
    def half(value: float) -> float:
        return value / 2

    assert half(4) == registry.build("half")(4) == 2
    registry.unregister("half")
    assert "half" not in registry


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("squar", "unknown function 'squar' (did you mean 'square'?); choose from: scale, square"),
        ({"factor": 3}, "a function needs a name: one of scale, square"),
        ({"name": 3}, "a function needs a name: one of scale, square"),
        ({"name": "scale", "facto": 3}, "function 'scale' has no parameter 'facto'; it has factor, shift"),
        ({"name": "square", "factor": 3}, "function 'square' has no parameter 'factor'; it has no parameters"),
        (
            {"name": "scale", "factor": -1},
            "function 'scale': factor: Input should be greater than 0 (got -1)",
        ),
        (
            {"name": "scale", "shift": 5},
            "function 'scale': shift must not exceed factor (got {'shift': 5})",
        ),
    ],
)
def test_wrong_settings(registry: Functions, spec: str | dict[str, object], message: str) -> None:
    for use in (registry.parse, registry.normalize, registry.build):
        with pytest.raises(ConfigError) as error:
            use(spec)
        assert str(error.value) == message


def test_a_name_is_registered_once(registry: Functions) -> None:
    with pytest.raises(ConfigError, match="the function 'scale' exists already; register it under another name"):
        registry.register("scale", scale)


def test_a_parameter_cannot_be_called_name(registry: Functions) -> None:
    class WrongParams(Params):
        name: str = "a"

    with pytest.raises(ConfigError, match="a parameter cannot be called 'name'"):
        registry.register("wrong", scale, params=WrongParams)


def test_the_name_of_a_setting() -> None:
    assert name_of("focal") == name_of({"name": "focal", "gamma": 3}) == "focal"


def test_a_hint_ends_the_message_about_an_unknown_name() -> None:
    decoders: Functions = Registry("decoder", hint="; smp/… need another package")
    decoders.register("fpn", lambda: 0.0)
    with pytest.raises(ConfigError, match=r"unknown decoder 'smp/unet'; choose from: fpn; smp/… need another package$"):
        decoders["smp/unet"]
