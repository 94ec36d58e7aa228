"""The boundary loss: errors are weighted by their distance from the boundary of the class."""

import math

import torch
from pydantic import Field
from torch import Tensor

from pixelwise.losses.base import BOTH_TASKS, LOSSES
from pixelwise.losses.functional import class_indices, count_pixels, subtract_one_hot
from pixelwise.palette import IGNORE_INDEX
from pixelwise.registry import Params

MAX_DISTANCE = 11.0
"""Maximum of `max_distance`. The sum of two squared distances must fit into 8 bits."""


class BoundaryParams(Params):
    """Parameters of `boundary`."""

    max_distance: float = Field(5.0, ge=1, le=MAX_DISTANCE, description="Larger distances count as this, in pixels.")


def boundary_sigmoid(
    logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, max_distance: float = 5.0
) -> Tensor:
    """Return the boundary loss of multilabel masks, from a sigmoid for each class. See `boundary`.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 = the class is present, 0 = absent, 255 = ignore.
        pixel_weights: (N, C, H, W) float, or None for 1 everywhere.
        max_distance: see `boundary`.

    Returns:
        A scalar, in pixels: a mean over the mask values that are not ignored.
    """
    is_true = mask == 1
    with torch.no_grad():
        # A pixel with the class needs the distance to the nearest one without it, and the reverse.
        to_true, to_false = _squared_distances(is_true, max_distance), _squared_distances(mask == 0, max_distance)
        distance = _from_squares(torch.where(is_true, to_false, to_true), max_distance)
        distance = torch.where(is_true, -distance, distance).masked_fill_(mask == IGNORE_INDEX, 0)
        if pixel_weights is not None:
            distance *= pixel_weights
    return (distance * (logits.float().sigmoid() - is_true.float())).sum() / count_pixels(mask)


@LOSSES.register("boundary", params=BoundaryParams, tasks=BOTH_TASKS, multilabel=boundary_sigmoid)
def boundary(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, max_distance: float = 5.0) -> Tensor:
    """Return the mean distance of errors from the boundary of the class that they concern, in pixels.

    Kervadec et al. 2019, "Boundary loss for highly unbalanced segmentation". The probability of each class is
    multiplied by the signed distance of the pixel from the boundary of the class, which is negative inside. The same
    product for the mask is subtracted, so that a correct prediction has the loss 0. Errors far from the boundary cost
    most. So use it in a sum, for example `ce+0.2*boundary`. A distance is the Euclidean one to the center of the
    nearest pixel beyond the boundary, minus half a pixel. Distances are computed in torch, so masks do not leave a GPU.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, H, W) uint8 class indices in 0..C-1, or 255 to ignore.
        pixel_weights: (N, H, W) float, or None for 1 everywhere.
        max_distance: maximum distance of pixel centers in pixels, in [1, 11]. Larger ones count as this. A class that
            is not in the image has the distance `max_distance` − 0.5 everywhere.

    Returns:
        A scalar, in pixels: a mean over the pixels that are not ignored.

    One of these two pixels is wrong. It is beside the boundary, so its error is half a pixel for each of the two
    classes. The mean over the pixels is half of the sum:

    >>> logits = torch.tensor([[[[30.0, 30.0]], [[-30.0, -30.0]]]])
    >>> boundary(logits, torch.tensor([[[0, 1]]], dtype=torch.uint8))
    tensor(0.5000)
    """
    ignored = (mask == IGNORE_INDEX)[:, None]
    label = class_indices(mask)[:, None]
    with torch.no_grad():
        classes = torch.arange(logits.shape[1], dtype=mask.dtype, device=mask.device)[:, None, None]
        squares = _squared_distances(mask[:, None] == classes, max_distance)
        # Within its own class, the distance of a pixel is that of the nearest pixel of another class.
        inside = squares.scatter(1, label, 255).amin(1, keepdim=True)
        distance = _from_squares(squares, max_distance)
        distance.scatter_(1, label, -_from_squares(inside, max_distance)).masked_fill_(ignored, 0)
        if pixel_weights is not None:
            distance *= pixel_weights[:, None]
    errors = subtract_one_hot(logits.float().softmax(1), label)
    return (distance * errors).sum() / count_pixels(mask)


def _squared_distances(region: Tensor, max_distance: float) -> Tensor:
    """Return the squared distance of each pixel center from the nearest one of a region.

    The minimum is taken over a column, then over a row (Felzenszwalb and Huttenlocher 2012), with shifted copies. Only
    distances below `max_distance` are exact.

    Args:
        region: (..., H, W) bool.
        max_distance: in pixels, at most 11.

    Returns:
        (..., H, W) uint8. Distances of `max_distance` or more have a square of at least its square.
    """
    reach = math.ceil(max_distance) - 1
    squares = torch.full(region.shape, (reach + 1) ** 2, dtype=torch.uint8, device=region.device).masked_fill_(
        region, 0
    )
    for axis in (-2, -1):
        source, length = squares, squares.shape[axis]
        squares = source.clone()
        for shift in range(1, min(reach, length - 1) + 1):
            for target, origin in ((shift, 0), (0, shift)):
                view = squares.narrow(axis, target, length - shift)
                torch.minimum(view, source.narrow(axis, origin, length - shift) + shift**2, out=view)
    return squares


def _from_squares(squares: Tensor, max_distance: float) -> Tensor:
    """Return the distances from the edge of a region.

    Args:
        squares: (..., H, W) uint8, squared distances from the nearest pixel center of the region.
        max_distance: distances of pixel centers are clipped to this, in pixels.

    Returns:
        (..., H, W) float32 in pixels.
    """
    table = torch.arange(256, dtype=torch.float32, device=squares.device).sqrt().clamp(max=max_distance) - 0.5
    return table.index_select(0, squares.flatten().int()).view_as(squares)
