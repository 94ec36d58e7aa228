"""One-line errors for system failures in a training: a killed worker, full shared memory or disk, a changed cache."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pixelwise.data.cache.entry import CHANGED
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import DataError, OutputError, PixelwiseError, WorkerCrashedError
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.files import FREE_SPACE, is_disk_full

_WORKER_DIED = re.compile(r"DataLoader worker .*?(is killed by signal: \w+|exited unexpectedly)")

_SHARED_MEMORY = re.compile(r"unable to (write to|open|mmap|allocate) .*(/torch_|shared memory)|out of shared memory")


@contextmanager
def explain_failures(run: Run, datasets: Sequence[SegmentationDataset]) -> Iterator[None]:
    """Convert exceptions of system failures in the block to errors whose message states a fix.

    Args:
        run: the run that is trained.
        datasets: the data sets of the training. Their image caches are checked if the training fails.

    Raises:
        WorkerCrashedError: A process that loads images was killed, or shared memory is full.
        OutputError: The disk is full.
        DataError: The files of the image cache changed.
    """
    try:
        yield
    except OutputError as error:
        # Without `resume`, the same command would fail, because the directory now contains the run of this training.
        raise type(error)(f"{error} with `resume`" if str(error).endswith(FREE_SPACE) else str(error)) from None
    except PixelwiseError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and is_disk_full(error, run.path / "config.yaml"):
            name = error.filename or run.path
            raise OutputError(f"{name}: no space left on device; {FREE_SPACE} with `resume`") from None
        if isinstance(error, RuntimeError) and _SHARED_MEMORY.search(str(error)):
            raise WorkerCrashedError(
                "the system's shared memory is full; set `num_workers` to 0, or give it more (docker: --shm-size), and "
                "continue with `resume`"
            ) from None
        if isinstance(error, RuntimeError) and (died := _WORKER_DIED.search(str(error))):
            raise WorkerCrashedError(
                f"a process that loads images {died[1]}; perhaps memory ran out: lower `num_workers` or `batch_size`, "
                "and continue with `resume`"
            ) from None
        for images in datasets if isinstance(error, IndexError | RuntimeError) else ():
            if images.cache_entry is not None and not images.cache_entry.is_intact():
                raise DataError(f"{images.cache_entry.folder}: {CHANGED}") from None
        raise
