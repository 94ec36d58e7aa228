"""The run folder: what goes in comes out, nothing is half written, and nothing is a pickle."""

import csv
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import pixelwise as pw
from pixelwise.errors import ConfigError, RunError
from pixelwise.runs.checkpoint import Checkpoint, rng_states, set_rng_states
from pixelwise.runs.run_dir import Run


def make_checkpoint(epoch: int = 3, optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW) -> Checkpoint:
    torch.manual_seed(epoch)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters(), "lr": 0.01}]
    trained = optimizer(groups, lr=0.3)
    model(torch.randn(2, 2, 8, 8)).square().sum().backward()
    trained.step()
    return Checkpoint(epoch, 7 * epoch, 1.25 * epoch, model.state_dict(), trained.state_dict(), rng_states())


def same(one: object, other: object) -> bool:
    """Equal all the way down; lists and tuples are alike, as JSON knows one of them only."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))  # type: ignore[arg-type]
    return one == other


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run", pw.Config.from_preset(epochs=5))
    run.start()
    return run


class TestCheckpoints:
    @pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.Adam, torch.optim.RMSprop])
    def test_round_trip(self, run: Run, optimizer: type[torch.optim.Optimizer]) -> None:
        checkpoint = make_checkpoint(3, optimizer)
        run.save_checkpoint(checkpoint)
        found = run.load_checkpoint()
        assert found is not None
        for name in ("epoch", "step", "train_seconds", "model", "optimizer", "rng"):
            assert same(getattr(checkpoint, name), getattr(found, name)), name
        assert found.optimizer["state"]

    def test_an_optimizer_goes_on_from_it(self, run: Run) -> None:
        def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            model(torch.ones(1, 4)).sum().backward()
            optimizer.step()
            return next(model.parameters()).detach().clone()

        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        step(model, optimizer)
        run.save_checkpoint(Checkpoint(1, 1, 0.0, model.state_dict(), optimizer.state_dict(), rng_states()))
        expected = step(model, optimizer)

        found = run.load_checkpoint()
        assert found is not None
        again = nn.Linear(4, 2)
        again.load_state_dict(found.model)
        resumed = torch.optim.AdamW(again.parameters(), lr=0.1)
        resumed.load_state_dict(found.optimizer)
        assert torch.equal(step(again, resumed), expected)

    def test_random_states_go_on(self, run: Run) -> None:
        run.save_checkpoint(make_checkpoint())
        found = run.load_checkpoint()
        assert found is not None
        set_rng_states(found.rng)
        expected = torch.rand(3)
        torch.rand(11)
        set_rng_states(found.rng)
        assert torch.equal(torch.rand(3), expected)

    def test_none_before_the_first_epoch(self, run: Run) -> None:
        assert run.load_checkpoint() is None
        assert run.read_metrics() == []

    def test_a_later_one_takes_the_place_of_the_earlier(self, run: Run) -> None:
        for epoch in (1, 2, 3):
            run.save_checkpoint(make_checkpoint(epoch))
        found = run.load_checkpoint()
        assert found is not None and found.epoch == 3
        assert [path.name for path in run.path.iterdir() if path.name.startswith("last")] == ["last"]

    # Killed at each write and each rename: an exception stands for the kill.
    @pytest.mark.parametrize("calls_before", range(5))
    @pytest.mark.parametrize("target", ["pixelwise.runs.run_dir.save_file", "pathlib.Path.write_text", "pathlib.Path.rename"])
    def test_a_kill_leaves_the_old_one_or_the_new_one(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, target: str, calls_before: int
    ) -> None:
        for epoch in (1, 2):
            run.save_checkpoint(make_checkpoint(epoch))
        expected = make_checkpoint(2), make_checkpoint(3)
        # Killed twice in a row, the second time after the first left its traces.
        for _ in range(2):
            with monkeypatch.context() as patch:
                _kill(patch, target, calls_before)
                with suppress(KeyboardInterrupt):
                    run.save_checkpoint(make_checkpoint(3))
            found = run.load_checkpoint()
            assert found is not None
            assert any(same(found.model, each.model) and found.epoch == each.epoch for each in expected)
            assert any(same(found.optimizer, each.optimizer) for each in expected if each.epoch == found.epoch)
        run.save_checkpoint(make_checkpoint(4))
        found = run.load_checkpoint()
        assert found is not None and found.epoch == 4
        assert {path.name for path in run.path.iterdir()} == {"config.yaml", "samples", "last"}

    def test_a_second_kill_finds_what_the_first_left(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        run.save_checkpoint(make_checkpoint(2))
        for calls_before in (1, 0):  # between the two renames, then before the only one that is left
            with monkeypatch.context() as patch:
                _kill(patch, "pathlib.Path.rename", calls_before)
                with pytest.raises(KeyboardInterrupt):
                    run.save_checkpoint(make_checkpoint(3))
            found = run.load_checkpoint()
            assert found is not None and found.epoch == 2
        run.save_checkpoint(make_checkpoint(4))
        assert {path.name for path in run.path.iterdir()} == {"config.yaml", "samples", "last"}

    @pytest.mark.parametrize(
        "breaking",
        [
            lambda last: (last / "progress.json").write_text("{"),
            lambda last: (last / "progress.json").write_text("{}"),
            lambda last: (last / "progress.json").write_text("[]"),
            lambda last: (last / "progress.json").unlink(),
            lambda last: (last / "model.safetensors").write_bytes(b"half"),
            lambda last: (last / "optimizer.safetensors").unlink(),
        ],
        ids=["half JSON", "no keys", "a list", "no progress", "half a model", "no optimizer"],
    )
    def test_a_broken_one_is_told_in_one_line(self, run: Run, breaking: Callable[[Path], object]) -> None:
        run.save_checkpoint(make_checkpoint())
        breaking(run.path / "last")
        with pytest.raises(RunError, match=r"last: cannot be read .*cannot be resumed") as caught:
            run.load_checkpoint()
        assert "\n" not in str(caught.value)


def _kill(patch: pytest.MonkeyPatch, target: str, calls_before: int) -> None:
    owner_name, _, name = target.rpartition(".")
    owner = Path if owner_name == "pathlib.Path" else __import__("pixelwise.runs.run_dir", fromlist=["run"])
    original, calls = getattr(owner, name), 0

    def killed(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls > calls_before:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    patch.setattr(owner, name, killed)


class TestFolder:
    def test_start_makes_it_and_open_finds_it(self, run: Run) -> None:
        found = Run.open(run.path)
        assert found == run
        assert yaml.safe_load((run.path / "config.yaml").read_text()) == run.config.model_dump(mode="json")

    def test_settings_come_back_whole(self, tmp_path: Path) -> None:
        config = pw.Config.from_preset("tutorial", class_weights="pet=2,border=0.5", seed=7, encoder_weights="none")
        run = Run(tmp_path / "run", config)
        run.start()
        assert Run.open(run.path).config == config

    def test_an_empty_folder_is_free(self, tmp_path: Path) -> None:
        Run.ensure_empty(tmp_path)
        Run.ensure_empty(tmp_path / "new")
        Run(tmp_path, pw.Config()).start()

    def test_a_run_is_in_the_way(self, run: Run) -> None:
        before = (run.path / "config.yaml").read_bytes()
        for ask in (
            lambda: Run.ensure_empty(run.path),
            lambda: Run(run.path, pw.Config.from_preset(epochs=9)).start(),
        ):
            with pytest.raises(RunError, match=r"already holds a run; go on with it by --resume, or .*--out"):
                ask()
        assert (run.path / "config.yaml").read_bytes() == before

    def test_anything_else_is_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(RunError, match=r"not empty"):
            Run.ensure_empty(tmp_path)
        with pytest.raises(RunError, match=r"choose another --out"):
            Run.ensure_empty(tmp_path / "notes.txt")
        with pytest.raises(RunError, match=r"cannot be made"):
            Run(tmp_path / "notes.txt" / "run", pw.Config()).start()
        assert (tmp_path / "notes.txt").read_text() == "mine"

    def test_no_run_to_open(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"holds no run \(no config\.yaml\); train one"):
            Run.open(tmp_path / "gone")

    @pytest.mark.parametrize("text", [b"", b"epochs: [", b"epochs: 0\n", b"epoch: 3\n", b"\xff\xfe\x81", b"- 1\n"])
    def test_broken_settings_are_told_in_one_line(self, run: Run, text: bytes) -> None:
        (run.path / "config.yaml").write_bytes(text)
        with pytest.raises(ConfigError, match=r"config\.yaml") as caught:
            Run.open(run.path)
        assert "\n" not in str(caught.value)

    def test_evaluations_are_never_written_over(self, run: Run) -> None:
        paths = [run.write_evaluation("test", str(number)) for number in range(3)]
        assert [path.read_text() for path in paths] == ["0", "1", "2"]


class TestMetrics:
    ROWS: tuple[dict[str, float | None], ...] = (
        {"epoch": 1, "train_loss": 0.1 + 0.2, "val_miou": None},
        {"epoch": 2, "train_loss": 1e-9, "val_miou": 2 / 3},
    )

    def test_round_trip(self, run: Run) -> None:
        run.write_metrics(self.ROWS)
        assert run.read_metrics() == list(self.ROWS)
        header, first, _ = (run.path / "metrics.csv").read_text().splitlines()
        assert header == "epoch,train_loss,val_miou"
        assert first == "1,0.30000000000000004,"

    def test_a_kill_leaves_the_old_one(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        run.write_metrics(self.ROWS[:1])
        with monkeypatch.context() as patch:
            _kill(patch, "pathlib.Path.write_text", 0)
            with pytest.raises(KeyboardInterrupt):
                run.write_metrics(self.ROWS)
        assert run.read_metrics() == list(self.ROWS[:1])
        assert {path.name for path in run.path.iterdir()} == {"config.yaml", "samples", "metrics.csv"}


def test_the_columns_of_metrics_csv(tiny_run: pw.Run) -> None:
    with (tiny_run.path / "metrics.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == [
        "epoch", "step", "train_seconds", "train_loss", "val_loss", "val_accuracy", "val_miou",
        "iou_pet", "iou_background", "iou_border", "images_per_second", "learning_rate",
    ]  # fmt: skip
    assert [int(row[0]) for row in rows] == [1, 2]


def _opens_as_events(path: Path) -> bool:
    # TFRecord: a length of 8 bytes, its checksum of 4, the event, its checksum; to the last byte.
    data, at = path.read_bytes(), 0
    while at < len(data):
        at += 8 + 4 + int.from_bytes(data[at : at + 8], "little") + 4
    return at == len(data) > 0


def _opens_as_image(path: Path) -> bool:
    with Image.open(path) as image:
        image.load()
        return image.format == path.suffix[1:].upper()


OPENS: dict[str, Callable[[Path], object]] = {
    ".safetensors": load_file,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".yaml": lambda path: yaml.safe_load(path.read_text(encoding="utf-8")),
    ".csv": lambda path: list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())),
    ".png": _opens_as_image,
    ".gif": _opens_as_image,
}


def test_no_pickle_anywhere(tiny_run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    pw.evaluate(folder, pets, out="auto")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        if path.parent.name == "tensorboard":
            assert path.name.startswith("events.out.tfevents.") and _opens_as_events(path), path
        else:
            assert OPENS[path.suffix](path), path
        # A pickle begins with its protocol, a zip of pickles with PK.
        assert path.read_bytes()[:2] not in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), path
