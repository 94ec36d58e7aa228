"""Checks of the arguments of an export, before its work."""

from collections.abc import Sequence
from pathlib import Path

from pixelwise.errors import ConfigError, OutputExistsError
from pixelwise.export.report import report_paths
from pixelwise.export.targets import EXPORTERS
from pixelwise.export.web.folder import is_page


def check_options(target: str, runtime: str | Path | None, int8: bool, bfloat16: bool) -> None:
    """Check the options of a target.

    Args:
        target: a name in `EXPORTERS`.
        runtime, int8, bfloat16: see `export_model`.

    Raises:
        ConfigError: The target does not have an option.
    """
    traits = EXPORTERS[target].traits
    if runtime is not None and not traits.get("takes_runtime"):
        raise ConfigError(f"`runtime` is for the target web; leave it out for {target}")
    if int8 and "no_int8" in traits:
        raise ConfigError(traits["no_int8"])
    if bfloat16 and (int8 or not traits.get("has_bfloat16")):
        raise ConfigError("`bfloat16` is for the target openvino, without `int8`; leave it out")


def check_out(out: Path, suffix: str, others: Sequence[Path], overwrite: bool) -> None:
    """Check that the files of an export can be written.

    Args:
        out: the file, or the folder.
        suffix: the suffix of the target, or "" for a folder.
        others: the files that belong to `out`.
        overwrite: True if files may be replaced.

    Raises:
        ConfigError: `out` has another suffix.
        OutputExistsError: A file exists, and may not be replaced.
    """
    if suffix and out.suffix.lower() != suffix:
        raise ConfigError(f"{out}: an exported file of this kind ends with {suffix}; choose another `out`")
    is_replaced_folder = not suffix and overwrite and out.is_dir()
    if is_replaced_folder and not is_page(out):
        raise OutputExistsError(f"{out}: has other files than those of a page, which are kept; choose another `out`")
    for each in report_paths(out) if is_replaced_folder else (out, *others, *report_paths(out)):
        if each.is_dir() or (each.exists() and not overwrite):
            raise OutputExistsError(f"{each}: exists already; choose another `out`, or set `overwrite`")
