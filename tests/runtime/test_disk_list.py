"""Tests of the sequences that read their elements when they are used."""

import pickle
from pathlib import Path

import pytest

from pixelwise.runtime.disk_list import DiskList, MappedSequence, SelectedSequence


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
def test_elements_are_those_of_a_list(count: int) -> None:
    expected = [(Path(f"{number}.jpg"), number) for number in range(count)]
    elements = DiskList(expected)

    assert list(elements) == expected and elements == expected and expected == elements
    assert len(elements) == count and bool(elements) == bool(count)
    assert elements[:70:3] == expected[:70:3]
    assert [elements[-1 - number] for number in range(count)] == expected[::-1]
    with pytest.raises(IndexError):
        elements[count]
    assert elements != [*expected, 1]


def test_elements_can_be_appended_between_reads() -> None:
    elements: DiskList[int] = DiskList()
    for number in range(300):
        elements.append(number)
        assert (elements[0], elements[number // 2], elements[number]) == (0, number // 2, number)


def test_selected_and_mapped_elements() -> None:
    elements = DiskList(range(200))

    selected = SelectedSequence(elements, (number for number in range(200) if number % 3 == 0))

    assert selected == list(range(0, 200, 3)) and list(selected.numbers) == list(selected)
    doubled = MappedSequence(lambda number: 2 * number, selected)
    assert doubled == list(range(0, 400, 6)) and doubled[-1] == 396
    assert pickle.loads(pickle.dumps(doubled)) == list(doubled)


def test_an_equal_element_is_needed_at_each_place() -> None:
    assert DiskList([1, 2]) != [1, 3] and DiskList("ab") != "ab"
