"""Measure training on a device as a fraction of the device's limits of arithmetic and of memory bandwidth.

The limits are measured: a product of large bfloat16 matrices (float32 on a CPU), and the copy of a large tensor. The
arithmetic of a training step is counted by torch's FlopCounterMode. Its memory traffic is the size of the inputs and
outputs of all operations, as if no two operations shared a cache.

The tutorial preset trains the decoder only, so a training keeps the features of its images and does not run the encoder
again. The script measures the work and the limit of both: of the whole step, as the tutorial computes it, and of a step
that gathers the features and runs the decoder. The images per second of the whole training are those of the tutorial
preset after its first epoch, in which the features are computed.

The script prints a table, and writes a JSON file with the operations that take most of the device's time.
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

_GATHER = "aten::index_select"
"""The operation that reads rows of a table: as many bytes as it writes."""


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


def make_step(
    device: Any, batch_size: int, image_size: int, graphs: bool, features: bool = False
) -> Callable[[], None]:
    """Return a training step of the tutorial preset, on a batch that is on the device already.

    Args:
        device: the torch device.
        batch_size: images per step.
        image_size: side of the images in pixels.
        graphs: True to capture the step as a CUDA graph in its third call, as in a training.
        features: True to gather the features of the images from a table instead of computing them.
    """
    import torch

    import pixelwise as pw
    from pixelwise.models.feature_table import FeatureTable
    from pixelwise.training.step_graphs import StepGraphs

    config = pw.Config.from_preset("tutorial", encoder_weights="none", encoder_training="none", image_size=image_size)
    model = config.create_model(("pet", "background", "border")).to(device).train()
    captured = StepGraphs(list(model.parameters())) if graphs else None
    optimizer = torch.optim.AdamW(model.decoder.parameters(), lr=1e-3, fused=True)
    images = torch.randint(0, 256, (batch_size, 3, image_size, image_size), dtype=torch.uint8, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    masks = torch.randint(0, 3, (batch_size, image_size, image_size), device=device)

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")

    table, batch = None, images
    if features:
        with autocast():
            table = FeatureTable.build(model.encode, images.permute(0, 2, 3, 1), batch_size, limit=1 << 40)
        batch = torch.randperm(batch_size, device=device)

    def add_gradients(batch: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        with autocast():
            logits = model(batch) if table is None else model.decoder(table(batch), table.size)
        loss = torch.nn.functional.cross_entropy(logits.float(), masks)
        loss.backward()
        return loss.detach()

    def step() -> None:
        add_gradients(batch, masks) if captured is None else captured.run(add_gradients, batch, masks)
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
            if function._schema.name == _GATHER:
                self.total += 2 * result.nbytes
            elif function._schema.name not in _UNCOUNTED:
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


def make_rows(bounds: dict[str, dict[str, float]], rates: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """Return the table.

    Args:
        bounds: the images per second that the arithmetic and the bandwidth allow, for a whole "step", and for one that
            gathers "features".
        rates: the measured images per second of both steps, and of the whole "training".
    """
    whole, without_encoder = (min(bounds[kind].values()) for kind in ("step", "features"))

    def row(what: str, rate: float, gathers: bool) -> tuple[str, str, str, str]:
        return what, f"{rate:,.0f}", f"{rate / whole:.1%}", f"{rate / without_encoder:.1%}" if gathers else "–"

    bandwidth = {kind: f"{bound['bandwidth']:,.0f}" for kind, bound in bounds.items()}
    return [
        ("what", "images/s", "of the limit", "of the limit without the encoder"),
        ("limit by arithmetic", f"{bounds['step']['arithmetic']:,.0f}", "–", "–"),
        ("limit by memory bandwidth", bandwidth["step"], "–", "–"),
        ("the same without the encoder (features on the device)", bandwidth["features"], "–", "–"),
        row("training step, images on the device", rates["step"], False),
        row("training step, features on the device", rates["features"], True),
        row("whole training, features on the device", rates["training"], True),
    ]


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
    works = {
        "step": count_work(step),
        "features": count_work(make_step(device, batch_size, image_size, graphs=False, features=True)),
    }
    say("training steps")
    rates = {}
    for kind in works:
        timed = make_step(device, batch_size, image_size, device.type == "cuda", kind == "features")
        rates[kind] = batch_size / seconds_per_call(timed, device, 3 if arguments.quick else 50)
    say("training")
    small = {"image_size": image_size, "batch_size": batch_size} if arguments.quick else {}
    rates["training"] = train(arguments.data, device, 2 if arguments.quick else arguments.epochs, small)

    # Images per second if all FLOPs, or all bytes, were computed or moved at the limit of the device.
    bounds = {
        kind: {
            "arithmetic": batch_size * limits["flops_per_second"] / work["flops"],
            "bandwidth": batch_size * limits["bytes_per_second"] / work["bytes"],
        }
        for kind, work in works.items()
    }
    rows = make_rows(bounds, rates)
    note = f"Device: {name}, {limits['flops_per_second'] / 1e12:.2f} TFLOP/s and "
    note += f"{limits['bytes_per_second'] / 1e9:.0f} GB/s."
    finish(
        arguments.out,
        content
        | {"device": name, "limits": limits, "work": works, "images_per_second": rates, "table": rows, "note": note}
        | {"profile": profile(step, device)},
    )


if __name__ == "__main__":
    main()
