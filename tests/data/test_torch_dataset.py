"""Reading images and masks, and the data set that training draws from: each with a truth made by hand."""

import io
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

import pixelwise as pw
from pixelwise.data.augmentations import build_transform
from pixelwise.data.io.image import read_image
from pixelwise.data.io.mask import read_image_and_mask, read_mask
from pixelwise.data.resize import resize_image, resize_mask
from pixelwise.data.samplers import EpochSampler
from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import DataError
from pixelwise.runtime.threads import available_cpus, batched, prefetch_map

TRIMAP = LabelMap("index", {1: 0, 2: 1, 3: 2})


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def one_line_about(error: pytest.ExceptionInfo[BaseException], *parts: object) -> None:
    """The error's text is one line and names all of `parts`."""
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert str(part) in text


# --- images


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_image_is_turned_upright(suffix: str, orientation: int, tmp_path: Path) -> None:
    """Four colored corners lie as the EXIF standard says, whatever the orientation they were stored in."""
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32], upright[:16, 32:], upright[16:, :32] = (240, 0, 0), (0, 240, 0), (0, 0, 240)
    # How a camera that notes this orientation has stored the scene (TIFF 6.0, tag 274).
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image.{suffix}"
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
    image = read_image(path)
    assert image.shape == (32, 64, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - upright).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "PNG", "BMP", "TIFF", "WEBP"])
def test_the_content_decides_and_not_the_suffix(kind: str, tmp_path: Path) -> None:
    """Oxford-IIIT Pet has GIF and PNG files named .jpg."""
    flat = np.full((9, 7, 3), (10, 200, 30), np.uint8)
    flat[:4] = (250, 0, 128)
    path = tmp_path / "image.jpg"
    Image.fromarray(flat).save(path, kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(read_image(path), flat)


def saved(tmp_path: Path, image: Image.Image, **options: object) -> Path:
    path = tmp_path / "image.png"
    image.save(path, **options)
    with Image.open(path) as again:
        assert again.mode == image.mode
    return path


def test_gray_and_black_and_white_become_rgb(tmp_path: Path) -> None:
    gray = noise(5, 6)[..., 0]
    np.testing.assert_array_equal(read_image(saved(tmp_path, Image.fromarray(gray))), gray[..., None].repeat(3, 2))
    bits = gray > 127
    np.testing.assert_array_equal(
        read_image(saved(tmp_path, Image.fromarray(bits))), (bits[..., None] * 255).repeat(3, 2)
    )


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    deep = np.array([[0, 255, 256, 0x7FFF], [0x8000, 0xFEFF, 0xFF00, 0xFFFF]], np.uint16)
    image = read_image(saved(tmp_path, Image.fromarray(deep)))
    np.testing.assert_array_equal(image[..., 0], [[0, 0, 1, 127], [128, 254, 255, 255]])
    assert (image == image[..., :1]).all()


def test_a_image_without_a_known_range_is_refused(tmp_path: Path) -> None:
    """Floats may mean 0..1 or 0..255 or anything: black images would train in silence."""
    path = tmp_path / "image.tif"
    Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)).save(path)
    with pytest.raises(DataError) as error:
        read_image(path)
    one_line_about(error, path, "mode F")


def test_transparent_pixels_are_laid_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0], pixels[0, 1] = (200, 100, 0, 255), (200, 100, 0, 0)
    pixels[1, 0], pixels[1, 1] = (0, 0, 0, 0), (0, 0, 0, 128)
    image = read_image(saved(tmp_path, Image.fromarray(pixels)))
    np.testing.assert_array_equal(image[0], [(200, 100, 0), (255, 255, 255)])
    np.testing.assert_array_equal(image[1], [(255, 255, 255), (127, 127, 127)])


