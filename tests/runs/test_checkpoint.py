"""Checkpoints: equal after reading, and never half written."""

import errno
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pixelwise.errors import OutputError, RunError
from pixelwise.runs.checkpoint import Checkpoint, rng_states, set_rng_states
from tests.runs.helpers import equal, kill_after


def make_checkpoint(epoch: int = 3, optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW) -> Checkpoint:
    """Return the state of a tiny model after one step. Each epoch has other values."""
    torch.manual_seed(epoch)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters(), "lr": 0.01}]
    trained = optimizer(groups, lr=0.3)  # type: ignore[call-arg]
    model(torch.randn(2, 2, 8, 8)).square().sum().backward()
    trained.step()
    return Checkpoint(epoch, 7 * epoch, 1.25 * epoch, model.state_dict(), trained.state_dict(), rng_states())


def load(path: Path) -> Checkpoint:
    checkpoint = Checkpoint.load(path)
    assert checkpoint is not None
    return checkpoint


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """Path of the checkpoint in an empty directory."""
    return tmp_path / "last"


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.Adam, torch.optim.RMSprop])
def test_a_checkpoint_reads_back_equal(last: Path, optimizer: type[torch.optim.Optimizer]) -> None:
    checkpoint = make_checkpoint(3, optimizer)
    checkpoint.save(last)
    loaded = load(last)
    for name in ("epoch", "step", "train_seconds", "model", "optimizer", "rng"):
        assert equal(getattr(checkpoint, name), getattr(loaded, name)), name
    assert loaded.optimizer["state"]


def test_an_optimizer_continues_from_a_checkpoint(last: Path) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        optimizer.zero_grad()
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        return next(model.parameters()).detach().clone()

    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    step(model, optimizer)
    Checkpoint(1, 1, 0.0, model.state_dict(), optimizer.state_dict(), rng_states()).save(last)
    expected = step(model, optimizer)

    loaded = load(last)
    again = nn.Linear(4, 2)
    again.load_state_dict(loaded.model)
    resumed = torch.optim.AdamW(again.parameters(), lr=0.1)
    resumed.load_state_dict(loaded.optimizer)
    assert torch.equal(step(again, resumed), expected)


def test_random_states_continue_from_a_checkpoint(last: Path) -> None:
    make_checkpoint().save(last)
    loaded = load(last)
    set_rng_states(loaded.rng)
    expected = torch.rand(3)
    torch.rand(11)
    set_rng_states(loaded.rng)
    assert torch.equal(torch.rand(3), expected)


def test_no_checkpoint_before_the_first_epoch(last: Path) -> None:
    assert Checkpoint.load(last) is None


def test_a_later_checkpoint_replaces_the_earlier(last: Path) -> None:
    for epoch in (1, 2, 3):
        make_checkpoint(epoch).save(last)
    assert load(last).epoch == 3
    assert list(last.parent.iterdir()) == [last]


# The process is killed at each write and each rename.
@pytest.mark.parametrize("calls", range(5))
@pytest.mark.parametrize(
    "target", ["pixelwise.models.tensor_files.save_file", "pathlib.Path.write_text", "pathlib.Path.rename"]
)
def test_a_kill_leaves_the_old_or_the_new_checkpoint(
    last: Path, monkeypatch: pytest.MonkeyPatch, target: str, calls: int
) -> None:
    for epoch in (1, 2):
        make_checkpoint(epoch).save(last)
    expected = {2: make_checkpoint(2), 3: make_checkpoint(3)}
    # Twice in a row: the second time after the first one left its files.
    for _ in range(2):
        with monkeypatch.context() as patch:
            kill_after(patch, target, calls)
            with suppress(KeyboardInterrupt):
                make_checkpoint(3).save(last)
        loaded = load(last)
        assert equal(loaded.model, expected[loaded.epoch].model)
        assert equal(loaded.optimizer, expected[loaded.epoch].optimizer)
    make_checkpoint(4).save(last)
    assert load(last).epoch == 4
    assert list(last.parent.iterdir()) == [last]


