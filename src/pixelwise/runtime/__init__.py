"""The process and the machine: devices, threads, worker processes, files and progress.

The library changes nothing in the process that imports it. `configure` makes the process-wide settings that suit a
program whose only job is pixelwise. The command line calls it.
"""

from pixelwise.runtime.process import configure

__all__ = ["configure"]
