"""Tests of the report of an inspected data set: report.json, report.html and plan.yaml."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pixelwise.cli import main
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.spec import DatasetSpec
from pixelwise.planning.plan import Plan
from pixelwise.planning.rules import make_plan
from pixelwise.reporting.class_examples import PAIR_WIDTH
from pixelwise.reporting.dataset_report import as_json, write_dataset_report
from tests.reporting.conftest import ODD_NAMES


@pytest.fixture(scope="module")
def folder(report: DatasetReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report."""
    folder = tmp_path_factory.mktemp("written") / "report"
    write_dataset_report(report, make_plan(report, timed=False), folder)
    return folder


class Page(HTMLParser):
    """The tags with their attributes, links and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element with this tag."""
        return [attributes for name, attributes in self.attributes if name == tag]


class TestJSON:
    def test_has_all_statistics(self, folder: Path, report: DatasetReport) -> None:
        stored = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        assert (stored["photos"], stored["masks"], stored["splits"]) == (8, 9, {"train": 6, "val": 2, "test": 0})
        assert [entry["name"] for entry in stored["classes"]] == list(ODD_NAMES)
        for entry, stats in zip(stored["classes"], report.classes, strict=True):
            counts = (stats.pixels, stats.image_count, stats.object_count)
            assert (entry["pixels"], entry["photos"], entry["objects"]) == counts
            assert entry["share"] == stats.pixel_fraction
            assert entry["colour"] == "#{:02x}{:02x}{:02x}".format(*stats.color)
        assert sum(entry["pixels"] for entry in stored["classes"]) == 8 * 4800
        assert stored["widths"]["median"] == 80 and stored["heights"]["greatest"] == 60
        assert {(entry["kind"], entry["usable"]) for entry in stored["problems"]} == {
            ("leakage", True), ("unreadable image", False),
        }  # fmt: skip
        assert stored["channel_means"] == list(report.channel_means)
        symmetry = report.symmetry
        assert symmetry is not None and stored["symmetry"] == {
            "has_up": symmetry.has_up, "allows_quarter_turns": symmetry.allows_quarter_turns,
            "vertical": symmetry.vertical, "horizontal": symmetry.horizontal, "diagonal": symmetry.diagonal,
            "upper_vertical": symmetry.upper_vertical, "upper_diagonal": symmetry.upper_diagonal,
            "strongest": symmetry.strongest, "count": symmetry.count, "aspect": symmetry.aspect,
        }  # fmt: skip
        assert as_json(replace(report, symmetry=None))["symmetry"] is None

    def test_keys_are_those_of_version_0_1_and_of_questions(self, folder: Path) -> None:
        stored = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        assert set(stored) == {
            "root", "format", "photos", "masks", "splits", "groups", "notes", "widths", "heights", "aspect_ratios",
            "modes", "channel_means", "channel_stds", "multilabel", "ignored", "classes", "problems", "obstacle",
            "seconds", "choices", "folders", "symmetry",
        }  # fmt: skip
        assert set(stored["widths"]) == {"least", "low", "median", "high", "greatest"}
        assert set(stored["classes"][1]) == {
            "name", "levels", "colour", "pixels", "share", "photos", "objects", "side", "width", "width_px",
        }  # fmt: skip
        assert set(stored["problems"][0]) == {"kind", "file", "what", "usable"}


class TestHTML:
    def test_needs_no_other_file(self, folder: Path, report: DatasetReport) -> None:
        text = (folder / "report.html").read_text(encoding="utf-8")
        page = Page(text)
        assert page.tags.count("img") == sum(stats.image_count for stats in report.classes) == 20
        assert {path.name for path in folder.iterdir()} == {"report.html", "report.json", "plan.yaml"}
        assert all(link.startswith("data:image/webp;base64,") for link in page.links)
        assert not re.search(r"url\(|@import|https?://", re.sub(r"base64,[\w+/=]+", "", text))

    def test_escapes_names(self, folder: Path, report: DatasetReport, data: Path) -> None:
        page = Page((folder / "report.html").read_text(encoding="utf-8"))
        assert not {"script", "i", "b", "c"} & set(page.tags)
        assert all(name in page.text for name in ODD_NAMES)
        assert str(data) in page.text
        assert all(issue.file in page.text and issue.message in page.text for issue in report.issues)

    def test_lists_statistics_and_plan(self, folder: Path, report: DatasetReport) -> None:
        page = Page((folder / "report.html").read_text(encoding="utf-8"))
        for stats in report.classes:
            assert f"{100 * stats.pixel_fraction:.2f}%" in page.text
        plan = make_plan(report, timed=False)
        for name, value in plan.settings.items():
            assert f"{name}{value}{plan.reasons.get(name, '')}" in page.text, "a row of the table of settings"
        means = " ".join(f"{mean:.0f}" for mean in report.channel_means)
        assert f"channel means {means}" in page.text

    def test_warns_of_leakage_first(self, folder: Path) -> None:
        text = (folder / "report.html").read_text(encoding="utf-8")
        assert text.index('role="alert"') < text.index("<h2>")
        assert "Leakage: 1 image is in more than one split. Metrics measured on it are too high." in text


