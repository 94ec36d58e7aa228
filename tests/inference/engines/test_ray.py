"""The parts of the engine "ray" without Ray: what is sent to workers, and what a worker does."""

import pickle
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from pixelwise.errors import ConfigError, OutputError, WorkerCrashedError
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.engines import ENGINES
from pixelwise.inference.engines.local import predict_locally
from pixelwise.inference.engines.ray_cluster import _check_address, _chunk_size, _chunks, _connect, _started_here
from pixelwise.inference.engines.ray_resources import wait_for_workers
from pixelwise.inference.engines.ray_worker import CHUNK, RESULT, Failure, ItemFile, RayWorker
from pixelwise.inference.mask_filter import MaskFilter
from pixelwise.inference.output_items import MarkOfRun, OutputItem, assign_files
from pixelwise.inference.output_options import ENGINE_NAMES
from pixelwise.inference.output_set import ItemResult, OutputSet
from pixelwise.inference.output_store import OutputStore
from pixelwise.inference.pixel_size import PixelSize
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.sources import find_images
from pixelwise.inference.url_store import UrlStore
from pixelwise.inference.writers import WriteOptions, make_writers
from tests.inference.helpers import make_image


def make_items(
    predictor: Predictor, images: Path, out: Path, store: OutputStore | None = None
) -> tuple[OutputSet, Sequence[OutputItem]]:
    """Return the outputs and the items of a prediction."""
    writers = make_writers(["mask", "overlay", "csv"], WriteOptions(predictor.config))
    outputs = OutputSet(
        MarkOfRun(predictor.fingerprint(), "index"), predictor.config, store or OutputStore(out), writers
    )
    out.mkdir()
    return outputs, assign_files(find_images([images]).images, outputs.specs, outputs.store)


def run_worker(
    predictor: Predictor, outputs: OutputSet, file: ItemFile, folder: Path, *chunks: int
) -> list[ItemResult | Exception | Failure]:
    """Return the results of a worker in this process, from pickled arguments."""
    arguments = pickle.loads(pickle.dumps((predictor, outputs, file, folder, predict_locally)))
    batch: dict[str, Any] = RayWorker(*arguments)({CHUNK: np.array(chunks)})
    return [pickle.loads(result) for result in batch[RESULT]]


