"""Tests of the search for images: which files are found, and what is said about the others."""

import json
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelwise.data.formats._filesystem import IMAGE_SUFFIXES
from pixelwise.errors import DataError
from pixelwise.inference.sources import find_images, has_images
from tests.inference.helpers import make_image, touch


class TestFindImages:
    def test_finds_nested_uppercase_unicode_and_spaces(self, tmp_path: Path) -> None:
        names = ["a.jpg", "b/c.JPEG", "b/d/e f.PNG", "Kätzchen/小猫.webp", "g.tif"]
        touch(tmp_path, *names, "notes.txt", "b/list.csv")
        (tmp_path / "folder.jpg").mkdir()
        images = find_images([tmp_path]).images
        assert {path for path, _ in images} == {tmp_path / name for name in names}
        assert {str(name) for _, name in images} == {"a", "b/c", "b/d/e f", "Kätzchen/小猫", "g"}

    @pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
    def test_finds_every_suffix_that_training_reads(self, tmp_path: Path, suffix: str) -> None:
        touch(tmp_path, f"image.{suffix}", f"IMAGE2.{suffix.upper()}")
        assert len(find_images([tmp_path]).images) == 2

    def test_skips_the_files_that_training_skips(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", ".hidden.jpg", ".cache/b.jpg", "__MACOSX/a.jpg")
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
        assert [path.name for path, _ in find_images([tmp_path]).images] == ["a.jpg"]

    def test_order_is_fixed(self, tmp_path: Path) -> None:
        touch(tmp_path, "c.jpg", "a.jpg", "b.jpg", "a/z.jpg")
        images = [Path(str(path)) for path, _ in find_images([tmp_path]).images]
        assert images == sorted(images)

    def test_takes_a_file_whatever_its_suffix(self, tmp_path: Path) -> None:
        touch(tmp_path, "image.dat")
        assert find_images([tmp_path / "image.dat"]).images == ((tmp_path / "image.dat", Path("image")),)

    def test_rejects_missing_sources_and_empty_directories(self, tmp_path: Path) -> None:
        touch(tmp_path, "notes.txt")
        found = find_images([tmp_path])
        assert not found.images and list(map(str, found.problems)) == [
            f"{tmp_path}: no images in this directory (only 1 .txt)"
        ]
        with pytest.raises(DataError, match=r"gone: no such file or directory$"):
            find_images([tmp_path / "gone"])


class TestWhatIsPassedOver:
    def test_special_files_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        touch(tmp_path, "a.jpg", "sub/b.jpg")
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
        monkeypatch.chdir(tmp_path)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("sub/socket")
            found = find_images([tmp_path])
        assert [path.name for path, _ in found.images] == ["a.jpg", "b.jpg"]
        assert list(map(str, found.problems)) == [
            f"{tmp_path}/gone: a link to nothing; replace or remove it",
            f"{tmp_path}/pipe: not a file; replace or remove it",
            f"{tmp_path}/sub/socket: not a file; replace or remove it",
        ]

    def test_special_files_named_like_images_fail_when_they_are_read(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.jpg")
        (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
        assert [path.name for path, _ in find_images([tmp_path]).images] == ["gone.png", "pipe.jpg"]

    def test_a_folder_that_cannot_be_read_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        touch(tmp_path, "a.jpg", "closed/b.jpg", "open/c.jpg")
        scan = os.scandir

        def refuse(path: Path) -> object:
            if Path(path).name == "closed":
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)
        found = find_images([tmp_path])
        assert [path.name for path, _ in found.images] == ["a.jpg", "c.jpg"]
        (problem,) = found.problems
        assert str(problem).startswith(f"{tmp_path}/closed: this folder cannot be read (permission denied); ")
        found = find_images([tmp_path / "closed"])
        assert not found.images and "closed: this folder cannot be read" in str(found.problems[0])

    def test_linked_folders_are_searched(self, tmp_path: Path) -> None:
        touch(tmp_path, "elsewhere/b.jpg", "photos/a.jpg")
        (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
        assert [str(name) for _, name in find_images([tmp_path / "photos"]).images] == ["a", "link/b"]

    def test_unsupported_images_are_counted_and_named(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", "b.CR2", "c/d.cr2", "e.psd", "notes.txt", "README", ".hidden", "list.txt")
        found = find_images([tmp_path])
        assert list(map(str, found.problems)) == [
            f"{tmp_path}: 2 .cr2 (b.CR2, c/d.cr2: convert them to TIFF or PNG), 1 .psd (e.psd: save them as "
            "PNG or TIFF), 2 .txt, 1 without suffix"
        ]
        assert found.notes == ()

    def test_other_files_are_counted(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", "notes.txt", "list.txt", "README", "c/data.csv")
        found = find_images([tmp_path])
        assert found.problems == ()
        assert found.notes == (f"{tmp_path}: left out: 2 .txt, 1 without suffix, 1 .csv",)

    def test_heic_without_its_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        touch(tmp_path, "a.HEIC", "b.jpg")
        monkeypatch.setattr("pixelwise.inference.folder_files.find_spec", lambda name: None)
        found = find_images([tmp_path])
        assert [path.name for path, _ in found.images] == ["b.jpg"]
        assert list(map(str, found.problems)) == [f"{tmp_path}: 1 .heic (a.HEIC: pip install 'pixelwise[heic]')"]
        monkeypatch.setattr("pixelwise.inference.folder_files.find_spec", lambda name: name)
        assert [path.name for path, _ in find_images([tmp_path]).images] == ["a.HEIC", "b.jpg"]

    def test_a_folder_of_other_files_only_has_the_fix(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.psd", "b.txt")
        (problem,) = find_images([tmp_path]).problems
        assert "no images in this directory (only 1 .psd (a.psd: save them as PNG" in str(problem)

    def test_images_without_the_suffix_of_an_image(self, tmp_path: Path) -> None:
        save(tmp_path / "a.png")
        shutil.copy(tmp_path / "a.png", tmp_path / "scan.dat")
        shutil.copy(tmp_path / "a.png", tmp_path / "IMG_7")
        touch(tmp_path, "empty.dat", "text.dat")
        found = find_images([tmp_path])
        assert [path.name for path, _ in found.images] == ["IMG_7", "a.png", "scan.dat"]
        assert found.notes == (
            f"{tmp_path}: 2 files (IMG_7, scan.dat) are images by content",
            f"{tmp_path}: left out: 2 .dat",
        )

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000"])
    def test_content_of_each_common_format_is_known(self, tmp_path: Path, format: str) -> None:
        Image.fromarray(make_image(16, 16)).save(tmp_path / "image.x", format)
        assert [path.name for path, _ in find_images([tmp_path]).images] == ["image.x"]


class TestNotPredictedAgain:
    def test_outputs_of_earlier_predictions_are_left_out(self, tmp_path: Path) -> None:
        save(tmp_path / "a.png")
        save(tmp_path / "my_mask.png")  # an image with the name of an output
        info = PngInfo()
        info.add_text("pixelwise", json.dumps({"model": "m", "image": "i", "width": 1, "height": 1, "shares": {}}))
        (tmp_path / "predictions").mkdir()
        for name in ("a_mask.png", "a_overlay.png", "b_mask_left-2.png"):
            Image.new("L", (1, 1)).save(tmp_path / "predictions" / name, pnginfo=info)
        found = find_images([tmp_path])
        assert [path.name for path, _ in found.images] == ["a.png", "my_mask.png"]
        assert found.notes == (f"{tmp_path}: left out: 3 outputs of an earlier prediction",)

    def test_run_directories_are_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", "runs/pets/model.safetensors", "runs/pets/config.yaml", "runs/pets/samples/epoch.png")
        touch(tmp_path, "runs/pets2/b.jpg")
        found = find_images([tmp_path])
        assert [str(name) for _, name in found.images] == ["a", "runs/pets2/b"]
        assert found.notes == (f"{tmp_path}: left out: 3 files of a run",)

    def test_an_image_is_found_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        touch(tmp_path, "a.jpg", "b.jpg")
        monkeypatch.chdir(tmp_path)
        found = find_images(["a.jpg", tmp_path, "*.jpg"])
        assert [(str(path), str(name)) for path, name in found.images] == [
            ("a.jpg", "a"),
            (str(tmp_path / "b.jpg"), "b"),
        ]


class TestMasks:
    def test_masks_of_a_data_set_are_left_out(self, tmp_path: Path) -> None:
        for number in range(4):
            save(tmp_path / "data" / "images" / f"{number}.jpg")
            save(tmp_path / "data" / "masks" / f"{number}.png", mask=True)
        found = find_images([tmp_path / "data"])
        assert [str(name) for _, name in found.images] == ["images/0", "images/1", "images/2", "images/3"]
        assert found.notes == (f"{tmp_path}/data: left out: 4 masks in {tmp_path}/data/masks",)

    def test_masks_beside_their_images(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            save(tmp_path / f"{name}.png")
            save(tmp_path / f"{name}_mask.png", mask=True)
        save(tmp_path / "c_mask.png", mask=True)  # without its image
        assert [str(name) for _, name in find_images([tmp_path]).images] == ["a", "b", "c_mask"]

    def test_color_images_in_a_folder_named_like_masks_are_predicted(self, tmp_path: Path) -> None:
        save(tmp_path / "images" / "a.png")
        save(tmp_path / "targets" / "a.png")
        assert len(find_images([tmp_path]).images) == 2
        assert len(find_images([tmp_path / "targets"]).images) == 1

    def test_a_folder_of_masks_is_an_error_with_the_fix(self, tmp_path: Path) -> None:
        save(tmp_path / "images" / "a.png")
        save(tmp_path / "masks" / "a.png", mask=True)
        message = rf"masks: holds masks, not images; predict {tmp_path}/images, or name the files .* \('.*/masks/\*'\)"
        with pytest.raises(DataError, match=message):
            find_images([tmp_path / "masks"])
        found = find_images([f"{tmp_path}/masks/*"])
        assert [str(name) for _, name in found.images] == ["a"]

    def test_class_indices_are_masks_under_any_name(self, tmp_path: Path) -> None:
        for number in range(3):
            save(tmp_path / "x1" / f"{number}.png", mask=True)
        with pytest.raises(DataError, match=r"x1: holds masks, not images; predict a folder of images"):
            find_images([tmp_path / "x1"])

    @pytest.mark.parametrize("values", [(0, 255), (0, 0), (0, 130)], ids=["black and white", "black", "gray"])
    def test_other_gray_images_are_predicted(self, tmp_path: Path, values: tuple[int, int]) -> None:
        pixels = np.full((8, 8), values[0], np.uint8)
        pixels[2:5] = values[1]
        Image.fromarray(pixels).save(tmp_path / "a.png")
        assert len(find_images([tmp_path]).images) == 1


class TestPatterns:
    def test_names_are_relative_to_the_fixed_part(self, tmp_path: Path) -> None:
        touch(tmp_path, "x/1.jpg", "y/1.jpg", "y/1.png", "z.jpg")
        found = find_images([f"{tmp_path}/*/1.jpg"])
        assert [(path, str(name)) for path, name in found.images] == [
            (tmp_path / "x/1.jpg", "x/1"),
            (tmp_path / "y/1.jpg", "y/1"),
        ]
        assert [str(name) for _, name in find_images([f"{tmp_path}/**/*.jpg"]).images] == ["x/1", "y/1", "z"]

    def test_relative_patterns_directories_and_other_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        touch(tmp_path, "set 1/a.jpg", "set 1/deep/ü.jpg", "set 2/b.jpg", "set.txt")
        monkeypatch.chdir(tmp_path)
        found = find_images(["set*"])
        assert [str(name) for _, name in found.images] == ["set 1/a", "set 1/deep/ü", "set 2/b"]
        assert all(path.exists() for path, _ in found.images if isinstance(path, Path))
        assert found.notes == (".: left out: 1 .txt",)

    def test_brackets_in_names(self, tmp_path: Path) -> None:
        touch(tmp_path, "img[1].jpg", "img[1]b.jpg", "img1.jpg", "folder [2]/c.jpg")
        assert [path.name for path, _ in find_images([f"{tmp_path}/img[1].jpg"]).images] == ["img[1].jpg"]
        assert [path.name for path, _ in find_images([f"{tmp_path}/img[0-9].jpg"]).images] == ["img1.jpg"]
        assert [path.name for path, _ in find_images([f"{tmp_path}/img[1]b*"]).images] == ["img[1]b.jpg"]
        assert [path.name for path, _ in find_images([f"{tmp_path}/folder [2]"]).images] == ["c.jpg"]

    def test_a_pattern_without_images_is_an_error(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.txt")
        with pytest.raises(DataError, match=r"\*\.jpg: no file matches this pattern; .* has no such file"):
            find_images([f"{tmp_path}/*.jpg"])
        with pytest.raises(DataError, match=r"\*: no file that matches is an image \(only 1 \.txt\)"):
            find_images([f"{tmp_path}/*"])


class TestUrls:
    def test_a_url_has_the_name_of_its_file(self) -> None:
        found = find_images(["https://a.b/images/cat%201.jpg?size=2", "s3://bucket/a.b.png"])
        assert [(str(file), str(name)) for file, name in found.images] == [
            ("https://a.b/images/cat%201.jpg?size=2", "cat 1"),
            ("s3://bucket/a.b.png", "a.b"),
        ]

    def test_a_local_url_is_a_path(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", "b/c.jpg")
        assert find_images([f"file://{tmp_path}/a.jpg"]).images == ((tmp_path / "a.jpg", Path("a")),)
        assert [str(name) for _, name in find_images([f"file://{tmp_path}"]).images] == ["a", "b/c"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("folder", True),
        ("folder/*.png", True),
        ("folder/a.png", True),
        ("without_suffix", True),
        ("https://a.b/cat", True),
        ("hf://me/pets", False),
        ("table.csv", False),
        ("runs", False),
        ("empty", False),
        ("missing.png", False),
        ("folder/*.jpg", False),
    ],
)
def test_has_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: bool) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "table.csv", "runs/a/config.yaml", "runs/a/model.safetensors", "runs/a/samples/epoch_000.png")
    for folder in ("folder", "empty"):
        Path(folder).mkdir()
    for file in ("folder/a.png", "without_suffix"):
        Image.fromarray(make_image(4, 4)).save(file, format="PNG")
    assert has_images(source) is expected


def test_a_missing_source_names_a_similar_one(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg")
    with pytest.raises(DataError, match=r"imagse: no such file or directory; did you mean .*/images\?"):
        find_images([tmp_path / "imagse"])
    with pytest.raises(DataError, match=r"/x/y/a\.jpg: no such file or directory \(.*/x/y does not exist\)"):
        find_images([tmp_path / "x" / "y" / "a.jpg"])


def save(path: Path, mask: bool = False) -> None:
    """Write an image, or a mask of class indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = make_image(12, 16)
    Image.fromarray(image[..., 0] // 100 if mask else image).save(path)
