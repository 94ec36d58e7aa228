"""The figures in the tables, computed from known measurements."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


def test_engine_overhead_is_the_difference_in_the_same_round(script: Callable[[str], Any]) -> None:
    measured = {"float32": {"plain": [100.0, 200.0, 150.0], "fabric": [110.0, 230.0, 170.0]}}
    assert script("engine_overhead").table(measured)[1:] == [
        ("float32", "plain torch", "150", "100 to 200", "–"),
        ("float32", "Lightning Fabric", "170", "110 to 230", "+20"),
    ]


@pytest.mark.parametrize(("device", "count"), [("cpu", 0), ("cuda", 4), ("mps", 4)])
def test_device_limits_waits_for_the_accelerator(
    device: str, count: int, script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[torch.device] = []
    monkeypatch.setattr("torch.accelerator.synchronize", waits.append)
    script("device_limits").seconds_per_call(lambda: None, torch.device(device), 2)
    assert waits == [torch.device(device)] * count


def test_interval_cover_states_the_resamples_and_restores_them(script: Callable[[str], Any], tmp_path: Path) -> None:
    from pixelwise.metrics import intervals

    out = tmp_path / "out.json"
    script("interval_cover").main(["--quick", "--images", "20", "--resamples", "50", "--out", str(out)])
    note = json.loads(out.read_text(encoding="utf-8"))["note"]
    assert note == "Intervals of 50 resamples; `pixelwise evaluate` draws 2,000."
    assert intervals.RESAMPLES == 2000


def test_data_speed_is_relative_to_the_faster_order_of_the_same_round(script: Callable[[str], Any]) -> None:
    parts = {"cold": [10, 1.0], "streamed": [1, 10], "build": [1, 10], "open": [1, 100], "warm": [1, 1000]}
    rounds = {
        "tensors": [{"seconds": 2.0, "images": 10}, {"seconds": 1.0, "images": 10}],  # 5 and 10 images/s
        "pillow": [{"seconds": 5.0, "images": 10}] * 2,
        "pixelwise": [parts | {"cold": [1.0, 15]}] * 2,  # 15 images/s: 3 and 1.5 times as many
    }
    findings, note = script("data_speed").results(rounds)
    assert findings[0].measured == "2.2× (1.5 to 3.0); 15 images/s"
    assert findings[-1].measured == "150× (100 to 200); 1,000 images/s"
    assert note.startswith("torchvision reads 8 images/s if it resizes tensors and 2 images/s if it resizes Pillow")


def test_joblib_maps_in_order(script: Callable[[str], Any]) -> None:
    pytest.importorskip("joblib")
    benchmark = script("process_pool")
    batches = [[1, 2], [3], [4, 5, 6]]
    assert list(benchmark.pool_map("joblib", sum, batches, workers=1)) == [3, 3, 15]  # one worker is this process


def test_process_pool_cells_are_medians(script: Callable[[str], Any]) -> None:
    cell = script("process_pool").cell
    assert [cell([1.0, 9.0, 2.0]), cell([1056, 5, 2000]), cell([True, True]), cell(["A", "B", "A"])] == [
        "2.0",
        "1,056",
        "yes",
        "A, B",
    ]
