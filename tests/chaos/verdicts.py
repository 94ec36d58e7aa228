"""Verdicts of tries, and their table."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from pixelwise.errors import PixelwiseError, printable


class Verdict(Enum):
    """What happened in a try: a text for the table, and whether it is a fault of pixelwise."""

    # after a kill, a full disk, or beside another process
    EQUAL = "same result", False
    ENDED = "ended before the kill", False
    FULL = "ended with a warning", False
    HALF_WRITTEN = "HALF-WRITTEN FILE", True
    LEFT_BEHIND = "TEMPORARY FILE LEFT", True
    REFUSED_AGAIN = "CANNOT BE REPEATED", True
    DIFFERS = "OTHER RESULT", True
    EXIT_CODE = "WRONG EXIT CODE", True
    # a damaged file
    READ = "read, equal", False
    CHANGED = "read, other content", False
    WARNED = "read with a message", False
    REFUSED = "error of one line", False
    PARTLY = "CUT FILE READ", True
    UNCLEAR = "UNCLEAR MESSAGE", True
    LOST = "SPLIT LOST WITHOUT A WORD", True
    UNUSABLE = "CLASS NAME THAT NO MODEL CAN HAVE", True
    # both
    TRACE = "TRACEBACK", True
    CRASH = "CRASH", True
    HANG = "HANG", True
    MEMORY = "TOO MUCH MEMORY", True

    @property
    def text(self) -> str:
        """The name in the table. Faults are in capitals."""
        return self.value[0]

    @property
    def is_fault(self) -> bool:
        """True if pixelwise must never do this."""
        return self.value[1]


@dataclass(frozen=True)
class Try:
    """One try.

    Attributes:
        part: "kills", "images", …: a part of the stress test.
        kind: the group of tries that are counted together, such as "train, KILL".
        verdict: what happened.
        detail: how to repeat it, and the message.
    """

    part: str
    kind: str
    verdict: Verdict
    detail: str = ""


@dataclass
class Tally:
    """Counts of verdicts by part and kind, and the faults.

    Attributes:
        counts: (part, kind) → verdict → number of tries.
        faults: the tries that are faults of pixelwise.
    """

    counts: dict[tuple[str, str], Counter[Verdict]] = field(default_factory=lambda: defaultdict(Counter))
    faults: list[Try] = field(default_factory=list)

    def add(self, tries: Iterable[Try]) -> "Tally":
        """Count tries as they are made."""
        for each in tries:
            self.counts[each.part, each.kind][each.verdict] += 1
            if each.verdict.is_fault:
                self.faults.append(each)
        return self

    def part(self, name: str) -> Counter[Verdict]:
        """Return the counts of one part."""
        return sum((counts for (part, _), counts in self.counts.items() if part == name), Counter())

    def table(self) -> str:
        """Return the table in Markdown: one row per kind, the sum of each part, and its faults."""
        lines = ["| part | kind | tries | verdicts | faults |", "| --- | --- | --- | --- | --- |"]
        for part in dict.fromkeys(part for part, _ in self.counts):
            rows = [(kind, counts) for (name, kind), counts in sorted(self.counts.items()) if name == part]
            rows += [("all", self.part(part))] if len(rows) > 1 else []
            for kind, counts in rows:
                texts = ", ".join(f"{number:,} {verdict.text}" for verdict, number in counts.most_common())
                faults = sum(number for verdict, number in counts.items() if verdict.is_fault)
                lines.append(f"| {part} | {kind} | {counts.total():,} | {texts} | {faults} |")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write counts and faults as JSON."""
        counts = [
            {"part": part, "kind": kind} | {verdict.name.lower(): number for verdict, number in counter.items()}
            for (part, kind), counter in sorted(self.counts.items())
        ]
        faults = [each.__dict__ | {"verdict": each.verdict.name.lower()} for each in self.faults]
        path.write_text(json.dumps({"counts": counts, "faults": faults}, indent=2) + "\n", encoding="utf-8")


def judge_error(error: PixelwiseError, *names: str) -> tuple[Verdict, str]:
    """Return the verdict on an error that a damaged file caused, and its text.

    Args:
        error: the error.
        names: texts of which one must be in the message, such as the name of the file.
    """
    text = str(error)
    is_clear = "\n" not in text and text == printable(text) and any(printable(name) in text for name in names)
    return (Verdict.REFUSED if is_clear else Verdict.UNCLEAR), text
