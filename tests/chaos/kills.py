"""Kill commands at random times and at file-system events, then repeat them."""

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.chaos.commands import TRACEBACK, Disturbed, Workshop
from tests.chaos.events import watch_events
from tests.chaos.forks import KILLS, Outcome, kill_soon
from tests.chaos.verdicts import Try, Verdict

PART = "kills"

COMMANDS = ("train", "train", "train", "train", "inspect", "predict", "predict", "pack", "evaluate")
"""Commands in turn. `train` has the most states."""

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

_INTERRUPTED = 130

_MAX_DELAY = 0.004
"""Maximum seconds between an event and the kill. Writing a file takes about as long."""


def kill_commands(workshop: Workshop, tries: int, seed: int, names: tuple[str, ...] = COMMANDS) -> Iterator[Try]:
    """Kill commands and judge what they leave.

    Args:
        workshop: the commands.
        tries: number of kills.
        seed: random seed.
        names: the commands to kill, in turn.
    """
    rng = random.Random(seed)
    for index in range(tries):
        command, number = workshop.command(names[index % len(names)]), rng.choice(_SIGNALS)
        place = workshop.root / f"kill-{index}"
        place.mkdir()
        if rng.random() < 0.5:  # half of the trainings have the cache of an earlier one
            cache = workshop.root / f"{command.name}-undisturbed" / "cache"
            if cache.exists():
                shutil.copytree(cache, place / "cache")
        how, verdict, detail = _kill(workshop, command, place, number, rng)
        shutil.rmtree(place)
        name = signal.Signals(number).name.removeprefix("SIG")
        yield Try(PART, f"{command.name}, {name}", verdict, f"try {index}, {name} {how}: {detail}")


def _kill(
    workshop: Workshop, command: Disturbed, place: Path, number: signal.Signals, rng: random.Random
) -> tuple[str, Verdict, str]:
    before: Callable[[], object] | None = None
    stop = None
    if rng.random() < 0.5:
        event, delay = rng.randint(1, command.events), rng.choice((0.0, rng.uniform(0, _MAX_DELAY)))
        before = partial(watch_events, place, partial(_stop_at, event, number, delay))
        how = f"{delay * 1000:.1f} ms after event {event} of {command.events}"
    else:
        stop = rng.uniform(0.02, command.seconds), int(number)
        how = f"after {stop[0]:.2f} s of {command.seconds:.2f} s"
    outcome = workshop.start(command.tokens(place / "out"), place, before).wait(stop=stop)
    verdict = _judge_end(outcome, number)
    if outcome.code == 0:
        verdict = Verdict.ENDED, ""
    return how, *(verdict or workshop.judge(command, place))


def _stop_at(event: int, number: signal.Signals, delay: float, current: int, path: str) -> None:
    if current == event:
        if number == signal.SIGKILL and delay:
            kill_soon(delay)
        else:
            os.kill(os.getpid(), number)


def _judge_end(outcome: Outcome, number: signal.Signals) -> tuple[Verdict, str] | None:
    """Return the verdict on a command that did not end as the signal demands."""
    if outcome.code in (*KILLS, -number, 0):  # before and after the command, the signal has its usual effect
        return None
    if TRACEBACK in outcome.text:
        return Verdict.TRACE, outcome.text[-600:]
    if outcome.code != _INTERRUPTED or not outcome.last_line.startswith("pixelwise: stopped; "):
        return Verdict.EXIT_CODE, f"exit code {outcome.code}: {outcome.text[-300:]}"
    return None
