"""`pixelwise export`.

This module imports neither torch nor the library's modules that do, so that `pixelwise export --help` starts quickly.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pixelwise.cli.common import check_output
from pixelwise.cli.components import LIST_FLAG, OPEN_CHOICE, DataPath, open_choice, parse_thresholds
from pixelwise.cli.entry import DONE
from pixelwise.cli.setting_flags import read_names
from pixelwise.errors import printable
from pixelwise.runtime.files import size_in_bytes
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
    int8: Annotated[bool, Parameter(negative=())] = False,
    bfloat16: Annotated[bool, Parameter(negative=())] = False,
    probabilities: Annotated[bool, Parameter(negative=())] = False,
    thresholds: Annotated[list[str] | None, Parameter(**LIST_FLAG, metavar="CLASS=VALUE")] = None,
    runtime: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Export a run's best model as one file.

    Args:
        run: Run directory, or the model.safetensors of one.
        out: File to write, or folder to make for web.
        int8: Compute with 8-bit integers, calibrated on the validation images of the run. Smaller, and faster on most
            processors. An error if more than 1 % of their pixels change, or their mIoU falls by more than 0.5 points.
        bfloat16: Compute with bfloat16, for openvino on a processor that has it. The conditions are those of --int8.
        probabilities: Add the probability of each class at each pixel as an output of the file.
        thresholds: How probable a class must be to be predicted, from 0 to 1: leaf=0.7 crack=0.3. 0.5 changes nothing.
            They become a part of the file.
        runtime: Package file of ONNX Runtime Web for web. By default it is downloaded once.
        overwrite: Replace the file and its report.
    """
    check_output(out)
    from pixelwise.export.export import export_model
    from pixelwise.export.targets import EXPORTERS

    with ProgressBars() as bars:
        result = export_model(
            run,
            out,
            to,
            int8=int8,
            bfloat16=bfloat16,
            probabilities=probabilities,
            thresholds=parse_thresholds(thresholds or []),
            runtime=runtime,
            overwrite=overwrite,
            progress=bars.track("measuring"),
        )
    size = sum(map(size_in_bytes, result.files)) / 1e6
    print(printable(f"file:        {', '.join(map(str, result.files))} ({size:.1f} MB)"))
    if result.metadata.thresholds:
        words = (f"{name}={value:g}" for name, value in result.metadata.thresholds.items())
        print(printable(f"thresholds:  {' '.join(words)}"))
    for image in result.images:
        height, width = image.image.shape[:2]
        print(f"             {f'{image.name} ({width}x{height})':24} {image.equal:9.4%} of the pixels equal")
    if result.score is not None:
        score, name = result.score, f"{result.metadata.precision}:"
        print(f"{name:12} {score.equal:.2%} of the pixels of {score.images} validation images equal to float32")
        print(f"             mIoU {score.miou:.4f}, in float32 {score.float_miou:.4f}")
        if score.float_layers:
            print(f"             {score.float_layers} layer{'s' * (score.float_layers > 1)} in float32")
    print(printable(f"report:      {result.report}"))
    print(printable(f"differences: {result.picture}"))
    print(printable(EXPORTERS[to].traits["next_step"].format(path=result.path)))
    return DONE
