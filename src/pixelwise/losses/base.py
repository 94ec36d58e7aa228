"""The registry of losses, and their common interface."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from torch import Tensor

from pixelwise.data.task import TASKS, Task
from pixelwise.errors import ConfigError
from pixelwise.losses.sums import ALIASES, PreparedTerm, SumOfLosses, Term, is_sum, parse_sum
from pixelwise.registry import ComponentSpec, Entry, Params, Registry


class Loss(Protocol):
    """A loss on logits.

    A registered loss can have additional keyword parameters. `get_loss` binds them.
    """

    def __call__(self, logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            logits: (N, C, H, W) float, the outputs of the model.
            mask: uint8 with 255 = ignore. Multiclass: (N, H, W) class indices. Multilabel: (N, C, H, W) with 1 = the
                class is present, 0 = absent.
            pixel_weights: non-negative float weights in the shape of the mask. None for a weight of 1 everywhere.

        Returns:
            A scalar. Ignored pixels have no influence on it.
        """
        ...


BOTH_TASKS = ("multiclass", "multilabel")
"""The trait `tasks` of a loss that has a version for each task."""


class LossRegistry(Registry[Loss]):
    """A registry that also accepts short names, such as "ce", and the texts of sums, such as "0.5*ce+dice"."""

    def __getitem__(self, name: str) -> Entry[Loss]:
        """Return the entry with a name, or a new entry for a sum. See `Registry`."""
        if is_sum(name):
            return self._sum_entry(name, parse_sum(name))
        return super().__getitem__(ALIASES.get(name, name))

    def parse(self, spec: ComponentSpec) -> tuple[Entry[Loss], Params]:
        """Return the entry and the checked parameters of a setting. See `Registry`.

        The text of one term without a weight, such as "focal(gamma=3)", has the entry of its loss.
        """
        name = spec if isinstance(spec, str) else spec.get("name")
        if not isinstance(name, str) or not is_sum(name):
            return super().parse(spec)
        if not isinstance(spec, str) and len(spec) > 1:
            raise ConfigError(
                f"loss '{name}' is a sum, which has no parameters; write them in its terms, for example "
                "focal(gamma=3)+dice"
            )
        terms = parse_sum(name)
        if len(terms) == 1 and terms[0].weight == 1:
            return super().parse(terms[0].spec)
        return super().parse(name)

    def _sum_entry(self, text: str, terms: Sequence[Term]) -> Entry[Loss]:
        """Return the entry of a sum. Its name is the shortest text, and it has one function for each task."""
        entries = [self.parse(term.spec)[0] for term in terms]
        tasks = [task for task in TASKS if all(task in entry.traits.get("tasks", (task,)) for entry in entries)]
        if not tasks:
            limits = (
                f"{entry.name} is for {entry.traits['tasks'][0]} masks"
                for entry in entries
                if len(entry.traits.get("tasks", TASKS)) < len(TASKS)
            )
            raise ConfigError(f"loss '{text}': {' and '.join(limits)}; choose losses for the same masks")
        functions = {
            task: SumOfLosses(
                [
                    PreparedTerm(term.weight, self.build_for(term.spec, task), _balances(entry))
                    for term, entry in zip(terms, entries, strict=True)
                ]
            )
            for task in tasks
        }
        name = "+".join(str(Term(term.weight, self.normalize(term.spec))) for term in terms)
        traits = {"tasks": tuple(tasks), "balances_classes": all(map(_balances, entries)), **functions}
        return Entry(name, functions[tasks[0]], Params, traits)

    def build_for(self, spec: ComponentSpec, task: str) -> Loss:
        """Check a setting as in `parse`. Return its function for a task with the parameters bound.

        Args:
            spec: see `parse`.
            task: the name of a task. A loss without a function for it has the same one for all tasks.
        """
        entry, params = self.parse(spec)
        function = entry.traits.get(task, entry.component)
        values = {name: getattr(params, name) for name in type(params).model_fields}
        return partial(function, **values) if values else function


def _balances(entry: Entry[Loss]) -> bool:
    return bool(entry.traits.get("balances_classes"))


LOSSES = LossRegistry("loss")
"""All losses by name.

The trait `tasks` contains the names of the tasks that a loss supports. A loss without this trait supports all tasks.
The trait `multilabel` is the function for multilabel masks, if it is another one than the component.
The trait `balances_classes` is True if a loss gives each class the same weight. A plan then sets no class weights.
"""

register_loss = LOSSES.register
"""Add a loss, see `Registry.register`. `LOSSES` describes the traits.

```python
@register_loss("mean_error", tasks=("multilabel",))
def mean_error(logits, mask, pixel_weights=None): ...
```
"""


def list_losses(task: str | Task | None = None) -> list[str]:
    """Return the names of all registered losses, or of those that support one task.

    >>> list_losses("multilabel")[-2:]
    ['boundary', 'ohem']
    """
    return [name for name in LOSSES if task is None or _is_for(name, task)]


def get_loss(spec: ComponentSpec, task: Task) -> Loss:
    """Return the loss of a setting, with its parameters bound.

    Args:
        spec: a name in LOSSES, or {"name": name, parameter: value, …}, or the text of a sum, such as "ce+dice",
            "0.5*ce+lovasz" or "focal(gamma=3)+dice". "ce" is short for "cross_entropy".
        task: the task of the data.

    Raises:
        ConfigError: The loss is unknown or does not support the task, or a parameter is unknown or out of range.

    >>> from pixelwise.data.task import MULTICLASS
    >>> focal = get_loss({"name": "focal", "gamma": 3}, MULTICLASS)
    >>> total = get_loss("0.5*ce+dice", MULTICLASS)
    """
    check_loss(spec, task)
    return LOSSES.build_for(spec, task.name)


def check_loss(spec: ComponentSpec, task: Task) -> None:
    """Raise an error if a loss setting is invalid.

    Args:
        spec: see `get_loss`.
        task: the task of the data.

    Raises:
        ConfigError: See `get_loss`.
    """
    name = LOSSES.parse(spec)[0].name
    if not _is_for(name, task):
        raise ConfigError(
            f"loss '{name}' is not for this data, which is {task.description}; "
            f"set `loss` to {', '.join(list_losses(task))}"
        )


def _is_for(loss: str, task: str | Task) -> bool:
    name = task.name if isinstance(task, Task) else task
    return name in LOSSES[loss].traits.get("tasks", (name,))
