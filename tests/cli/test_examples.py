"""Examples in the help of each command, and defaults that a plan decides."""

import shlex

import pytest

from pixelwise.cli.app import COMMANDS, EXAMPLES, app
from pixelwise.planning.rules import RULES
from tests.cli.helpers import RunCommand

LINES = [line for lines in EXAMPLES.values() for line in lines]


def test_every_command_has_examples() -> None:
    assert list(EXAMPLES) == list(COMMANDS)
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("line", LINES)
def test_an_example_parses(line: str) -> None:
    program, command, *_ = tokens = shlex.split(line)
    assert program == "pixelwise" and line in EXAMPLES[command]
    function, _, unused, *_ = app.parse_known_args(tokens[1:])
    assert function.__name__ == f"{command.replace('-', '_')}_command"
    assert not unused


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_ends_with_the_examples(command: str, run_cli: RunCommand) -> None:
    lines = run_cli(command, "--help").out.rstrip().splitlines()
    count = len(EXAMPLES[command])
    assert [line.strip() for line in lines[-count:]] == list(EXAMPLES[command])
    assert lines[-count - 1] == "Examples:"
    assert all(len(line) <= 80 for line in lines[-count:]), "the terminal does not wrap them"


def test_the_general_help_has_the_first_steps(run_cli: RunCommand) -> None:
    out = run_cli("--help").out
    steps = [out.index(f"\n  pixelwise {command} ") for command in ("inspect", "train", "predict")]
    assert steps == sorted(steps)


def test_defaults_that_a_plan_decides_are_those_of_its_rules(run_cli: RunCommand) -> None:
    text = " ".join(run_cli("train", "--help").out.replace("│", " ").split())
    planned = {flag.split()[0] for flag in text.split("--")[1:] if "[default: the plan's" in flag}
    names = {"image_size": "size"}
    assert planned == {names.get(name, name).replace("_", "-") for name in RULES}
