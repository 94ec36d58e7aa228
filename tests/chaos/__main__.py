"""Stress pixelwise: `python -m tests.chaos --kills 200 --files 10000`. The exit status is 1 if anything failed."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.preload import preload, use_one_thread

if TYPE_CHECKING:
    from tests.chaos.verdicts import Tally, Try

use_one_thread()

_SECONDS = 20.0
"""Interval between two lines about the progress."""


def main() -> int:
    """Run the parts, print the table, and return the exit status."""
    options = _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    preload()
    from tests.chaos import full_disk, image_files, kills, label_files, many_classes, run_files, together
    from tests.chaos.commands import Workshop
    from tests.chaos.verdicts import Tally

    with tempfile.TemporaryDirectory(prefix="pixelwise-chaos-") as temporary:
        root, seed = Path(temporary), options.seed

        @cache
        def workshop() -> Workshop:
            return Workshop(folder("workshop"))

        def folder(name: str) -> Path:
            path = root / name
            path.mkdir()
            return path

        parts: dict[str, Callable[[], Iterator[Try]]] = {
            "kills": lambda: kills.kill_commands(workshop(), options.kills, seed),
            "images": lambda: image_files.damage_images(folder("damaged"), options.files * 6 // 10, seed),
            "labels": lambda: label_files.damage_labels(folder("labels"), options.files * 3 // 10, seed),
            "runs": lambda: run_files.damage_runs(folder("runs"), workshop().run, options.files // 10, seed),
            "disk": lambda: full_disk.fill_disks(workshop(), max(1, options.kills // 4), seed),
            "together": lambda: together.run_together(workshop(), max(1, options.kills // 10), seed),
            "classes": lambda: many_classes.predict_many_classes(options.megapixels),
        }
        tally, start = Tally(), time.monotonic()
        try:
            for name in [options.only] if options.only else parts:
                tally.add(_shown(name, parts[name](), start))
        except KeyboardInterrupt:
            print("stopped; the table has the tries so far")
        _report(tally, options, time.monotonic() - start)
        return 1 if tally.faults else 0


def _report(tally: "Tally", options: argparse.Namespace, seconds: float) -> None:
    """Print the table and the faults, and write them to a file."""
    print(tally.table())
    for fault in tally.faults[: options.shown]:
        print(f"\n{fault.verdict.text} | {fault.part} | {fault.kind} | {fault.detail!a}")
    total = sum(counts.total() for counts in tally.counts.values())
    print(f"\n{total:,} tries, {len(tally.faults)} faults, {seconds:,.0f} s, seed {options.seed}")
    if options.out:
        tally.write(options.out)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="number of killed commands; other parts follow from it")
    parser.add_argument("--files", type=int, default=500, help="number of damaged files")
    parser.add_argument("--megapixels", type=float, default=12, help="size of the image for many classes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["kills", "images", "labels", "runs", "disk", "together", "classes"])
    parser.add_argument("--out", type=Path, help="JSON file of all counts and faults")
    parser.add_argument("--shown", type=int, default=30, help="number of faults to print")
    return parser.parse_args()


def _shown(name: str, tries: "Iterator[Try]", start: float) -> "Iterator[Try]":
    """Show faults at once, and progress, on stderr."""
    shown = time.monotonic()
    for number, each in enumerate(tries, start=1):
        yield each
        if each.verdict.is_fault:
            print(f"{each.verdict.text} | {each.kind} | {each.detail!a}", file=sys.stderr, flush=True)
        if time.monotonic() - shown > _SECONDS:
            shown = time.monotonic()
            print(f"{name}: {number:,} tries, {shown - start:,.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
