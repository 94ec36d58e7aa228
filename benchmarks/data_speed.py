"""How fast images come: pixelwise's prepared cache and its reading, beside torchvision's Oxford-IIIT Pet data set.

usage: python benchmarks/data_speed.py --data oxford-iiit-pet [--out data_speed.json] [--rounds 7] [--quick]

Both sides make batches of 16 images and masks of 128 px out of the same files, by turns; see README.md.
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

from common import Child, Finding, findings_table, machine, markdown_table, report, rest, say, use_cores, write_json

SIZE, BATCH = 128, 16
SPLITS = {"train": "trainval", "test": "test"}
"""pixelwise's name of a split → torchvision's. Both are read, one after the other, as one set of images."""

# --- the two sides, each in a process of its own


def timed(walk: Callable[[], Iterable[Any]]) -> tuple[float, int]:
    """Seconds of a walk over batches, and how many images came."""
    start = time.perf_counter()
    images = sum(len(images) for images, _ in walk())
    return time.perf_counter() - start, images


def torchvision_side(data: str, rounds: int, order: str) -> None:
    """torchvision's data set and DataLoader with two workers, which keep running between passes.

    `order` is "tensors": to tensors, then v2.Resize; or "pillow": v2.Resize on Pillow's images, then to tensors.
    """
    import torch
    from torch.utils.data import ConcatDataset, DataLoader
    from torchvision.datasets import OxfordIIITPet
    from torchvision.transforms import InterpolationMode, v2

    torch.set_num_threads(1)  # the workers' own setting; the two of them have the two cores

    def steps(mode: InterpolationMode) -> v2.Compose:
        both = [v2.PILToTensor(), v2.Resize((SIZE, SIZE), mode, antialias=True)]
        return v2.Compose(both if order == "tensors" else both[::-1])

    image, mask = steps(InterpolationMode.BILINEAR), steps(InterpolationMode.NEAREST)
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "oxford-iiit-pet").symlink_to(Path(data).resolve())
        parts = [OxfordIIITPet(root, split, "segmentation", None, image, mask) for split in SPLITS.values()]
        loader = DataLoader(ConcatDataset(parts), BATCH, shuffle=True, num_workers=2, persistent_workers=True)
        timed(lambda: loader)  # starts the workers, and the files are in memory then for both sides
        rest()
        for _ in range(rounds):
            seconds, images = timed(lambda: loader)
            rest(seconds=seconds, images=images)


def pixelwise_side(data: str, rounds: int, passes: int) -> None:
    """pixelwise: building the cache, a warm epoch of it, and a cold pass without it, all by two threads."""
    import torch
    from torch.utils.data import DataLoader

    import pixelwise as pw
    from pixelwise.data.augmentations import build_transform
    from pixelwise.data.cache.store import load_and_resize
    from pixelwise.data.samplers import EpochSampler
    from pixelwise.data.torch_dataset import collate
    from pixelwise.runtime.threads import batched, prefetch_map

    torch.set_num_threads(1)
    found = pw.load_dataset(data)
    records = [record for split in SPLITS for record in getattr(found, split)]

    def cold() -> Iterable[Any]:
        def prepare(record: pw.Record) -> tuple[torch.Tensor, torch.Tensor]:
            image, mask = load_and_resize(record, found.reading, SIZE)
            return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)

        return map(collate, batched(prefetch_map(prepare, records), BATCH))

    def streamed() -> Iterable[Any]:
        return stream_loader

    def build() -> pw.SegmentationDataset:
        return pw.SegmentationDataset(records, found.reading, SIZE, build_transform("none", SIZE))

    def shuffled(dataset: pw.SegmentationDataset, workers: int = 0) -> DataLoader:
        sampler = EpochSampler(len(dataset), BATCH, seed=0)
        return DataLoader(
            dataset, batch_sampler=sampler, num_workers=workers, persistent_workers=workers > 0, collate_fn=collate
        )

    with tempfile.TemporaryDirectory() as cache:
        os.environ["PIXELWISE_CACHE"] = cache
        stream_loader = shuffled(pw.SegmentationDataset(records, found.reading, SIZE, cache=False), workers=2)
        timed(cold)
        timed(streamed)
        timed(lambda: shuffled(build()))
        rest()
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
            rest(**figures)


# --- the comparison


def rates(rounds: list[dict[str, Any]], part: str) -> list[float]:
    """Images a second of each round."""
    return [each[part][1] / each[part][0] for each in rounds]


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest of ours over theirs, round by round."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(pairs), min(pairs), max(pairs)


def measure(data: str, rounds: int, passes: int) -> dict[str, Any]:
    """Let the three processes take turns: who begins changes each round."""
    this = Path(__file__)

    def side(name: str, *arguments: Any) -> Child:
        return Child(sys.executable, this, "--side", json.dumps([name, data, rounds, *arguments]))

    with side("torchvision", "tensors") as tensors, side("torchvision", "pillow") as pillow, \
        side("pixelwise", passes) as ours:  # fmt: skip
        sides = {"torchvision, tensors": tensors, "torchvision, Pillow": pillow, "pixelwise": ours}
        for name, child in sides.items():
            say(f"{name}: warming up")
            child.result()
        taken: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        loads = []
        orders = itertools.cycle([list(sides), list(sides)[::-1]])
        for number, order in zip(range(rounds), orders, strict=False):
            loads.append(round(os.getloadavg()[0], 2))
            for name in order:
                taken[name].append(sides[name].turn())
            say(f"round {number + 1} of {rounds}")
        for child in sides.values():
            child.process.stdin.write("\n")
            child.process.stdin.flush()
    return {"rounds": taken, "loads": loads}


def findings(figures: dict[str, Any]) -> tuple[list[Finding], dict[str, Any]]:
    """The rows of the table. torchvision is the quicker of its two orders, by median."""
    taken = figures["rounds"]
    both = {
        name: [each["images"] / each["seconds"] for each in taken[name]]
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
    wanted = {"cold": 2.0, "streamed": None, "build": None, "open": None, "warm": 20.0}
    said = {
        "cold": "cold pass: files to uint8 tensors, no cache, two threads",
        "streamed": "cold epoch: --no-cache through a DataLoader with two workers",
        "build": "building the cache: hashing, decoding, writing, syncing",
        "open": "opening the cache: hashing the files, checking every item",
        "warm": "warm epoch: shuffled batches from the cache, no workers",
    }
    for part, target in wanted.items():
        ours = rates(taken["pixelwise"], part)
        median, least, most = ratio(ours, theirs)
        summary["images_a_second"][part] = statistics.median(ours)
        summary["ratios"][part] = {"median": median, "least": least, "greatest": most}
        shown = f"{median:.1f}× ({least:.1f} to {most:.1f}); {statistics.median(ours):,.0f} images/s"
        meets = None if target is None else median >= target
        rows.append(Finding(said[part], "–" if target is None else f"≥ {target:g}×", shown, meets))
    return rows, summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="the folder of Oxford-IIIT Pet: images/ and annotations/")
    parser.add_argument("--out", type=Path, default=Path("data_speed.json"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--passes", type=int, default=20, help="warm epochs a round: one takes a hundredth of a second")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="only show that it runs")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        name, *rest_of = json.loads(arguments.side)
        {"torchvision": torchvision_side, "pixelwise": pixelwise_side}[name](*rest_of)
        report()
        return
    if arguments.data is None:
        parser.error("--data is needed")
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
