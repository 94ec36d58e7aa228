"""The fingerprint: exact figures of hand-made data, every kind of problem with its file, and groups."""

import os
import signal
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis import scan as scan_module
from pixelwise.data.analysis.groups import MIN_FRAMES, add_groups, find_groups
from pixelwise.data.analysis.image_stats import ImageStatsTable
from pixelwise.data.analysis.inspection import DatasetReport, Percentiles, inspect
from pixelwise.data.analysis.mask_stats import MaskStatsTable
from pixelwise.data.analysis.regions import object_sizes, reduce_mask
from pixelwise.data.analysis.scan import RecordStats, scan, scan_record
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import Annotation, DataIssue, DatasetIndex, LabelMap, PolygonMask, ReadSpec, Record
from pixelwise.data.splits import train_val_split
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX


def noise(number: int, size: tuple[int, int] = (20, 30), most: int = 256, dtype: type = np.uint8) -> np.ndarray:
    shape = size if dtype is np.uint16 else (*size, 3)
    return np.random.default_rng(number).integers(0, most, shape).astype(dtype)


def put(folder: Path, name: str, image: np.ndarray | None, mask: np.ndarray | None) -> None:
    """An image and its mask, in images/ and masks/; a name may have a split before it."""
    split, _, stem = name.rpartition("/")
    for kind, pixels in (("images", image), ("masks", mask)):
        if pixels is not None:
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / split / kind / f"{stem}.png")


def blank(size: tuple[int, int] = (20, 30)) -> np.ndarray:
    return np.zeros(size, np.uint8)


