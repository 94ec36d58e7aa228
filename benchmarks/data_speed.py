"""Measure the speed of reading: pixelwise's image cache and its decoding, beside torchvision's Oxford-IIIT Pet.

usage: python benchmarks/data_speed.py --data oxford-iiit-pet --out data_speed.json [--rounds 9] [--quick]

Both sides make batches of 16 images and masks of 128 px from the same files, in turns; see README.md.
"""

import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from _common import (
    Finding,
    Turns,
    describe,
    existing,
    findings_table,
    finish,
    make_parser,
    parse,
    run_side,
    say,
    start,
)

SIZE, BATCH = 128, 16
SPLITS = {"train": "trainval", "test": "test"}
"""pixelwise's name of a split → torchvision's. Both splits are read one after the other."""

# --- the two sides, each in a process of its own


def timed(batches: Callable[[], Iterable[Any]]) -> tuple[float, int]:
    """Iterate over batches. Return the seconds and the number of images."""
    started = time.perf_counter()
    count = sum(len(images) for images, _ in batches())
    return time.perf_counter() - started, count


def torchvision_side(turns: Turns, data: str, rounds: int, workers: int, order: str) -> None:
    """Measure torchvision's data set and a DataLoader with persistent workers.

    Args:
        turns: receives the measurements.
        data: the directory of Oxford-IIIT Pet.
        rounds: the number of turns.
        workers: the number of worker processes.
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
        loader = DataLoader(
            ConcatDataset(parts), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
        )
        timed(lambda: loader)  # starts the workers and brings the files into memory for both sides
        turns.wait()
        for _ in range(rounds):
            seconds, images = timed(lambda: loader)
            turns.wait(seconds=seconds, images=images)


@contextmanager
def empty_cache() -> Iterator[Path]:
    """Use an empty image cache in the block."""
    before = os.environ.get("PIXELWISE_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PIXELWISE_CACHE"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["PIXELWISE_CACHE"]
            else:
                os.environ["PIXELWISE_CACHE"] = before


def pixelwise_side(turns: Turns, data: str, rounds: int, workers: int, passes: int) -> None:
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
    records = [record for split in SPLITS for record in index.records(split)]

    def cold() -> Iterable[Any]:
        def prepare(record: pw.Record) -> tuple[torch.Tensor, torch.Tensor]:
            image, mask = load_and_resize(record, index.read_spec, SIZE)
            return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)

        return map(collate, batched(prefetch_map(prepare, records), BATCH))

    def build() -> pw.SegmentationDataset:
        return pw.SegmentationDataset(records, index.read_spec, SIZE, build_transform("none", SIZE))

    def shuffled(dataset: pw.SegmentationDataset, workers: int = 0) -> DataLoader:
        sampler = EpochSampler(len(dataset), BATCH, seed=0)
        return DataLoader(
            dataset, batch_sampler=sampler, num_workers=workers, persistent_workers=workers > 0, collate_fn=collate
        )

    with empty_cache() as cache:
        streamed = shuffled(pw.SegmentationDataset(records, index.read_spec, SIZE, cache_images=False), workers)
        timed(cold)
        timed(lambda: streamed)
        timed(lambda: shuffled(build()))
        turns.wait()
        for _ in range(rounds):
            figures = {"cold": timed(cold), "streamed": timed(lambda: streamed)}
            shutil.rmtree(cache / "prepared")
            started = time.perf_counter()
            dataset = build()
            figures["build"] = time.perf_counter() - started, len(dataset)
            started = time.perf_counter()
            build()
            figures["open"] = time.perf_counter() - started, len(dataset)
            warm = partial(iter, shuffled(dataset))
            seconds, images = zip(*(timed(warm) for _ in range(passes)), strict=True)
            figures["warm"] = sum(seconds), sum(images)
            turns.wait(**figures)


JOBS = {"torchvision": torchvision_side, "pixelwise": pixelwise_side}

# --- the comparison

TORCHVISION = {"tensors": "tensors", "pillow": "Pillow images"}
"""An order of torchvision's side → what it resizes."""

PARTS = {
    "cold": "cold pass: files to uint8 tensors, no cache, two threads",
    "streamed": "cold epoch: `--no-cache` through a DataLoader with two workers",
    "build": "building the cache: hashing, decoding, writing, syncing",
    "open": "opening the cache: hashing the files, checking every item",
    "warm": "warm epoch: shuffled batches from the cache, no workers",
}
"""What pixelwise's side measures → the row's text."""


def measure(data: str, rounds: int, passes: int, quick: bool) -> dict[str, Any]:
    """Let the three sides take turns. The order is reversed in every other round."""
    options = {"data": data, "rounds": rounds, "workers": 0 if quick else 2}
    with start(__file__, "torchvision", quick, order="tensors", **options) as tensors, \
        start(__file__, "torchvision", quick, order="pillow", **options) as pillow, \
        start(__file__, "pixelwise", quick, passes=passes, **options) as ours:  # fmt: skip
        sides = {"tensors": tensors, "pillow": pillow, "pixelwise": ours}
        for name, side in sides.items():
            say(f"{name}: warming up")
            side.result()
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        loads = []
        for number in range(rounds):
            loads.append(round(os.getloadavg()[0], 2))
            for name in itertools.islice(itertools.cycle([*sides, *reversed(sides)]), 3 * number, 3 * number + 3):
                measured[name].append(sides[name].turn())
            say(f"round {number + 1} of {rounds}")
    return {"rounds": measured, "loads": loads}


def results(measured: dict[str, list[dict[str, Any]]]) -> tuple[list[Finding], str]:
    """Return the rows of the table and the sentence below it. torchvision is represented by its faster order."""
    rates = {name: [turn["images"] / turn["seconds"] for turn in measured[name]] for name in TORCHVISION}
    medians = {name: statistics.median(values) for name, values in rates.items()}
    theirs = rates[max(medians, key=medians.__getitem__)]
    rows = []
    for part, description in PARTS.items():
        ours = [turn[part][1] / turn[part][0] for turn in measured["pixelwise"]]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        median = statistics.median(ratios)
        digits = 0 if median >= 20 else 1
        low, middle, high = (f"{value:.{digits}f}" for value in (min(ratios), median, max(ratios)))
        text = f"{middle}× ({low} to {high}); {statistics.median(ours):,.0f} images/s"
        rows.append(Finding(description, text))
    speeds = " and ".join(f"{medians[name]:,.0f} images/s if it resizes {what}" for name, what in TORCHVISION.items())
    return rows, f"torchvision reads {speeds}. The ratios are relative to the faster variant."


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help="directory of Oxford-IIIT Pet")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--passes", type=int, default=20, help="epochs from the cache per round: one takes 0.01 s")
    arguments = parse(parser, argv)
    content = describe(arguments, ("torch", "torchvision", "pillow", "numpy", "pixelwise"))
    rounds, passes = (2, 1) if arguments.quick else (arguments.rounds, arguments.passes)
    figures = measure(str(arguments.data), rounds, passes, arguments.quick)
    rows, note = results(figures["rounds"])
    headings, *body = findings_table(rows)
    headings = [headings[0], "relative to torchvision; images/s of pixelwise"]
    finish(arguments.out, content | figures | {"table": [headings, *body], "note": note})


if __name__ == "__main__" and not run_side(JOBS):
    main()