class TestWorker:
    def test_a_chunk_gives_the_files_and_rows_of_one_process(
        self, predictor: Predictor, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        predict_folder(predictor, ["many"], "local")
        outputs, items = make_items(predictor, Path("many"), Path("out"))
        file = ItemFile(tmp_path / "names" / "items", outputs.store)
        file.write([items[:4], items[4:]])
        assert [item.name for item in file.read(1)] == ["3.png", "4.png"]
        results = run_worker(predictor, outputs, file, tmp_path, 0, 1)
        assert [type(result).__name__ for result in results] == ["ItemResult"] * 3 + ["DataError"] + ["ItemResult"] * 2
        rows = [result.rows.classes for result in results if isinstance(result, ItemResult) and result.rows is not None]
        _, *lines = Path("local/predictions.csv").read_text(encoding="utf-8").splitlines()
        assert "".join(rows).splitlines() == lines
        for mask in Path("local").glob("*_*"):
            assert (Path("out") / mask.name).read_bytes() == mask.read_bytes()
        assert not (tmp_path / "out" / "predictions.csv").exists()

    def test_a_chunk_that_ends_each_worker_is_an_error_that_names_the_image(
        self, predictor: Predictor, many: Path, tmp_path: Path
    ) -> None:
        outputs, items = make_items(predictor, many, tmp_path / "out")
        file = ItemFile(tmp_path / "names" / "items", outputs.store)
        file.write([items])
        attempts = [run_worker(predictor, outputs, file, Path.cwd(), 0)[-1] for _ in range(5)]
        assert [isinstance(attempt, Failure) for attempt in attempts] == [False] * 4 + [True]
        failure = attempts[-1]
        assert isinstance(failure, Failure) and isinstance(failure.error, WorkerCrashedError)
        assert str(failure.error).startswith(f"{many / '0.png'}: 4 workers of Ray ended")

    def test_outputs_at_a_url(self, predictor: Predictor, many: Path, tmp_path: Path, memory: str) -> None:
        expected = predict_folder(predictor, [many], tmp_path / "local")
        root = tmp_path / "root"
        outputs, items = make_items(predictor, many, root, UrlStore(memory, root))
        with outputs.store.scratch() as folder:
            file = ItemFile(folder / "items", outputs.store)
            file.write([items[:4], items[4:]])
            shutil.rmtree(root)  # another machine does not have it
            results = [
                *run_worker(predictor, outputs, file, tmp_path, 1),
                *run_worker(predictor, outputs, file, tmp_path, 0),
            ]
            attempts = [file.count_attempt(1) for _ in range(2)]
        assert attempts == [2, 3]
        marks = [result.mark for result in results if isinstance(result, ItemResult)]
        assert [mark.height for mark in marks] == [23, 24, 20, 21, 22] and len(results) == 6
        system = fsspec.filesystem("memory")
        masks = {f"{entry['photo']}": entry["mask"] for entry in expected.report["photos"]}
        assert len(system.find(memory)) == 10, "the temporary files are removed"
        for mask in masks.values():
            assert system.cat_file(f"{memory}/{mask}") == (tmp_path / "local" / mask).read_bytes()
        assert not root.exists()

    def test_an_error_that_concerns_all_files_is_returned(
        self, predictor: Predictor, many: Path, tmp_path: Path
    ) -> None:
        outputs, _ = make_items(predictor, many, tmp_path / "out")
        (tmp_path / "out").rmdir()
        file = ItemFile(tmp_path / "out" / "names" / "items", outputs.store)
        [failure] = run_worker(predictor, outputs, file, Path.cwd(), 0)
        assert isinstance(failure, Failure) and isinstance(failure.error, OutputError)
        assert f"{tmp_path / 'out'}: is not the same directory on each node" in str(failure.error)


def test_the_outputs_of_a_worker_have_the_same_options(predictor: Predictor, tmp_path: Path) -> None:
    size, removed = PixelSize.parse("0.5um"), MaskFilter(5, 3)
    writers = make_writers(["mask", "csv"], WriteOptions(predictor.config))
    run = MarkOfRun("hash", "index")
    copy = pickle.loads(pickle.dumps(OutputSet(run, predictor.config, OutputStore(tmp_path), writers, size, removed)))
    assert (copy.run, copy.out, copy.mask_filter, list(copy.writers)) == (run, tmp_path, removed, ["mask", "csv"])
    assert copy.tables.format("a.png", predictor(make_image(8, 8))).classes.count(",") == 8 * 3


class TestPredictor:
    @pytest.mark.parametrize(("tta", "thresholds"), [(False, None), (True, {"pet": 0.9})])
    def test_a_copy_predicts_the_same(
        self, predictor: Predictor, tmp_path: Path, tta: bool, thresholds: dict[str, float] | None
    ) -> None:
        predictor.model.save(tmp_path)  # type: ignore[operator]
        loaded = Predictor.load(tmp_path, "cpu", "32-true", tta=tta, thresholds=thresholds)
        copy = pickle.loads(pickle.dumps(loaded))
        image = make_image(40, 50)
        assert np.array_equal(copy(image).mask, loaded(image).mask)
        assert (copy.fingerprint(), repr(copy)) == (loaded.fingerprint(), repr(loaded))

    @pytest.mark.parametrize(("device", "expected"), [("cpu", False), ("auto", True)])
    def test_a_copy_can_use_a_gpu_unless_the_device_is_the_cpu(
        self, predictor: Predictor, device: str, expected: bool
    ) -> None:
        assert Predictor(predictor.model, device).uses_accelerator is expected


class TestEngines:
    def test_names_in_the_help(self) -> None:
        assert tuple(ENGINES) == ENGINE_NAMES

    def test_an_unknown_engine(self, predictor: Predictor, many: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="unknown engine 'rai' \\(did you mean 'ray'\\?\\)"):
            predict_folder(predictor, [many], tmp_path / "out", engine="rai")
        assert not (tmp_path / "out").exists()

    def test_ray_is_not_installed(
        self, predictor: Predictor, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pixelwise.inference.engines.base.find_spec", lambda name: None)
        with pytest.raises(ConfigError, match="needs ray and pyarrow and pandas; pip install 'pixelwise\\[ray\\]'"):
            predict_folder(predictor, [many], tmp_path / "out", engine="ray")
        assert not (tmp_path / "out").exists()

    def test_the_cluster_cannot_be_reached(
        self, predictor: Predictor, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("ray")
        with socket.socket() as server:  # bound, and not listening
            server.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{server.getsockname()[1]}"
            monkeypatch.setenv("RAY_ADDRESS", address)
            with pytest.raises(ConfigError, match=f"the Ray cluster at RAY_ADDRESS={address} cannot be reached"):
                _connect()
            with pytest.raises(ConfigError, match="cannot be reached"):
                predict_folder(predictor, [many], tmp_path / "out", engine="ray", write=["label-tiff"])
        assert not (tmp_path / "out").exists(), "nothing blocks the next call"

    def test_the_memory_of_this_process_is_no_place_for_the_workers(
        self, predictor: Predictor, many: Path, memory: str
    ) -> None:
        pytest.importorskip("ray")
        with pytest.raises(ConfigError, match=r"^memory:// is the memory of one process, and the workers of Ray are"):
            predict_folder(predictor, [many], memory, engine="ray")
        assert fsspec.filesystem("memory").find("/") == []

    def test_the_address_of_a_killed_cluster_is_not_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        assert _started_here() == ""
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9\n", encoding="utf-8")
        assert _started_here() == "127.0.0.1:9"
        with pytest.raises(OSError, match="refused"):
            _check_address(_started_here())

    @pytest.mark.parametrize("count", [1, 12, 200, 5000, 10**6])
    def test_chunks_are_whole_batches(self, count: int) -> None:
        assert _chunk_size(count, 8) in (16, 32, 48, 64)

    def test_videos_and_large_images_are_chunks_of_their_own(self, tmp_path: Path) -> None:
        items = [
            OutputItem(tmp_path, f"{number}", {}, is_large=number == 5, is_moving=number in (4, 9))
            for number in range(10)
        ]
        chunks = [[item.name for item in chunk] for chunk in _chunks(items, 3)]
        assert chunks == [["0", "1", "2"], ["3"], ["4"], ["5"], ["6", "7", "8"], ["9"]]


class FakeCluster:
    """The functions of Ray that tell the resources of a cluster. They change with each request.

    Args:
        free: the free resources at each request. The last ones stay.
    """

    def __init__(self, *free: dict[str, float]) -> None:
        self.free, self.requests = free, 0

    def available_resources(self) -> dict[str, float]:
        self.requests += 1
        return self.free[min(self.requests, len(self.free)) - 1]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 8.0}

    def nodes(self) -> list[object]:
        return [object(), object()]


class TestResources:
    @pytest.mark.parametrize(
        ("free", "use_gpu", "expected"),
        [
            ({"CPU": 3.5, "GPU": 2.0}, True, (2, {"num_gpus": 1})),
            ({"CPU": 3.5, "GPU": 2.0}, False, (3, {"num_cpus": 1})),
            ({"CPU": 3.5, "GPU": 0.5}, True, (3, {"num_cpus": 1})),
        ],
    )
    def test_one_worker_per_gpu_or_core(
        self, free: dict[str, float], use_gpu: bool, expected: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "ray", FakeCluster(free))
        assert wait_for_workers(use_gpu) == expected

    def test_it_waits_for_a_core(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cluster = FakeCluster({}, {"CPU": 0.5}, {"CPU": 4.0})
        monkeypatch.setitem(sys.modules, "ray", cluster)
        monkeypatch.setattr("pixelwise.inference.engines.ray_resources._PAUSE", 0)
        assert wait_for_workers(False).number == 4 and cluster.requests == 3

    def test_it_does_not_wait_forever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", FakeCluster({"memory": 1e9}))
        monkeypatch.setenv("PIXELWISE_RAY_SECONDS", "0")
        message = (
            r"has no free CPU core after 0 s \(nodes: 2, CPU cores: 8\); end other jobs on it \(ray status\), set PI"
        )
        with pytest.raises(ConfigError, match=message):
            wait_for_workers(True)
        monkeypatch.setenv("PIXELWISE_RAY_SECONDS", "soon")
        with pytest.raises(ConfigError, match="PIXELWISE_RAY_SECONDS is 'soon'; set it to a number of seconds"):
            wait_for_workers(True)
