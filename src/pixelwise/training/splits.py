"""The training and validation images of a training, and the classes it has."""

from collections.abc import Sequence
from dataclasses import replace

from pixelwise.config import Config
from pixelwise.data.analysis.groups import assign_groups
from pixelwise.data.index import DatasetIndex
from pixelwise.data.schema import Record
from pixelwise.data.splits import train_val_split
from pixelwise.errors import DataError
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.training.start_from import match_classes


def prepare_splits(data: DatasetIndex, config: Config, progress: Progress = no_progress) -> DatasetIndex:
    """Return a data set with the classes and the splits of a training.

    The classes are those of `match_classes`. The train and val splits are those of `make_train_val_split`, after groups
    have been searched for. A result of this function is returned with the same splits.

    Args:
        data: the data set.
        config: the settings.
        progress: see `Progress`. It counts the images that are searched for groups.

    Raises:
        PixelwiseError: See `match_classes` and `make_train_val_split`.
    """
    data = match_classes(data, config)
    if data.lacks_val and config.val_from == "train":
        data = assign_groups(data, progress)
    return with_split(data, *make_train_val_split(data, config))


def with_split(data: DatasetIndex, train: Sequence[Record], val: Sequence[Record]) -> DatasetIndex:
    """Return a data set with other training and validation records. The test split is kept without these records.

    Args:
        data: the data set.
        train: the training records.
        val: the validation records.
    """
    used = {id(record) for record in (*train, *val)}
    test = tuple(record for record in data.test if id(record) not in used)
    return replace(data, train=tuple(train), val=tuple(val), test=test)


def make_train_val_split(data: DatasetIndex, config: Config) -> tuple[list[Record], list[Record]]:
    """Return the records to train on and those to validate on.

    A val split of the data set is used unchanged. Without a val split, the fraction `config.val_fraction` of the split
    `config.val_from` is used for validation. With the value "train", the test split is not used. The value "test" is
    that of TensorFlow's tutorial. Data sets that were joined are split one by one.

    Args:
        data: the data set. Its groups should be assigned (see `assign_groups`).
        config: the settings.

    Returns:
        The training records and the validation records.

    Raises:
        DataError: There are no training images, or too few images for a validation split.
    """
    data.records("train" if config.val_from == "train" or not data.lacks_val else "test")  # raises if there are none
    train_records: list[Record] = []
    val_records: list[Record] = []
    for train, val, test in data.records_by_set("train", "val", "test"):
        if val or not train:
            kept, held_out = list(train), list(val)
        elif config.val_from == "test":
            kept, held_out = list(train), train_val_split(test, config.val_fraction, config.seed)[1]
        else:
            kept, held_out = train_val_split(train, config.val_fraction, config.seed)
        train_records += kept
        val_records += held_out
    if not val_records:
        raise DataError(
            f"{data.root}: the {config.val_from} split has too few images for a validation split; add images"
        )
    return train_records, val_records
