"""`pixelwise preview`.

Modules that import torch are imported by the command, so that `pixelwise preview --help` starts quickly.
"""

from pathlib import Path

from pixelwise.cli.common import check_absent, data_name, messages_with_flags
from pixelwise.cli.components import DataPath
from pixelwise.cli.data_flags import DataFlags
from pixelwise.data.schema import Split
from pixelwise.errors import printable
from pixelwise.runtime.atomic import remove_abandoned
from pixelwise.runtime.files import next_free_path


def preview_command(
    data: DataPath,
    /,
    *,
    split: Split = "train",
    count: int = 12,
    out: Path | None = None,
    masks: DataFlags | None = None,
) -> int:
    """Draw a grid of images with their masks.

    Args:
        data: Directory of the data set, a table, or a URL.
        split: Split of the images.
        count: Number of images, spread evenly over the split.
        out: Path of the grid. [default: NAME-SPLIT.png, NAME from DATA]
    """
    from pixelwise.data.load import load_with_options
    from pixelwise.reporting.console import print_dataset
    from pixelwise.reporting.preview import preview
    from pixelwise.visualization import save_image

    target = out or next_free_path(Path(f"{data_name(data)}-{split}.png"))
    check_absent(target)
    dataset = load_with_options(data, (masks or DataFlags()).label_options())
    remove_abandoned(target.parent)
    save_image(preview(dataset, split, count), target)
    print_dataset(messages_with_flags(dataset))
    print(printable(f"preview: {target}"))
    return 0
