"""TODO: module."""

from collections.abc import Sequence

import numpy as np

from pixelwise.data.schema import Record


def train_val_split(records: Sequence[Record], fraction: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Split records into (kept, held back), `fraction` of each stratum held back, the same for the same seed.

    Groups stay together. Where most records have one, whole groups are held back, as many as come nearest to the
    fraction, the strata left aside; else a group (copies of an image) goes where its first record goes. Every stratum
    keeps and gives at least one record where it has two; order is the records' own.

    >>> from pathlib import Path
    >>> kept, held = train_val_split([Record(Path(f"{i}.jpg"), None, "a") for i in range(20)], 0.15, seed=0)
    >>> len(kept), len(held)
    (17, 3)
    """
    rng = np.random.default_rng(seed)
    named = [record.group for record in records if record.group is not None]
    grouped = len(named) > len(records) / 2 and len(set(named)) > 1
    held = _whole_groups(records, fraction, rng) if grouped else _by_stratum(records, fraction, rng)
    return (
        [record for index, record in enumerate(records) if index not in held],
        [record for index, record in enumerate(records) if index in held],
    )


def _by_stratum(records: Sequence[Record], fraction: float, rng: np.random.Generator) -> set[int]:
    """The indices to hold back, a share of each stratum; members of a group go where its first one goes."""
    first: dict[str | None, int] = {}
    follows = [index if record.group is None else first.setdefault(record.group, index)
               for index, record in enumerate(records)]  # fmt: skip
    leading = sorted(set(follows))
    strata: dict[str | None, list[int]] = {}
    for index in leading:
        strata.setdefault(records[index].stratum, []).append(index)
    if len(strata) == len(leading):  # each image a stratum of its own says nothing
        strata = {None: leading}
    held: set[int] = set()
    for _, members in sorted(strata.items(), key=lambda item: str(item[0])):
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held.update(rng.permutation(members)[:count].tolist())
    return {index for index, leader in enumerate(follows) if leader in held}


def _whole_groups(records: Sequence[Record], fraction: float, rng: np.random.Generator) -> set[int]:
    """The indices to hold back: all members of some groups; a record without a group is a group of its own."""
    groups: dict[tuple[str | None, int], list[int]] = {}
    for index, record in enumerate(records):
        groups.setdefault((record.group, -1 if record.group is not None else index), []).append(index)
    members = [groups[key] for key in sorted(groups, key=str)]
    held: set[int] = set()
    wanted = fraction * len(records)
    for index in rng.permutation(len(members)).tolist():
        # Taken where that comes nearer to the share than leaving it; the first one always, the last one never.
        nearer = abs(len(held) + len(members[index]) - wanted) < abs(len(held) - wanted)
        if nearer and len(held) + len(members[index]) < len(records):
            held.update(members[index])
    return held or set(sorted(members, key=len)[0])
