"""Tests of what `Predictor` accepts: each kind of source gives the same pixels, each wrong one an error with a fix."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from pixelwise.errors import DataError
from pixelwise.inference.inputs import UrlImage, content_digest, open_file, open_image, read_input, read_inputs
from pixelwise.inference.outputs import digest
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.predictor import Predictor
from pixelwise.models.config import ModelConfig
from pixelwise.palette import default_palette
from tests.inference.helpers import make_image


def make_config(channels: int = 3, **fields: Any) -> ModelConfig:
    """Return the configuration of a model for images with a number of channels."""
    return ModelConfig(
        classes=("a", "b"),
        palette=default_palette(2),
        size=64,
        mean=(127.0,) * channels,
        std=(60.0,) * channels,
        encoder="mobilenetv2_050",
        encoder_layers=None,
        encoder_padding="native",
        decoder="fpn",
        **fields,
    )


RGB, GRAY, BANDS = make_config(), make_config(1), make_config(5)
IMAGE = make_image(20, 30)


def png(image: np.ndarray = IMAGE) -> bytes:
    """Return an image as the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def at_its_end() -> io.BytesIO:
    """Return a buffer that an image has just been written to."""
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, "PNG")
    return buffer


class TestFiles:
    @pytest.mark.parametrize(
        "make",
        [png, lambda: bytearray(png()), lambda: memoryview(png()), lambda: io.BytesIO(png()), at_its_end],
        ids=["bytes", "bytearray", "memoryview", "buffer", "buffer at its end"],
    )
    def test_content_in_memory(self, make: Callable[[], Any]) -> None:
        assert np.array_equal(read_input(make(), RGB), IMAGE)

    def test_an_open_file_is_read_from_its_start_and_stays_open(self, tmp_path: Path) -> None:
        path = tmp_path / "image.png"
        path.write_bytes(png())
        with path.open("rb") as file:
            file.read(7)
            assert np.array_equal(read_input(file, RGB), IMAGE)
            assert not file.closed
        path.write_bytes(b"text")
        with path.open("rb") as file, pytest.raises(DataError, match=r"image\.png: not an image"):
            read_input(file, RGB)

    def test_a_stream_without_positions(self) -> None:
        class Stream:
            def seekable(self) -> bool:
                return False

            def read(self) -> bytes:
                return png()

        assert np.array_equal(read_input(Stream(), RGB), IMAGE)  # type: ignore[arg-type]

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("text")
        with (tmp_path / "a.txt").open() as text, pytest.raises(DataError, match=r"a\.txt: is open as text.*'rb'"):
            read_input(text, RGB)  # type: ignore[arg-type]
        closed = io.BytesIO(png())
        closed.close()
        with pytest.raises(DataError, match=r"the BytesIO: cannot be read \(I/O operation on closed file"):
            read_input(closed, RGB)
        with pytest.raises(DataError, match="the bytes: not an image"):
            read_input(b"", RGB)

    def test_paths_of_all_types(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "größe [1].png").write_bytes(png())
        for path in (tmp_path / "größe [1].png", str(tmp_path / "größe [1].png"), "~/größe [1].png"):
            assert np.array_equal(read_input(path, RGB), IMAGE)

    def test_a_directory_is_an_error_that_names_predict_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"is a directory, not an image; predict its images with `predict_folder`$"):
            read_input(tmp_path, RGB)

    def test_a_video_is_an_error_that_names_predict_folder(self, tmp_path: Path) -> None:
        (tmp_path / "clip.MP4").write_bytes(b"\0\0\0\x20ftypisom")
        with pytest.raises(DataError, match=r"is a video, not an image; predict its frames with `predict_folder`$"):
            read_input(tmp_path / "clip.MP4", RGB)
        with pytest.raises(DataError, match=r"gone\.mp4: no such file"):
            read_input(tmp_path / "gone.mp4", RGB)

    def test_bytes_of_a_tiff_with_bands(self, tmp_path: Path) -> None:
        tifffile = pytest.importorskip("tifffile")
        bands = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
        tifffile.imwrite(tmp_path / "a.tif", bands, photometric="minisblack", planarconfig="contig")
        assert np.array_equal(read_input((tmp_path / "a.tif").read_bytes(), BANDS), bands)

    @pytest.mark.parametrize("source", [7, None, {"image": 1}, iter(())], ids=lambda each: str(type(each)))
    def test_other_types_are_rejected(self, source: Any) -> None:
        with pytest.raises(DataError, match=r"an image is a path, a URL, bytes, .* or a tensor, not "):
            read_input(source, RGB)


