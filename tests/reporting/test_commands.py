"""Shell commands in reports."""

import shlex
from dataclasses import replace
from pathlib import Path

from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.index import DatasetIndex
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import DataIssue, LabelMap, ReadSpec
from pixelwise.reporting.commands import inspect_commands, train_command

DATA = DatasetIndex(Path("my pets"), "folders", (), (), ReadSpec(LabelMap("index")))
REPORT = DatasetReport(DATA, 0, 0, None, None, None, (), 0.0, (), (), ())


def test_the_train_command_has_the_flags_that_the_data_needs() -> None:
    assert train_command("my pets", "plan.yaml", REPORT) == "pixelwise train 'my pets' --plan plan.yaml"
    issue = DataIssue("missing mask", "a.png", "has no mask")
    report = replace(REPORT, issues=(issue,), options=LabelOptions(allow_outside=True))
    assert train_command("pets", "p.yaml", report).endswith("p.yaml --skip-unreadable --allow-outside")


def test_answers_repeat_the_options_that_they_do_not_replace() -> None:
    options = LabelOptions(
        skip_unreadable=True, unlabeled="ignore", label_map=(("1", "a b"),), ignore_values=("255", "7"), line_width=3
    )
    choices = ({"instances": True}, {"label_map": {"0": "background", "9": "cat"}}, {"line_width": 5})
    commands = inspect_commands("my pets", replace(REPORT, options=options, choices=choices))
    start = ["pixelwise", "inspect", "my pets"]
    flags = ["--ignore-values", "255", "7", "--label-map", "1=a b", "--unlabeled", "ignore", "--line-width"]
    assert shlex.split(commands[0]) == [*start, *flags, "3", "--instances"]
    assert shlex.split(commands[1])[3:8] == ["--ignore-values", "255", "7", "--label-map", "0=background"]
    assert shlex.split(commands[2]) == [*start, *flags, "5"]
