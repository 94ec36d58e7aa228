"""The package on Windows, simulated: without the modules, functions and signals that Windows lacks."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import write_leaves

_CODE = """
import importlib, os, shutil, signal, sys, types
# Other packages choose their code for this system when they are imported.
for name in (
    "filelock", "fsspec", "jinja2", "lightning_fabric", "matplotlib.pyplot", "platformdirs", "psutil", "pydantic",
    "rich", "safetensors.torch", "scipy.ndimage", "timm", "torch.utils.data", "torchvision.transforms.v2", "yaml",
):
    importlib.import_module(name)
for name in ("fcntl", "resource", "grp", "pwd", "termios"):
    sys.modules[name] = None
for name in (
    "fork", "geteuid", "getuid", "getloadavg", "killpg", "mkfifo", "posix_fallocate", "sched_getaffinity", "setsid",
):
    vars(os).pop(name, None)
for name in ("SIGHUP", "SIGKILL", "SIGALRM", "SIGUSR1"):
    vars(signal).pop(name, None)
os.O_BINARY = os.O_TEMPORARY = 0
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda descriptor, mode, count: None)
# `shutil.which` of Python 3.12 and later calls it on Windows.
shutil._winapi = types.SimpleNamespace(NeedCurrentDirectoryForExePath=lambda command: True)
sys.platform = "win32"

import pixelwise as pw

settings = dict(encoder="test_efficientnet", encoder_weights="none", image_size=32, device="cpu")
report = pw.inspect("leaves")
assert all(issue.severity != "error" for issue in report.issues), report.issues
run = pw.train(report.data, "run", epochs=1, **settings)
run = pw.train(report.data, "run", epochs=2, resume=True)
assert len(run.read_metrics()) == 2
result = pw.predict_folder(pw.Predictor.load("run"), ["leaves/images"], "masks")
assert (result.image_count, result.failed) == (10, ())
pw.pack(report.data, "shards")
assert pw.evaluate(run, report.data, split="train").metrics.image_count == 10
"""


@pytest.mark.integration
@pytest.mark.slow
def test_all_steps_work_as_on_windows(tmp_path: Path) -> None:
    write_leaves(tmp_path / "leaves")
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
