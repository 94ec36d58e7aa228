"""Measure training on a device as a fraction of the device's limits of arithmetic and of memory bandwidth.

The limits are measured: a product of large bfloat16 matrices (float32 on a CPU), and the copy of a large tensor. The
arithmetic of a training step is counted by torch's FlopCounterMode. Its memory traffic is the size of the inputs and
outputs of all operations, as if no two operations shared a cache. The images per second are those of the tutorial
preset, with the images in the cache. The script prints a table, and writes a JSON file with the operations that take
most of the device's time.
"""

import csv
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from _common import describe, existing, finish, make_parser, parse, say

_UNCOUNTED = ("aten::view", "aten::_unsafe_view", "aten::t", "aten::transpose", "aten::permute", "aten::expand",
              "aten::detach", "aten::alias", "aten::as_strided", "aten::slice", "aten::select", "aten::unsqueeze",
              "aten::squeeze")  # fmt: skip
"""Operations that return a view of their input and move no data."""


def seconds_per_call(function: Callable[[], object], device: Any, calls: int) -> float:
    """Return the median duration of a call in seconds, after three calls that are not counted.

    Args:
        function: the function to call.
        device: the torch device that computes it.
        calls: number of calls that are counted.
    """
    import torch

    def synchronize() -> None:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    for _ in range(3):
        function()
    durations = []
    for _ in range(calls):
        synchronize()
        started = time.perf_counter()
        function()
        synchronize()
        durations.append(time.perf_counter() - started)
    return median(durations)


def measure_limits(device: Any, quick: bool) -> dict[str, float]:
    """Return the FLOP/s of a matrix product and the bytes/s of a copy, read and written.

    Args:
        device: the torch device.
        quick: True for small tensors.
    """
    import torch

    is_gpu = device.type == "cuda"
    side = 64 if quick else 8192 if is_gpu else 1024
    count = 1 << 16 if quick else 1 << 30 if is_gpu else 1 << 26
    left = torch.randn(side, side, device=device, dtype=torch.bfloat16 if is_gpu else torch.float32)
    product = seconds_per_call(lambda: left @ left, device, 10)
    source = torch.ones(count, device=device, dtype=torch.uint8)
    copy = seconds_per_call(source.clone, device, 10)
    return {"flops_per_second": 2 * side**3 / product, "bytes_per_second": 2 * count / copy}


def make_step(device: Any, batch_size: int, image_size: int, graphs: bool) -> Callable[[], None]:
    """Return a training step of the tutorial preset, on a batch that is on the device already.

    Args:
        device: the torch device.
        batch_size: images per step.
        image_size: side of the images in pixels.
        graphs: True to capture the step as a CUDA graph in its third call, as in a training.
    """
    import torch

    import pixelwise as pw
    from pixelwise.training.step_graphs import StepGraphs

    config = pw.Config.from_preset("tutorial", encoder_weights="none", encoder_training="none", image_size=image_size)
    model = config.create_model(("pet", "background", "border")).to(device).train()
    captured = StepGraphs(list(model.parameters())) if graphs else None
    optimizer = torch.optim.AdamW(model.decoder.parameters(), lr=1e-3, fused=True)
    images = torch.randint(0, 256, (batch_size, 3, image_size, image_size), dtype=torch.uint8, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    masks = torch.randint(0, 3, (batch_size, image_size, image_size), device=device)

    def add_gradients(images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), masks)
        loss.backward()
        return loss.detach()

    def step() -> None:
        add_gradients(images, masks) if captured is None else captured.run(add_gradients, images, masks)
        optimizer.step()
        optimizer.zero_grad()

    return step


