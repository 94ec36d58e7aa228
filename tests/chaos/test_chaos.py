"""Each part of the stress test with a few tries, and that each finds a planted fault."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pixelwise.errors import DataError
from pixelwise.runtime import atomic
from tests.chaos import image_files, label_files
from tests.chaos.commands import Workshop
from tests.chaos.damage import BYTES, damage_structure
from tests.chaos.forks import check_in_forks, kill_soon
from tests.chaos.full_disk import fill_disks
from tests.chaos.image_files import damage_images
from tests.chaos.kills import kill_commands
from tests.chaos.label_files import damage_labels
from tests.chaos.many_classes import predict_many_classes
from tests.chaos.outputs import difference, half_written
from tests.chaos.run_files import damage_runs
from tests.chaos.together import run_together
from tests.chaos.verdicts import Tally, Try, Verdict, judge_error

pytestmark = [
    pytest.mark.integration,
    # pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/self/statm").exists(), reason="needs Linux"),
]


FORMATS = ("coco polygons", "cvat", "yolo", "csv", "classes.json")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """The commands, without drawings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pixelwise.training.callbacks.DEFAULT_CALLBACKS", ())
        patch.setattr("pixelwise.cli.train_run.print_run", lambda *args: None)
        yield Workshop(tmp_path_factory.mktemp("chaos"), images=4)


def faults(tries: Iterator[Try]) -> list[Try]:
    """Return the faults among tries, of which there must be some."""
    tally = Tally().add(tries)
    assert tally.counts
    return tally.faults


def test_killed_commands(workshop: Workshop) -> None:
    assert not faults(kill_commands(workshop, 3, seed=0, names=("train", "pack", "evaluate")))


def test_damaged_images(tmp_path: Path) -> None:
    assert not faults(damage_images(tmp_path, 60, seed=0))


def test_damaged_label_files(tmp_path: Path) -> None:
    assert not faults(damage_labels(tmp_path, 10, seed=0, names=FORMATS))


def test_damaged_run_files(workshop: Workshop, tmp_path: Path) -> None:
    assert not faults(damage_runs(tmp_path, workshop.run, 12, seed=0))


def test_full_disks(workshop: Workshop) -> None:
    assert not faults(fill_disks(workshop, 3, seed=1, names=("pack", "evaluate")))


def test_two_at_once(workshop: Workshop) -> None:
    assert not faults(run_together(workshop, 1, seed=0, names=("pack",)))


def test_many_classes() -> None:
    assert not faults(predict_many_classes(1, numbers=(150,)))


# --- each part finds a planted fault


@contextmanager
def _write_in_place(out: Path) -> Iterator[Path]:
    """Replace `atomic_write` by a function that writes to the final path, in two steps."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(b"{")
    yield out


def test_half_written_files_are_found(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.command("evaluate")
    monkeypatch.setattr("pixelwise.evaluation.write.atomic_write", _write_in_place)
    # With this seed, the signal comes at the third event: the second step.
    (result,) = kill_commands(workshop, 1, seed=9, names=("evaluate",))
    assert result.verdict is Verdict.HALF_WRITTEN and result.detail.startswith("try 0, TERM")


def test_temporary_files_that_stay_are_found(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.command("pack")
    monkeypatch.setattr(atomic, "remove_abandoned", lambda folder: None)
    verdicts = {each.verdict for each in kill_commands(workshop, 4, seed=0, names=("pack",))}
    assert Verdict.LEFT_BEHIND in verdicts


def test_tracebacks_of_a_full_disk_are_found(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.command("evaluate")
    monkeypatch.setattr("pixelwise.runtime.files.is_disk_full", lambda error, path: 1 / 0)
    assert Verdict.TRACE in {each.verdict for each in fill_disks(workshop, 3, seed=0, names=("evaluate",))}


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ValueError("no name"), Verdict.TRACE),
        (MemoryError(), Verdict.MEMORY),
        (DataError("something is wrong"), Verdict.UNCLEAR),
    ],
)
def test_unclear_ends_of_damaged_files_are_found(
    error: Exception, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(label_files, "_read_leniently", fail)
    assert {each.verdict for each in damage_labels(tmp_path, 2, seed=0, names=FORMATS[:1])} == {verdict}


def test_cut_images_that_are_read_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.data.io.image.is_cut", lambda content, image: False)
    monkeypatch.setattr(image_files, "DAMAGES", {"cut, with end mark": image_files.cut_with_end_mark})
    good = {"444.jpg": image_files.good_files()["444.jpg"]}
    monkeypatch.setattr(image_files, "good_files", lambda: good)
    assert Verdict.PARTLY in {each.verdict for each in damage_images(tmp_path, 10, seed=0)}


def _crash() -> tuple[Verdict, str]:
    os.kill(os.getpid(), signal.SIGKILL)
    return _read()


def _hang() -> tuple[Verdict, str]:
    while True:
        pass


def _allocate() -> tuple[Verdict, str]:
    return Verdict.READ, str(len(bytes(1 << 30)))


def _read() -> tuple[Verdict, str]:
    return Verdict.READ, ""


def test_a_thread_can_let_its_process_be_killed_soon() -> None:
    pid = os.fork()
    if pid == 0:
        thread = threading.Thread(target=kill_soon, args=(0.01,))
        thread.start()
        thread.join()
        time.sleep(10)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGALRM


def test_crashes_and_hangs_have_the_name_of_their_check() -> None:
    checks: list[Callable[[], tuple[Verdict, str]]] = [_read, _crash, _read, _hang, _allocate, _read, _crash]
    verdicts = [verdict for _, verdict, _ in check_in_forks(checks, batch=5, seconds=0.2, memory=1 << 28)]
    crash, hang, memory, read = Verdict.CRASH, Verdict.HANG, Verdict.MEMORY, Verdict.READ
    assert verdicts == [read, crash, read, hang, memory, read, crash]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{"),
        ("a.csv", b"a,b\n1\n"),
        ("a.yaml", b""),
        ("a.png", b"\x89PNG"),
        ("a.tar", b"x"),
        ("a.html", b"<"),
    ],
)
def test_incomplete_files(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / ".pixelwise-0").mkdir()
    (tmp_path / ".pixelwise-0" / "b.json").write_bytes(b"{")
    assert [text.partition(":")[0] for text in half_written(tmp_path)] == [name]


def test_differences() -> None:
    assert difference({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": ""}) == "missing: c; changed: b"


@pytest.mark.parametrize("text", ["a.png: two\nlines", "b.png: another file", "a.png: \x1b[2J"])
def test_unclear_messages(text: str) -> None:
    class RawError(DataError):
        def __str__(self) -> str:
            return text

    assert judge_error(RawError(), "a.png")[0] is Verdict.UNCLEAR
    assert judge_error(DataError("a.png: cut"), "a.png")[0] is Verdict.REFUSED


def test_damage_changes_the_content() -> None:
    rng, content = random.Random(0), bytes(range(1, 251))
    for damage in BYTES.values():
        assert any(damage(rng, content) != content for _ in range(3))
    assert len({damage_structure(rng, b'{"a": [1, 2], "b": {"c": 3}}', ".json") for _ in range(30)}) > 10