class TestAccessibility:
    @pytest.fixture
    def page(self, folder: Path) -> Page:
        return Page((folder / "report.html").read_text(encoding="utf-8"))

    def test_language_and_viewport_are_set(self, page: Page) -> None:
        assert page.all("html") == [{"lang": "en"}]
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")

    def test_tables_have_captions_and_scopes(self, page: Page) -> None:
        assert page.tags.count("table") == page.tags.count("caption") == page.tags.count("thead") == 3
        assert {attributes.get("scope") for attributes in page.all("th")} == {"row", "col"}

    def test_wide_tables_scroll_in_their_own_box(self, page: Page) -> None:
        boxes = [each for each in page.all("div") if each.get("class") == "scroll"]
        assert len(boxes) == 3 and all(each["tabindex"] == "0" and each["aria-label"] for each in boxes)

    def test_images_have_texts_and_sizes(self, page: Page) -> None:
        for image in page.all("img"):
            assert image["width"] == str(PAIR_WIDTH - 1) and int(image["height"] or 0) > 100
            assert ".png, and the pixels of class " in (image["alt"] or "") and "% of the image" in (image["alt"] or "")

    def test_columns_are_explained(self, page: Page) -> None:
        assert page.tags.count("dt") == page.tags.count("dd") == 6
        assert "fraction of all pixels that are not ignored" in page.text

    def test_no_fraction_exceeds_100_percent(self, page: Page) -> None:
        values = [float(value) for value in re.findall(r"([\d.]+)%", page.text)]
        assert len(values) > 20 and max(values) <= 100


def test_plan_file_reads_back(folder: Path, report: DatasetReport, data: Path) -> None:
    stored = Plan.read(folder / "plan.yaml")
    plan = make_plan(report, timed=False)
    assert stored.data == plan.data and dict(stored.settings) == dict(plan.settings)
    assert isinstance(stored.data, DatasetSpec) and tuple(stored.data.classes) == ODD_NAMES
    loaded = stored.data.load(data, skip_unreadable=True)
    expected = report.data
    assert (loaded.classes, loaded.palette, loaded.read_spec) == (
        expected.classes, expected.palette, expected.read_spec,
    )  # fmt: skip


RunCLI = Callable[..., tuple[object, str]]


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunCLI:
    """Run a command without timing steps; return its exit code and stderr."""
    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", lambda *args, **kwargs: 1.0)

    def run(*tokens: object) -> tuple[object, str]:
        with pytest.raises(SystemExit) as exit_info:
            main([str(token) for token in tokens])
        return exit_info.value.code, capsys.readouterr().err

    return run


class TestInspectCommand:
    def test_overwrites_nothing(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: RunCLI
    ) -> None:
        (tmp_path / "file").write_text("mine")
        (tmp_path / "folder").mkdir()
        for out in (tmp_path / "file", tmp_path / "folder"):
            code, stderr = run_cli("inspect", data, "--out", out)
            assert code == 2 and stderr == f"pixelwise: error: {out}: exists already; choose another --out\n"
        assert (tmp_path / "file").read_text() == "mine" and not list((tmp_path / "folder").iterdir())
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        for _ in range(2):
            assert run_cli("inspect", data)[0] == 1
        assert {path.name for path in Path().iterdir()} == {f"{data.name}-inspect", f"{data.name}-inspect-2"}

    def test_directory_that_cannot_be_created_is_an_error(self, data: Path, tmp_path: Path, run_cli: RunCLI) -> None:
        (tmp_path / "file").write_text("mine")
        code, stderr = run_cli("inspect", data, "--out", tmp_path / "file" / "below")
        assert code == 2 and len(stderr.splitlines()) == 1 and str(tmp_path / "file") in stderr