def count_work(step: Callable[[], None]) -> dict[str, float]:
    """Return the FLOPs and the bytes read and written of a step."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import FlopCounterMode

    class Traffic(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            if function._schema.name not in _UNCOUNTED:
                tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
                self.total += sum(tensor.nbytes for tensor in tensors)
            return result

    step()
    with FlopCounterMode(display=False) as flops:
        step()
    with Traffic() as traffic:
        step()
    return {"flops": float(flops.get_total_flops()), "bytes": float(traffic.total)}


def profile(step: Callable[[], None], device: Any) -> list[dict[str, Any]]:
    """Return the ten operations that take most of the device's time, with their fraction of it.

    Args:
        step: the training step. It is called three times.
        device: the torch device.
    """
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with record(activities=kinds) as recorded:
        for _ in range(3):
            step()
    name = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    # The rows of kernels have the time of the operations that started them once more.
    rows = [row for row in recorded.key_averages() if row.key.startswith("aten::")]
    rows.sort(key=lambda row: getattr(row, name), reverse=True)
    total = sum(getattr(row, name) for row in rows) or 1
    return [{"operation": row.key[:80], "fraction": round(getattr(row, name) / total, 3)} for row in rows[:10]]


def train(data: Path, device: Any, epochs: int, settings: dict[str, Any]) -> float:
    """Return the images per second of the preset's training: the median of the epochs after the first.

    Args:
        data: directory of the data set.
        device: the torch device.
        epochs: number of epochs, at least 2.
        settings: settings that differ from those of the preset.
    """
    import pixelwise as pw

    with tempfile.TemporaryDirectory() as folder:
        run = pw.train(
            pw.load_dataset(data), Path(folder) / "run", preset="tutorial", encoder_weights="none",
            encoder_training="none", epochs=epochs, device=str(device), defaults=False, **settings,
        )  # fmt: skip
        with (run.path / "metrics.csv").open(encoding="utf-8") as file:
            rates = [float(row["images_per_second"]) for row in csv.DictReader(file)]
    return median(rates[1:])


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help="Oxford-IIIT Pet")
    parser.add_argument("--device", default="auto", help="device: auto, cpu, cuda")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of the training")
    arguments = parse(parser, argv)
    import torch

    from pixelwise.runtime.device import resolve_device

    device = resolve_device("cpu" if arguments.quick else arguments.device)
    content = describe(arguments, ("torch", "timm"))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    batch_size, image_size = (2, 32) if arguments.quick else (64, 128)
    say(f"limits of the device ({name})")
    limits = measure_limits(device, arguments.quick)
    step = make_step(device, batch_size, image_size, graphs=False)
    work = count_work(step)
    say("training steps")
    timed = make_step(device, batch_size, image_size, graphs=device.type == "cuda")
    seconds = seconds_per_call(timed, device, 3 if arguments.quick else 50)
    say("training")
    small = {"image_size": image_size, "batch_size": batch_size} if arguments.quick else {}
    trained = train(arguments.data, device, 2 if arguments.quick else arguments.epochs, small)

    by_arithmetic = batch_size * limits["flops_per_second"] / work["flops"]
    by_bandwidth = batch_size * limits["bytes_per_second"] / work["bytes"]
    limit, rates = min(by_arithmetic, by_bandwidth), {"step": batch_size / seconds, "training": trained}
    rows = [
        ("what", "images/s", "of the limit"),
        ("limit by arithmetic", f"{by_arithmetic:,.0f}", "–"),
        ("limit by memory bandwidth", f"{by_bandwidth:,.0f}", "–"),
        ("training step, images on the device", f"{rates['step']:,.0f}", f"{rates['step'] / limit:.1%}"),
        ("whole training, images from the cache", f"{trained:,.0f}", f"{trained / limit:.1%}"),
    ]
    note = f"Device: {name}, {limits['flops_per_second'] / 1e12:.2f} TFLOP/s and "
    note += f"{limits['bytes_per_second'] / 1e9:.0f} GB/s."
    finish(
        arguments.out,
        content
        | {"device": name, "limits": limits, "work": work, "images_per_second": rates, "table": rows, "note": note}
        | {"profile": profile(step, device)},
    )


if __name__ == "__main__":
    main()
