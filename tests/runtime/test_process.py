"""`configure` changes the process, and nothing else does."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from pixelwise.runtime import configure, process

TRAIN = """
import contextlib, io, json, logging, os, random, sys, warnings
from pathlib import Path
import numpy as np
import torch
import pixelwise as pw
# On import, lightning_fabric sets the level of its own logger; scipy and a part of tensorboard add warning filters.
import lightning_fabric
import scipy.special
import torch.utils.tensorboard
import timm.models

def process_state():
    loggers = {name: logging.getLogger(name) for name in ("", "pixelwise", "PIL", "timm", "timm.models._builder")}
    return {
        "filters": [str(item) for item in warnings.filters],
        "threads": torch.get_num_threads(),
        "interop": torch.get_num_interop_threads(),
        "levels": {name: (log.level, len(log.handlers)) for name, log in loggers.items()},
        "fabric": logging.getLogger("lightning_fabric").level,
        "random": [torch.get_rng_state().sum().item(), hash(random.getstate()), int(np.random.get_state()[1].sum())],
        "grad": torch.is_grad_enabled(),
        "threads policy": pw.runtime.process.thread_policy(),
        "environment": dict(os.environ),
    }

import pixelwise.runtime
from pixelwise.data.demo.synthetic import draw_dataset
data = pw.load_dataset(draw_dataset(Path(sys.argv[1]) / "oxford-iiit-pet", train=8, test=4, size=(48, 40)))
before = process_state()
written = io.StringIO()
with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
    run = pw.train(
        data, sys.argv[1] + "/run", encoder="test_efficientnet", encoder_weights="none", image_size=32, epochs=1,
        batch_size=4, device="cpu",
    )
    pw.evaluate(run, data, device="cpu")
    pw.Predictor.load(run.path, "cpu")(data.test[0].image)
after = process_state()
names = sorted(name for name in before if before[name] != after[name])
print(json.dumps({"changed": names, "written": written.getvalue()}))
"""


@pytest.mark.integration
@pytest.mark.slow
def test_training_changes_nothing_in_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"changed": [], "written": ""}
    assert done.stderr == ""


def test_importing_configure_does_not_import_torch() -> None:
    code = "import sys; from pixelwise.runtime import configure; configure(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


class TestConfigure:
    @pytest.fixture(autouse=True)
    def restored(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(process, "_thread_policy", None)
        level = logging.getLogger("pixelwise").level
        with warnings.catch_warnings():
            yield
        logging.getLogger("pixelwise").setLevel(level)

    def test_everything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[str] = []
        monkeypatch.setattr(process, "disable_malloc_trim", lambda: calls.append("malloc"))
        warnings.simplefilter("error")
        configure(log_level="ERROR")
        assert calls == ["malloc"] and process.thread_policy() == "idle"
        assert logging.getLogger("pixelwise").level == logging.ERROR
        warnings.warn_explicit("odd chunk", UserWarning, "Image.py", 1, module="PIL.Image")
        with pytest.raises(UserWarning):
            warnings.warn_explicit("other", UserWarning, "other.py", 1, module="other")

    def test_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "disable_malloc_trim", lambda: pytest.fail("called"))
        before = list(warnings.filters), logging.getLogger("pixelwise").level
        configure(threads=None, keep_freed_memory=False, quiet_warnings=False, log_level=None)
        assert (list(warnings.filters), logging.getLogger("pixelwise").level) == before
        assert process.thread_policy() is None

    def test_malloc_keeps_large_blocks(self) -> None:
        if sys.platform != "linux":
            pytest.skip("glibc is on Linux only")
        # In a process of its own: the setting cannot be undone.
        code = (
            "import psutil, sys; from pixelwise.runtime import configure\n"
            "configure(None, sys.argv[1] == 'keep')\n"
            "block = bytearray(200 << 20); block[::4096] = b'x' * len(block[::4096]); del block\n"
            "print(psutil.Process().memory_info().rss >> 20)"
        )
        resident = {
            choice: int(subprocess.run([sys.executable, "-c", code, choice], capture_output=True, check=True).stdout)
            for choice in ("keep", "return")
        }
        assert resident["keep"] > 200 > resident["return"]
