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

PROGRAM = """
import contextlib, io, json, logging, os, random, sys, warnings
from pathlib import Path
import numpy as np
import torch
# Their effects on the process are not ours: levels of their own loggers, warning filters, and rich's random numbers.
import lightning_fabric
import rich.console
import scipy.sparse
import scipy.special
import torch.utils.tensorboard
import torchvision
import timm.models

def process_state():
    loggers = {
        name: (logger.level, len(logger.handlers)) for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and (name in known_loggers or name == "pixelwise")
    }
    return {
        "filters": [str(item) for item in warnings.filters],
        "threads": torch.get_num_threads(),
        "interop": torch.get_num_interop_threads(),
        "root logger": (logging.root.level, len(logging.root.handlers)),
        "loggers": {"pixelwise": (0, 0)} | loggers,
        "random": [torch.get_rng_state().sum().item(), hash(random.getstate()), int(np.random.get_state()[1].sum())],
        "grad": torch.is_grad_enabled(),
        "environment": dict(os.environ),
    }

def changes(before):
    after = process_state()
    return sorted(name for name in before if before[name] != after[name])

known_loggers = set(logging.root.manager.loggerDict) | {"PIL", "timm", "timm.models._builder"}
start = process_state()
import pixelwise as pw
for name in dir(pw):
    getattr(pw, name)
results = {"import": changes(start)}

import pixelwise.runtime
from pixelwise.data.demo.synthetic import draw_dataset
data = pw.load_dataset(draw_dataset(Path(sys.argv[1]) / "oxford-iiit-pet", train=8, test=4, size=(48, 40)))
before, policy = process_state(), pw.runtime.process.thread_policy()
written = io.StringIO()
with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
    run = pw.train(
        data, sys.argv[1] + "/run", encoder="test_efficientnet", encoder_weights="none", image_size=32, epochs=1,
        batch_size=4, device="cpu",
    )
    pw.evaluate(run, data, device="cpu")
    pw.Predictor.load(run.path, "cpu")(data.test[0].image)
results["use"] = changes(before)
results["policy"] = pw.runtime.process.thread_policy() != policy
results["written"] = written.getvalue()
print(json.dumps(results))
"""


@pytest.mark.integration
@pytest.mark.slow
def test_importing_and_training_change_nothing_in_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"import": [], "use": [], "policy": False, "written": ""}
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
        # In a process of its own: the setting cannot be undone. 64 GiB are more than it uses.
        code = (
            "import psutil, resource, sys; from pixelwise.runtime import configure\n"
            "limit = (64 << 30, resource.getrlimit(resource.RLIMIT_AS)[1])\n"
            "if sys.argv[1] == 'limited': resource.setrlimit(resource.RLIMIT_AS, limit)\n"
            "configure(None, sys.argv[1] != 'return')\n"
            "block = bytearray(200 << 20); block[::4096] = b'x' * len(block[::4096]); del block\n"
            "print(psutil.Process().memory_info().rss >> 20)"
        )
        resident = {
            choice: int(subprocess.run([sys.executable, "-c", code, choice], capture_output=True, check=True).stdout)
            for choice in ("keep", "return", "limited")
        }
        assert resident["keep"] > 200 > max(resident["return"], resident["limited"])

    @pytest.mark.skipif(sys.platform == "win32", reason="Pillow's package for Windows has no separate libtiff")
    def test_libtiff_writes_no_lines_about_damaged_files(self) -> None:
        # In a process of its own: the setting cannot be undone.
        code = (
            "import io\n"
            "from PIL import Image\n"
            "from pixelwise.runtime.process import silence_libtiff\n"
            "file = io.BytesIO()\n"
            "Image.linear_gradient('L').save(file, 'TIFF', compression='tiff_lzw')\n"
            "content = bytearray(file.getvalue())\n"
            "content[200:-300:37] = bytes(len(content[200:-300:37]))\n"
            "def decode():\n"
            "    try:\n"
            "        Image.open(io.BytesIO(content)).load()\n"
            "    except OSError:\n"
            "        print('error')\n"
            "decode(); silence_libtiff(); decode()\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "error\nerror\n" and done.stderr.count("\n") == 1, done.stderr
