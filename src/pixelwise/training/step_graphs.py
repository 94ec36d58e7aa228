"""Start all operations of a training step on a GPU at once, as a CUDA graph."""

import logging
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixelwise.errors import first_line, is_out_of_memory

logger = logging.getLogger(__name__)

_FIRST_STEPS = 2
"""Number of steps of each kind that are computed without a graph. cuDNN selects its algorithms in them."""

_MAX_GRAPHS = 2
"""Maximum number of graphs. One is for full batches, and one for the last batch of an epoch."""

_WAITS, _IS_PROTOTYPE = "called a synchronizing CUDA operation", "Synchronization debug mode is a prototype"
"""Parts of torch's warnings: about an operation that waits for the GPU, and about the mode that finds them."""

_Key = tuple[Hashable, ...]


@dataclass
class _Graph:
    """A captured step.

    Attributes:
        graph: the operations.
        images: the memory from which they read the images.
        masks: the memory from which they read the masks.
        loss: the memory to which they write the loss.
        gradients: the memory to which they write the gradient of each weight. None for a weight without one.
    """

    graph: torch.cuda.CUDAGraph
    images: Tensor
    masks: Tensor
    loss: Tensor
    gradients: list[Tensor | None]


class StepGraphs:
    """CUDA graphs of the forward and the backward pass of a training step.

    A step of a small model has hundreds of short operations, and the GPU completes each before Python starts the next.
    A graph contains the operations of a step, and the GPU starts all of them without Python. The results are the same.

    The first steps with each shape of a batch are computed without a graph. If an operation waits for the GPU in them,
    it cannot be in a graph, and no graph is made. The same applies if CUDA cannot capture the step.

    Reference: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.

    Args:
        parameters: all weights of the model.

    Attributes:
        enabled: False if the steps cannot be captured.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.enabled = True
        self._parameters = parameters
        self._first_steps: dict[_Key, int] = {}
        self._graphs: dict[_Key, _Graph] = {}
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    def run(
        self, compute: Callable[[Tensor, Tensor], Tensor], images: Tensor, masks: Tensor, *settings: Hashable
    ) -> Tensor:
        """Compute the loss and the gradients of a batch.

        Args:
            compute: a function of the images and the masks. It adds the gradients of the weights, and returns the loss.
            images: (N, …), the images of the batch, on the GPU.
            masks: (N, …), their masks, on the GPU.
            settings: the values besides the images, the masks and the weights on which the operations depend.

        Returns:
            The loss, a scalar without gradients. The next call can overwrite it.

        Raises:
            RuntimeError: The memory of the GPU does not suffice, see `is_out_of_memory`.
        """
        if not self.enabled or any(parameter.grad is not None for parameter in self._parameters):
            return compute(images, masks)
        key = (images.shape, masks.shape, *settings, *self._weights_state())
        if key not in self._graphs:
            self._first_steps[key] = self._first_steps.get(key, 0) + 1
            if self._first_steps[key] <= _FIRST_STEPS or not self._capture(key, compute, images, masks):
                return self._compute_first(compute, images, masks)
        captured = self._graphs[key]
        captured.images.copy_(images)
        captured.masks.copy_(masks)
        captured.graph.replay()
        for parameter, gradient in zip(self._parameters, captured.gradients, strict=True):
            parameter.grad = gradient
        return captured.loss

    def clear(self) -> None:
        """Remove the graphs, and free their memory."""
        self._graphs.clear()
        self._first_steps.clear()

    def _weights_state(self) -> tuple[tuple[bool, ...], int]:
        """Return which weights train, and the number of changes of the others, whose values a graph may contain."""
        trained = tuple(parameter.requires_grad for parameter in self._parameters)
        changes = sum(parameter._version for parameter in self._parameters if not parameter.requires_grad)
        return trained, changes

    def _compute_first(self, compute: Callable[[Tensor, Tensor], Tensor], images: Tensor, masks: Tensor) -> Tensor:
        """Compute a step without a graph, on the stream of the captures. Disable graphs if an operation waits."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with _waits() as found, torch.cuda.stream(self._stream):
            loss = compute(images, masks)
        current.wait_stream(self._stream)
        if found:
            self._disable(found[0])
        return loss

    def _capture(self, key: _Key, compute: Callable[[Tensor, Tensor], Tensor], images: Tensor, masks: Tensor) -> bool:
        """Capture a step without computing it. Return False if that is not possible."""
        if len(self._graphs) == _MAX_GRAPHS:
            del self._graphs[next(iter(self._graphs))]
        graph, own_images, own_masks = torch.cuda.CUDAGraph(), images.clone(), masks.clone()
        try:
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                loss = compute(own_images, own_masks)
        except RuntimeError as error:
            for parameter in self._parameters:
                parameter.grad = None
            if is_out_of_memory(error):
                raise
            self._disable(first_line(error))
            return False
        gradients = [parameter.grad for parameter in self._parameters]
        self._graphs[key] = _Graph(graph, own_images, own_masks, loss, gradients)
        return True

    def _disable(self, reason: str) -> None:
        self.enabled = False
        self.clear()
        logger.debug("training steps are not captured as CUDA graphs: %s", reason)


@contextmanager
def _waits() -> Iterator[list[str]]:
    """Collect torch's warnings about operations in the block that wait for the GPU."""
    found: list[str] = []
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    for warning in caught:
        text = str(warning.message)
        if _WAITS in text:
            found.append(text)
        elif _IS_PROTOTYPE not in text:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
