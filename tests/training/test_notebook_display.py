"""Tests of the live display: one output in a notebook, with progress, scores and the newest images; none elsewhere."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from PIL import Image

import pixelwise as pw
from pixelwise.palette import Color
from pixelwise.runs.metrics_file import Row
from pixelwise.runs.run_dir import Run
from pixelwise.training.callbacks import CALLBACKS, DEFAULT_CALLBACKS
from pixelwise.training.callbacks.notebook_display import NotebookDisplay
from tests.visualization.test_html import decode_images


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the contents of the display, as in a notebook. Time passes by 10 seconds each time it is read."""
    contents: list[str] = []
    clock = iter(range(0, 10_000, 10))
    module = "pixelwise.training.callbacks.notebook_display"
    monkeypatch.setattr(f"{module}.in_notebook", lambda: True)
    monkeypatch.setattr(f"{module}.LiveOutput", lambda: SimpleNamespace(show=contents.append))
    monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    monkeypatch.setattr(f"{module}.plot_history", draw)
    return contents


def draw(rows: list[Row], out: Path, colors: dict[str, Color]) -> None:
    """Draw an image whose gray value is the number of epochs, instead of the curves."""
    assert colors == {"pet": (1, 2, 3)}
    Image.new("RGB", (1300, 500), (len(rows),) * 3).save(out)


def make_state(folder: Path, epochs: int = 4, **fields: Any) -> pw.TrainState:
    """Return the state of a training of 20 images in batches of 5, before its first step."""
    run = Run(folder / "<run>", pw.Config(epochs=epochs, batch_size=5, **fields))
    run.start()
    data = SimpleNamespace(classes=("pet",), palette=((1, 2, 3),))
    state = pw.TrainState(run, cast(Any, data), cast(Any, None), ())
    state.datasets = cast(Any, [range(20), range(5)])
    state.started = 0.0
    return state


def end_epoch(display: NotebookDisplay, state: pw.TrainState, score: float) -> None:
    """Run the steps and the end of an epoch."""
    for _ in range(4):
        state.loss = torch.tensor(0.25)
        display.on_step_end(state)
    state.history.append({"epoch": state.epoch + 1, "val_miou": score})
    display.on_epoch_end(state)


def text(content: str) -> str:
    """Return the text of HTML without its elements."""
    return re.sub(r"<[^>]+>", "", content)


def fraction(content: str) -> float:
    """Return the value of the progress bar."""
    (value,) = re.findall(r'<progress value="([\d.]+)" max="1"', content)
    return float(value)


def test_progress_scores_and_remaining_time(shown: list[str], tmp_path: Path) -> None:
    display, state = NotebookDisplay(), make_state(tmp_path)
    display.on_train_start(state)
    assert text(shown[-1]) == "epoch 1 of 4" and fraction(shown[-1]) == 0
    state.loss = torch.tensor(0.5)
    display.on_step_end(state)
    assert text(shown[-1]).startswith("epoch 1 of 4 · loss 0.500 · ") and text(shown[-1]).endswith(" left")
    assert fraction(shown[-1]) == pytest.approx(1 / 16, abs=1e-3)
    state.history.clear()
    display._epoch_step = 0
    end_epoch(display, state, 0.7)
    assert "epoch 2 of 4 · loss 0.250 · 1 epoch, best validation mIoU 0.700 after epoch 1" in text(shown[-1])
    assert fraction(shown[-1]) == 0.25
    for score in (0.9, 0.8, 0.8):
        end_epoch(display, state, score)
    display.on_train_end(state)
    assert text(shown[-1]).startswith("4 epochs, best validation mIoU 0.900 after epoch 2 · ")
    assert "&lt;run&gt;" in shown[-1] and "<progress" not in shown[-1]


def test_the_newest_images_are_shown(shown: list[str], tmp_path: Path) -> None:
    display, state = NotebookDisplay(), make_state(tmp_path)
    Image.new("RGB", (900, 300), "black").save(state.run.sample_image(0))
    display.on_train_start(state)
    assert [image.size for image in decode_images(shown[-1])] == [(900, 300)]
    Image.new("RGB", (900, 600), "white").save(state.run.sample_image(1))
    end_epoch(display, state, 0.5)
    assert [image.size for image in decode_images(shown[-1])] == [(800, 308), (900, 600)]
    state.loss = torch.tensor(0.1)
    display.on_step_end(state)
    assert len(decode_images(shown[-1])) == 2  # they stay between two epochs
    assert all(len(content) < 300_000 for content in shown)


