"""The application: help, version, errors in one line, log messages, what it imports and configures."""

import errno
import logging
import re
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.cli.app import COMMANDS
from pixelwise.config import Config
from tests.cli.helpers import FAST, RunCommand, assert_one_line_error, read_files


class TestHelp:
    def test_every_command_is_listed_in_order(self, run_cli: RunCommand) -> None:
        result = run_cli("--help")
        assert (result.code, result.err) == (0, "")
        positions = [result.out.index(f"│ {name} ") for name in COMMANDS]
        assert positions == sorted(positions)
        for name in ("--install-completion", "--version"):
            assert name in result.out

    def test_version(self, run_cli: RunCommand) -> None:
        result = run_cli("--version")
        assert (result.code, result.out.strip()) == (0, pw.__version__)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_parameter_has_a_description(self, run_cli: RunCommand, command: str) -> None:
        result = run_cli(command, "--help")
        assert (result.code, result.err) == (0, "")
        text = " ".join(result.out.replace("│", " ").split())
        assert all(" ".join(paragraph.split()) in text for paragraph in COMMANDS[command])
        assert "--out" in text or command in ("encoders", "pack", "runs", "try", "verify")
        lines = [line for line in result.out.splitlines() if line.startswith(("│ --", "│ *", "│ FOLDER", "│ PATTERN"))]
        assert lines and all(len(line.strip("│* ").split("  ")) > 1 for line in lines), "a flag and its description"
        assert '[default: ""]' not in text
        assert not re.search(r"\[default: [^]]*\] \[default", text), "one default"

    def test_descriptions_fill_their_lines(self, run_cli: RunCommand) -> None:
        """A line of a description is short only if the next word does not fit."""
        for command in ("predict", "train"):
            lines = [line.strip("│") for line in run_cli(command, "--help").out.splitlines() if line.startswith("│")]
            start = {line: len(line) - len(line.lstrip()) for line in lines}
            short = [
                line
                for line, following in pairwise(lines)
                if start[following] > 10 and len(line.rstrip()) + 1 + len(following.split()[0]) < len(line) - 1
            ]
            assert short == []

    def test_flags_are_in_groups(self, run_cli: RunCommand) -> None:
        result = run_cli("train", "--help")
        groups = [result.out.index(f"─ {name} ─") for name in ("Masks", "Data", "Model", "Training", "Machine")]
        assert groups == sorted(groups)
        assert groups[2] < result.out.index("--encoder ") < groups[3] < result.out.index("--lr ") < groups[4]
        assert "--no-freeze-encoder" in result.out and "--no-cache" in result.out


def test_help_imports_neither_torch_nor_numpy() -> None:
    """The help starts in less than 0.4 s on an idle machine. Time is not measured here, imports are."""
    code = "import sys; from pixelwise.cli import main\ntry: main([{!r}])\nfinally: print(*sys.modules)"
    for flag in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", code.format(flag)], capture_output=True, text=True, check=True)
        imported = set(done.stdout.splitlines()[-1].split())
        assert "pixelwise.cli.app" in imported
        assert not imported & {"torch", "numpy", "pydantic", "yaml", "PIL", "markdown_it", "pixelwise.config"}


def test_help_of_train_imports_neither_torch_nor_numpy() -> None:
    code = "import sys; from pixelwise.cli import main\ntry: main(['train', '--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--time-budget" in done.stdout
    imported = set(done.stdout.splitlines()[-1].split())
    assert not imported & {"torch", "numpy", "PIL", "timm", "pixelwise.config", "pixelwise.data.formats.registry"}


