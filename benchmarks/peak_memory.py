"""The peak memory of a process and its children."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def peak_memory(process: subprocess.Popen) -> tuple[int, int]:
    """Wait for a process that leads a session: the most bytes it and its children held together, and its exit code.

    The kernel's own mark is exact for the largest process; the sum over processes is looked at ten times a second.
    """
    most = 0
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                unit = 1 if sys.platform == "darwin" else 1024
                process.returncode = os.waitstatus_to_exitcode(status)
                return max(most, usage.ru_maxrss * unit), process.returncode
            most = max(most, session_memory(process.pid))
            time.sleep(0.1)
    finally:
        if process.returncode is None:  # Ctrl-C does not reach a session of its own
            os.killpg(process.pid, signal.SIGKILL)


def session_memory(session: int) -> int:
    """Bytes resident in all processes of a session; 0 where the system does not say."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):  # it has ended meanwhile
            continue
    return total
