"""Two processes that write to one output at once."""

import random
import shutil
import time
from collections.abc import Iterator

from tests.chaos.commands import Workshop, judge_code
from tests.chaos.outputs import half_written
from tests.chaos.verdicts import Try, Verdict

PART = "two at once"

COMMANDS = ("train", "train", "pack", "inspect")

_MAX_DELAY = 0.5
"""Maximum seconds between the two starts, as a fraction of the duration."""


def run_together(workshop: Workshop, tries: int, seed: int, names: tuple[str, ...] = COMMANDS) -> Iterator[Try]:
    """Start a command twice with the same output. One must succeed; the other may too, or is refused in one line.

    Args:
        workshop: the commands.
        tries: number of pairs.
        seed: random seed.
        names: the commands, in turn.
    """
    rng = random.Random(seed)
    for index in range(tries):
        command = workshop.command(names[index % len(names)])
        place = workshop.root / f"pair-{index}"
        place.mkdir()
        delay = rng.choice((0.0, rng.uniform(0, _MAX_DELAY) * command.seconds))
        first = workshop.start(command.tokens(place / "out"), place)
        time.sleep(delay)
        second = workshop.start(command.tokens(place / "out"), place)
        outcomes = [first.wait(), second.wait()]
        codes = [outcome.code for outcome in outcomes]
        verdict, detail = next(filter(None, map(judge_code, outcomes)), (Verdict.EQUAL, ""))
        faults = half_written(place / "out")
        if verdict is Verdict.EQUAL:
            if faults:
                verdict, detail = Verdict.HALF_WRITTEN, "; ".join(faults)
            elif 0 not in codes:
                verdict, detail = Verdict.REFUSED_AGAIN, " | ".join(outcome.last_line for outcome in outcomes)
            else:
                verdict, detail = workshop.compare(command, place)
        yield Try(PART, command.name, verdict, f"try {index}, {delay:.2f} s apart, exit codes {codes}: {detail}")
        shutil.rmtree(place)