def problems(found: DatasetReport) -> dict[tuple[str, str], DataIssue]:
    """(kind, name of the file) → the problem."""
    return {(each.kind, Path(each.file).name): each for each in found.issues}


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three images of 30x20: two squares of class 1, one of class 2 with void, and nothing but background."""
    first, second = blank(), blank()
    first[1:5, 1:5] = 1  # 16 pixels
    first[10:14, 20:25] = 1  # 20
    first[18, 29] = 1  # 1: too small for an object
    second[0:10, 0:10] = 2  # 100
    second[12:15] = 255  # 90
    for number, mask in enumerate((first, second, blank())):
        put(tmp_path, f"p{number}", noise(number), mask)
    return tmp_path


def test_exact_figures(three: Path) -> None:
    found = inspect(three)
    assert (found.image_count, found.mask_count, len(found.data.train)) == (3, 3, 3)
    assert found.widths == Percentiles(30, 30, 30, 30, 30) and found.heights == Percentiles(20, 20, 20, 20, 20)
    assert found.aspect_ratios.median == 1.5 and found.modes == {"RGB": 3}
    assert found.ignored_fraction == pytest.approx(90 / 1800)
    figures = {each.name: (each.pixels, each.image_count, each.object_count) for each in found.classes}
    # Three blocks of background, one of them cut in two by the void.
    assert figures == {"background": (1573, 3, 4), "class 1": (37, 1, 2), "class 2": (100, 1, 1)}
    assert [each.pixel_fraction for each in found.classes] == pytest.approx([1573 / 1710, 37 / 1710, 100 / 1710])
    sides = found.classes[1].relative_size
    assert sides is not None
    assert (sides.min, sides.max) == pytest.approx(((16 / 600) ** 0.5, (20 / 600) ** 0.5))
    assert [record.image.name for record in found.classes[1].examples] == ["p0.png"]
    assert [record.image.name for record in found.classes[0].examples] == ["p2.png", "p0.png", "p1.png"]
    pixels = np.stack([noise(number) for number in range(3)]).reshape(-1, 3)
    assert found.channel_means == pytest.approx(pixels.mean(0)) and found.channel_stds == pytest.approx(pixels.std(0))


def test_sizes_spread(tmp_path: Path) -> None:
    for number in range(11):
        size = (10 + number, 20)
        mask = blank(size)
        mask[0] = 1
        put(tmp_path, f"p{number}", noise(number, size), mask)
    found = inspect(tmp_path)
    assert found.heights == Percentiles(10, 11, 15, 19, 20) and found.widths.p10 == found.widths.p90 == 20
    assert found.aspect_ratios.max == 2.0


@pytest.mark.parametrize(("most", "bits"), [(200, 8), (1024, 10), (4096, 12), (40_000, 16)])
def test_bits_in_use_of_sixteen(most: int, bits: int, tmp_path: Path) -> None:
    for number in range(3):
        image = noise(number, most=most, dtype=np.uint16)
        image[0, 0] = most - 1
        mask = blank()
        mask[:9] = 1
        put(tmp_path, f"p{number}", image, mask)
    found = inspect(tmp_path)
    assert found.data.read_spec.bit_depth == bits
    stack = np.stack([np.array(Image.open(tmp_path / "images" / f"p{n}.png"), float) for n in range(3)])
    assert found.channel_means == pytest.approx([stack.mean() / 2 ** (bits - 8)] * 3)


def test_multilabel_pixels_are_of_several_classes(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(noise(number)).save(tmp_path / "images" / f"p{number}.png")
        for name, rows in (("cat", 10), ("dog", 15)):
            if (number, name) == (2, "dog"):
                continue
            mask = blank()
            mask[:rows] = 255
            (tmp_path / "masks" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(tmp_path / "masks" / name / f"p{number}.png")
    found = inspect(tmp_path)
    assert found.data.read_spec.multilabel and found.data.classes == ("cat", "dog")
    cat, dog = found.classes
    assert (cat.pixels, cat.image_count, cat.object_count) == (4 * 300, 4, 4)
    assert (dog.pixels, dog.image_count, dog.object_count) == (3 * 450, 3, 3)
    assert (cat.pixel_fraction, dog.pixel_fraction) == pytest.approx((1200 / 2400, 1350 / 2400))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_shapes_are_drawn_and_counted(tmp_path: Path) -> None:
    put(tmp_path, "a", noise(0), None)
    square = np.array([[2.0, 3.0], [12.0, 3.0], [12.0, 8.0], [2.0, 8.0]])
    shapes = PolygonMask((Annotation(1, (square,)), Annotation(IGNORE_INDEX, (square + 10,))), "a.json")
    ((_, look),) = scan([Record(tmp_path / "images" / "a.png", shapes)])
    assert look.mask is not None and not look.issues
    assert dict(look.mask.values) == {0: 600 - 50 - 50, 1: 50, 255: 50}
    tally = MaskStatsTable()
    tally.add(0, look)
    assert dict(zip(tally.value, tally.pixels, strict=True)) == dict(look.mask.values)


class TestProblems:
    @pytest.fixture
    def split(self, tmp_path: Path) -> Path:
        """6 images in train and 3 in val, with nothing wrong."""
        for number in range(9):
            mask = blank()
            mask[: 3 + number] = 1
            put(tmp_path, f"{'train' if number < 6 else 'val'}/p{number}", noise(number), mask)
        return tmp_path

    def look(self, root: Path, **choices: object) -> DatasetReport:
        return inspect(root, LabelOptions(skip_unreadable=True, **choices))  # type: ignore[arg-type]

    def test_nothing_is_wrong(self, split: Path) -> None:
        found = inspect(split)
        assert found.issues == () and (len(found.data.train), len(found.data.val)) == (6, 3)

    def test_a_image_in_two_splits_is_leakage(self, split: Path) -> None:
        (split / "val/images/p7.png").write_bytes((split / "train/images/p1.png").read_bytes())
        problem = problems(self.look(split))["leakage", "p7.png"]
        assert (
            problem.severity == "warning"
            and "train" in problem.message
            and "p1.png" in problem.message
            and "differ" in problem.message
        )
        (split / "val/masks/p7.png").write_bytes((split / "train/masks/p1.png").read_bytes())
        problem = problems(self.look(split))["leakage", "p7.png"]
        assert "differ" not in problem.message

    def test_a_copy_within_a_split(self, split: Path) -> None:
        for kind in ("images", "masks"):
            (split / f"train/{kind}/p4.png").write_bytes((split / f"train/{kind}/p1.png").read_bytes())
        found = self.look(split)
        assert list(problems(found)) == [("copy", "p4.png")] and found.issues[0].severity == "warning"
        put(split, "train/p4", None, np.roll(blank() + np.eye(20, 30, dtype=np.uint8), 3))
        assert list(problems(self.look(split))) == [("copy with another mask", "p4.png")]

    def test_sizes_that_differ(self, split: Path) -> None:
        put(split, "train/p2", None, np.eye(21, 30, dtype=np.uint8))
        found = self.look(split)
        problem = problems(found)["size mismatch", "p2.png"]
        assert problem.severity == "error" and "30x20" in problem.message and "30x21" in problem.message
        assert sum(each.pixels for each in found.classes) == 8 * 600, "what is left out does not count"
        assert len(found.data.train) == 5 and any("left out: 1 file" in note for note in found.data.messages)
        with pytest.raises(DataError, match=r"p2\.png"):
            inspect(split)

    def test_an_empty_mask(self, split: Path) -> None:
        put(split, "train/p2", None, blank())
        problem = problems(self.look(split))["empty mask", "p2.png"]
        assert problem.severity == "warning" and "background" in problem.message
        put(split, "train/p2", None, blank() + np.uint8(255))
        put(split, "train/p3", None, np.where(np.eye(20, 30) > 0, 255, np.tri(20, 30)).astype(np.uint8))
        found = self.look(split, label_map=(("0", "background"), ("1", "cat"), ("255", "ignore")))
        assert "no pixel of any class" in problems(found)["empty mask", "p2.png"].message

    def test_a_value_outside(self, split: Path) -> None:
        (split / "classes.txt").write_text("rest\ncat\n")
        pets = split / "pets"
        for number in range(4):
            put(pets, f"p{number}", noise(number), np.tri(20, 30, dtype=np.uint8) + np.uint8(1))
        seen, tally = ImageStatsTable(), MaskStatsTable()
        records = [Record(pets / f"images/p{n}.png", pets / f"masks/p{n}.png") for n in range(4)]
        for index, (_, look) in enumerate(scan(records)):
            seen.add(look)
            tally.add(index, look)
        meaning = type("M", (), {"label_map": LabelMap("index", {1: 0}), "sources": ()})()
        assert tally.resolve(meaning).unknown_values() == dict.fromkeys(range(4), "mask value 2")

    def test_missing_and_unreadable_files(self, split: Path) -> None:
        (split / "train/masks/p0.png").unlink()
        (split / "train/images/p1.png").unlink()
        (split / "train/images/p2.png").write_bytes(b"")
        whole = (split / "val/masks/p7.png").read_bytes()
        (split / "val/masks/p7.png").write_bytes(whole[: len(whole) - 30])
        found = self.look(split)
        assert set(problems(found)) == {
            ("missing mask", "p0.png"), ("missing image", "p1.png"), ("unreadable image", "p2.png"),
            ("truncated mask", "p7.png"),
        }  # fmt: skip
        assert not any(problem.severity == "warning" for problem in found.issues)
        assert [record.image.name for record in found.data.records("val")] == ["p6.png", "p8.png"]
        assert [record.image.name for record in found.data.train] == ["p3.png", "p4.png", "p5.png"]


def many(folder: Path, count: int = 70) -> list[Record]:
    for number in range(count):
        mask = blank()
        mask[number % 7 : 9, 3 : 5 + number % 20] = 1 + number % 3
        put(folder, f"p{number:03}", noise(number), mask)
    return [Record(folder / f"images/p{n:03}.png", folder / f"masks/p{n:03}.png") for n in range(count)]


def told(look: RecordStats) -> object:
    """Everything of a look, as what compares."""
    rows = [(layer, *(each.tolist() for each in (rows.values, rows.pixels, rows.objects)),
             [side.tolist() for side in rows.sides]) for layer, rows in look.rows]  # fmt: skip
    image = None if look.image is None else vars(look.image)
    return image, look.mask, rows, look.opacity, look.mask_digest, look.issues


class TestScan:
    @pytest.fixture
    def records(self, tmp_path: Path) -> list[Record]:
        records = many(tmp_path)
        (tmp_path / "images/p003.png").write_bytes(b"no image")
        (tmp_path / "masks/p050.png").write_bytes(b"")
        return records

    def test_processes_see_what_threads_see(self, records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
        in_threads = list(scan(records, workers=0))
        monkeypatch.setattr(scan_module, "FEW", 10)
        in_processes = list(scan(records, workers=2))
        assert [record for record, _ in in_processes] == [record for record, _ in in_threads] == records
        assert [told(look) for _, look in in_processes] == [told(look) for _, look in in_threads]
        bad = [index for index, (_, look) in enumerate(in_processes) if look.issues]
        assert bad == [3, 50]

    def test_a_worker_that_dies_is_told_with_the_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        records = many(tmp_path)
        monkeypatch.setattr(scan_module, "FEW", 10)
        helper = tmp_path / "dies.py"
        helper.write_text(
            "import os, signal\nfrom pixelwise.data.analysis.scan import scan_record\n"
            "def look(records):\n"
            "    if any(record.image.name == 'p040.png' for record in records):\n"
            f"        os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
            "    return [scan_record(record) for record in records]\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        import dies  # type: ignore[import-not-found]

        monkeypatch.setattr(scan_module, "look_at_records", dies.look)
        seen = []
        with pytest.raises(DataError) as error:
            seen.extend(scan(records, workers=2))
        text = str(error.value)
        assert len(seen) == 32 and "p032.png" in text and "p063.png" in text and "SIGKILL" in text
        assert "\n" not in text
        monkeypatch.delitem(sys.modules, "dies")

    def test_a_image_takes_less_than_a_kilobyte(self, tmp_path: Path) -> None:
        records = many(tmp_path, 20)
        looks = [scan_record(record) for record in records]
        tracemalloc = pytest.importorskip("tracemalloc")
        tracemalloc.start()
        try:
            seen, tally = ImageStatsTable(), MaskStatsTable()
            count = 5000
            before = tracemalloc.get_traced_memory()[0]
            for index in range(count):
                look = looks[index % 20]
                seen.add(look)
                tally.add(index, look)
            held = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert len(seen) == count
        assert held / count < 1000

    def test_objects_touch_at_corners_and_few_pixels_are_none(self) -> None:
        mask = np.zeros((20, 20), bool)
        mask[0:3, 0:3] = mask[3:6, 3:6] = True  # one, of 18 pixels
        mask[10, 10:14] = True  # 4: none
        mask[15, 2:7] = True  # 5
        assert object_sizes(mask).tolist() == pytest.approx([(5 / 400) ** 0.5, (18 / 400) ** 0.5])
        assert object_sizes(np.zeros((4, 4), bool)).size == 0

    def test_masks_are_reduced_with_their_shape(self) -> None:
        assert reduce_mask(np.zeros((1000, 500))).shape == (256, 128)
        assert reduce_mask(np.zeros((100, 256))).shape == (100, 256)
        assert reduce_mask(np.zeros((20_000, 10))).shape == (256, 1)


def frames(count: int, seed: int = 0) -> np.ndarray:
    """(count, 64) uint8: a scene that changes slowly."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 3, (count, 64)), axis=0) + rng.uniform(80, 170, 64)
    return np.clip(walk, 0, 255).astype(np.uint8)


