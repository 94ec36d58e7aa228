"""A table of features returns the rows of its levels, whatever their type and their number of values."""

import pytest
import torch

from pixelwise.models.feature_table import FeatureTable


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3, 4, 16])
def test_rows_are_those_of_the_levels(dtype: torch.dtype, channels: int) -> None:
    levels = [torch.randn(7, side, side + 2, channels).to(dtype) for side in (5, 3)]  # rows of odd and even lengths
    table = FeatureTable(levels, (10, 14))
    for feature, level in zip(table(torch.tensor([6, 0, 6, 3])), levels, strict=True):
        assert feature.dtype == dtype
        assert torch.equal(feature, level[[6, 0, 6, 3]].permute(0, 3, 1, 2))
        assert feature.is_contiguous(memory_format=torch.channels_last)