def test_the_help_of_no_command_imports_torch() -> None:
    """One process prints the help of all commands. It lists the commands after which torch was imported."""
    code = (
        "import sys\nfrom pixelwise.cli import main\nfrom pixelwise.cli.app import COMMANDS\n"
        "for command in COMMANDS:\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit as end: print(command, end.code, *{'torch', 'timm'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [f"{command} 0" for command in COMMANDS]


@pytest.mark.parametrize("command", ["train", "find-lr", "tune"])
def test_missing_data_imports_no_torch(command: str) -> None:
    code = "import sys; from pixelwise.cli import main\ntry: main({!r})\nfinally: print(*sys.modules)"
    tokens = [command, "/no/such/folder"]
    done = subprocess.run([sys.executable, "-c", code.format(tokens)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    imported = done.stdout.splitlines()[-1].split()
    assert "cyclopts" in imported and "torch" not in imported
    assert done.stderr == "pixelwise: error: /no/such/folder: no such file or directory\n"


def test_the_process_is_configured_before_a_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr("pixelwise.cli.app.configure", lambda: calls.append("configure"))
    with pytest.raises(SystemExit):
        main(["--version"])
    assert calls == ["configure"]


class TestErrors:
    @pytest.mark.parametrize("tokens", [["bogus"], ["train"], ["predict", "run"], ["preview"]], ids=" ".join)
    def test_wrong_commands(self, tokens: list[str], run_cli: RunCommand) -> None:
        assert_one_line_error(run_cli(*tokens))

    @pytest.mark.parametrize("command", ["train", "evaluate", "preview", "inspect", "find-lr", "tune"])
    def test_no_such_folder(self, command: str, run_cli: RunCommand, run_copy: Path, tmp_path: Path) -> None:
        missing = tmp_path / "missing"
        tokens: list[str | Path] = [command, run_copy, missing] if command == "evaluate" else [command, missing]
        assert_one_line_error(run_cli(*tokens, "--out", tmp_path / "out"), missing, "no such file or directory")
        assert not (tmp_path / "out").exists()

    def test_the_home_directory_of_an_unknown_user(self, run_cli: RunCommand) -> None:
        for tokens in (["inspect"], ["preview"], ["train"]):
            assert_one_line_error(run_cli(*tokens, "~nosuchuser/x"), "~nosuchuser/x: there is no such home directory")

    def test_a_folder_of_no_known_format(self, run_cli: RunCommand, tmp_path: Path) -> None:
        (tmp_path / "stuff").mkdir()
        assert_one_line_error(run_cli("preview", tmp_path / "stuff"), tmp_path / "stuff", "oxford-pets")

    def test_no_run(self, run_cli: RunCommand, pets_folder: Path, tmp_path: Path) -> None:
        missing, image = tmp_path / "missing", next((pets_folder / "images").iterdir())
        assert_one_line_error(run_cli("evaluate", missing, pets_folder), missing)
        assert_one_line_error(run_cli("predict", missing, image, "--out", tmp_path / "out"), missing)
        assert list(tmp_path.iterdir()) == []

    def test_a_broken_model(self, run_cli: RunCommand, run_copy: Path, pets_folder: Path) -> None:
        (run_copy / "model.safetensors").write_bytes(b"half of it")
        assert_one_line_error(run_cli("evaluate", run_copy, pets_folder), run_copy, "cannot be read")

    def test_library_messages_name_flags(self, run_cli: RunCommand, run_copy: Path, pets_folder: Path) -> None:
        before = read_files(run_copy)
        result = run_cli("train", pets_folder, "--out", run_copy, *FAST)
        assert_one_line_error(result, f"{run_copy}: contains a run", "set --resume", "choose another --out")
        assert read_files(run_copy) == before

    def test_an_interrupt_by_the_keyboard(
        self, run_cli: RunCommand, pets_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("pixelwise.cli.train_run.train", interrupt)
        result = run_cli("train", pets_folder, "--out", "x", "--preset", "default")
        assert result.code == 130
        assert result.err == "pixelwise: stopped; the training has not begun; run the command again\n"


class TestLogging:
    @pytest.fixture
    def logging_train(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def train(*args: object, **kwargs: object) -> None:
            logger = logging.getLogger("pixelwise.training.trainer")
            logger.info("set `image_size` to %d", 32)
            logger.warning("history.png cannot be drawn")
            raise pw.PixelwiseError("enough")

        monkeypatch.setattr("pixelwise.cli.train_run.train", train)
        monkeypatch.setattr(logging.getLogger("pixelwise"), "level", logging.INFO)

    @pytest.mark.usefixtures("logging_train")
    def test_messages_of_the_library_are_printed(self, run_cli: RunCommand, pets_folder: Path) -> None:
        result = run_cli("train", pets_folder, "--out", "x", "--preset", "default")
        assert result.err.splitlines() == [
            "set --size to 32", "warning: history.png cannot be drawn", "pixelwise: error: enough",
        ]  # fmt: skip
        assert logging.getLogger("pixelwise").handlers == [], "the handler is removed"

    @pytest.mark.usefixtures("logging_train")
    def test_only_the_first_of_several_processes_prints(
        self, run_cli: RunCommand, pets_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RANK", "1")
        result = run_cli("train", pets_folder, "--out", "x", "--preset", "default")
        assert result.err == "pixelwise: error: enough\n"


def test_every_setting_is_read_by_the_library() -> None:
    """A setting without a reader would be an option that has no effect."""
    import ast

    read: set[str] = set()
    source = Path(pw.__file__).parent
    for file in source.rglob("*.py"):
        inside_config = file.parent.name == "config" and file.name == "settings.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value).rsplit(".", 1)[-1]
                if owner in ("config", "new") or (inside_config and owner == "self"):
                    read.add(node.attr)
    assert set(Config.model_fields) <= read


def test_a_thread_that_finds_a_full_disk_prints_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(error: Exception) -> None:
        raise error

    def run_threads(*args: object, **options: object) -> int:
        for error in (OSError(errno.ENOSPC, "full"), ValueError("a bug in a thread")):
            thread = threading.Thread(target=fail, args=(error,))
            thread.start()
            thread.join()
        return 0

    monkeypatch.setattr("pixelwise.cli.app.configure", lambda: None)
    monkeypatch.setattr("pixelwise.cli.app.app", run_threads)
    hook = threading.excepthook
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0 and threading.excepthook is hook
    errors = capfd.readouterr().err
    assert errors.count("Traceback") == 1 and "a bug in a thread" in errors and "full" not in errors