def test_a_palette_image_has_its_colors_and_its_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 255])
    np.testing.assert_array_equal(
        read_image(saved(tmp_path, image)), [[(10, 20, 30), (200, 0, 0)], [(0, 0, 255), (200, 0, 0)]]
    )
    np.testing.assert_array_equal(
        read_image(saved(tmp_path, image, transparency=2)),
        [[(10, 20, 30), (200, 0, 0)], [(255,) * 3, (200, 0, 0)]],
    )


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(40, 50)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("read", [read_image, lambda path: read_mask(path, TRIMAP)], ids=["image", "mask"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "not an image"),
        (b"<html>404 Not Found</html>\n" * 40, "not an image"),
        (encoded("JPEG")[:-400], "truncated"),
        (encoded("PNG")[:-400], "truncated"),
        (encoded("GIF")[:-400], "truncated"),
        (encoded("JPEG")[:200], ""),
        (encoded("PNG")[:40], ""),
    ],
    ids=["missing", "empty", "html", "jpeg cut", "png cut", "gif cut", "jpeg header", "png header"],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(
    read: Callable[[Path], np.ndarray], content: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "image.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read(path)
    one_line_about(error, path)
    # A mask is refused for its colors where they are already known, before its pixels are read.
    assert said in str(error.value) or (read is not read_image and "grayscale or palette" in str(error.value))


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_image(tmp_path)
    one_line_about(error, tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_damaged_files_are_data_errors_and_nothing_else(kind: str, tmp_path: Path) -> None:
    whole, path, rng = encoded(kind), tmp_path / "image.jpg", np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, min(len(damaged), rng.choice([60, 600])) or 1, rng.integers(1, 5)):
            damaged[place : place + 1] = bytes([rng.integers(256)])
        path.write_bytes(damaged)
        try:
            read_image(path)
        except DataError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 10


# --- masks


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_mask_is_mapped_exactly(mode: str, tmp_path: Path) -> None:
    """Grayscale values and palette indices count, the palette's colors do not."""
    values = np.array([[1, 2, 3], [0, 255, 7]], np.uint8)
    image = Image.fromarray(values, mode)
    if mode == "P":
        image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    path = saved(tmp_path, image)
    mask = read_mask(path, LabelMap("index", {1: 0, 2: 1, 3: 2, 0: 255, 255: 255, 7: 2}))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[0, 1, 2], [255, 255, 2]])


def test_a_two_tone_mask_holds_0_and_255(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[True, False]])))
    np.testing.assert_array_equal(read_mask(path, LabelMap("index", {0: 4, 255: 255})), [[255, 4]])


def test_every_value_of_a_byte_is_mapped(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = saved(tmp_path, Image.fromarray(values))
    np.testing.assert_array_equal(read_mask(path, LabelMap("index", {v: 255 - v for v in range(256)})), 255 - values)


def test_values_outside_the_classes_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[1, 2, 3, 0], [9, 255, 9, 1]], np.uint8)))
    with pytest.raises(DataError) as error:
        read_mask(path, TRIMAP)
    one_line_about(error, path, "mask value 0, 9, 255 is outside", "expected only 1, 2, 3")
    many = saved(tmp_path, Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)))
    with pytest.raises(DataError) as error:
        read_mask(many, TRIMAP)
    one_line_about(error, many, "0, 4, 5, 6, 7 …")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_mask_with_colors_is_refused_where_masks_are_gray(mode: str, tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new(mode, (3, 3), (1, 2, 3)))
    with pytest.raises(DataError) as error:
        read_mask(path, TRIMAP)
    one_line_about(error, path, "has colors")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_a_gray_mask_is_read_in_any_mode(mode: str, tmp_path: Path) -> None:
    values = np.array([[1, 2, 3], [3, 2, 1]], np.uint8)
    gray = Image.fromarray(values)
    image = Image.fromarray(values.astype(np.uint16)) if mode == "I;16" else gray.convert(mode)
    np.testing.assert_array_equal(read_mask(saved(tmp_path, image), TRIMAP), values - 1)


# --- pairs


@pytest.fixture
def pair(tmp_path: Path) -> Callable[[tuple[int, int], tuple[int, int]], Record]:
    """Write an image and a mask of these (height, width)."""

    def write(image: tuple[int, int], mask: tuple[int, int]) -> Record:
        Image.fromarray(noise(*image)).save(tmp_path / "cat.png")
        Image.fromarray(np.full(mask, 2, np.uint8)).save(tmp_path / "cat-mask.png")
        return Record(tmp_path / "cat.png", tmp_path / "cat-mask.png")

    return write


def test_a_pair_is_read_as_it_is(pair: Callable[..., Record]) -> None:
    image, mask = read_image_and_mask(pair((5, 8), (5, 8)), ReadSpec(TRIMAP))
    np.testing.assert_array_equal(image, noise(5, 8))
    np.testing.assert_array_equal(mask, np.ones((5, 8)))


