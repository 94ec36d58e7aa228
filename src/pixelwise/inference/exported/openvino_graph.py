"""Changes of an OpenVINO model for images of the size of the network."""

import math
from typing import Any

from pixelwise.inference.exported.exported_file import IMAGE_LABELS, LABELS, NETWORK_INPUT, PLANES

_ELEMENTWISE = frozenset({"Identity", "Convert", "Add", "Subtract"})
"""OpenVINO's operators that compute each value of an image by itself, if their other inputs are single values."""


def fix_size(model: Any, size: tuple[int, int]) -> None:
    """Fix the size of the image to that of the network, and use the values before each resizing instead of its result.

    Args:
        model: the model, which is changed. A file of an older version of pixelwise lacks the names of these values, so
            it still resizes.
        size: (height, width) of the network.
    """
    image = model.inputs[0]
    model.reshape({image: [1, *size, image.partial_shape[3].get_length()]})
    for before, after in ((PLANES, NETWORK_INPUT), (LABELS, IMAGE_LABELS)):
        values = _named_values(model)
        if before in values and after in values:
            values[after].replace(values[before])
    del values  # operators that are not used any more, among them users of the image
    if (planes := _named_values(model).get(PLANES)) is not None:
        _transpose_later(planes)
        model.validate_nodes_and_infer_types()


def _named_values(model: Any) -> dict[str, Any]:
    """Return the outputs of all operators by name."""
    return {name: output for node in model.get_ops() for output in node.outputs() for name in output.get_names()}


def _transpose_later(planes: Any) -> None:
    """Normalize an image before its transposition, not after it.

    The transposition then is next to the first convolution, whose channels are last in memory, so OpenVINO leaves it
    out (docs/decisions.md). The values are the same.

    Args:
        planes: the transposed image.
    """
    while planes.get_node().get_type_name() == "Identity":
        planes = planes.get_node().input_value(0)
    transposition, last = planes.get_node(), planes
    while _is_elementwise(consumers := list(last.get_target_inputs())):
        last = consumers[0].get_node().output(0)
    if last is planes or transposition.get_type_name() != "Transpose":
        return
    consumers = list(last.get_target_inputs())
    next(iter(planes.get_target_inputs())).replace_source_output(transposition.input_value(0))
    transposition.input(0).replace_source_output(last)
    for each in consumers:
        each.replace_source_output(planes)


def _is_elementwise(consumers: list[Any]) -> bool:
    """Return True if the only operator that uses a value computes each element by itself.

    Args:
        consumers: the inputs of operators that use the value.
    """
    if len(consumers) != 1 or consumers[0].get_node().get_type_name() not in _ELEMENTWISE:
        return False
    others = [each for each in consumers[0].get_node().inputs() if each.get_index() != consumers[0].get_index()]
    return all(each.get_partial_shape().is_static and math.prod(each.get_shape()) == 1 for each in others)