def test_curves_are_drawn_for_a_fraction_of_the_time(
    shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "pixelwise.training.callbacks.notebook_display"
    now = 0.0

    def draw_for_a_second(*args: Any, **kwargs: Any) -> None:
        nonlocal now
        now += 1
        draw(*args, **kwargs)

    monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(f"{module}.plot_history", draw_for_a_second)
    display, state = NotebookDisplay(), make_state(tmp_path, epochs=60)
    display.on_train_start(state)
    drawn = []
    for _ in range(60):
        now += 3
        end_epoch(display, state, 0.5)
        drawn.append(decode_images(shown[-1])[0].getpixel((0, 0)))
    assert now < 60 * 3 * 1.06
    assert len(set(drawn)) == 9
    display.on_train_end(state)
    assert decode_images(shown[-1])[0].getpixel((0, 0)) == (60, 60, 60)  # the end is always drawn


def test_steps_are_shown_at_most_once_a_second(
    shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    display, state = NotebookDisplay(), make_state(tmp_path)
    now = 0.0
    monkeypatch.setattr("pixelwise.training.callbacks.notebook_display.time", SimpleNamespace(monotonic=lambda: now))
    display.on_train_start(state)
    state.loss = torch.tensor(0.5)
    for step in range(1, 31):
        now = step / 10
        display.on_step_end(state)
    assert len(shown) == 4


def test_a_resumed_training_estimates_from_its_own_epochs(shown: list[str], tmp_path: Path) -> None:
    display, state = NotebookDisplay(), make_state(tmp_path, epochs=6)
    state.history += [{"epoch": number, "val_miou": 0.5} for number in (1, 2, 3)]
    display.on_train_start(state)
    assert "left" not in text(shown[-1]) and fraction(shown[-1]) == 0.5
    end_epoch(display, state, 0.6)
    assert "epoch 5 of 6" in text(shown[-1]) and text(shown[-1]).endswith("min left")


def test_a_time_budget_is_the_scale(shown: list[str], tmp_path: Path) -> None:
    display, state = NotebookDisplay(), make_state(tmp_path, time_budget=100)
    display.on_train_start(state)
    end_epoch(display, state, 0.5)
    assert text(shown[-1]).startswith("epoch 2 · ") and " of " not in text(shown[-1])
    assert 0 < fraction(shown[-1]) <= 1


def test_a_time_budget_includes_the_time_before_a_resume(
    shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    display, state = NotebookDisplay(), make_state(tmp_path, time_budget=100)
    state.history.append({"epoch": 1, "val_miou": 0.5})
    state.started = 960.0
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr("pixelwise.training.callbacks.notebook_display.time", clock)
    display.on_train_start(state)
    assert fraction(shown[-1]) == 0.4 and text(shown[-1]).endswith("60 s left")
    display.on_train_end(state)
    assert "· 40 s ·" in text(shown[-1])


def test_an_error_is_the_last_content(shown: list[str], tmp_path: Path) -> None:
    display, state = NotebookDisplay(), make_state(tmp_path)
    display.on_train_start(state)
    end_epoch(display, state, 0.5)
    display.on_exception(state, KeyboardInterrupt())
    assert (
        text(shown[-1]) == "stopped in epoch 2 by KeyboardInterrupt: 1 epoch, best validation mIoU 0.500 after epoch 1"
    )


def test_nothing_is_shown_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    display, state = NotebookDisplay(), make_state(tmp_path)
    display.on_train_start(state)
    end_epoch(display, state, 0.5)
    display.on_train_end(state)
    display.on_exception(state, KeyboardInterrupt())
    assert capsys.readouterr() == ("", "")


def test_it_runs_by_default_after_the_callbacks_that_draw() -> None:
    assert DEFAULT_CALLBACKS[-1] == "notebook_display"
    assert isinstance(CALLBACKS.build("notebook_display")(), NotebookDisplay)