def strangers(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64)).astype(np.uint8)


class TestGroups:
    def test_frames_of_videos(self) -> None:
        names = [f"seq{video}_{frame:04}" for video in range(6) for frame in range(10)]
        groups, reason = find_groups(names, np.concatenate([frames(10, video) for video in range(6)]))
        assert groups == [name[:4] for name in names] and reason == "video frames: 6 sequences"

    def test_one_video_is_cut_into_blocks_of_neighbors(self) -> None:
        names = [f"{number:05}" for number in range(120)]
        groups, reason = find_groups(names, frames(120))
        assert "cut into 12 blocks" in reason and None not in groups
        changes = sum(a != b for a, b in pairwise(groups))
        assert changes == 11 and len(set(groups)) == 12

    def test_the_order_of_files_does_not_matter(self) -> None:
        names = [f"v_{number}" for number in range(40)]
        looks = frames(40)
        order = np.random.default_rng(1).permutation(40)
        groups, _ = find_groups(names, looks)
        mixed, _ = find_groups([names[index] for index in order], looks[order])
        assert [groups[index] for index in order] == mixed

    @pytest.mark.parametrize("count", [MIN_FRAMES - 1, 60])
    def test_breeds_are_no_videos(self, count: int) -> None:
        names = [f"Abyssinian_{number}" for number in range(count)]
        looks = strangers(count) if count >= MIN_FRAMES else frames(count)
        assert find_groups(names, looks) == ([None] * count, "")

    @pytest.mark.parametrize(
        "form", ["slide{0}_x{1}_y{2}", "slide{0}_row{1}_col{2}", "slide{0}_tile_{1}_{2}", "slide{0}_{1}_{2}"]
    )
    def test_tiles_of_images(self, form: str) -> None:
        names = [form.format(slide, 512 * x, 512 * y) for slide in range(3) for x in range(2) for y in range(2)]
        groups, reason = find_groups(names, strangers(12))
        assert groups == [f"slide{slide}" for slide in range(3) for _ in range(4)]
        assert reason == "tiles: of 3 images"

    def data(self, folder: Path, count: int) -> DatasetIndex:
        train = tuple(Record(folder / f"images/p{n:03}.png", folder / f"masks/p{n:03}.png") for n in range(count))
        reading = ReadSpec(LabelMap("index", {0: 0, 1: 1}))
        return DatasetIndex(folder, "folders", ("a", "b"), ((0, 0, 0), (1, 1, 1)), reading, train=train)

    def test_copies_never_land_on_both_sides(self, tmp_path: Path) -> None:
        digests = [bytes([number // 2 + 1]) * 16 if number < 20 else bytes([99, number]) * 8 for number in range(40)]
        data = add_groups(self.data(tmp_path, 40), strangers(40), digests)
        assert data.group_summary == ""
        for seed in range(20):
            kept, held = train_val_split(data.train, 0.15, seed)
            assert len(kept) + len(held) == 40 and len(held) >= 4
            sides = [{digests[int(record.image.stem[1:])] for record in side} for side in (kept, held)]
            assert not sides[0] & sides[1]

    def test_frames_held_back_are_whole_groups(self, tmp_path: Path) -> None:
        data = add_groups(self.data(tmp_path, 120), frames(120), [b""] * 120)
        assert data.group_summary and data.group_summary.startswith("video frames")
        for seed in range(20):
            kept, held = train_val_split(data.train, 0.15, seed)
            assert not {record.group for record in kept} & {record.group for record in held}
            assert 0.08 <= len(held) / 120 <= 0.25

    def test_copies_on_disk_are_found_without_an_inspection(self, tmp_path: Path) -> None:
        many(tmp_path, 12)
        for copy in (7, 8):
            (tmp_path / f"images/p{copy:03}.png").write_bytes((tmp_path / "images/p002.png").read_bytes())
        (tmp_path / "images/p005.png").write_bytes(b"no image")
        (tmp_path / "images/p006.png").write_bytes(b"no image either")
        data = add_groups(self.data(tmp_path, 12))
        groups = {record.image.stem: record.group for record in data.train if record.group}
        assert set(groups) == {"p002", "p007", "p008"} and len(set(groups.values())) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_do_not_hang(tmp_path: Path) -> None:
    records = many(tmp_path, 3)
    for place in ("images/p000.png", "masks/p001.png"):
        (tmp_path / place).unlink()
        os.mkfifo(tmp_path / place)
    looks = [look for _, look in scan(records)]
    assert [[problem.file for problem in look.issues] for look in looks] == [
        [str(tmp_path / "images/p000.png")], [str(tmp_path / "masks/p001.png")], [],
    ]  # fmt: skip


def test_a_plan_goes_by_no_mask_of_the_test_split(tmp_path: Path) -> None:
    thin, half = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    thin[:, 10:12] = 1
    half[:, :30] = 1
    for split, mask in (("train", half), ("test", thin)):
        for number in range(3):
            for kind, pixels in (("images", np.full((40, 60, 3), 20 * number + len(split), np.uint8)), ("masks", mask)):
                path = tmp_path / split / kind / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    foreground = inspect(tmp_path).classes[1]
    assert foreground.train_fraction == 0.5 and foreground.pixel_fraction == (30 + 2) / 120
    (tmp_path / "test").rename(tmp_path / "gone")
    for path in (tmp_path / "gone").rglob("*.png"):
        path.unlink()
    alone = inspect(tmp_path).classes[1]
    assert (alone.mean_width, alone.train_fraction) == (foreground.mean_width, foreground.train_fraction)
