"""The operators of an ONNX file around the network: from the image to the network's input, and from logits to the mask.

image (1, H, W, channels) uint8
  ▸ resize to the model's size with antialiasing ▸ network (normalization and batch norms folded in) ▸ logits
  ▸ add the shift of the thresholds ▸ resize to (H, W), one class at a time
  ▸ first maximum, or for a multi-label model each class above 0 ▸ mask
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from pixelwise.data.input_size import to_pair
from pixelwise.data.task import MULTILABEL
from pixelwise.export.graph_builder import GraphBuilder
from pixelwise.export.logit_resize import add_bilinear_weights, multiply_last_resize
from pixelwise.export.onnx_resize import add_input_resize, add_size_check
from pixelwise.inference.exported.exported_file import (
    CONFIDENCE,
    IMAGE,
    IMAGE_LABELS,
    LABELS,
    MASK,
    NETWORK_INPUT,
    PROBABILITIES,
)
from pixelwise.models.config import ModelConfig
from pixelwise.palette import IGNORE_INDEX

OPSET = 18
"""Version of the operators. It is the first one whose Resize has antialiasing."""

LOGITS = "logits"
"""Name of the output of the network. Its input is `NETWORK_INPUT`."""


def join_job(
    network: onnx.ModelProto,
    config: ModelConfig,
    probabilities: bool,
    shift: npt.NDArray[np.float32] | None = None,
    for_openvino: bool = False,
) -> onnx.ModelProto:
    """Add the operators before and after a network.

    Args:
        network: a model with one input `NETWORK_INPUT`, (1, channels, height, width) uint8, and one output `LOGITS`,
            (1, C, height, width) float32, with the operators of `OPSET`.
        config: the configuration of the model.
        probabilities: True to add the output `PROBABILITIES`.
        shift: (C, 1, 1), what is added to logits for thresholds of the classes, see `threshold_shift`, or None.
        for_openvino: True for operators that OpenVINO computes fast and right. Logits are resized by matrix products,
            and images of the model's size are resized too, because OpenVINO 2026.4 computes wrong values after If.

    Returns:
        A model with the input `IMAGE`, (1, H, W, channels) uint8 of any size, and the outputs `MASK`, (1, H, W) or
        for a multi-label model (1, C, H, W) uint8, `CONFIDENCE`, (C,) float32, see `Prediction.class_confidences`, NaN
        for a class without pixels, and `PROBABILITIES`, (1, C, H, W) float32.
    """
    before = GraphBuilder()
    size = before.add("Shape", [IMAGE], start=1, end=3)
    has_size = "" if for_openvino else add_size_check(before, size, config)
    add_input_resize(before, IMAGE, config, NETWORK_INPUT, has_size)
    after = before.branch("after")
    weights = add_bilinear_weights(after, size, to_pair(config.size)) if for_openvino else None
    outputs = _Outputs(after, config, size, shift, weights)
    outputs.add_mask(has_size)
    outputs.add_confidence()
    if probabilities:
        outputs.add_probabilities()
    nodes = multiply_last_resize(network, before, LOGITS) if for_openvino else network.graph.node
    graph = helper.make_graph(
        [*before.nodes, *nodes, *after.nodes],
        "pixelwise",
        [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, [1, "height", "width", len(config.mean)])],
        _output_infos(config, probabilities),
        [*network.graph.initializer, *before.constants],
    )
    opsets = {each.domain: each.version for each in network.opset_import}
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=network.ir_version, producer_name="pixelwise")


def _output_infos(config: ModelConfig, probabilities: bool) -> list[onnx.ValueInfoProto]:
    """Return the descriptions of the outputs, see `join_job`."""
    classes = len(config.classes)
    one: list[str | int | None] = [1, "height", "width"]
    each: list[str | int | None] = [1, classes, "height", "width"]
    mask_shape = each if config.task is MULTILABEL else one
    return [
        helper.make_tensor_value_info(MASK, TensorProto.UINT8, mask_shape),
        helper.make_tensor_value_info(CONFIDENCE, TensorProto.FLOAT, [classes]),
        *[helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, each)] * probabilities,
    ]


class _Outputs:
    """The operators from the logits to the outputs of the file.

    Classes are resized and compared one after the other, so that the memory does not grow with their number.

    Args:
        graph: the graph. It gets operators that decide the class of each of the logits.
        config: the configuration of the model.
        size: the name of the height and width of the image, (2,) int64.
        shift: see `join_job`.
        weights: see `add_bilinear_weights`. None to resize with the operator Resize.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        config: ModelConfig,
        size: str,
        shift: npt.NDArray[np.float32] | None,
        weights: tuple[str, str] | None,
    ) -> None:
        self._graph, self._config, self._size, self._weights = graph, config, size, weights
        self._missing = self._find_missing() if config.band_ranges else None
        self._shifted = LOGITS if shift is None else graph.add("Add", [LOGITS, graph.constant(shift[None], np.float32)])
        self._logits = graph.split(self._shifted, len(config.classes), axis=1)
        labels, self._highest = self._decide(graph, self._logits)
        self._labels = graph.add("Identity", [labels], LABELS)

    def add_mask(self, has_size: str) -> None:
        """Add the mask.

        Args:
            has_size: the name of the result of `add_size_check`. If it is true, the classes of the logits are the mask.
                "" to resize the logits for each image.
        """
        graph = self._graph
        other = graph.branch("resized") if has_size else graph
        mask, _ = self._decide(other, (self._resize(other, each, 1) for each in self._logits))
        if has_size:
            same = graph.branch("same")
            branches = {"then_branch": same.body(same.add("Identity", [self._labels])), "else_branch": other.body(mask)}
            mask = graph.add("If", [has_size], **branches)
        mask = graph.add("Identity", [mask], IMAGE_LABELS)
        channel_axis = graph.constant([1], np.int64)
        is_multilabel = self._config.task is MULTILABEL
        if not is_multilabel:
            mask = graph.add("Squeeze", [mask, channel_axis])
        if self._missing is None:
            graph.add("Identity", [mask], MASK)
            return
        missing = graph.add("Unsqueeze", [self._missing, channel_axis]) if is_multilabel else self._missing
        graph.add("Where", [missing, graph.constant(IGNORE_INDEX, np.uint8), mask], MASK)

    def add_probabilities(self) -> None:
        """Add the probability of each class at each pixel of the image."""
        graph = self._graph
        resized = self._resize(graph, self._divide_by_temperature(LOGITS), len(self._config.classes))
        if self._config.task is MULTILABEL:
            graph.add("Sigmoid", [resized], PROBABILITIES)
        else:
            graph.add("Softmax", [resized], PROBABILITIES, axis=1)

    def add_confidence(self) -> None:
        """Add the mean probability of each class over its pixels at the size of the logits, see `class_confidence`."""
        graph = self._graph
        probabilities, parts = self._probabilities_and_pixels()
        if self._missing is not None:
            has_data = graph.add("Not", [self._missing_logits(self._missing)])
            parts = [graph.add("And", [part, has_data]) for part in parts]
        weights = [graph.add("Cast", [part], to=TensorProto.FLOAT) for part in parts]
        axes = graph.constant([0, 2, 3], np.int64)
        sums = [graph.add("ReduceSum", [graph.add("Mul", [probabilities, each]), axes], keepdims=0) for each in weights]
        counts = [graph.add("ReduceSum", [each, axes], keepdims=0) for each in weights]
        graph.add("Div", [graph.join(sums, axis=0), graph.join(counts, axis=0)], CONFIDENCE)  # 0 / 0 is NaN

    def _probabilities_and_pixels(self) -> tuple[str, list[str]]:
        """Return the probability of each class, or of that of the mask, and the pixels of the classes at the logits.

        The pixels are (1, classes, h, w) bool, in parts for one or more classes.
        """
        graph, indices = self._graph, np.arange(len(self._logits), dtype=np.uint8).reshape(1, -1, 1, 1)
        if self._config.task is MULTILABEL:
            present = graph.add("Cast", [self._labels], to=TensorProto.BOOL)
            return graph.add("Sigmoid", [self._divide_by_temperature(LOGITS)]), [present]
        if self._shifted != LOGITS:
            probabilities, parts = graph.add("Softmax", [self._divide_by_temperature(LOGITS)], axis=1), [indices]
        else:  # the class of the mask is the most probable one
            probabilities = self._highest_probability()
            # OpenVINO compares with several classes at once without vector instructions.
            parts = [indices] if self._weights is None else np.split(indices, indices.size, axis=1)
        return probabilities, [graph.add("Equal", [self._labels, graph.constant(part, np.uint8)]) for part in parts]

    def _resize(self, graph: GraphBuilder, values: str, channels: int) -> str:
        """Return (1, channels, h, w) resized to the size of the image without antialiasing."""
        if self._weights is not None:
            rows, columns = self._weights
            return graph.add("MatMul", [graph.add("MatMul", [rows, values]), columns])
        sizes = graph.add("Concat", [graph.constant([1, channels], np.int64), self._size], axis=0)
        return graph.add("Resize", [values, "", "", sizes], mode="linear", coordinate_transformation_mode="half_pixel")

    def _decide(self, graph: GraphBuilder, logits: Iterable[str]) -> tuple[str, str]:
        """Decide the classes of each pixel.

        Args:
            graph: the graph that gets the operators.
            logits: see `_first_maximum`.

        Returns:
            The labels, (1, 1, H, W) or for a multi-label model (1, C, H, W) uint8, and the highest logit, (1, 1, H, W)
            or for a multi-label model "".
        """
        if self._config.task is not MULTILABEL:
            return _first_maximum(graph, logits)
        zero = graph.constant(0, np.float32)
        present = [graph.add("Greater", [each, zero]) for each in logits]
        return graph.add("Concat", [graph.add("Cast", [each], to=TensorProto.UINT8) for each in present], axis=1), ""

    def _divide_by_temperature(self, values: str) -> str:
        return self._graph.add("Div", [values, self._graph.constant(self._config.temperature, np.float32)])

    def _highest_probability(self) -> str:
        """Return the maximum of the softmax over the classes, (1, 1, h, w).

        It is one over the sum of exp((logit - highest logit) / temperature). ONNX Runtime computes this class by class
        faster than Softmax, ReduceMax and ArgMax over an axis that is not the last one (docs/decisions.md).
        """
        graph = self._graph
        total = ""
        for each in self._logits:
            power = graph.add("Exp", [self._divide_by_temperature(graph.add("Sub", [each, self._highest]))])
            total = graph.add("Add", [total, power]) if total else power
        return graph.add("Reciprocal", [total])

    def _find_missing(self) -> str:
        """Return the pixels without data, (1, H, W) bool: 0 in all channels, see `PixelScale.missing`."""
        highest = self._graph.add("ReduceMax", [IMAGE, self._graph.constant([3], np.int64)], keepdims=0)
        return self._graph.add("Equal", [highest, self._graph.constant(0, np.uint8)])

    def _missing_logits(self, missing: str) -> str:
        """Return the logits whose central pixel is missing, (1, 1, h, w) bool, see `nearest_indices`."""
        graph = self._graph
        for axis, new in enumerate(to_pair(self._config.size)):
            old = graph.add("Gather", [self._size, graph.constant(axis, np.int64)])
            centers = graph.constant(2 * np.arange(new) + 1, np.int64)
            index = graph.add("Div", [graph.add("Mul", [centers, old]), graph.constant(2 * new, np.int64)])
            missing = graph.add("Gather", [missing, index], axis=axis + 1)
        return graph.add("Unsqueeze", [missing, graph.constant([1], np.int64)])


def _first_maximum(graph: GraphBuilder, classes: Iterable[str]) -> tuple[str, str]:
    """Return the index of the class with the first maximum, (1, 1, H, W) uint8, and the maximum, (1, 1, H, W).

    Args:
        graph: the graph.
        classes: the names of the values of each class, (1, 1, H, W). If it is a generator that adds nodes, those of a
            class follow the comparison of the class before, so that a runtime has few of the values in memory.
    """
    each_class = iter(classes)
    highest = next(each_class)
    indices = ""
    for index, value in enumerate(each_class, 1):
        is_higher = graph.add("Greater", [value, highest])
        if indices:
            indices = graph.add("Where", [is_higher, graph.constant(index, np.uint8), indices])
        else:
            indices = graph.add("Cast", [is_higher], to=TensorProto.UINT8)
        highest = graph.add("Max", [value, highest])
    if not indices:  # one class
        zero = helper.make_tensor("zero", TensorProto.UINT8, [1], [0])
        indices = graph.add("ConstantOfShape", [graph.add("Shape", [highest])], value=zero)
    return indices, highest