class TestUrls:
    def test_an_image_at_a_url(self, memory: str) -> None:
        fsspec.filesystem("memory").pipe(f"{memory}/a b.png", png())
        assert np.array_equal(read_input(f"{memory}/a b.png", RGB), IMAGE)
        with pytest.raises(DataError, match=r"memory://bucket/pets/gone\.png: no such file"):
            read_input(f"{memory}/gone.png", RGB)

    def test_the_url_of_a_local_file(self, tmp_path: Path) -> None:
        (tmp_path / "a b.png").write_bytes(png())
        assert np.array_equal(read_input(f"file://{tmp_path}/a%20b.png", RGB), IMAGE)

    def test_the_digest_needs_no_second_download(self, memory: str) -> None:
        url = f"{memory}/a.png"
        fsspec.filesystem("memory").pipe(url, png())
        file = open_file(url)
        assert isinstance(file, UrlImage) and file.name == "a.png" and str(file) == url
        assert file.read_bytes() == png()
        fsspec.filesystem("memory").rm(url)
        assert digest(file) == content_digest(png())

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("ftp://a.b/c.png", "has the protocol 'ftp'; allowed are"),
            ("zip://a.png::http://a.b/c.zip", "chain of protocols"),
            ("https://a.b/images/", "is the URL of a folder"),
            ("https://a.b/images/?page=1", "is the URL of a folder"),
        ],
    )
    def test_urls_that_are_refused(self, url: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            open_image(url)

    def test_a_redirect_to_a_private_address_is_refused(self) -> None:
        file = open_file("https://images.example/a.png")
        assert isinstance(file, UrlImage)
        from pixelwise.data.io.network import with_limits

        guard = with_limits(file.file.url, file.file.options)["get_client"]
        guard.check("images.example", "10.0.0.1")  # the host that the user named
        with pytest.raises(DataError, match=r"169\.254\.169\.254 is a private address"):
            guard.check("169.254.169.254", "169.254.169.254")


class TestArrays:
    def test_gray_images_get_three_equal_channels(self) -> None:
        gray = IMAGE[..., 0]
        for array in (gray, gray[..., None]):
            assert np.array_equal(read_input(array, RGB), np.dstack([gray] * 3))
            assert np.array_equal(read_input(array, GRAY), gray[..., None])

    def test_opacity_is_blended_with_white_as_in_files(self) -> None:
        array = np.dstack([IMAGE, np.tile(np.linspace(0, 255, 30).astype(np.uint8), (20, 1))])
        expected = read_input(png(array), RGB)
        assert np.array_equal(read_input(array, RGB), expected)
        assert (expected[:, 0] == 255).all()
        assert np.array_equal(expected[:, -1], IMAGE[:, -1])

    def test_16_bits_use_the_bit_depth_of_the_model(self) -> None:
        array = np.full((2, 3, 3), 0x0ABC, np.uint16)
        assert (read_input(array, make_config(bit_depth=12)) == 0xAB).all()
        assert (read_input(array, RGB) == 0x0A).all()
        assert (read_input(array[..., 0], make_config(bit_depth=12)) == 0xAB).all()

    def test_bands(self) -> None:
        array = np.arange(30, dtype=np.uint8).reshape(2, 3, 5)
        assert np.array_equal(read_input(array, BANDS), array)
        with pytest.raises(DataError, match=r"must be \(H, W, 5\), uint8 or uint16; this one is \(20, 30, 3\) uint8"):
            read_input(IMAGE, BANDS)

    def test_floats_need_a_model_of_floats(self) -> None:
        array = np.array([[-1.0, 0.0, 1.0, np.nan]], np.float32)
        floats = make_config(pixel_range=(0.0, 2.0))
        assert read_input(array, floats)[..., 0].tolist() == [[0, 0, 128, 0]]
        with pytest.raises(
            DataError, match=r"this one is float32: pass \(array \* 255\)\.round\(\)\.astype\('uint8'\)"
        ):
            read_input(array, RGB)

    @pytest.mark.parametrize(
        ("array", "fix"),
        [
            (np.zeros((8, 8, 3), np.int64), r"int64: pass array\.astype\('uint8'\) for values in \[0, 255\]"),
            (np.zeros((8, 8), bool), r"bool: pass array\.astype\('uint8'\) \* 255"),
            (np.zeros((8, 8, 3), np.float64), r"float64: pass \(array \* 255\)"),
            (np.zeros((3, 8, 9), np.uint8), r"channels are last: np\.moveaxis\(array, 0, -1\)"),
            (np.zeros((1, 8, 8, 3), np.uint8), r"pass a batch as a list of images: list\(array\)"),
            (np.zeros((0, 8, 3), np.uint8), r"this one is \(0, 8, 3\) uint8$"),
            (np.zeros((8, 8, 2), np.uint8), r"this one is \(8, 8, 2\) uint8$"),
            (np.zeros(8, np.uint8), r"this one is \(8,\) uint8$"),
        ],
        ids=lambda value: f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else "",
    )
    def test_the_error_for_another_array_has_the_fix(self, array: np.ndarray, fix: str) -> None:
        with pytest.raises(DataError, match=rf"\(H, W, 3\) RGB or \(H, W, 4\) RGBA, uint8 or uint16; .*{fix}"):
            read_input(array, RGB)

    def test_the_fixes_in_the_messages_work(self) -> None:
        assert np.array_equal(read_input((IMAGE / 255.0 * 255).round().astype("uint8"), RGB), IMAGE)
        assert np.array_equal(read_input(np.moveaxis(np.moveaxis(IMAGE, -1, 0), 0, -1), RGB), IMAGE)

    def test_the_result_is_a_contiguous_copy(self) -> None:
        array = IMAGE.copy()
        result = read_input(array[:, ::-1], RGB)
        array[:] = 0
        assert result.flags.c_contiguous and np.array_equal(result, IMAGE[:, ::-1])


class TestTensors:
    @pytest.mark.parametrize(
        "tensor",
        [
            torch.from_numpy(IMAGE),
            torch.from_numpy(IMAGE).permute(2, 0, 1),
            torch.from_numpy(IMAGE).permute(2, 0, 1).contiguous(),
        ],
        ids=["channels last", "channels first, a view", "channels first"],
    )
    def test_both_orders_of_channels(self, tensor: torch.Tensor) -> None:
        assert np.array_equal(read_input(tensor, RGB), IMAGE)

    def test_gray_16_bit_and_bands(self) -> None:
        gray = torch.from_numpy(IMAGE[..., 0].copy())
        expected = np.dstack([IMAGE[..., 0]] * 3)
        for tensor in (gray, gray[None], gray[..., None], gray.to(torch.uint16) * 256):
            assert np.array_equal(read_input(tensor, RGB), expected)
        bands = torch.arange(2 * 3 * 5, dtype=torch.uint8).view(5, 2, 3)
        assert np.array_equal(read_input(bands, BANDS), bands.permute(1, 2, 0).numpy())

    def test_an_ambiguous_order_is_an_error(self) -> None:
        with pytest.raises(DataError, match=r"shape \(3, 8, 4\) can be \(C, H, W\) or \(H, W, C\)"):
            read_input(torch.zeros(3, 8, 4, dtype=torch.uint8), RGB)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    def test_floats_need_a_model_of_floats(self, dtype: torch.dtype) -> None:
        tensor = torch.ones(3, 4, 5, dtype=dtype, requires_grad=True)
        with pytest.raises(DataError, match=r"pass \(tensor \* 255\)\.round\(\)\.to\(torch\.uint8\)"):
            read_input(tensor, RGB)
        assert (read_input(tensor, make_config(pixel_range=(0.0, 2.0))) == 128).all()

    def test_the_fixes_in_the_messages_work(self) -> None:
        image = torch.from_numpy(IMAGE).permute(2, 0, 1)
        with pytest.raises(DataError, match=r"this one is int64: pass tensor\.to\(torch\.uint8\)"):
            read_input(image.long(), RGB)
        assert np.array_equal(read_input(image.long().to(torch.uint8), RGB), IMAGE)
        assert np.array_equal(read_input((image / 255 * 255).round().to(torch.uint8), RGB), IMAGE)
        with pytest.raises(DataError, match=r"pass a batch as a list of images: list\(tensor\)"):
            read_input(image[None], RGB)
        assert np.array_equal(read_input(next(iter(image[None])), RGB), IMAGE)


class TestLists:
    def test_errors_have_the_number_of_the_image(self) -> None:
        images = read_inputs([IMAGE, b"text"], RGB)
        assert np.array_equal(next(images), IMAGE)
        with pytest.raises(DataError, match="image 1: the bytes: not an image"):
            next(images)
        with pytest.raises(DataError, match="image 0 is a list; pass one list of images"):
            next(read_inputs([[IMAGE]], RGB))  # type: ignore[list-item]

    def test_a_list_gives_a_list_in_order(self, predictor: Predictor, tmp_path: Path) -> None:
        images = [make_image(20, 30, seed) for seed in range(3)]
        (tmp_path / "a.png").write_bytes(png(images[1]))
        together = predictor([images[0], tmp_path / "a.png", png(images[2])], probabilities=True)
        assert [isinstance(prediction, Prediction) for prediction in together] == [True] * 3
        for prediction, image in zip(together, images, strict=True):
            assert np.array_equal(prediction.image, image)
            assert prediction.probabilities is not None
            assert (prediction.mask == predictor(image).mask).mean() > 0.999
        assert predictor([]) == []
        assert len(predictor((images[0],))) == 1

    def test_a_long_list_is_predicted_in_groups(self, predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes: list[int] = []
        predict_batch = predictor.predict_batch

        def record(images: list[np.ndarray], probabilities: bool = False) -> list[Prediction]:
            sizes.append(len(images))
            return predict_batch(images, probabilities)

        monkeypatch.setattr(predictor, "predict_batch", record)
        assert len(predictor([IMAGE] * 18)) == 18
        assert sizes == [16, 2]
