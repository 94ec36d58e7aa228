"""`pixelwise verify`. This command imports torch for a torch.export program only."""

from pathlib import Path

from pixelwise.cli.entry import DONE
from pixelwise.errors import RunError, printable


def verify_command(file: Path, /) -> int:
    """Compute the masks of the images inside an exported file, and compare them with the masks inside it.

    Args:
        file: Exported file.
    """
    from pixelwise.inference.exported.metadata import MIN_EQUAL
    from pixelwise.inference.exported.self_test import verify

    result = verify(file)
    for (height, width), equal in zip(result.sizes, result.equal, strict=True):
        print(f"{width}x{height}: {equal:.4%} of the pixels equal")
    if result.is_passed:
        print(printable(f"{file}: gives the expected masks on this machine"))
        return DONE
    is_float = result.precision == "float32"
    fix = f"update {result.package}" if is_float else f"export it again without {result.precision}"
    raise RunError(
        f"{file}: gives other masks on this machine: {min(result.equal):.2%} of the pixels are equal, and "
        f"{MIN_EQUAL:.1%} are needed; {fix}"
    )
