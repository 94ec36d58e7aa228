"""The engine "ray": predict on the workers of a Ray cluster, with Ray Data.

Images are numbered in chunks, and Ray's data set has the numbers of the chunks only. The workers read the images of a
chunk from a file in the output directory, write their outputs there, and return the rows of the tables. Ray gives the
results in order, and each one once, also if a chunk is computed again because its worker ended.
"""

import logging
import math
import os
import pickle
import signal
import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pixelwise.errors import ConfigError, PixelwiseError, WorkerCrashedError, first_line
from pixelwise.inference.engines.base import ENGINES
from pixelwise.inference.engines.local import predict_locally
from pixelwise.inference.engines.ray_resources import wait_for_workers
from pixelwise.inference.engines.ray_worker import RESULT, Failure, ItemFile, RayWorker
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.inference.output_items import OutputItem
from pixelwise.inference.output_set import ItemResult, OutputSet
from pixelwise.runtime.atomic import remove_abandoned
from pixelwise.runtime.progress import Progress

_MAX_CHUNK = 64
"""Maximum number of images in a chunk. At most so many are computed again if a worker ends."""

_BATCH = 16
"""Number of images per forward pass of a predictor. Chunks are multiples of it, so that the passes are those of one
process. In a pass of another number of images, the outputs are rounded differently."""

_CHUNKS_PER_WORKER = 4
"""Minimum number of chunks per worker, so that all workers end at about the same time."""

_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Variables that are set in the block of `_connected`: no usage statistics, and no messages of Ray's C++ part."""


_CONNECT_SECONDS = 10.0
"""Maximum time until the server of a cluster answers."""


@ENGINES.register("ray", packages=("ray", "pyarrow", "pandas"))
def predict_on_ray(
    predictor: ImagePredictor[Any],
    items: Sequence[OutputItem],
    outputs: OutputSet,
    part_progress: tuple[Progress, Progress],
) -> Iterator[ItemResult | PixelwiseError]:
    """Predict images and videos on the workers of a Ray cluster, see `Engine`.

    The cluster is the one that this process is connected to, else that of the environment variable RAY_ADDRESS, else
    one that runs on this machine. If there is none, a local one is started for this call. There is one worker for each
    GPU that is free, or for each CPU core if there are none. The output directory, if it is not a URL, and images that
    are files must have the same path on all nodes.

    Args:
        predictor: the model. A copy is sent to each worker.
        items: the images and videos.
        outputs: writes the files of an item.
        part_progress: not called, because the parts are computed by several workers.

    Yields:
        The result of each item in order, or an error that concerns this item only.

    Raises:
        ConfigError: Ray cannot be started or reached, or the cluster has no free CPU core, see `wait_for_workers`.
        OutputError: The disk is full, or another error concerns all files.
        WorkerCrashedError: A worker cannot start, or the workers of some images ended several times.
    """
    if not items:
        return
    if not outputs.store.is_shared:
        raise ConfigError(
            "memory:// is the memory of one process, and the workers of Ray are others; set `out` to a directory or to "
            "another URL, or set `engine` to local"
        )
    with ExitStack() as stack:
        stack.enter_context(_connected())
        folder = stack.enter_context(outputs.store.scratch())
        stack.callback(_remove_left_files, items, outputs.out)
        yield from _run(predictor, items, outputs, ItemFile(folder / "items", outputs.store))


