"""Measure the peak memory of a process and its children.

usage: _peak_memory.py COMMAND...

As a program, it prints the peak memory of a command in bytes and its duration in seconds. The kernel counts the memory
of a process that starts a command as that of the command, so a large process measures a command with this program.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def peak_memory(process: subprocess.Popen) -> tuple[int, int]:
    """Wait for a process, and return the peak memory of it and its children in bytes, and its exit code.

    The sum over processes is sampled ten times per second. The peak of the largest process is exact, from the kernel.

    Args:
        process: the leader of a session (`start_new_session=True`).
    """
    peak = 0
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                unit = 1 if sys.platform == "darwin" else 1024
                process.returncode = os.waitstatus_to_exitcode(status)
                return max(peak, usage.ru_maxrss * unit), process.returncode
            peak = max(peak, session_memory(process.pid))
            time.sleep(0.1)
    finally:
        if process.returncode is None:  # Ctrl-C does not reach another session
            os.killpg(process.pid, signal.SIGKILL)


def session_memory(session: int) -> int:
    """Return the resident bytes of all processes of a session, or 0 if the system has no /proc."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):  # the process has ended
            continue
    return total


if __name__ == "__main__":
    started = time.perf_counter()
    peak, code = peak_memory(subprocess.Popen(sys.argv[1:], stdout=sys.stderr, start_new_session=True))
    print(json.dumps({"seconds": time.perf_counter() - started, "peak": peak}))
    sys.exit(code)
