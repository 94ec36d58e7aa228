"""Weighted sums of losses by their text: "ce+dice", "0.5*ce+lovasz", "focal(gamma=3)+dice"."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.errors import ConfigError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.registry import ComponentSpec
from pixelwise.runtime.parsing import parse_yaml

ALIASES = {"ce": "cross_entropy"}
"""Short name of a loss → its name."""

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TERM = re.compile(rf"\s*(?:(?P<weight>{_NUMBER})\s*\*\s*)?(?P<name>[A-Za-z]\w*)\s*(?:\((?P<parameters>[^()]*)\))?\s*")
_PARAMETER = re.compile(r",(?=\s*\w+\s*=)")


@dataclass(frozen=True)
class Term:
    """A term of a sum of losses.

    Attributes:
        weight: the factor, above 0.
        spec: the setting of the loss.
    """

    weight: float
    spec: ComponentSpec

    def __str__(self) -> str:
        """Return the text of the term, which `parse_sum` reads."""
        factor = "" if self.weight == 1 else f"{self.weight:.10g}*"
        if isinstance(self.spec, str):
            return factor + self.spec
        parameters = ",".join(f"{key}={json.dumps(value)}" for key, value in self.spec.items() if key != "name")
        return f"{factor}{self.spec['name']}({parameters})"


def is_sum(name: str) -> bool:
    """Return True if the name of a loss is the text of a sum, or of a loss with a weight or with parameters.

    >>> is_sum("ce+dice"), is_sum("0.5*ce"), is_sum("dice")
    (True, True, False)
    """
    return any(sign in name for sign in "+*(")


def parse_sum(text: str) -> list[Term]:
    """Return the terms of a sum of losses.

    Args:
        text: terms with + between them. A term is a name. Parameters in parentheses can follow it, and a weight and *
            can precede it. Names in `ALIASES` are replaced.

    Raises:
        ConfigError: The text has another form, or a weight is 0.

    >>> parse_sum("0.5*ce + focal(gamma=3)")
    [Term(weight=0.5, spec='cross_entropy'), Term(weight=1.0, spec={'name': 'focal', 'gamma': 3})]
    """
    terms: list[Term] = []
    end = -1
    while end < len(text):
        match = _TERM.match(text, end + 1)
        if match is None or text[match.end() : match.end() + 1] not in ("", "+"):
            raise ConfigError(
                f"loss '{text}' is not a sum of losses; write NAME+NAME, WEIGHT*NAME or NAME(PARAMETER=VALUE), for "
                "example 0.5*ce+dice"
            )
        weight = float(match["weight"] or 1)
        if weight <= 0:
            raise ConfigError(f"loss '{text}': the weight of {match['name']} must be above 0; leave the term out")
        name = ALIASES.get(match["name"], match["name"])
        parameters = _parse_parameters(text, match["parameters"] or "")
        terms.append(Term(weight, {"name": name, **parameters} if parameters else name))
        end = match.end()
    return terms


def _parse_parameters(text: str, parameters: str) -> dict[str, object]:
    values: dict[str, object] = {}
    for part in filter(str.strip, _PARAMETER.split(parameters)):
        key, equals, value = part.partition("=")
        try:
            values[key.strip()] = parse_yaml(value)
        except ValueError as error:
            raise ConfigError(f"loss '{text}': {key.strip()}: {error}") from None
        if not equals or not value.strip():
            raise ConfigError(f"loss '{text}': '{part.strip()}' is not PARAMETER=VALUE; write for example gamma=3")
    return values


@dataclass(frozen=True)
class PreparedTerm:
    """A term of a sum with its parameters bound.

    Attributes:
        weight: the factor.
        function: the loss, see `Loss`.
        balances_classes: the trait of the loss, see `LOSSES`.
    """

    weight: float
    function: Callable[..., Tensor]
    balances_classes: bool


class SumOfLosses:
    """A weighted sum of losses. It is called as a `Loss`.

    Pixel weights must not change the balance of the terms. So they are divided by their mean over the pixels that are
    not ignored. In terms that balance the classes, all pixels with a weight above 0 have the weight 1.

    Args:
        terms: the terms.
    """

    def __init__(self, terms: Sequence[PreparedTerm]) -> None:
        self.terms = tuple(terms)

    def __call__(self, logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        """Return the sum of the losses of a batch. See `Loss` for the arguments."""
        scaled = included = None
        if pixel_weights is not None:
            counted = mask != IGNORE_INDEX
            total = (pixel_weights * counted).sum().clamp(min=1e-6)
            scaled = pixel_weights * (counted.sum() / total)
            included = (pixel_weights > 0).float()
        losses = [
            term.weight * term.function(logits, mask, included if term.balances_classes else scaled)
            for term in self.terms
        ]
        return torch.stack(losses).sum()