def test_a_second_kill_after_a_kill_between_the_renames(last: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_checkpoint(2).save(last)
    for calls in (1, 0):  # between the two renames, then before the only one that is left
        with monkeypatch.context() as patch:
            kill_after(patch, "pathlib.Path.rename", calls)
            with pytest.raises(KeyboardInterrupt):
                make_checkpoint(3).save(last)
        assert load(last).epoch == 2
    make_checkpoint(4).save(last)
    assert list(last.parent.iterdir()) == [last]


@pytest.mark.parametrize("name", ["model.safetensors", "progress.json"])
def test_a_full_disk_leaves_the_old_checkpoint(last: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    make_checkpoint(2).save(last)

    def fail(path: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    target = "pixelwise.runs.checkpoint.write_tensors" if name == "model.safetensors" else "pathlib.Path.write_text"
    with monkeypatch.context() as patch:
        patch.setattr(target, fail)
        with pytest.raises(OutputError, match=r"last: no space left on device; free space, then try again$"):
            make_checkpoint(3).save(last)
    assert load(last).epoch == 2
    assert list(last.parent.iterdir()) == [last], "the part of the new one takes no space"


def test_what_killed_processes_left_is_removed(last: Path) -> None:
    make_checkpoint(2).save(last)
    for suffix in ("part", "old"):
        (last.parent / f"last.{suffix}").mkdir()
    Checkpoint.remove_leftovers(last)
    assert list(last.parent.iterdir()) == [last]
    last.rename(last.parent / "last.old")  # a save was killed between the two renames
    Checkpoint.remove_leftovers(last)
    assert load(last).epoch == 2


def change_progress(last: Path, **changes: object) -> None:
    file = last / "progress.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    "damage",
    [
        lambda last: (last / "progress.json").write_text("{"),
        lambda last: (last / "progress.json").write_text("{}"),
        lambda last: (last / "progress.json").write_text("[]"),
        lambda last: (last / "progress.json").unlink(),
        lambda last: (last / "progress.json").write_text("[" * 200_000),
        lambda last: change_progress(last, epoch="3"),
        lambda last: change_progress(last, epoch=-1),
        lambda last: change_progress(last, step=10**30),
        lambda last: change_progress(last, train_seconds=None),
        lambda last: change_progress(last, optimizer={"param_groups": 3}),
        lambda last: change_progress(last, optimizer={"param_groups": []}),
        lambda last: save_file({}, last / "optimizer.safetensors"),
        lambda last: (last / "model.safetensors").write_bytes(b"half"),
        lambda last: (last / "optimizer.safetensors").unlink(),
    ],
    ids=[
        "half JSON",
        "no keys",
        "a list",
        "no progress",
        "deep",
        "text",
        "negative",
        "huge",
        "null",
        "number",
        "no groups",
        "no random state",
        "half a model",
        "no optimizer",
    ],
)
def test_a_broken_checkpoint_is_named_in_one_line(last: Path, damage: Callable[[Path], object]) -> None:
    make_checkpoint().save(last)
    damage(last)
    with pytest.raises(RunError, match=r"last: cannot be read .*cannot be resumed") as error:
        Checkpoint.load(last)
    assert "\n" not in str(error.value)


def test_a_fault_of_the_progress_file_names_it(last: Path) -> None:
    make_checkpoint().save(last)
    (last / "progress.json").write_text("[]")
    with pytest.raises(RunError, match=r"\(progress\.json: Input should be "):
        Checkpoint.load(last)


def test_tensors_with_names_of_version_0_1_are_renamed(last: Path) -> None:
    make_checkpoint().save(last)
    tensors = load_file(last / "model.safetensors")
    old = {"encoder.body.conv.weight": tensors["0.weight"], "decoder.levels.0.mix.0.weight": tensors["0.bias"]}
    save_file(old, last / "model.safetensors")
    assert set(load(last).model) == {"encoder.backbone.conv.weight", "decoder.stages.0.mix.0.weight"}


def test_a_compact_checkpoint_has_half_of_the_weights_and_no_moments(last: Path) -> None:
    full = make_checkpoint()
    full.save(last)
    full_size = sum(file.stat().st_size for file in last.glob("*.safetensors"))
    full.compact().save(last)
    compact = load(last)
    assert compact.is_compact and not full.is_compact
    assert (compact.epoch, compact.step, compact.train_seconds) == (full.epoch, full.step, full.train_seconds)
    assert compact.model["0.weight"].dtype == torch.float16
    torch.testing.assert_close(compact.model["0.weight"].float(), full.model["0.weight"], rtol=1e-3, atol=1e-4)
    for name in ("1.running_mean", "1.running_var", "0.bias"):  # the range of 16 bits is too small for statistics
        assert torch.equal(compact.model[name], full.model[name])
    assert compact.optimizer["state"] == {} and len(compact.optimizer["param_groups"]) == 2
    random_state = full.rng["cpu"].nbytes
    assert sum(file.stat().st_size for file in last.glob("*.safetensors")) - random_state < full_size - random_state
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    model.load_state_dict(compact.model)
    assert model[0].weight.dtype == torch.float32
