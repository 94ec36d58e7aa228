"""`pixelwise export`.

This module imports neither torch nor the library's modules that do, so that `pixelwise export --help` starts quickly.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pixelwise.cli.common import check_output
from pixelwise.cli.components import OPEN_CHOICE, DataPath, open_choice
from pixelwise.cli.entry import DONE
from pixelwise.cli.setting_flags import read_names
from pixelwise.errors import printable
from pixelwise.runtime.progress import ProgressBars

_TARGETS = read_names("exporters")

if TYPE_CHECKING:
    _Target = str
else:
    _Target = Annotated[
        open_choice(_TARGETS), Parameter(help=f"Kind of the file: {', '.join(_TARGETS)}.", **OPEN_CHOICE)
    ]


def export_command(
    run: DataPath,
    /,
    *,
    to: _Target = "onnx",
    out: Path,
    probabilities: Annotated[bool, Parameter(negative=())] = False,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Export a run's best model as one file.

    Args:
        run: Run directory, or the model.safetensors of one.
        out: File to write.
        probabilities: Add the probability of each class at each pixel as an output of the file.
        overwrite: Replace the file and its report.
    """
    check_output(out)
    from pixelwise.export.export import export_model

    with ProgressBars() as bars:
        result = export_model(
            run, out, to, probabilities=probabilities, overwrite=overwrite, progress=bars.track("measuring")
        )
    size = result.path.stat().st_size / 1e6
    print(printable(f"file:        {result.path} ({size:.1f} MB)"))
    for image in result.images:
        height, width = image.image.shape[:2]
        print(f"             {f'{image.name} ({width}x{height})':24} {image.equal:9.4%} of the pixels equal")
    print(printable(f"report:      {result.report}"))
    print(printable(f"differences: {result.picture}"))
    print(printable(f"test it where it will work: pixelwise verify {result.path}"))
    return DONE
