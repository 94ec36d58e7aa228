"""Progress bars of a terminal."""

import pytest

from pixelwise.runtime.progress import ProgressBars


def test_the_bar_of_a_loop_that_ends_with_an_error_is_removed() -> None:
    bars = ProgressBars(shown=False)
    track = bars.track("images")
    for _ in range(2):
        steps = iter(track(range(3), 3))
        next(steps)
        assert len(bars.progress.tasks) == 1, "only that of this loop"
        del steps
    assert not bars.progress.tasks


def test_a_bar_counts_the_items_that_are_done() -> None:
    bars = ProgressBars(shown=False)
    done = [bars.progress.tasks[0].completed for _ in bars.track("images")(range(3), 3)]
    assert done == [0, 1, 2] and not bars.progress.tasks


@pytest.mark.parametrize("shown", [True, False])
def test_lines_are_on_stderr(shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBars(shown=shown) as bars:
        bars.print("[a line]")
    assert capsys.readouterr() == ("", "[a line]\n" * shown)
