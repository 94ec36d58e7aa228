"""Split records into training and validation records at random, once or for cross-validation."""

from collections.abc import Sequence

import numpy as np

from pixelwise.data.schema import Record
from pixelwise.errors import DataError


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
    choose = _choose_groups if _is_grouped(records) else _choose_by_stratum
    return _divide(records, choose(records, fraction, rng))


def k_fold_split(records: Sequence[Record], folds: int, seed: int) -> list[tuple[list[Record], list[Record]]]:
    """Split records into folds for cross-validation, so that each record is held out once. Groups stay together.

    If more than half of the records have a group, and there are several groups, each group goes to the fold with the
    fewest records, the largest groups first. Strata are then not balanced. Otherwise the records of each stratum are
    dealt to the folds in turn. A group then counts as one record of the stratum of its first record.

    Args:
        records: the records.
        folds: number of folds, 2 or more.
        seed: random seed. The same records, folds and seed give the same split.

    Returns:
        The training records and the held-out records of each fold, each in the order of `records`.

    Raises:
        DataError: There are fewer records, or groups of records, than folds.

    >>> from pathlib import Path
    >>> folds = k_fold_split([Record(Path(f"{i}.jpg"), None) for i in range(10)], 4, seed=0)
    >>> [len(held_out) for _, held_out in folds]
    [3, 3, 2, 2]
    """
    rng = np.random.default_rng(seed)
    units = _units(records)
    if len(units) < folds:
        kind = "images" if len(units) == len(records) else "groups of images that stay together"
        raise DataError(f"{folds} folds need at least {folds} {kind}, and there are {len(units)}; use fewer folds")
    order = rng.permutation(len(units)).tolist()
    held_out: list[set[int]] = [set() for _ in range(folds)]
    if _is_grouped(records):
        for unit in sorted((units[position] for position in order), key=len, reverse=True):
            min(held_out, key=len).update(unit)
    else:
        strata = {record.stratum for record in records}
        if len(strata) < len(units):  # otherwise each stratum has a single record
            order.sort(key=lambda position: str(records[units[position][0]].stratum))
        for turn, position in enumerate(order):
            held_out[turn % folds].update(units[position])
    return [_divide(records, indices) for indices in held_out]


def nested_subsets(records: Sequence[Record], fractions: Sequence[float], seed: int) -> list[list[Record]]:
    """Choose subsets of records at random. Each subset contains all smaller ones. Groups stay together.

    Args:
        records: the records.
        fractions: fraction of the records in each subset, in (0, 1].
        seed: random seed. The same records and seed give the same order of groups.

    Returns:
        The subset of each fraction, in the order of `records`. A subset is as close to its fraction as the groups
        allow, and has at least one record.

    >>> from pathlib import Path
    >>> records = [Record(Path(f"{i}.jpg"), None) for i in range(8)]
    >>> quarter, half = nested_subsets(records, (0.25, 0.5), seed=0)
    >>> len(quarter), len(half), set(quarter) <= set(half)
    (2, 4, True)
    """
    units = _units(records)
    order = np.random.default_rng(seed).permutation(len(units)).tolist()
    ends = np.cumsum([len(units[position]) for position in order])
    subsets = []
    for fraction in fractions:
        count = 1 + int(np.abs(ends - fraction * len(records)).argmin())
        chosen = {index for position in order[:count] for index in units[position]}
        subsets.append(_divide(records, chosen)[1])
    return subsets


def _is_grouped(records: Sequence[Record]) -> bool:
    """Return True if more than half of the records have a group, and there are several groups."""
    groups = [record.group for record in records if record.group is not None]
    return len(groups) > len(records) / 2 and len(set(groups)) > 1


def _units(records: Sequence[Record]) -> list[list[int]]:
    """Return the indices of the records of each group. A record without a group forms its own group."""
    units: dict[tuple[str | None, int], list[int]] = {}
    for index, record in enumerate(records):
        units.setdefault((record.group, -1 if record.group is not None else index), []).append(index)
    return list(units.values())


def _divide(records: Sequence[Record], held_out: set[int]) -> tuple[list[Record], list[Record]]:
    """Return the records to keep and those with the indices to hold out."""
    return (
        [record for index, record in enumerate(records) if index not in held_out],
        [record for index, record in enumerate(records) if index in held_out],
    )


def _choose_by_stratum(records: Sequence[Record], fraction: float, rng: np.random.Generator) -> set[int]:
    """Return the indices to hold out: a fraction of each stratum. All records of a group are held out together."""
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
    members = sorted(_units(records), key=lambda unit: str((records[unit[0]].group, unit[0])))
    held_out: set[int] = set()
    target = fraction * len(records)
    for index in rng.permutation(len(members)).tolist():
        # Hold out a group if this brings the count closer to the target and leaves at least one record for training.
        count = len(held_out) + len(members[index])
        if abs(count - target) < abs(len(held_out) - target) and count < len(records):
            held_out.update(members[index])
    return held_out or set(sorted(members, key=len)[0])
