"""Data sets: formats, label maps, reading, caching, statistics, and batches for training."""
