"""Commands on a disk that becomes full."""

import random
import resource
import shutil
from collections.abc import Callable, Iterator
from functools import partial

from tests.chaos.commands import Disturbed, Workshop, judge_code
from tests.chaos.events import fill_disk, watch_events
from tests.chaos.forks import Outcome
from tests.chaos.outputs import difference, half_written, result_of
from tests.chaos.verdicts import Try, Verdict

PART = "full disk"

COMMANDS = ("train", "train", "inspect", "predict", "pack", "evaluate")

_DRAWINGS = (".png", ".gif")
"""Suffixes of files without which a training succeeds, with a warning."""


def fill_disks(workshop: Workshop, tries: int, seed: int, names: tuple[str, ...] = COMMANDS) -> Iterator[Try]:
    """Run commands on a full disk, then repeat them with space.

    In half of the tries no file can grow beyond a size: the kernel then fails in the middle of a write, whoever writes.
    In the other half no file and no folder can be made after a number of them.

    Args:
        workshop: the commands.
        tries: number of full disks.
        seed: random seed.
        names: the commands, in turn.
    """
    rng = random.Random(seed)
    for index in range(tries):
        command = workshop.command(names[index % len(names)])
        place = workshop.root / f"full-{index}"
        place.mkdir()
        before: Callable[[], object]
        if rng.random() < 0.5:
            size = int(10 ** rng.uniform(1.5, 6.5))
            before = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
            kind = "size of a file"
            how = f"files of at most {size} bytes"
        else:
            first = rng.randint(1, command.creations)
            before = partial(watch_events, place, fill_disk(first), creates_only=True)
            kind, how = "new files", f"full before new file {first} of {command.creations}"
        outcome = workshop.start(command.tokens(place / "out"), place, before).wait()
        verdict, detail = _judge(workshop, command, place.name, outcome)
        yield Try(PART, f"{command.name}, {kind}", verdict, f"try {index}, {how}: {detail}")
        shutil.rmtree(place)


def _judge(workshop: Workshop, command: Disturbed, name: str, outcome: Outcome) -> tuple[Verdict, str]:
    place = workshop.root / name
    ended = judge_code(outcome)
    if ended is not None:
        return ended
    if outcome.code == 2:
        lines = [line for line in outcome.text.splitlines() if "pixelwise: error: " in line]
        if len(lines) != 1 or "space" not in lines[0] or str(place) not in lines[0]:
            return Verdict.UNCLEAR, outcome.text[-400:]
        return workshop.judge(command, place)
    faults = half_written(place / "out")
    if faults:
        return Verdict.HALF_WRITTEN, "; ".join(faults)
    result = result_of(place / "out")
    if not difference(result, command.result):
        return Verdict.EQUAL, ""
    needed = {file: text for file, text in command.result.items() if not file.endswith(_DRAWINGS)}
    text = difference({file: text for file, text in result.items() if not file.endswith(_DRAWINGS)}, needed)
    return (Verdict.DIFFERS, text) if text else (Verdict.FULL, "")
