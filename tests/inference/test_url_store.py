"""Outputs of `predict_folder` at URLs: in memory, on a local S3 server, and in a file system with its own move."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from PIL import Image

from pixelwise.data.io.remote import RemoteFile
from pixelwise.errors import ConfigError, DataError, OutputError, OutputExistsError
from pixelwise.inference import checkpoints, pipeline
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.url_store import UrlStore, output_place
from tests.inference.conftest import make_model
from tests.inference.helpers import contents, make_image

WRITE = ["mask", "overlay", "csv", "coco"]


def at_url(url: str) -> dict[str, bytes]:
    """Return the content of each file in a folder at a URL, also of hidden ones."""
    system, root = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    return {file.removeprefix(f"{root}/"): system.cat_file(file) for file in system.find(root)}


@pytest.fixture(params=["memory", "s3"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty folder."""
    return str(request.getfixturevalue(request.param)) + "/masks"


class StoppedError(Exception):
    """Stands for a kill: no more files arrive at the URL."""


def stop_after(uploads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each upload but the first ones fail."""
    upload, count = UrlStore._upload, 0

    def counted(self: UrlStore, file: Path, name: str) -> None:
        nonlocal count
        count += 1
        if count > uploads:
            raise StoppedError
        upload(self, file, name)

    monkeypatch.setattr(UrlStore, "_upload", counted)


class TestPredictToUrl:
    def test_the_files_are_those_of_a_directory(
        self, predictor: Predictor, many: Path, tmp_path: Path, url: str
    ) -> None:
        expected = predict_folder(predictor, [many], tmp_path / "out", write=WRITE)
        result = predict_folder(predictor, [many], url, write=WRITE)
        assert result.report == expected.report
        assert at_url(url) == contents(tmp_path / "out")
        assert json.loads(at_url(url)["predictions.json"])["failed"] == [str(error) for error in result.failed]

    def test_nothing_is_replaced_unasked(self, predictor: Predictor, many: Path, url: str) -> None:
        predict_folder(predictor, [many], url)
        before = at_url(url)
        with pytest.raises(OutputExistsError, match=f"^{url}/predictions.json: exists already; choose another `out`"):
            predict_folder(predictor, [many], url)
        other = Predictor(make_model(("pet", "background")), "cpu")
        with pytest.raises(OutputExistsError, match=f"^{url}/predictions.jsonl: was not made by this model"):
            predict_folder(other, [many], url, resume=True)
        assert at_url(url) == before
        predict_folder(other, [many], url, overwrite=True)
        after = at_url(url)
        assert after.keys() == before.keys() and after["0_mask.png"] != before["0_mask.png"]
        assert predict_folder(other, [many], url, resume=True).resumed == 5
        assert at_url(url) == after

    @pytest.mark.parametrize("uploads", [1, 2, 6, 11, 13, 15])
    @pytest.mark.parametrize("seconds", [0.0, 1e9])
    def test_a_killed_prediction_goes_on(
        self,
        predictor: Predictor,
        many: Path,
        tmp_path: Path,
        memory: str,
        uploads: int,
        seconds: float,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        predict_folder(predictor, [many], tmp_path / "out", write=WRITE)
        monkeypatch.setattr(checkpoints, "SECONDS", seconds)
        monkeypatch.setattr(pipeline, "_MAX_PENDING", 1)  # each image is complete before the next one is written
        with monkeypatch.context() as patch:
            stop_after(uploads, patch)
            with pytest.raises(StoppedError):
                predict_folder(predictor, [many], memory, write=WRITE)
        left = at_url(memory)
        assert "predictions.jsonl" in left, "the first upload tells the next call that this is a prediction"
        result = predict_folder(predictor, [many], memory, write=WRITE, resume=True)
        assert at_url(memory) == contents(tmp_path / "out")
        lines = b"".join(content for name, content in left.items() if name.endswith("predictions.jsonl"))
        assert result.resumed == lines.count(b'{"image":"')
        assert result.resumed or seconds or uploads < 11

    def test_a_file_of_a_user_stops_it(self, predictor: Predictor, many: Path, memory: str) -> None:
        system = fsspec.filesystem("memory")
        system.pipe_file(f"{memory}/0_mask.png", b"drawn by hand")
        with pytest.raises(OutputExistsError, match=rf"^{memory}/0_mask\.png: was not made by this model"):
            predict_folder(predictor, [many], memory, resume=True)
        assert at_url(memory) == {"0_mask.png": b"drawn by hand"}

    def test_without_a_usable_image_nothing_is_written(
        self, predictor: Predictor, many: Path, tmp_path: Path, url: str
    ) -> None:
        result = predict_folder(predictor, [many / "2b.png"], url)
        assert (result.image_count, len(result.failed)) == (0, 1)
        assert at_url(url) == {}
        predict_folder(predictor, [many / "0.png"], url)
        before = at_url(url)
        (many / "0.png").write_bytes((many / "2b.png").read_bytes())
        assert predict_folder(predictor, [many / "0.png"], url, overwrite=True).image_count == 0
        assert at_url(url) == before

    def test_an_image_in_the_folder_is_never_replaced(self, predictor: Predictor, memory: str, tmp_path: Path) -> None:
        Image.fromarray(make_image()).save(tmp_path / "0.png")
        system = fsspec.filesystem("memory")
        for name in ("0.png", "0_mask.png"):  # a mask that a person drew
            system.put_file(str(tmp_path / "0.png"), f"{memory}/{name}")
        before = at_url(memory)
        with pytest.raises(OutputExistsError, match=rf"^{memory}/0_mask\.png: is one of the images"):
            predict_folder(predictor, [f"{memory}/"], memory, overwrite=True)
        assert at_url(memory) == before

    def test_from_and_to_the_same_folder(self, predictor: Predictor, many: Path, url: str) -> None:
        system, root = fsspec.core.url_to_fs(url)
        for path in sorted(many.iterdir()):
            system.put_file(str(path), f"{root}/b/{path.name}")
        first = predict_folder(predictor, [url + "/"], url)
        assert [PurePosixPath(entry["photo"]).name for entry in first.report["photos"]] == [
            f"{n}.png" for n in range(5)
        ]
        assert first.report["photos"][0]["mask"] == "b/0_mask.png"
        again = predict_folder(predictor, [url + "/"], url, resume=True)
        assert (again.resumed, again.report) == (5, first.report)
        assert again.notes[0].endswith("10 outputs of an earlier prediction")

    def test_labelme_files_name_the_image_by_its_absolute_path(
        self, predictor: Predictor, many: Path, memory: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(many)
        predict_folder(predictor, ["0.png"], memory, write=["labelme"])
        assert json.loads(at_url(memory)["labelme/0.json"])["imagePath"] == str(many / "0.png")


class TestVideo:
    def test_masks_of_frames(self, predictor: Predictor, tmp_path: Path, memory: str) -> None:
        frames = [Image.fromarray(make_image(20, 30, number)) for number in range(3)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        predict_folder(predictor, [tmp_path / "a.gif"], tmp_path / "out", frame_masks=True)
        predict_folder(predictor, [tmp_path / "a.gif"], memory, frame_masks=True)
        expected = contents(tmp_path / "out")
        assert {name: at_url(memory).get(name) for name in expected} == expected
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:2])
        predict_folder(predictor, [tmp_path / "a.gif"], memory, frame_masks=True, overwrite=True)
        assert sum(name.startswith("a_masks/") for name in at_url(memory)) == 2, "the third frame is no longer there"
        fsspec.filesystem("memory").pipe_file(f"{memory}/a_masks/notes.txt", b"mine")
        with pytest.raises(OutputExistsError, match=f"^{memory}/a_masks: contains notes.txt and would be replaced"):
            predict_folder(predictor, [tmp_path / "a.gif"], memory, frame_masks=True, overwrite=True)


class TestErrors:
    @pytest.mark.parametrize(
        ("out", "message"),
        [
            (
                "https://a.b/masks",
                "cannot be written file by file; set `out` to a directory, or",
            ),
            ("hf://user/name", "cannot be written file by file"),
            ("zip://a::s3://b/c.zip", "is a chain of protocols"),
            (Path("s3://bucket/masks"), "is a URL in a Path, which removes a slash; set `out` to the URL as text"),
        ],
    )
    def test_urls_that_are_refused(self, predictor: Predictor, many: Path, out: str | Path, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            predict_folder(predictor, [many], out)

    def test_a_missing_package_or_an_unknown_protocol(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(DataError, match=r"^nfs9://a/b: Protocol not known"):
            output_place("nfs9://a/b")
        monkeypatch.setattr("fsspec.core.url_to_fs", _no_package)
        with pytest.raises(DataError, match=r"^s3://a/b: the package .* \(pip install 'pixelwise\[s3\]'\)$"):
            output_place("s3://a/b")

    def test_a_bucket_that_is_missing(self, predictor: Predictor, many: Path, s3: str) -> None:
        with pytest.raises(
            OutputError, match=r"^s3://no-such/masks/\S+: cannot be written \(.*bucket.*\); check the URL"
        ):
            predict_folder(predictor, [many], "s3://no-such/masks")

    def test_the_url_of_a_file(self, predictor: Predictor, many: Path, memory: str) -> None:
        fsspec.filesystem("memory").pipe_file(f"{memory}/file", b"content")
        with pytest.raises(OutputError, match=f"^{memory}/file: is a file; set `out` to the URL of a folder"):
            predict_folder(predictor, [many], f"{memory}/file")

    def test_a_file_url_is_a_directory(self, predictor: Predictor, many: Path, tmp_path: Path) -> None:
        predict_folder(predictor, [many], f"file://{tmp_path}/out")
        assert (tmp_path / "out" / "0_mask.png").is_file()
        assert output_place("runs/masks") == Path("runs/masks")


def _no_package(url: str, **_: Any) -> Any:
    raise ImportError("Install s3fs to access S3")


def test_a_file_system_with_a_move_shows_complete_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = LocalFileSystem()
    monkeypatch.setattr(
        "pixelwise.inference.url_store.file_system", lambda url, options: (system, str(tmp_path / "far"))
    )
    seen: list[list[str]] = []
    move = system.mv

    def watched(source: str, target: str) -> None:
        seen.append([path.name for path in (tmp_path / "far").iterdir()])
        move(source, target)

    monkeypatch.setattr(system, "mv", watched)
    (tmp_path / "far").mkdir()
    store = UrlStore("sftp://host/far", tmp_path)
    (tmp_path / "0.txt").write_text("content", encoding="utf-8")
    store.publish([tmp_path / "0.txt"])
    assert [name[:7] for name in seen[0]] == [".0.txt."]
    assert contents(tmp_path / "far") == {"0.txt": b"content"} and not (tmp_path / "0.txt").exists()


def test_resume_downloads_only_images_that_have_changed(
    predictor: Predictor, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, root = fsspec.core.url_to_fs(s3)
    for number in range(3):
        Image.fromarray(make_image(20 + number, 30, number)).save(tmp_path / "image.png")
        system.put_file(str(tmp_path / "image.png"), f"{root}/images/{number}.png")
    reads: list[str] = []
    read_bytes = RemoteFile.read_bytes

    def counted(file: RemoteFile) -> bytes:
        reads.append(file.name)
        return read_bytes(file)

    monkeypatch.setattr(RemoteFile, "read_bytes", counted)
    sources, out = [f"{s3}/images/"], f"{s3}/masks"
    first = predict_folder(predictor, sources, out)
    before = at_url(out)
    reads.clear()
    again = predict_folder(predictor, sources, out, resume=True)
    assert (again.resumed, reads) == (3, [])
    assert again.report == first.report and at_url(out) == before

    name = "0.png"
    content = system.cat_file(f"{root}/images/{name}")
    system.rm_file(f"{out}/0_mask.png".removeprefix("s3://"))
    predict_folder(predictor, [f"{s3}/images/*.png"], out, resume=True)
    assert set(reads) == {name} and at_url(out).keys() == before.keys()

    system.pipe_file(f"{root}/images/{name}", content + b"changed")
    with pytest.raises(OutputExistsError, match=r"was not made by this model from s3://.*/images/0\.png"):
        predict_folder(predictor, sources, out, resume=True)
