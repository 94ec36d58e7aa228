"""Resuming: the result equals that of an uninterrupted training, and what cannot change is refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import pixelwise as pw
from pixelwise.config import MACHINE_SETTINGS
from pixelwise.data.joined_spec import with_roots
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import ConfigError, OutputExistsError, RunError
from pixelwise.losses.multiclass import cross_entropy
from pixelwise.runs.run_dir import Run
from pixelwise.training.callbacks import Callback
from pixelwise.training.resume import completion_reason, open_run, settle_encoder_training
from pixelwise.training.state import TrainState
from tests.training.conftest import FullRun
from tests.training.helpers import SMALL, Interrupt, assert_same_run, files_with_times, value

pytestmark = pytest.mark.integration


def noisy_loss(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
    """Return the cross-entropy times a random number from torch's generator, as with dropout."""
    return cross_entropy(logits, mask, pixel_weights) * (0.5 + torch.rand(()))


@pytest.fixture(scope="module")
def noisy_run(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted training with a random loss."""
    return pw.train(pets, tmp_path_factory.mktemp("runs") / "noisy", loss=noisy_loss, **SMALL)


@pytest.mark.parametrize("interrupted_at", [0, 3])
def test_the_result_is_that_of_an_uninterrupted_run(
    pets: pw.DatasetIndex, tmp_path: Path, noisy_run: Run, interrupted_at: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        pw.train(pets, tmp_path / "run", loss=noisy_loss, callbacks=[Interrupt(interrupted_at)], **SMALL)
    torch.manual_seed(99)  # other code draws random numbers in between
    run = pw.train(pets, tmp_path / "run", resume=True, loss=noisy_loss, defaults=False)
    assert_same_run(run, noisy_run)


def test_a_run_with_a_loss_object_needs_it_again(pets: pw.DatasetIndex, noisy_run: Run) -> None:
    with pytest.raises(ConfigError, match=r"loss object.*test_resume\.noisy_loss.*give `loss` again"):
        pw.train(pets, noisy_run.path, resume=True, epochs=9)
    with pytest.raises(ConfigError, match=r"cannot change `loss`"):
        pw.train(pets, noisy_run.path, resume=True, epochs=9, loss=torch.nn.CrossEntropyLoss(ignore_index=255))


def test_more_epochs_with_a_constant_rate(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    settings = SMALL | {"lr_schedule": "constant"}
    before = pw.train(pets, tmp_path / "run", **settings | {"epochs": 2}).read_metrics()
    run = pw.train(pets, tmp_path / "run", resume=True, epochs=3, defaults=False)
    rows = run.read_metrics()
    assert rows[:2] == before and len(rows) == 3
    assert rows[2]["learning_rate"] == before[0]["learning_rate"]
    assert value(rows[2], "seconds") > value(rows[1], "seconds"), "the time before the resume counts"
    # Without the moments of the optimizer, the training goes on from the weights of the last epoch.
    assert value(rows[2], "train_loss") < value(before[0], "train_loss")
    assert Run.open(run.path).config.epochs == 3


def test_more_epochs_follow_the_longer_onecycle_schedule(
    pets: pw.DatasetIndex, tmp_path: Path, full_run: FullRun
) -> None:
    pw.train(pets, tmp_path / "run", **SMALL | {"epochs": 2})
    run = pw.train(pets, tmp_path / "run", resume=True, epochs=4, defaults=False)
    rates = [row["learning_rate"] for row in run.read_metrics()]
    assert rates[2:] == [row["learning_rate"] for row in full_run.run.read_metrics()][2:]


def test_drawings_and_metrics_are_continued(pets: pw.DatasetIndex, tiny_run: pw.Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    before = {path.name: path.read_bytes() for path in (folder / "samples").iterdir()}
    run = pw.train(pets, folder, resume=True, epochs=3)
    after = {path.name: path.read_bytes() for path in (folder / "samples").iterdir()}
    assert set(after) == {*before, "epoch_003.png"}
    assert all(after[name] == content for name, content in before.items())
    with Image.open(run.samples_animation) as animation:
        assert getattr(animation, "n_frames", 1) == 4
    assert [row["epoch"] for row in run.read_metrics()] == [1, 2, 3]
    assert run.read_metrics()[:2] == tiny_run.read_metrics()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.5, "epochs": 9}, r"cannot change `lr` \(0\.\d+ in .*config\.yaml\)"),
        ({"config": pw.Config(seed=3, epochs=9)}, r"cannot change `seed`"),
        ({"encoder": "resnet18", "epochs": 9}, r"cannot change `encoder`"),
        ({"encoder_training": "none", "epochs": 9}, r"cannot change `encoder_training`"),
        ({"preset": "tutorial", "epochs": 9}, r"cannot change `preset`"),
        ({"image_size": 0}, r"image_size`: must be 32 px or more"),
        ({"image_sise": 64}, r"unknown setting 'image_sise'"),
        ({"epochs": 2}, r"has 4 epochs already; raise `epochs`"),
    ],
    ids=str,
)
def test_refused_changes_leave_the_run_as_it_is(
    pets: pw.DatasetIndex, full_run: FullRun, change: dict[str, Any], message: str
) -> None:
    before = files_with_times(full_run.run.path)
    with pytest.raises((ConfigError, RunError), match=message) as caught:
        pw.train(pets, full_run.run.path, resume=True, **change)
    assert "\n" not in str(caught.value)
    assert before == files_with_times(full_run.run.path)


@pytest.mark.parametrize("settings", [{}, {"epochs": 4}, {"device": "cpu"}], ids=str)
def test_a_complete_run_is_returned_unchanged(
    pets: pw.DatasetIndex, full_run: FullRun, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    before = files_with_times(full_run.run.path)
    with caplog.at_level("INFO", logger="pixelwise"):
        run = pw.train(pets, full_run.run.path, resume=True, **settings)
    assert run.path == full_run.run.path and len(run.read_metrics()) == 4
    assert caplog.messages == [f"{run.path}: all 4 epochs are done; raise `epochs` to train further"]
    assert before == files_with_times(full_run.run.path)


def test_a_complete_run_of_one_epoch(full_run: FullRun) -> None:
    checkpoint = full_run.run.load_checkpoint()
    assert checkpoint is not None
    run = Run(full_run.run.path, full_run.run.config.replace(epochs=1), full_run.run.preset)
    reason = completion_reason(run, replace(checkpoint, epoch=1))
    assert reason == "its epoch is done; raise `epochs` to train further"


def test_equal_settings_can_be_given_again(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    pw.train(pets, tmp_path / "run", **SMALL | {"epochs": 1})
    same = SMALL | {"epochs": 2, "encoder_training": "auto"}
    assert len(pw.train(pets, tmp_path / "run", preset="default", resume=True, **same).read_metrics()) == 2
    config = pw.Config(**{name: SMALL[name] for name in ("encoder", "encoder_weights", "batch_size")}, epochs=3)
    assert len(pw.train(pets, tmp_path / "run", config, resume=True, defaults=False).read_metrics()) == 3


def test_all_settings_can_be_given_again_with_their_defaults(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search passes all settings. config.yaml has values in place of some of the defaults."""
    monkeypatch.setattr("pixelwise.training.trainer._run_epochs", lambda *arguments: None)
    settings = {name: value for name, value in SMALL.items() if name != "defaults"} | {"encoder_training": "auto"}
    config = pw.Config.from_preset(**settings)
    config = pw.Config(**config.model_dump())
    run = pw.train(pets, tmp_path / "run", config, defaults=False)
    assert run.config != config, "the test needs replaced defaults"
    assert open_run(run.path, config, {}, preset=None, custom_loss=False)[0].config == run.config


def test_without_a_run_to_resume_a_new_one_starts(
    pets: pw.DatasetIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = SMALL | {"epochs": 1}
    for name in (".pixelwise-0123456789ab/data.yaml", ".pixelwise-start", "data.yaml"):  # of a start that was killed
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).touch()
    with caplog.at_level("INFO", logger="pixelwise"):
        run = pw.train(pets, tmp_path / "run", resume=True, **settings)
    assert f"{run.path}: no run to continue; a new one starts" in caplog.messages
    assert len(run.read_metrics()) == 1
    assert not list(run.path.glob(".*")) and run.read_dataset_spec() == with_roots(
        DatasetSpec.of(pets), [str(pets.root)]
    )


def test_other_files_are_not_mixed_with_a_run(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is not an empty directory"):
        pw.train(pets, tmp_path, resume=True, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_killed_before_its_animation_is_completed(
    pets: pw.DatasetIndex, tiny_run: pw.Run, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    expected = (folder / "samples.gif").read_bytes()
    (folder / "samples.gif").unlink()
    run = pw.train(pets, folder, resume=True)
    assert (folder / "samples.gif").read_bytes() == expected
    assert run.read_metrics() == tiny_run.read_metrics()
    before = files_with_times(folder)
    pw.train(pets, folder, resume=True)
    assert files_with_times(folder) == before


@pytest.fixture(scope="module")
def one_epoch(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    return pw.train(pets, tmp_path_factory.mktemp("runs") / "run", **SMALL | {"epochs": 1}).path


def _change_progress(run: Path, **changes: object) -> None:
    file = run / "last" / "progress.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: _change_progress(run, step=10**12),
        lambda run: _change_progress(run, optimizer={"param_groups": [{"lr": 1.0}]}),
        lambda run: save_file({"other": torch.zeros(2)}, run / "last" / "model.safetensors"),
        lambda run: save_file({"rng.cpu": torch.zeros(2)}, run / "last" / "optimizer.safetensors"),
    ],
    ids=["step", "groups", "weights", "random state"],
)
def test_a_checkpoint_that_does_not_fit_is_told_in_one_line(
    damage: Callable[[Path], None], one_epoch: Path, pets: pw.DatasetIndex, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(one_epoch, tmp_path / "run"))
    damage(folder)
    with pytest.raises(RunError, match=r"run/last: does not fit this run \(.*\); this run cannot be resumed") as error:
        pw.train(pets, folder, resume=True, epochs=3, defaults=False)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000


def test_missing_metrics_are_an_error(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    run = pw.train(pets, tmp_path / "run", **SMALL | {"epochs": 1})
    (run.path / "metrics.csv").unlink()
    with pytest.raises(RunError, match=r"metrics\.csv: has 0 of the 1 epochs"):
        pw.train(pets, run.path, resume=True, epochs=3, defaults=False)


def test_a_resume_keeps_what_of_the_encoder_trains() -> None:
    # A checkpoint has optimizer state for the weights that trained: another device must not change which ones do.
    started = settle_encoder_training(pw.Config(), "cpu")
    assert started.encoder_training == "decoder-first"
    assert settle_encoder_training(started, "cuda") == started


def test_settings_of_the_machine_can_change(full_run: FullRun) -> None:
    settings = {name: getattr(pw.Config(), name) for name in MACHINE_SETTINGS} | {"sample_predictions": 7}
    run, _ = open_run(full_run.run.path, None, settings, preset=None, custom_loss=False)
    assert settings.items() <= run.config.model_dump().items()
    assert full_run.run.config.precision != "auto", "this one changed"


def test_two_processes_do_not_train_one_run(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    class LockFromElsewhere(Callback):
        """Tries to lock and to resume the run while it trains."""

        def on_epoch_end(self, state: TrainState) -> None:
            if results:
                return
            # `Run.lock` in another process, without the seconds that the import takes.
            code = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'rb'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
            command = [sys.executable, "-c", code, str(state.run.path / "config.yaml")]
            results.append(subprocess.run(command, capture_output=True, text=True, check=False))
            with pytest.raises(RunError, match=r"run: another process is training in this directory"):
                pw.train(pets, state.run.path, resume=True, defaults=False)

    results: list[subprocess.CompletedProcess[str]] = []
    run = pw.train(pets, tmp_path / "run", callbacks=[LockFromElsewhere()], **SMALL | {"epochs": 2})
    assert len(results) == 1 and "BlockingIOError" in results[0].stderr
    assert len(run.read_metrics()) == 2
    # It is free again afterwards.
    assert len(pw.train(pets, run.path, resume=True, epochs=3, defaults=False).read_metrics()) == 3


def test_the_weights_of_the_last_epoch_are_kept_apart_from_the_best(full_run: FullRun) -> None:
    last = load_file(full_run.run.path / "last" / "model.safetensors")
    assert last.keys() == full_run.models[-1].keys()
    for name, tensor in full_run.models[-1].items():  # weights of a complete run have 16 bits
        torch.testing.assert_close(last[name].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-6)
