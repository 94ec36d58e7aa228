"""Tests of the command line's tables: every number of a result, leakage first, odd names as they are."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pixelwise as pw
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.schema import DataIssue
from pixelwise.data.task import MULTICLASS
from pixelwise.metrics import Metrics
from pixelwise.planning.plan import Plan
from pixelwise.reporting.console import (
    MAX_FILES_PER_KIND,
    group_by_kind,
    print_dataset,
    print_dataset_report,
    print_metrics,
    print_plan,
)
from tests.reporting.conftest import ODD_NAMES


class TestDatasetReport:
    def test_prints_statistics_of_each_class(
        self,
        report: DatasetReport,
        data: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        print_dataset_report(report)
        out = capsys.readouterr().out
        assert out.startswith(f"{data}: folders, 8 images and 9 masks; usable pairs: 6 train, 2 val")
        for name, stats in zip(ODD_NAMES, report.classes, strict=True):
            (row,) = [line for line in out.splitlines() if f" {name} " in line]
            assert f"{stats.pixel_fraction:.2%}" in row
            assert f" {stats.image_count} " in row and f" {stats.object_count} " in row
        assert str(data / "train/images/broken [red].png") in out
        assert "80x60" in out

    def test_prints_large_widths_without_an_exponent(
        self, report: DatasetReport, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        classes = tuple(replace(stats, width=1234.56) for stats in report.classes)
        print_dataset_report(replace(report, classes=classes))
        assert capsys.readouterr().out.count("1234.6 px") == len(classes)

    def test_prints_leakage_first(self, report: DatasetReport, capsys: pytest.CaptureFixture[str]) -> None:
        print_dataset_report(report)
        lines = capsys.readouterr().out.splitlines()
        (leakage,) = [line for line in lines if line.startswith("LEAKAGE: 1 file")]
        assert lines.index(leakage) < next(
            index for index, line in enumerate(lines) if line.startswith("unreadable image: 1 file")
        )

    def test_prints_a_few_files_of_each_kind_and_the_total(
        self, report: DatasetReport, capsys: pytest.CaptureFixture[str]
    ) -> None:
        count = MAX_FILES_PER_KIND + 7
        issues = tuple(DataIssue("copy", f"{number}.png", "the same", "warning") for number in range(count))
        print_dataset_report(replace(report, issues=issues))
        out = capsys.readouterr().out
        assert f"copy: {count} files" in out and "and 7 more" in out
        assert out.count(": the same") == MAX_FILES_PER_KIND

    def test_prints_that_there_are_no_problems(self, report: DatasetReport, capsys: pytest.CaptureFixture[str]) -> None:
        print_dataset_report(replace(report, issues=()))
        assert "no problems" in capsys.readouterr().out


def test_issues_are_ordered_by_severity() -> None:
    issues = [
        DataIssue("undecided masks", "x", "y"),
        DataIssue("empty mask", "x", "y", "warning"),
        DataIssue("truncated image", "x", "y", "error"),
        DataIssue("copy", "x", "y", "warning"),
        DataIssue("leakage", "x", "y", "warning"),
    ]
    assert list(group_by_kind(issues)) == ["undecided masks", "leakage", "truncated image", "copy", "empty mask"]


class TestMetrics:
    def test_absent_class_has_no_iou(self, capsys: pytest.CaptureFixture[str]) -> None:
        confusion = torch.tensor([[8, 0, 2], [0, 0, 0], [1, 0, 9]])
        metrics = Metrics.from_confusion(confusion, ("pet", "background", "border"), MULTICLASS, 1, "original")
        assert metrics.absent_classes == ("background",)
        assert metrics.classes["background"].iou is None
        assert metrics.mean_iou == pytest.approx((8 / 11 + 9 / 12) / 2)
        print_metrics(metrics, "test")
        lines = capsys.readouterr().out.splitlines()
        (row,) = [line for line in lines if "background" in line and "absent:" not in line]
        assert "absent" in row
        assert "absent: background" in lines[-1]
        assert "73.86%" in lines[-1]

    def test_percentages_and_other_metrics(self, capsys: pytest.CaptureFixture[str]) -> None:
        metrics = Metrics.from_confusion(
            torch.tensor([[3, 1], [0, 4]]), ("[bold]cat[/]", "rest"), MULTICLASS, 2, "64x64"
        )
        print_metrics(metrics, "val", {"boundary_iou": 0.25, "boundary_iou_rest": None})
        out = capsys.readouterr().out
        assert "val: 2 images at 64x64 pixels" in out
        (row,) = [line for line in out.splitlines() if "[bold]cat[/]" in line]
        assert [cell.strip() for cell in row.split("│")[2:7]] == ["75.0%", "85.7%", "100.0%", "75.0%", "50.0%"]
        assert "accuracy 87.50% · mean IoU 77.50%" in out
        assert out.splitlines()[-2:] == ["boundary_iou: 0.2500", "boundary_iou_rest: –"]


def test_data_set_and_its_messages(pets: pw.DatasetIndex, capsys: pytest.CaptureFixture[str]) -> None:
    print_dataset(replace(pets, messages=("a message",)))
    assert capsys.readouterr().out == (
        f"{pets.root}: oxford-pets, images: 12 train, 10 test\nclasses: pet, background, border\na message\n"
    )


def test_plan_with_reasons(report: DatasetReport, capsys: pytest.CaptureFixture[str]) -> None:
    spec = pw.make_plan(report, timed=False).data
    print_plan(Plan(spec, {"epochs": 7, "lr": 0.01}, {"epochs": "few images"}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  epochs: 7 ") and lines[1].endswith("# few images")
    assert lines[2] == "  lr: 0.01"
