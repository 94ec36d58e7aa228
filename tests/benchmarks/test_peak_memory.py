"""The peak memory of a process and of its children."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

CODE = """
import subprocess, sys, time
child = "data = bytearray(200 * 2**20); import time; time.sleep(0.3)"
subprocess.run([sys.executable, "-S", "-c", child], check=True)
sys.exit(7)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_children_count(script: Callable[[str], Any]) -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", CODE], start_new_session=True)
    peak, code = script("_peak_memory").peak_memory(process)
    assert code == 7 and peak > 200 * 2**20
