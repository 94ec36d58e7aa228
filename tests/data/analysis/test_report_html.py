"""Tests of the HTML that a notebook shows for the report on a data set."""

from dataclasses import replace
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.data.schema import DataIssue


@pytest.fixture(scope="module")
def report(pets_folder: Path) -> pw.DatasetReport:
    """Inspect a data set."""
    return pw.inspect(pets_folder)


def test_counts_and_classes(report: pw.DatasetReport) -> None:
    shown = report._repr_html_()
    assert f"{report.image_count:,} images, {report.mask_count:,} masks" in shown
    for stats in report.classes:
        assert f"</span>{stats.name}</td>" in shown
        assert f">{stats.pixel_fraction:.2%}</td>" in shown
    assert len(shown) < 300_000 and "<img" not in shown


def test_the_text_has_no_records(report: pw.DatasetReport) -> None:
    text = repr(report)
    assert text.startswith("DatasetReport(data=DatasetIndex(root=") and text.endswith("images=22, masks=22, issues=0)")
    assert len(text) < 500


def test_issues_are_counted_by_kind(report: pw.DatasetReport) -> None:
    issues = [DataIssue("copy", f"{number}.png", "equals <another>", "warning") for number in range(3)]
    issues += [DataIssue(f"kind {number}", "a.png", "x", "warning") for number in range(11)]
    shown = replace(report, issues=tuple(issues))._repr_html_()
    assert "<li>copy (3): 0.png: equals &lt;another&gt;</li>" in shown
    assert "and 2 more kinds" in shown
    assert "no problems" in replace(report, issues=())._repr_html_()


def test_the_obstacle_is_shown(report: pw.DatasetReport) -> None:
    assert "<b>no <i>way</b>".replace("<i>", "&lt;i&gt;") in replace(report, obstacle="no <i>way")._repr_html_()


def test_names_are_escaped_and_many_classes_are_cut(report: pw.DatasetReport) -> None:
    classes = tuple(replace(report.classes[0], name=f"<class {number}>") for number in range(61))
    shown = replace(report, classes=classes)._repr_html_()
    assert "&lt;class 59&gt;" in shown and "<class" not in shown and "and 1 more classes" in shown