def test_a_image_without_a_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_image_and_mask(Record(tmp_path / "cat.png", None), ReadSpec(TRIMAP))
    one_line_about(error, tmp_path / "cat.png", "no mask")


@pytest.mark.parametrize("mask", [(8, 5), (5, 9), (6, 8)], ids=["turned", "wider", "higher"])
def test_sizes_that_differ_are_named(mask: tuple[int, int], pair: Callable[..., Record]) -> None:
    record = pair((5, 8), mask)
    with pytest.raises(DataError) as error:
        read_image_and_mask(record, ReadSpec(TRIMAP))
    one_line_about(error, record.image, record.mask, "8x5", f"{mask[1]}x{mask[0]}")


# --- records


def test_a_split_that_is_not_there_names_those_that_are(pets: pw.DatasetIndex) -> None:
    assert pets.records("train") == pets.train and pets.records("test") == pets.test
    with pytest.raises(DataError) as error:
        pets.records("val")
    one_line_about(error, pets.root, "'val'", "train, test")
    with pytest.raises(DataError) as error:
        pets.records("root")  # type: ignore[arg-type]
    one_line_about(error, "'root'", "train, test")


# --- prefetch_map, batched, available_cpus


def test_read_ahead_keeps_the_order() -> None:
    def slow_if_even(number: int) -> int:
        time.sleep(0.004 if number % 2 == 0 else 0)
        return number * 10

    assert list(prefetch_map(slow_if_even, range(40), prefetch=4)) == [n * 10 for n in range(40)]
    assert list(prefetch_map(slow_if_even, [], prefetch=4)) == []
    assert list(prefetch_map(slow_if_even, [1], prefetch=4)) == [10]


def test_read_ahead_reads_in_several_threads() -> None:
    together = threading.Barrier(2, timeout=10)
    assert list(prefetch_map(lambda n: together.wait() >= 0 and n, [0, 1])) == [0, 1], "each waits for the other"


def test_read_ahead_is_bounded() -> None:
    """However slow the reader of the results: what is taken from the source is at most `ahead` beyond it."""
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield taken

    results = prefetch_map(lambda n: n, source(), prefetch=5)
    assert taken == 0, "nothing is read before it is asked for"
    for used, _ in enumerate(results, start=1):
        time.sleep(0.0005)
        assert taken <= used + 5
        assert used > 90 or taken == used + 5, "and it does read ahead"


def test_read_ahead_gives_the_error_where_it_happened() -> None:
    started = set()

    def read(number: int) -> int:
        started.add(number)
        if number == 3:
            raise DataError("image 3")
        return number

    results = prefetch_map(read, itertools.count(), prefetch=4)
    assert [next(results), next(results), next(results)] == [0, 1, 2]
    with pytest.raises(DataError, match="image 3"):
        next(results)
    assert max(started) <= 8, "an endless source is left alone"
    assert list(results) == []


