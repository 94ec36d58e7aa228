"""The commands that are disturbed, with their results when nothing disturbs them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.demo.synthetic import draw_dataset
from tests.chaos.events import EventCounter, watch_events
from tests.chaos.forks import Command, Outcome
from tests.chaos.outputs import difference, half_written, result_of
from tests.chaos.verdicts import Verdict

TRAIN_FLAGS = [
    *("--preset", "default", "--encoder", "test_efficientnet", "--encoder-weights", "none", "--size", "32"),
    *("--epochs", "3", "--batch-size", "4", "--sample-predictions", "2", "--device", "cpu"),
]
"""Flags of a training of about a second."""

TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Disturbed:
    """A command that is disturbed and then repeated.

    Attributes:
        name: name of the command.
        tokens: output path → arguments.
        again: output path → arguments of the command that repeats or continues it.
        result: what `result_of` returns for the output of a command that was not disturbed.
        seconds: its duration.
        events: number of its file-system events.
        creations: number of those events that need space.
    """

    name: str
    tokens: Callable[[Path], list[str]]
    again: Callable[[Path], list[str]]
    result: dict[str, str]
    seconds: float
    events: int
    creations: int


class Workshop:
    """A folder with a drawn data set, images, a finished run and the commands.

    Args:
        root: an empty folder.
        images: number of images to predict.
    """

    def __init__(self, root: Path, images: int = 12) -> None:
        self.root = root
        self.data = draw_dataset(root / "pets", train=12, test=4, size=(64, 48))
        self.run = root / "train-undisturbed" / "out"
        self.images = root / "images"
        self.images.mkdir()
        random = np.random.default_rng(0)
        for index in range(images):
            pixels = random.integers(0, 256, (40, 50 + index, 3), np.uint8)
            Image.fromarray(pixels).save(self.images / f"image {index}.png")
        train = ["train", str(self.data), *TRAIN_FLAGS, "--out"]
        predict = ["predict", str(self.run), str(self.images), "--device", "cpu", "--out"]
        self._tokens: dict[str, tuple[list[str], list[str]]] = {
            "train": (train, ["--resume"]),
            "inspect": (["inspect", str(self.data), "--out"], []),
            "predict": (predict, ["--resume"] if _has_resume() else []),
            "pack": (["pack", str(self.data)], []),
            "evaluate": (["evaluate", str(self.run), str(self.data), "--device", "cpu", "--out"], []),
        }
        self._commands: dict[str, Disturbed] = {}
        self.command("train")  # the others need its run

    def start(self, tokens: list[str], place: Path, before: Callable[[], object] | None = None) -> Command:
        """Start a command whose image cache is in a folder."""
        env = {"PIXELWISE_CACHE": str(place / "cache"), "CUDA_VISIBLE_DEVICES": ""}
        return Command(tokens, env, before)

    def command(self, name: str) -> Disturbed:
        """Return a command. It is run once without a disturbance, when it is first needed."""
        if name not in self._commands:
            self._commands[name] = self._measure(name)
        return self._commands[name]

    def _measure(self, name: str) -> Disturbed:
        before, after = self._tokens[name]
        target = "result.json" if name == "evaluate" else ""
        arguments = partial(_arguments, before, target)
        place = self.root / f"{name}-undisturbed"
        place.mkdir()
        events, creations = EventCounter(), EventCounter()

        def count() -> None:
            watch_events(place, lambda *_: events.next())
            watch_events(place, lambda *_: creations.next(), creates_only=True)

        outcome = self.start(arguments(place / "out"), place, count).wait()
        if outcome.code != 0:
            raise RuntimeError(outcome.text)
        return Disturbed(
            name, arguments, lambda out: arguments(out) + after, result_of(place / "out"), outcome.seconds,
            events.count, creations.count,
        )  # fmt: skip

    def judge(self, command: Disturbed, place: Path) -> tuple[Verdict, str]:
        """Check the files that a disturbed command left, repeat it, and compare the results."""
        out = place / "out"
        faults = half_written(out)
        if faults:
            return Verdict.HALF_WRITTEN, "; ".join(faults)
        outcome = self.start(command.again(out), place).wait()
        if outcome.code != 0:
            if not difference(result_of(out), command.result):
                return Verdict.EQUAL, "all outputs were there before the kill"
            return judge_code(outcome) or (Verdict.REFUSED_AGAIN, outcome.last_line.replace(str(out), "OUT"))
        return self.compare(command, place)

    def compare(self, command: Disturbed, place: Path) -> tuple[Verdict, str]:
        """Compare the result of a command that succeeded with that of an undisturbed one."""
        left = [path.name for path in place.iterdir() if path.name not in ("out", "cache")]
        left += [str(path.relative_to(place)) for path in place.rglob(".pixelwise-*")]
        if left:
            return Verdict.LEFT_BEHIND, ", ".join(left)
        text = difference(result_of(place / "out"), command.result)
        return (Verdict.DIFFERS, text) if text else (Verdict.EQUAL, "")


def judge_code(outcome: Outcome) -> tuple[Verdict, str] | None:
    """Return the verdict on a command that ended in another way than with 0 or one line; None if it did not."""
    if outcome.code == -19 or TRACEBACK in outcome.text or outcome.code < 0:
        verdict = Verdict.HANG if outcome.code == -19 else Verdict.TRACE if outcome.code >= 0 else Verdict.CRASH
        return verdict, f"exit code {outcome.code}: {outcome.text[-600:]}"
    if outcome.code not in (0, 2):
        return Verdict.EXIT_CODE, f"exit code {outcome.code}: {outcome.text[-600:]}"
    return None


def _arguments(before: list[str], target: str, out: Path) -> list[str]:
    return [*before, str(out / target)]


def _has_resume() -> bool:
    """Return True if `pixelwise predict` continues a stopped prediction."""
    from inspect import signature

    from pixelwise.cli.predict import predict_command

    return "resume" in signature(predict_command).parameters
