"""Tests of the set of texts of which only hashes are in memory."""

from pixelwise.runtime.text_index import TextIndex


def test_texts_have_their_numbers() -> None:
    index = TextIndex()
    texts = [f"{number}.jpg" for number in range(1000)]

    assert [index.add(text) for text in texts] == list(range(1000))
    assert [index.add(text) for text in reversed(texts)] == list(reversed(range(1000)))

    assert len(index) == 1000
    assert [index.find(text) for text in texts] == list(range(1000))
    assert index.find("1000.jpg") is None and "1000.jpg" not in index and "7.jpg" in index


def test_any_text_can_be_added() -> None:
    index = TextIndex()
    texts = ["", "\udce9.jpg", "é.jpg", "狗", "\0"]

    assert [index.add(text) for text in texts] == [index.find(text) for text in texts] == [0, 1, 2, 3, 4]