def _run(
    predictor: ImagePredictor[Any], items: Sequence[OutputItem], outputs: OutputSet, file: ItemFile
) -> Iterator[ItemResult | PixelwiseError]:
    """Yield the results of the workers in order."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    from pixelwise.inference.engines.ray_chunks import ChunkNumbers

    workers, resources = wait_for_workers(predictor.uses_accelerator)
    size = _chunk_size(len(items), workers)
    count = file.write(_chunks(items, size))
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    with DataContext.current(context), _raise_start_errors():
        # Equal resources and whole blocks let Ray read in the actors. Tasks of their own would wait for free cores.
        chunks = ray.data.read_datasource(ChunkNumbers(count), override_num_blocks=count, **resources)
        results = chunks.map_batches(
            RayWorker,
            batch_size=None,
            compute=ActorPoolStrategy(size=min(workers, count)),
            fn_constructor_args=(predictor, outputs, file, Path.cwd(), predict_locally),
            **resources,
        )
        for row in results.iter_rows():
            result = pickle.loads(row[RESULT])
            if isinstance(result, Failure):
                raise result.error
            yield result


def _chunk_size(count: int, workers: int) -> int:
    """Return the maximum number of images in a chunk.

    >>> _chunk_size(12, 2), _chunk_size(1000, 8), _chunk_size(1_000_000, 8)
    (16, 32, 64)
    """
    images = math.ceil(count / (_CHUNKS_PER_WORKER * workers))
    return min(max(images // _BATCH, 1) * _BATCH, _MAX_CHUNK)


def _chunks(items: Iterable[OutputItem], size: int) -> Iterator[list[OutputItem]]:
    """Yield the items in chunks. A video or a large image, which takes long, is a chunk of its own.

    Args:
        items: the images and videos.
        size: maximum number of images in a chunk.
    """
    chunk: list[OutputItem] = []
    for item in items:
        is_long = item.is_moving or item.is_large
        if chunk and (is_long or len(chunk) == size):
            yield chunk
            chunk = []
        if is_long:
            yield [item]
        else:
            chunk.append(item)
    if chunk:
        yield chunk


def _remove_left_files(items: Sequence[OutputItem], out: Path) -> None:
    """Remove the temporary directories of workers that have ended."""
    for folder in {out, *(file.parent for item in items for file in item.files.values())}:
        remove_abandoned(folder)


@contextmanager
def _raise_start_errors() -> Iterator[None]:
    """Convert Ray's error about a worker that cannot start to a WorkerCrashedError."""
    from ray.exceptions import RayActorError

    try:
        yield
    except RayActorError as error:
        cause = str(error).strip().splitlines()[-1].strip()
        raise WorkerCrashedError(
            f"a worker of Ray cannot start ({cause}); install the same version of pixelwise on each node, and continue "
            "with `resume`"
        ) from None


@contextmanager
def _connected() -> Iterator[None]:
    """Connect to a Ray cluster in the block, or start a local one. A connection that exists is used and kept."""
    import ray
    import ray.data  # noqa: F401  # sets the level of its logger

    logger = logging.getLogger("ray.data")
    level, handler = logger.level, signal.getsignal(signal.SIGTERM)
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    is_new = not ray.is_initialized()
    try:
        os.environ.update(_ENVIRONMENT)
        if is_new:
            with _no_stderr():
                _connect()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray replaces it
        logger.setLevel(logging.CRITICAL)  # the errors are raised as well
        yield
    finally:
        logger.setLevel(level)
        if is_new:
            ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Discard what C code writes to standard error in the block. Ray writes the level of its messages there."""
    kept, discarded = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(discarded, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(discarded)


def _connect() -> None:
    """Connect to the cluster of RAY_ADDRESS or of this machine, or start one.

    Raises:
        ConfigError: It cannot be reached or started.
    """
    import ray

    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    address = os.environ.get("RAY_ADDRESS")
    try:
        _check_address(address or _started_here())
        ray.init(address="auto", **quiet)
        return
    except OSError as error:  # also ConnectionError
        if address:
            raise ConfigError(
                f"the Ray cluster at RAY_ADDRESS={address} cannot be reached ({first_line(error)}); start it with ray "
                "start --head, or unset RAY_ADDRESS"
            ) from None
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"the Ray cluster cannot be used ({first_line(error)}); end it with ray stop, or set `engine` to local"
        ) from None
    try:
        ray.init(address="local", include_dashboard=False, **quiet)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(
            f"Ray cannot be started on this machine ({first_line(error)}); set `engine` to local"
        ) from None


def _started_here() -> str:
    """Return the address of the cluster that `ray start` has started on this machine. Empty if there is none.

    The file is left if the cluster was killed.
    """
    try:
        folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
        return (folder / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _check_address(address: str) -> None:
    """Raise OSError if no server answers at an address HOST:PORT. Ray itself would try for minutes."""
    host, separator, port = address.rpartition(":")
    if separator and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
