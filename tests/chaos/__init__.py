"""Stress tests: processes that are killed, damaged files, full disks, and several processes at once.

`make chaos` runs them with many tries. `test_chaos.py` runs each part with a few.
"""
