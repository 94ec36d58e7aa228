"""The numbers of chunks as a data source of Ray Data. This module imports ray."""

from functools import partial
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from pixelwise.inference.engines.ray_worker import CHUNK


class ChunkNumbers(Datasource):
    """The numbers from 0 to `count` - 1, one in each block.

    `ray.data.range` has no argument for the resources of its tasks, which must be those of the workers.

    Args:
        count: the number of chunks.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def estimate_inmemory_data_size(self) -> int:
        return 8 * self._count

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        metadata = BlockMetadata(num_rows=1, size_bytes=8, input_files=None, exec_stats=None)
        return [ReadTask(partial(_block, number), metadata) for number in range(self._count)]


def _block(number: int) -> list[pa.Table]:
    return [pa.table({CHUNK: [number]})]
