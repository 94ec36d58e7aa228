"""The computation of a torch.export program from its description, operator by operator.

`torch.export.load` is not used, because a file from a stranger could run any code with it. It also takes some seconds,
and it computes outputs that are not requested.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pixelwise.inference.exported.torch_archive import Graph, Node, Payload, ProgramData, TensorMeta, TorchArchive
from pixelwise.inference.exported.torch_arguments import (
    DTYPES,
    STRIDED,
    names_in,
    reference,
    resolve,
    split_union,
    to_argument,
    to_output,
)
from pixelwise.inference.exported.torch_operators import find_operator

_BY_NAME = 2
_MAX_ELEMENTS = 1 << 40
"""Maximum number of elements of a weight. The sizes below it do not exceed the range of integers."""


@dataclass(frozen=True)
class _Step:
    """The use of an operator.

    Attributes:
        function: the operator.
        args: its arguments: values, `Name`s, or lists of both.
        kwargs: its arguments by name.
        outputs: for each result, its name, the names of a list of results, or None if it has no use.
        is_kept: True if it changes an argument, so that it is needed even if no output has a use.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[str | tuple[str, ...] | None, ...]
    is_kept: bool

    @property
    def names(self) -> set[str]:
        """The names of all results."""
        return {name for each in self.outputs for name in ([each] if isinstance(each, str) else each or ())}

    @property
    def needs(self) -> set[str]:
        """The names of the arguments."""
        return set(names_in([*self.args, *self.kwargs.values()]))


