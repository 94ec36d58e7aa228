"""The words that name splits in tables and file names."""

from pixelwise.data.records import Split

SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
"""A word in lower case → the split that it means."""
