"""The size at which an evaluation compares masks."""

from typing import Literal

Resolution = Literal["original", "model"]
"""Each image's own size, or the size of the model's output."""