class TorchProgram:
    """A program that takes an image and returns tensors by name.

    Args:
        archive: the file.

    Attributes:
        image: the type and the shape of the image.
        outputs: name → type and shape of the output.

    Raises:
        ValueError: The program is not valid, or it has an operator that it may not use.
        RunError: The file is damaged.
    """

    def __init__(self, archive: TorchArchive) -> None:
        data = archive.program()
        graph = data.graph_module.graph
        self._steps = [_make_step(node) for node in graph.nodes]
        self._image, self._weights = _read_inputs(archive, data)
        results = [reference(each) for each in graph.outputs]
        self._results = dict(zip(_output_names(data, len(results)), results, strict=True))
        _check_order(self._steps, [*self._weights, self._image], results)
        self.image = _meta(graph, self._image)
        self.outputs = {name: _meta(graph, value) for name, value in self._results.items()}
        self._plans: dict[tuple[str, ...], list[tuple[_Step, set[str]]]] = {}

    def __call__(self, image: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        """Compute outputs.

        Args:
            image: (1, H, W, channels) uint8.
            outputs: their names. Operators that only other outputs need are left out.

        Raises:
            ValueError: An operator returns something else than the program says.
        """
        key = tuple(outputs)
        if key not in self._plans:
            self._plans[key] = self._plan(key)
        values: dict[str, Any] = {**self._weights, self._image: image}
        for step, unused in self._plans[key]:
            result = step.function(
                *(resolve(each, values) for each in step.args),
                **{name: resolve(each, values) for name, each in step.kwargs.items()},
            )
            _store(result, step.outputs, values)
            for name in unused:
                values.pop(name, None)
        return [values[self._results[name]] for name in outputs]

    def _plan(self, outputs: Iterable[str]) -> list[tuple[_Step, set[str]]]:
        """Return the steps for some outputs, and after each step the names of values that have no further use."""
        results = {self._results[name] for name in outputs}
        needed, steps = set(results), []
        for step in reversed(self._steps):
            if step.is_kept or not step.names.isdisjoint(needed):
                unused = (step.needs | step.names) - needed
                steps.append((step, unused))
                needed |= step.needs
        return steps[::-1]


def _make_step(node: Node) -> _Step:
    try:
        function = find_operator(node.target)
    except LookupError as error:
        raise ValueError(str(error)) from None
    args = tuple(to_argument(each.arg) for each in node.inputs if each.kind != _BY_NAME)
    kwargs = {each.name: to_argument(each.arg) for each in node.inputs if each.kind == _BY_NAME}
    schema = getattr(function, "_schema", None)
    is_kept = schema is not None and (schema.is_mutable or not schema.returns)
    return _Step(function, args, kwargs, tuple(map(to_output, node.outputs)), is_kept)


def _read_inputs(archive: TorchArchive, data: ProgramData) -> tuple[str, dict[str, Tensor]]:
    """Return the name of the image, and the weights by name."""
    payloads = archive.payloads()
    storages: dict[str, bytearray] = {}
    weights: dict[str, Tensor] = {}
    images = []
    for spec in data.graph_module.signature.input_specs:
        kind, content = split_union(spec)
        names = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
        if kind == "user_input" and isinstance(content, dict):
            images.append(reference(content.get("arg")))
        elif kind in names and isinstance(content, dict):
            found = payloads.get(str(content.get(names[kind])))
            if found is None:
                raise ValueError("it has no bytes for a weight")
            entry, payload = found
            if entry not in storages:
                storages[entry] = archive.content(entry)
            weights[reference({"as_tensor": content.get("arg")})] = _make_tensor(storages[entry], payload)
        else:
            raise ValueError(f"it has an input of the kind {kind[:40]!r}, which it may not have")
    if len(images) != 1:
        raise ValueError(f"it takes {len(images)} inputs instead of one image")
    return images[0], weights


def _make_tensor(storage: bytearray, payload: Payload) -> Tensor:
    """Return the view of bytes that a payload describes."""
    meta = payload.tensor_meta
    if payload.use_pickle or meta is None or meta.dtype not in DTYPES or meta.layout != STRIDED:
        raise ValueError("a weight is not a plain array")
    sizes, strides = ([_to_size(each) for each in values] for values in (meta.sizes, meta.strides))
    offset, dtype = _to_size(meta.storage_offset), DTYPES[meta.dtype]
    count = math.prod(sizes)
    if len(sizes) != len(strides) or count > _MAX_ELEMENTS:
        raise ValueError("a weight has an invalid shape")
    if count == 0:
        return torch.empty(sizes, dtype=dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if (last + 1) * dtype.itemsize > len(storage):
        raise ValueError("a weight has fewer bytes than its shape needs")
    return torch.frombuffer(storage, dtype=dtype, count=last + 1).as_strided(sizes, strides, offset)


def _to_size(value: Any) -> int:
    kind, content = split_union(value)
    if kind != "as_int" or not isinstance(content, int) or not 0 <= content <= _MAX_ELEMENTS:
        raise ValueError("a weight has an invalid shape")
    return content


def _output_names(data: ProgramData, count: int) -> list[str]:
    """Return the names of the outputs: the keys of the dict that the program returns."""
    call = data.graph_module.module_call_graph[0].signature
    try:
        structure = json.loads(call.out_spec if call else "")[1]
        names = json.loads(structure["context"])
        is_dict = structure["type"] == "builtins.dict"
    except (ValueError, TypeError, LookupError, RecursionError):
        names, is_dict = None, False
    if not is_dict or not isinstance(names, list) or len(set(map(str, names))) != count or len(names) != count:
        raise ValueError("it does not return outputs by name")
    return [str(name) for name in names]


def _check_order(steps: Sequence[_Step], inputs: Iterable[str], results: Iterable[str]) -> None:
    """Raise ValueError if a step needs a value that no step before it computes, or a name is used twice."""
    known = set(inputs)
    for step in steps:
        if not step.needs <= known or not step.names.isdisjoint(known):
            raise ValueError("its operators are not in order")
        known |= step.names
    if not set(results) <= known:
        raise ValueError("an output is not computed")


def _meta(graph: Graph, name: str) -> TensorMeta:
    if name not in graph.tensor_values:
        raise ValueError("an input or an output is not a tensor")
    return graph.tensor_values[name]


def _store(result: Any, outputs: tuple[str | tuple[str, ...] | None, ...], values: dict[str, Any]) -> None:
    """Add the results of an operator to the values by name."""
    results = [result] if len(outputs) == 1 else result if outputs else []
    try:
        for output, each in zip(outputs, results, strict=True):
            if isinstance(output, str):
                values[output] = each
            elif output is not None:
                values.update(zip(output, each, strict=True))
    except (ValueError, TypeError):
        raise ValueError("an operator returns another number of tensors than the program says") from None
