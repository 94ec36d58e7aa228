"""What inspect leaves behind: the terminal, report.json, report.html, a sheet a class and plan.yaml."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.cli.app import main
from pixelwise.data.analysis.inspection import DatasetReport, inspect
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import DataIssue
from pixelwise.planning.plan import Plan
from pixelwise.planning.rules import make_plan
from pixelwise.reporting.console import MAX_SHOWN, by_kind, print_dataset_report
from pixelwise.reporting.dataset_report import class_sheet, write_dataset_report

ODD_NAMES = ("background", "a<b>&\"c\" 'd'", "[bold]cat[/]")
COLORS = ((0, 0, 0), (220, 40, 160), (30, 200, 60))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """6 images in train and 2 in val, one of them in train too; names and classes full of what HTML and rich read."""
    root = tmp_path / "data <i> & 'more'"
    for number in range(8):
        split = "train" if number < 6 else "val"
        mask = np.zeros((60, 80), np.uint8)
        mask[10:30, 5 : 20 + 4 * number] = 1
        if number % 2:
            mask[40:55, 30:60] = 2
        image = np.full((60, 80, 3), 120, np.uint8)
        image[:, :, number % 3] += np.uint8(10 + number)
        name = f"<script>alert({number})</script> & \"x\" 'y'.png".replace("/", "|")
        for kind, pixels in (("images", image), ("masks", mask)):
            (root / split / kind).mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(pixels)
            if kind == "masks":
                image.putpalette([level for color in COLORS for level in color])
            image.save(root / split / kind / name)
    first, last = sorted((root / "train/images").iterdir())[1], sorted((root / "val/images").iterdir())[0]
    last.write_bytes(first.read_bytes())
    (root / "train/images" / "broken [red].png").write_bytes(b"none")
    Image.fromarray(mask).save(root / "train/masks" / "broken [red].png")
    return root


@pytest.fixture
def found(data: Path) -> DatasetReport:
    return inspect(data, LabelOptions(classes=ODD_NAMES, skip_unreadable=True))


@pytest.fixture
def folder(found: DatasetReport, tmp_path: Path) -> Path:
    write_dataset_report(found, make_plan(found, timed=False), tmp_path / "report")
    return tmp_path / "report"


def test_json_has_the_figures(folder: Path, found: DatasetReport) -> None:
    told = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert (told["photos"], told["masks"], told["splits"]) == (8, 9, {"train": 6, "val": 2, "test": 0})
    assert [each["name"] for each in told["classes"]] == list(ODD_NAMES)
    for each, facts in zip(told["classes"], found.classes, strict=True):
        assert (each["pixels"], each["photos"], each["objects"]) == (
            facts.pixels,
            facts.image_count,
            facts.object_count,
        )
        assert each["share"] == facts.pixel_fraction and each["colour"] == "#{:02x}{:02x}{:02x}".format(*facts.color)
    assert sum(each["pixels"] for each in told["classes"]) == 8 * 4800
    assert told["widths"]["median"] == 80 and told["heights"]["greatest"] == 60
    assert {(each["kind"], each["usable"]) for each in told["problems"]} == {
        ("leakage", True), ("unreadable image", False),
    }  # fmt: skip
    assert told["channel_means"] == list(found.channel_means)


class Page(HTMLParser):
    """The tags of a page, what they lead to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_needs_no_other_file(folder: Path, found: DatasetReport) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("img") == 3
    assert all(link.startswith("data:image/webp;base64,") for link in page.links)
    assert not re.search(r"url\(|@import|https?://", re.sub(r"base64,[\w+/=]+", "", text))


def test_the_page_escapes_names(folder: Path, found: DatasetReport, data: Path) -> None:
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert not {"script", "i", "b", "c"} & set(page.tags)
    for name in ODD_NAMES:
        assert name in page.words
    assert str(data) in page.words
    for problem in found.issues:
        assert problem.file in page.words


