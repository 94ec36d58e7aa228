"""The page of a model in a temporary folder, to try it on this machine."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from pixelwise.export.web.folder import MODEL_FILE, check_images, write_page
from pixelwise.export.web.runtime import CPU_FILES, read_runtime
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.model_location import ONNX_SUFFIX
from pixelwise.runtime.files import expand_home, user_cache_folder
from pixelwise.runtime.progress import Progress, no_progress

MAX_CACHED = 5
"""Maximum number of exported models in the cache folder."""


@contextmanager
def page_folder(
    model: str | Path, runtime: str | Path | None = None, progress: Progress = no_progress
) -> Iterator[Path]:
    """Yield a temporary folder with the page of a model. It is removed after the block.

    A run is exported once: the file is kept in the user's cache folder.

    Args:
        model: an exported ONNX file, or a run as for `export_model`.
        runtime: see `export_model`.
        progress: see `Progress`. It counts the measured images of an export.

    Raises:
        PixelwiseError: See `export_model`.
    """
    files = read_runtime(runtime)
    file = _exported_file(model, progress)
    config = ExportedPredictor.load(file).config
    check_images(config)
    with tempfile.TemporaryDirectory(prefix="pixelwise-try-") as name:
        folder = Path(name)
        shutil.copyfile(file, folder / MODEL_FILE)
        write_page(folder, config, files, CPU_FILES)
        yield folder


def _exported_file(model: str | Path, progress: Progress) -> Path:
    """Return an exported file as it is, or the export of a run in the cache."""
    if "://" not in str(model) and expand_home(model).suffix.lower() == ONNX_SUFFIX:
        return expand_home(model)
    from pixelwise.export.export import export_model
    from pixelwise.inference.predictor import Predictor

    predictor = Predictor.load_run(model, "cpu", "32-true")
    check_images(predictor.config)
    cache = user_cache_folder() / "exported"
    path = cache / f"{predictor.fingerprint()}-{version('pixelwise')}{ONNX_SUFFIX}"
    if not path.exists():
        export_model(model, path, overwrite=True, progress=progress)
        _remove_old(cache)
    return path


def _remove_old(cache: Path) -> None:
    """Remove the oldest exports and their reports, so that `MAX_CACHED` stay."""
    files = sorted(cache.glob(f"*{ONNX_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[MAX_CACHED:]:
        for each in (path, *cache.glob(f"{path.name}-report.*")):
            each.unlink(missing_ok=True)
