"""Both sides take turns, with a stand-in for TensorFlow and its tutorial."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KERAS = """
import numpy

class Model:
    def train_on_batch(self, batch):
        return {}

    def predict_on_batch(self, images):
        return numpy.zeros((len(images), 3))
"""

TUTORIAL = """
import json, sys, time
from pathlib import Path
import keras

data, weights, steps, out = sys.argv[1:]
model, V, batches = keras.Model(), list(range(10)), iter(range(10**6))
for step in range(int(steps)):
    next(batches)
    time.sleep(0.001)
    model.train_on_batch(step)
points = [{"step": step, "train_s": step * 2.0, "miou": step / 1e6, "accuracy": 0.5} for step in (25, 50)]
Path(out).write_text(json.dumps({"load_s": 7.0, "curve": points}))
"""


def rounds(turns: Any, **arguments: Any) -> None:
    """Stand in for pixelwise's side: 40 images/s in all rounds."""
    turns.wait()
    for _ in range(6):
        turns.wait(images_per_second=40.0)


@pytest.mark.slow
def test_the_peer_takes_turns_and_its_curve_is_the_target(
    script: Callable[[str], Any], pets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras.py").write_text(KERAS)
    (tmp_path / "tutorial.py").write_text(TUTORIAL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(script("_tutorial_ours").JOBS, "rounds", rounds)
    inputs = {"--data": pets_folder, "--weights": tmp_path / "keras.py", "--out": tmp_path / "out.json"}
    peer = {"--peer-script": tmp_path / "tutorial.py", "--peer-python": sys.executable}
    words = [str(word) for option in (inputs | peer).items() for word in option]
    script("against_tutorial").main(["--quick", *words, "--only", "throughput", "until"])

    content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    rates = content["throughput"]["images_per_second"]
    assert {name: len(sides["theirs"]) for name, sides in rates.items()} == dict.fromkeys(rates, 2)
    assert all(0 < rate < 12 / 0.001 for rate in rates["training"]["theirs"])  # 12 images in a step of a millisecond
    assert rates["prediction"]["ours"] == [40.0, 40.0]
    assert content["until"]["target"] == 25 / 1e6  # of the first 25 steps
    rows = content["table"][1:]
    assert [row[0].endswith("divided by TensorFlow") for row in rows] == [True] * 3 + [False] * 3
    assert all("× (50 s over " in row[1] and "; with reading the images " in row[1] for row in rows[3:])


def test_ratio_is_computed_for_each_pair_of_turns(script: Callable[[str], Any]) -> None:
    rates = {"theirs": [10.0, 20.0, 40.0], "ours": [30.0, 50.0, 80.0]}
    finding = script("against_tutorial").ratio_finding("images/s", rates)
    assert finding.measured == "2.50× (2.00–3.00; 50 over 20)"


def test_weights_are_needed_with_a_peer(
    script: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        script("against_tutorial").main(
            ["--quick", "--data", str(tmp_path), "--out", str(tmp_path / "o"), "--peer-script", str(tmp_path)]
        )
    assert "--weights is required" in capsys.readouterr().err
