"""TODO: module."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pixelwise.errors import DataError
from pixelwise.inference.predictor import Predictor
from pixelwise.runtime.files import atomic_write
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.visualization import save_image

PREDICT_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def find_images(sources: Sequence[Path]) -> list[tuple[Path, Path]]:
    """The images among files and folders, as (path, name): a folder's by suffix, at any depth; a file as it is named.

    `name` is unique and relative: where results go below the output folder.
    """
    found: list[tuple[Path, Path]] = []
    for source in sources:
        if source.is_dir():
            inside = sorted(p for p in source.rglob("*") if p.suffix.lower() in PREDICT_SUFFIXES and p.is_file())
            if not inside:
                raise DataError(f"{source}: no images in this folder ({', '.join(sorted(PREDICT_SUFFIXES))})")
            found += [(path, path.relative_to(source)) for path in inside]
        elif source.exists():
            found.append((source, Path(source.name)))
        else:
            raise DataError(f"{source}: no such file or folder")
    taken: dict[Path, int] = {}
    named = []
    for path, name in found:
        # cat.jpg and cat.png, or one name from two folders, must not land on each other.
        stem = name.with_suffix("")
        taken[stem] = taken.get(stem, 0) + 1
        number = taken[stem]
        while number > 1 and stem.with_name(f"{stem.name}-{number}") in taken:
            number += 1
        unique = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
        taken.setdefault(unique, 1)
        named.append((path, unique))
    return named


def predict_folder(
    predictor: Predictor,
    sources: Sequence[Path],
    out: Path,
    progress: Progress = no_progress,
) -> tuple[dict[str, Any], list[DataError]]:
    """Predict images and folders of images into a folder; give what predictions.json holds, and the files skipped.

    For each image NAME_mask.png (palette PNG of class indices; of a multi-label model NAME_mask_CLASS.png for every
    class) and NAME_overlay.png, all at the image's own size, and one predictions.json with every image's size and class
    shares. Raises DataError before anything is written where a source is missing or `out` already has files of these
    names.
    """
    images = find_images(sources)
    report_file = out / "predictions.json"
    parts = (
        [f"mask_{_file_name(name)}" for name in predictor.classes] if predictor.model.config.multilabel else ["mask"]
    )
    targets = [report_file, *(_target(out, name, kind) for _, name in images for kind in (*parts, "overlay"))]
    for target in targets:
        if target.exists():
            raise DataError(f"{target}: is already there; choose another --out")
    report: dict[str, Any] = {"classes": list(predictor.classes), "photos": []}
    skipped: list[DataError] = []
    for (path, name), (_, result) in zip(
        images, progress(predictor.iter_predictions(path for path, _ in images), len(images)), strict=True
    ):
        if isinstance(result, DataError):
            skipped.append(result)
            continue
        files = {kind: _target(out, name, kind) for kind in (*parts, "overlay")}
        for kind, image in zip(parts, result.to_indexed_pngs().values(), strict=True):
            save_image(image, files[kind])
        save_image(result.overlay(), files["overlay"])
        height, width = result.mask.shape[-2:]
        report["photos"].append(
            {"photo": str(path), "width": width, "height": height}
            | {kind: str(file.relative_to(out)) for kind, file in files.items()}
            | {"shares": {each: round(share, 6) for each, share in result.shares.items()}}
        )
    with atomic_write(report_file) as part:
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        # Names with bytes that are no text become \\udce9, which JSON reads back.
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
    return report, skipped


def _file_name(name: str) -> str:
    """A class's name as part of a file's name."""
    return "".join(each if each.isalnum() or each in "-." else "_" for each in name)


def _target(out: Path, name: Path, kind: str) -> Path:
    return out / name.with_name(f"{name.name}_{kind}.png")