def test_leakage_is_loud(folder: Path, found: DatasetReport, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert 'role="alert"' in text and text.index('role="alert"') < text.index("<h2>")
    print_dataset_report(found)
    lines = capsys.readouterr().out.splitlines()
    (loud,) = [line for line in lines if line.startswith("LEAKAGE: 1 file")]
    assert lines.index(loud) < next(i for i, line in enumerate(lines) if line.startswith("unreadable image: 1 file"))


def test_the_terminal_tells_it_all(
    found: DatasetReport, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_dataset_report(found)
    out = capsys.readouterr().out
    assert out.startswith(f"{data}: folders, 8 images and 9 masks; usable pairs: 6 train, 2 val")
    for name, facts in zip(ODD_NAMES, found.classes, strict=True):
        (row,) = [line for line in out.splitlines() if f" {name} " in line]
        assert (
            f"{facts.pixel_fraction:.2%}" in row
            and f" {facts.image_count} " in row
            and f" {facts.object_count} " in row
        )
    assert str(data / "train/images/broken [red].png") in out
    assert "LEAKAGE" in out and "80x60" in out


def test_of_many_problems_some_are_told_and_the_number(
    found: DatasetReport, capsys: pytest.CaptureFixture[str]
) -> None:
    many = tuple(DataIssue("copy", f"{number}.png", "the same", severity="warning") for number in range(MAX_SHOWN + 7))
    print_dataset_report(DatasetReport(**vars(found) | {"problems": many}))
    out = capsys.readouterr().out
    assert f"copy: {MAX_SHOWN + 7} files" in out and "and 7 more" in out
    assert out.count(": the same") == MAX_SHOWN


def test_problems_stand_in_the_order_of_their_weight() -> None:
    kinds = [("empty mask", True), ("truncated image", False), ("copy", True), ("leakage", True)]
    problems = [DataIssue(kind, "x", "y", "warning" if usable else "error") for kind, usable in kinds]
    assert list(by_kind(problems)) == ["leakage", "truncated image", "copy", "empty mask"]


def test_a_sheet_a_class_in_its_color(folder: Path, found: DatasetReport) -> None:
    sheets = sorted((folder / "sheets").iterdir())
    assert [path.name[:3] for path in sheets] == ["00-", "01-", "02-"]
    assert found.data.palette == COLORS
    for index in (1, 2):
        facts = found.classes[index]
        sheet = class_sheet(facts, index, found.data.read_spec)
        assert sheet is not None
        np.testing.assert_array_equal(np.asarray(Image.open(sheets[index]).convert("RGB")), np.asarray(sheet))
        own, other = (share_near(sheet, COLORS[each]) for each in (index, 3 - index))
        # Beside gray images nothing else is so colorful: the class in its color, the other one in none.
        assert 0.01 < own < 0.1 and other < 0.002, (own, other)


def share_near(sheet: Image.Image, color: tuple[int, int, int]) -> float:
    """The share of pixels of about a color's hue, laid over gray or not."""
    pixels = np.asarray(sheet, float)
    pixels -= pixels.mean(2, keepdims=True)
    wanted = np.array(color, float) - np.mean(color)
    length = np.linalg.norm(pixels, axis=2)
    alike = (pixels @ wanted) / np.maximum(length * np.linalg.norm(wanted), 1e-6)
    return float(((alike > 0.97) & (length > 30)).mean())


def test_a_class_that_no_image_shows_has_no_sheet(data: Path, tmp_path: Path) -> None:
    (data / "classes.txt").write_text("background\none\ntwo\nnever\n")
    found = inspect(data, LabelOptions(skip_unreadable=True))
    assert found.classes[3].pixels == 0 and class_sheet(found.classes[3], 3, found.data.read_spec) is None
    write_dataset_report(found, make_plan(found, timed=False), tmp_path / "report")
    assert len(list((tmp_path / "report/sheets").iterdir())) == 3


def test_examples_that_are_gone_since_are_left_out(found: DatasetReport, data: Path) -> None:
    for record in found.classes[2].examples[1:]:
        Path(str(record.image)).write_bytes(b"")
    assert class_sheet(found.classes[2], 2, found.data.read_spec) is not None
    Path(str(found.classes[2].examples[0].image)).unlink()
    assert class_sheet(found.classes[2], 2, found.data.read_spec) is None


def test_the_plan_reads_back(folder: Path, found: DatasetReport, data: Path) -> None:
    plan = Plan.read(folder / "plan.yaml")
    drawn = make_plan(found, timed=False)
    assert plan.data == drawn.data and dict(plan.settings) == dict(drawn.settings)
    assert tuple(plan.data.classes) == ODD_NAMES
    again = plan.data.load(data, skip_unreadable=True)
    assert (again.classes, again.palette, again.read_spec) == (
        found.data.classes,
        found.data.palette,
        found.data.read_spec,
    )


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[object, str]]:
    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", lambda *args, **kwargs: 1.0)

    def run(*tokens: object) -> tuple[object, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(token) for token in tokens])
        return caught.value.code, capsys.readouterr().err

    return run


def test_nothing_is_overwritten(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Callable):  # type: ignore[type-arg]
    for there in ("file", "folder"):
        out = tmp_path / there
        out.write_text("mine") if there == "file" else out.mkdir()
        code, err = run_cli("inspect", data, "--out", out)
        assert code == 2 and err == f"pixelwise: error: {out}: is already there; choose another --out\n"
    assert (tmp_path / "file").read_text() == "mine" and not list((tmp_path / "folder").iterdir())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for _ in range(2):
        assert run_cli("inspect", data)[0] == 1
    assert sorted(path.name for path in Path().iterdir()) == sorted([f"{data.name}-inspect", f"{data.name}-inspect-2"])


def test_a_folder_that_cannot_be_made_is_told(data: Path, tmp_path: Path, run_cli: Callable):  # type: ignore[type-arg]
    (tmp_path / "file").write_text("mine")
    code, err = run_cli("inspect", data, "--out", tmp_path / "file" / "below")
    assert code == 2 and len(err.splitlines()) == 1 and str(tmp_path / "file") in err
