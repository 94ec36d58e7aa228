"""Measure the speed of reading: pixelwise's image cache and its decoding, beside torchvision's Oxford-IIIT Pet.

usage: python benchmarks/data_speed.py --data oxford-iiit-pet [--out data_speed.json] [--rounds 7] [--quick]

Both sides make batches of 16 images and masks of 128 px from the same files, in turns; see README.md.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from common import (
    Child,
    Finding,
    findings_table,
    machine,
    markdown_table,
    report,
    say,
    use_cores,
    wait_for_turn,
    write_json,
)

SIZE, BATCH = 128, 16
SPLITS = {"train": "trainval", "test": "test"}
"""pixelwise's name of a split → torchvision's. Both splits are read one after the other."""

# --- the two sides, each in a process of its own


def timed(batches: Callable[[], Iterable[Any]]) -> tuple[float, int]:
    """Iterate over batches. Return the seconds and the number of images."""
    start = time.perf_counter()
    count = sum(len(images) for images, _ in batches())
    return time.perf_counter() - start, count


def torchvision_side(data: str, rounds: int, order: str) -> None:
    """Measure torchvision's data set and a DataLoader with two persistent workers.

    Args:
        data: the directory of Oxford-IIIT Pet.
        rounds: the number of turns.
        order: "tensors" converts to tensors and then resizes; "pillow" resizes Pillow images and then converts.
    """
    import torch
    from torch.utils.data import ConcatDataset, DataLoader
    from torchvision.datasets import OxfordIIITPet
    from torchvision.transforms import InterpolationMode, v2

    torch.set_num_threads(1)  # as the workers do: the two of them have the two cores

    def steps(mode: InterpolationMode) -> v2.Compose:
        both = [v2.PILToTensor(), v2.Resize((SIZE, SIZE), mode, antialias=True)]
        return v2.Compose(both if order == "tensors" else both[::-1])

    image, mask = steps(InterpolationMode.BILINEAR), steps(InterpolationMode.NEAREST)
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "oxford-iiit-pet").symlink_to(Path(data).resolve())
        parts = [OxfordIIITPet(root, split, "segmentation", None, image, mask) for split in SPLITS.values()]
        loader = DataLoader(ConcatDataset(parts), BATCH, shuffle=True, num_workers=2, persistent_workers=True)
        timed(lambda: loader)  # starts the workers and brings the files into memory for both sides
        wait_for_turn()
        for _ in range(rounds):
            seconds, images = timed(lambda: loader)
            wait_for_turn(seconds=seconds, images=images)


def pixelwise_side(data: str, rounds: int, passes: int) -> None:
    """Measure pixelwise with two threads: building the cache, epochs from the cache, and a pass without it."""
    import torch
    from torch.utils.data import DataLoader

    import pixelwise as pw
    from pixelwise.data.augmentations import build_transform
    from pixelwise.data.cache.store import load_and_resize
    from pixelwise.data.samplers import EpochSampler
    from pixelwise.data.torch_dataset import collate
    from pixelwise.runtime.threads import batched, prefetch_map

    torch.set_num_threads(1)
    index = pw.load_dataset(data)
    records = [record for split in SPLITS for record in getattr(index, split)]

    def cold() -> Iterable[Any]:
        def prepare(record: pw.Record) -> tuple[torch.Tensor, torch.Tensor]:
            image, mask = load_and_resize(record, index.read_spec, SIZE)
            return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)

        return map(collate, batched(prefetch_map(prepare, records), BATCH))

    def streamed() -> Iterable[Any]:
        return stream_loader

    def build() -> pw.SegmentationDataset:
        return pw.SegmentationDataset(records, index.read_spec, SIZE, build_transform("none", SIZE))

    def shuffled(dataset: pw.SegmentationDataset, workers: int = 0) -> DataLoader:
        sampler = EpochSampler(len(dataset), BATCH, seed=0)
        return DataLoader(
            dataset, batch_sampler=sampler, num_workers=workers, persistent_workers=workers > 0, collate_fn=collate
        )

    with tempfile.TemporaryDirectory() as cache:
        os.environ["PIXELWISE_CACHE"] = cache
        stream_loader = shuffled(pw.SegmentationDataset(records, index.read_spec, SIZE, cache_images=False), workers=2)
        timed(cold)
        timed(streamed)
        timed(lambda: shuffled(build()))
        wait_for_turn()
        for _ in range(rounds):
            figures = {"cold": timed(cold), "streamed": timed(streamed)}
            shutil.rmtree(Path(cache) / "prepared")
            start = time.perf_counter()
            dataset = build()
            figures["build"] = time.perf_counter() - start, len(dataset)
            start = time.perf_counter()
            build()
            figures["open"] = time.perf_counter() - start, len(dataset)
            warm = partial(iter, shuffled(dataset))
            seconds, images = zip(*(timed(warm) for _ in range(passes)), strict=True)
            figures["warm"] = sum(seconds), sum(images)
            wait_for_turn(**figures)


# --- the comparison


def rates(rounds: list[dict[str, Any]], part: str) -> list[float]:
    """Return the images per second of each round."""
    return [figures[part][1] / figures[part][0] for figures in rounds]


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Return the median, minimum and maximum over rounds of our rate divided by theirs."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(pairs), min(pairs), max(pairs)


def measure(data: str, rounds: int, passes: int) -> dict[str, Any]:
    """Let the three processes take turns. The order is reversed in every other round."""
    script = Path(__file__)

    def side(name: str, *arguments: Any) -> Child:
        return Child(sys.executable, script, "--side", json.dumps([name, data, rounds, *arguments]))

    with side("torchvision", "tensors") as tensors, side("torchvision", "pillow") as pillow, \
        side("pixelwise", passes) as ours:  # fmt: skip
        sides = {"torchvision, tensors": tensors, "torchvision, Pillow": pillow, "pixelwise": ours}
        for name, child in sides.items():
            say(f"{name}: warming up")
            child.result()
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        loads = []
        orders = itertools.cycle([list(sides), list(sides)[::-1]])
        for number, order in zip(range(rounds), orders, strict=False):
            loads.append(round(os.getloadavg()[0], 2))
            for name in order:
                measured[name].append(sides[name].turn())
            say(f"round {number + 1} of {rounds}")
        for child in sides.values():
            child.process.stdin.write("\n")
            child.process.stdin.flush()
    return {"rounds": measured, "loads": loads}


def findings(figures: dict[str, Any]) -> tuple[list[Finding], dict[str, Any]]:
    """Return the rows of the table and a summary. torchvision is represented by its faster order."""
    measured = figures["rounds"]
    both = {
        name: [turn["images"] / turn["seconds"] for turn in measured[name]]
        for name in ("torchvision, tensors", "torchvision, Pillow")
    }
    best = max(both, key=lambda name: statistics.median(both[name]))
    theirs = both[best]
    summary: dict[str, Any] = {
        "peer": best,
        "images_a_second": {name: statistics.median(r) for name, r in both.items()},
        "ratios": {},
    }
    rows = []
    targets = {"cold": 2.0, "streamed": None, "build": None, "open": None, "warm": 20.0}
    descriptions = {
        "cold": "pass without cache: files to uint8 tensors, two threads",
        "streamed": "epoch without cache: a DataLoader with two workers",
        "build": "building the cache: hashing, decoding, writing, syncing",
        "open": "opening the cache: hashing the files, checking every item",
        "warm": "epoch from the cache: shuffled batches, no workers",
    }
    for part, target in targets.items():
        ours = rates(measured["pixelwise"], part)
        median, minimum, maximum = ratio(ours, theirs)
        summary["images_a_second"][part] = statistics.median(ours)
        summary["ratios"][part] = {"median": median, "least": minimum, "greatest": maximum}
        text = f"{median:.1f}× ({minimum:.1f} to {maximum:.1f}); {statistics.median(ours):,.0f} images/s"
        meets = None if target is None else median >= target
        rows.append(Finding(descriptions[part], "–" if target is None else f"≥ {target:g}×", text, meets))
    return rows, summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="directory of Oxford-IIIT Pet: images/ and annotations/")
    parser.add_argument("--out", type=Path, default=Path("data_speed.json"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--passes", type=int, default=20, help="epochs from the cache per round: one takes 0.01 s")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one round: check that the script runs")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        name, *side_arguments = json.loads(arguments.side)
        {"torchvision": torchvision_side, "pixelwise": pixelwise_side}[name](*side_arguments)
        report()
        return
    if arguments.data is None:
        parser.error("--data is required")
    use_cores(arguments.cores)
    about = machine(["torch", "torchvision", "pillow", "numpy", "pixelwise"])
    rounds, passes = (1, 1) if arguments.quick else (arguments.rounds, arguments.passes)
    figures = measure(arguments.data, rounds, passes)
    rows, summary = findings(figures)
    print(findings_table(rows))
    print()
    peers = [
        [name, f"{summary['images_a_second'][name]:,.0f}"] for name in summary["images_a_second"] if "vision" in name
    ]
    print(markdown_table(("torchvision, two workers", "images/s"), peers))
    write_json(arguments.out, {"machine": about, "size": SIZE, "batch": BATCH, **summary, **figures}, rows)


if __name__ == "__main__":
    main()