def test_in_groups_loses_nothing() -> None:
    assert list(batched(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batched(range(6), 3)) == [[0, 1, 2], [3, 4, 5]]
    assert list(batched([], 3)) == []
    endless = batched(itertools.count(), 2)
    assert [next(endless), next(endless)] == [[0, 1], [2, 3]], "lazily"


# --- SegmentationDataset


@pytest.fixture(scope="module")
def ignoring(pets: pw.DatasetIndex) -> ReadSpec:
    """The trimap's values, with the border ignored: masks hold 0, 1 and 255."""
    return ReadSpec(LabelMap("index", {1: 0, 2: 1, 3: 255}))


def test_items_are_the_prepared_images(pets: pw.DatasetIndex) -> None:
    dataset = SegmentationDataset(pets.train, pets.read_spec, image_size=40)
    assert len(dataset) == len(pets.train) == 12
    for index, record in enumerate(pets.train):
        image, mask = dataset[index]
        assert (image.dtype, mask.dtype) == (torch.uint8, torch.uint8)
        assert (tuple(image.shape), tuple(mask.shape)) == ((3, 40, 40), (40, 40))
        original, truth = read_image_and_mask(record, pets.read_spec, min_size=40)
        assert torch.equal(image, resize_image(original, (40, 40)))
        assert torch.equal(mask, resize_mask(truth, (40, 40)))
        again, _ = dataset[index, 123]
        assert torch.equal(again, image), "with no transform the seed changes nothing"


def test_items_weigh_pixels_where_asked(pets: pw.DatasetIndex, ignoring: ReadSpec) -> None:
    weights = torch.tensor([0.75, 0.25])
    dataset = SegmentationDataset(pets.train, ignoring, 64, build_transform("flip", 64), class_weights=weights)
    seen = set()
    for index in range(len(dataset)):
        image, mask, weight = dataset[index, index]  # some flipped and some not
        assert weight.dtype == torch.float32 and weight.shape == mask.shape == image.shape[1:]
        for value, expected in ((0, 0.75), (1, 0.25), (255, 0.0)):
            assert (weight[mask == value] == expected).all()
        seen |= set(mask.unique().tolist())
    assert seen == {0, 1, 255}


def test_progress_sees_every_record(pets: pw.DatasetIndex) -> None:
    calls = []

    def progress(items, total):  # type: ignore[no-untyped-def]
        for number, item in enumerate(items, start=1):
            calls.append((number, total))
            yield item

    SegmentationDataset(pets.train, pets.read_spec, 33, progress=progress)
    assert calls == [(n, 12) for n in range(1, 13)] * 2, "looked through, and then decoded"
    SegmentationDataset(pets.train, pets.read_spec, 33, progress=progress)
    assert len(calls) == 36, "decoded once"


def test_class_pixels_are_counted_exactly(pets: pw.DatasetIndex, ignoring: ReadSpec) -> None:
    dataset = SegmentationDataset(pets.train, ignoring, image_size=48)
    masks = np.stack([dataset[i][1].numpy() for i in range(len(dataset))])
    counts = dataset.class_pixels(3)
    assert counts.tolist() == [(masks == 0).sum(), (masks == 1).sum(), 0]
    assert counts.dtype == torch.int64 and counts.sum() == masks.size - (masks == 255).sum()
    assert (masks == 255).any()


@pytest.fixture(scope="module", params=["flip", "crop"])
def drawn(request: pytest.FixtureRequest, pets: pw.DatasetIndex) -> SegmentationDataset:
    return SegmentationDataset(pets.train, pets.read_spec, 40, build_transform(request.param, 32))


def same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_seeded_item_follows_its_seed_alone(drawn: SegmentationDataset) -> None:
    first = [drawn[3, seed] for seed in range(20)]
    torch.manual_seed(4321)
    assert all(same(drawn[3, seed], first[seed]) for seed in reversed(range(20)))
    assert any(not same(first[0], other) for other in first[1:])
    assert same(drawn[3, 2**62 - 1], drawn[3, 2**62 - 1]), "as large a seed as the sampler draws"


def test_a_seeded_item_leaves_the_global_state_alone(drawn: SegmentationDataset) -> None:
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    drawn[0, 77]
    assert torch.equal(torch.rand(4), expected)


def test_an_item_without_a_seed_is_drawn_from_the_global_state(drawn: SegmentationDataset) -> None:
    torch.manual_seed(3)
    run = [drawn[0] for _ in range(12)]
    assert any(not same(run[0], item) for item in run[1:])
    torch.manual_seed(3)
    assert all(same(drawn[0], item) for item in run)


# --- all together


# Python 3.12 warns of every fork in a process that has threads, which torch always has.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_batches_are_the_same_with_any_number_of_workers_and_processes(drawn: SegmentationDataset) -> None:
    def batches(workers: int, rank: int = 0, world: int = 1) -> list[list[Tensor]]:
        sampler = EpochSampler(len(drawn), 4, 1, rank, world)
        sampler.epoch = 2
        torch.manual_seed(workers)
        return list(DataLoader(drawn, batch_sampler=sampler, num_workers=workers))

    alone = batches(workers=0)
    assert [len(images) for images, _ in alone] == [4, 4, 4]
    assert all(same(a, b) for a, b in zip(alone, batches(workers=2), strict=True))
    halves = [batches(0, rank, 2) for rank in range(2)]
    for whole, even, odd in zip(alone, *halves, strict=True):
        for a, b, c in zip(whole, even, odd, strict=True):
            assert torch.equal(a[0::2], b) and torch.equal(a[1::2], c)


def test_processes_that_torchrun_started_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert available_cpus() == 12
    for processes, cores in ((1, 12), (5, 2), (12, 1), (16, 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert available_cpus() == cores
