"""Copies are found by their pixels, near-duplicates by a perceptual hash; unrelated images are neither."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from pixelwise.data.analysis import duplicates as duplicates_module
from pixelwise.data.analysis.duplicates import (
    THUMBNAIL_SIDE,
    edge_pattern,
    find_copies,
    find_near_duplicates,
    near_duplicate_issues,
)
from pixelwise.data.analysis.image_scan import image_stats
from pixelwise.data.schema import Split
from tests.data.analysis.helpers import noise, scene


def thumbnail(image: Image.Image) -> np.ndarray:
    """Return the thumbnail of an image as the scan makes it, (THUMBNAIL_SIDE²,) uint8."""
    small = image.convert("L").resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    return np.asarray(small).ravel()


def thumbnails(*images: Image.Image) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])


def saved_again(image: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content)


CHANGES = {
    "saved with loss": lambda image: saved_again(image, 40),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "three times the size": lambda image: image.resize((image.width * 3, image.height * 3), Image.Resampling.BICUBIC),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "gray": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_image_is_a_near_duplicate(change: str) -> None:
    scenes = [Image.fromarray(scene(seed)) for seed in range(20)]
    changed = [CHANGES[change](image) for image in scenes]
    found = find_near_duplicates(thumbnails(*changed), thumbnails(*scenes))
    assert {index: match for index, (match, _) in found.matches.items()} == {index: index for index in range(20)}


def test_unrelated_images_are_no_near_duplicates() -> None:
    ours = thumbnails(*(Image.fromarray(scene(seed)) for seed in range(60)))
    others = thumbnails(*(Image.fromarray(scene(1000 + seed)) for seed in range(60)))
    assert find_near_duplicates(ours, others).matches == {}


def test_nearly_blank_images_are_not_compared() -> None:
    blank = np.full((3, THUMBNAIL_SIDE**2), 40, np.uint8)
    blank[:, ::5] += 1
    assert not edge_pattern(blank.reshape(3, THUMBNAIL_SIDE, THUMBNAIL_SIDE)).any()
    assert find_near_duplicates(blank, blank).matches == {}


def test_the_most_similar_image_is_the_match() -> None:
    image = Image.fromarray(scene(0))
    others = thumbnails(saved_again(image, 5), image, Image.fromarray(scene(1)))
    ((match, similarity),) = find_near_duplicates(thumbnails(image), others).matches.values()
    assert match == 1 and similarity == pytest.approx(1)


def test_too_many_images_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    images = thumbnails(*(Image.fromarray(scene(seed)) for seed in range(12)))
    monkeypatch.setattr(duplicates_module, "MAX_COMPARISONS", 12 * 4)
    found = find_near_duplicates(images, images)
    assert found.compared == 4 and list(found.matches) == [0, 3, 6, 9]
    both = np.concatenate([images, images])
    splits: list[Split] = [*["train"] * 12, *["val"] * 12]  # type: ignore[list-item]
    issues, messages = near_duplicate_issues(both, [f"{number}.png" for number in range(24)], splits, frozenset())
    assert len(issues) == 4
    assert messages == ["near-duplicates: compared 4 of 12 images of the val split"]


def test_images_that_are_not_searched_for_crops_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    first = thumbnails(*(Image.fromarray(scene(seed)) for seed in range(12)))
    others = thumbnails(*(Image.fromarray(scene(seed)) for seed in (0, *range(20, 31))))
    monkeypatch.setattr(duplicates_module, "MAX_COMPARISONS", 2 * 27 * 12 * 4)
    found = find_near_duplicates(first, others)
    assert (found.compared, found.searched) == (12, 1 + 4), "the one that matches, and every third of the others"
    splits: list[Split] = [*["train"] * 12, *["val"] * 12]  # type: ignore[list-item]
    files = [f"{number}.png" for number in range(24)]
    _, messages = near_duplicate_issues(np.concatenate([others, first]), files, splits, frozenset())
    assert messages == ["near-duplicates: searched 5 of 12 images of the val split for crops"]


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    images = thumbnails(*(Image.fromarray(scene(seed)) for seed in range(12)))
    monkeypatch.setattr(duplicates_module, "_PAIRS_PER_BLOCK", 30)
    assert {index: match for index, (match, _) in find_near_duplicates(images, images).matches.items()} == {
        index: index for index in range(12)
    }


def test_splits_are_compared_with_those_before_them() -> None:
    image, other = Image.fromarray(scene(0)), Image.fromarray(scene(1))
    images = thumbnails(image, image, other, other, image)
    files = ["a.png", "b.png", "c.png", "d.png", "e.png"]
    issues, messages = near_duplicate_issues(images, files, ["train", "train", "val", "test", "test"], frozenset({4}))
    assert not messages
    (issue,) = issues
    assert (issue.kind, issue.file, issue.severity) == ("near-duplicate", "d.png", "warning")
    assert "c.png (similarity 1.000): one is in val and one in test" in issue.message


def test_images_of_zeros_have_no_copies() -> None:
    digests = np.frombuffer(b"".join(bytes([value]) * 16 for value in (0, 7, 0, 7, 9)), "V16")
    assert find_copies(digests) == {3: 1}


def test_a_copy_in_another_file_format_has_the_same_digest(tmp_path: Path) -> None:
    pixels = Image.fromarray(noise(0))
    suffixes = (".png", ".tif", ".bmp", ".webp")
    for suffix in suffixes:
        pixels.save(tmp_path / f"a{suffix}", lossless=True)  # other encoders than WebP's ignore it
    pixels.save(tmp_path / "lossy.jpg")
    digests = {suffix: image_stats(tmp_path / f"a{suffix}").digest for suffix in suffixes}
    assert len(set(digests.values())) == 1
    assert image_stats(tmp_path / "lossy.jpg").digest not in digests.values()


def test_metadata_of_a_jpeg_does_not_matter(tmp_path: Path) -> None:
    image = Image.fromarray(scene(3, (300, 400)))
    image.save(tmp_path / "a.jpg")
    image.save(tmp_path / "b.jpg", comment=b"another camera")
    first, second = image_stats(tmp_path / "a.jpg"), image_stats(tmp_path / "b.jpg")
    assert first.digest == second.digest
    image.rotate(1).save(tmp_path / "c.jpg")
    assert image_stats(tmp_path / "c.jpg").digest != first.digest
