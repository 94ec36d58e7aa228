"""The splits of a training."""

from pathlib import Path
from typing import Any

import pytest

import pixelwise as pw
from pixelwise.errors import DataError
from pixelwise.training.splits import make_train_val_split


def make_records(count: int, split: str, strata: int = 4) -> tuple[pw.Record, ...]:
    return tuple(
        pw.Record(Path(f"{split}/{i}.jpg"), Path(f"{split}/{i}.png"), stratum=f"breed {i % strata}")
        for i in range(count)
    )


def make_data(pets: pw.DatasetIndex, **splits: Any) -> pw.DatasetIndex:
    return pw.DatasetIndex(Path("data"), "made", pets.classes, pets.palette, pets.read_spec, **splits)


class TestSplit:
    def test_15_percent_of_train_are_used_for_validation_evenly_over_strata(self, pets: pw.DatasetIndex) -> None:
        data = make_data(pets, train=make_records(400, "train"), test=make_records(100, "test"))
        train_records, val_records = make_train_val_split(data, pw.Config())
        assert (len(train_records), len(val_records)) == (340, 60)
        assert [sum(record.stratum == f"breed {i}" for record in val_records) for i in range(4)] == [15] * 4
        assert {*train_records, *val_records} == set(data.train) and not set(train_records) & set(val_records)

    def test_the_seed_decides(self, pets: pw.DatasetIndex) -> None:
        data = make_data(pets, train=make_records(400, "train"))
        splits = [make_train_val_split(data, pw.Config(seed=seed))[1] for seed in (0, 0, 1)]
        assert splits[0] == splits[1] != splits[2]

    def test_the_tutorial_validates_on_a_fifth_of_test(self, pets: pw.DatasetIndex) -> None:
        data = make_data(pets, train=make_records(40, "train"), test=make_records(200, "test"))
        train_records, val_records = make_train_val_split(data, pw.Config.from_preset("tutorial"))
        assert train_records == list(data.train)
        assert len(val_records) == 40 and set(val_records) < set(data.test)

    @pytest.mark.parametrize("preset", ["default", "tutorial"])
    def test_a_val_split_is_used_as_it_is(self, pets: pw.DatasetIndex, preset: str) -> None:
        data = make_data(
            pets, train=make_records(40, "train"), val=make_records(7, "val"), test=make_records(10, "test")
        )
        assert make_train_val_split(data, pw.Config.from_preset(preset)) == (list(data.train), list(data.val))

    @pytest.mark.parametrize("preset", ["default", "tutorial"])
    def test_too_few_images_for_validation(self, pets: pw.DatasetIndex, preset: str) -> None:
        data = make_data(pets, train=make_records(1, "train"), test=make_records(1, "test"))
        with pytest.raises(DataError, match=r"too few images for a validation split"):
            make_train_val_split(data, pw.Config.from_preset(preset))

    def test_no_training_images(self, pets: pw.DatasetIndex) -> None:
        with pytest.raises(DataError, match=r"no 'train' split"):
            make_train_val_split(make_data(pets, test=make_records(9, "test")), pw.Config())
