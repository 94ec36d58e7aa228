"""`pixelwise pack`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pixelwise.cli.common import check_output, has_left_out, print_skipped
from pixelwise.cli.components import DataPath
from pixelwise.cli.data_flags import DataFlags
from pixelwise.cli.entry import DONE, SOME_FILES_FAILED
from pixelwise.data.load import load_with_options
from pixelwise.data.pack import pack
from pixelwise.errors import printable
from pixelwise.runtime.progress import ProgressBars


def pack_command(
    data: DataPath,
    out: str,
    /,
    *,
    image_size: Annotated[int | None, Parameter(name="--size")] = None,
    shard_mb: Annotated[int, Parameter(name="--shard-mb")] = 64,
    skip_unreadable: Annotated[bool, Parameter(negative=())] = False,
    masks: DataFlags | None = None,
) -> int:
    """Pack a data set into shards.

    Args:
        data: Directory of the data set, a table, or a URL.
        out: Directory or URL for the shards, such as s3://bucket/pets. It must not exist.
        image_size: Maximum length of an image's shorter side in pixels. Larger images are resized to it.
            [default: no resizing]
        shard_mb: Maximum size of a shard in MiB.
        skip_unreadable: Skip images and masks that cannot be used, and list them. By default, the first one is an
            error.
    """
    if "://" not in out:
        check_output(Path(out))
    options = (masks or DataFlags()).label_options(skip_unreadable)
    with ProgressBars() as bars:
        dataset = load_with_options(data, options, progress=bars.track("scanning masks"))
        result = pack(
            dataset, out, shard_mb * 2**20, image_size, skip_unreadable=skip_unreadable, progress=bars.track("packing")
        )
    print_skipped(result.skipped)
    print(printable(f"{result.samples} images in {len(result.shards)} shards; train with: pixelwise train {out}"))
    return SOME_FILES_FAILED if result.skipped or has_left_out(dataset) else DONE
