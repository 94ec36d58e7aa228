"""Split records into training and validation records at random."""

from collections.abc import Sequence

import numpy as np

from pixelwise.data.schema import Record


def train_val_split(records: Sequence[Record], fraction: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Split records at random. Groups stay together.

    If more than half of the records have a group, and there are several groups, whole groups are held out. In random
    order, each group is held out if this brings the number of held-out records closer to the fraction. Strata are then
    not balanced.

    Otherwise the fraction of each stratum is held out. A group (copies of an image) belongs to the stratum of its first
    record, and counts as one record. Of every stratum with at least two such records, at least one is held out and one
    is kept. Strata are ignored if each has a single record.

    Args:
        records: the records.
        fraction: fraction of the records to hold out for validation, in (0, 1).
        seed: random seed. The same records, fraction and seed give the same split.

    Returns:
        The training records and the validation records, each in the order of `records`.

    >>> from pathlib import Path
    >>> train, val = train_val_split([Record(Path(f"{i}.jpg"), None, "a") for i in range(20)], 0.15, seed=0)
    >>> len(train), len(val)
    (17, 3)
    """
    rng = np.random.default_rng(seed)
    groups = [record.group for record in records if record.group is not None]
    is_grouped = len(groups) > len(records) / 2 and len(set(groups)) > 1
    held_out = _choose_groups(records, fraction, rng) if is_grouped else _choose_by_stratum(records, fraction, rng)
    return (
        [record for index, record in enumerate(records) if index not in held_out],
        [record for index, record in enumerate(records) if index in held_out],
    )


def _choose_by_stratum(records: Sequence[Record], fraction: float, rng: np.random.Generator) -> set[int]:
    """Return the indices to hold out: a fraction of each stratum, with all records of the same groups."""
    first_of_group: dict[str | None, int] = {}
    leaders = [
        index if record.group is None else first_of_group.setdefault(record.group, index)
        for index, record in enumerate(records)
    ]
    unique_leaders = sorted(set(leaders))
    strata: dict[str | None, list[int]] = {}
    for index in unique_leaders:
        strata.setdefault(records[index].stratum, []).append(index)
    if len(strata) == len(unique_leaders):  # each stratum has a single record
        strata = {None: unique_leaders}
    held_out: set[int] = set()
    for _, members in sorted(strata.items(), key=lambda item: str(item[0])):
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held_out.update(rng.permutation(members)[:count].tolist())
    return {index for index, leader in enumerate(leaders) if leader in held_out}


def _choose_groups(records: Sequence[Record], fraction: float, rng: np.random.Generator) -> set[int]:
    """Return the indices to hold out: all records of some groups. A record without a group forms its own group."""
    groups: dict[tuple[str | None, int], list[int]] = {}
    for index, record in enumerate(records):
        groups.setdefault((record.group, -1 if record.group is not None else index), []).append(index)
    members = [groups[key] for key in sorted(groups, key=str)]
    held_out: set[int] = set()
    target = fraction * len(records)
    for index in rng.permutation(len(members)).tolist():
        # Hold out a group if this brings the count closer to the target and leaves at least one record for training.
        count = len(held_out) + len(members[index])
        if abs(count - target) < abs(len(held_out) - target) and count < len(records):
            held_out.update(members[index])
    return held_out or set(sorted(members, key=len)[0])
