"""Predictions of videos and animated GIF files, read back frame by frame."""

import csv
import errno
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import DataError, OutputExistsError
from pixelwise.inference import animated_gif, folder_files, video, video_file
from pixelwise.inference.animated_gif import Frame, GifReader, GifWriter, is_animated_gif
from pixelwise.inference.batch import PredictResult, predict_folder
from pixelwise.inference.fingerprint import fingerprint
from pixelwise.inference.outputs import read_mark
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.sources import find_images
from pixelwise.inference.video import predict_video
from pixelwise.inference.video_counts import VideoTally
from pixelwise.inference.video_file import VideoReader, VideoWriter, read_comment
from pixelwise.runtime.threads import available_cpus
from tests.inference.helpers import contents, make_image
from tests.inference.videos import read_video, write_video

REGULAR = list(range(0, 480, 40))
VARIABLE = [0, 40, 140, 150, 400, 410, 700]


def write_gif(path: Path, durations: list[int], loop: int | None = 0) -> Path:
    images = [Image.fromarray(np.roll(make_image(40, 60), 4 * n, 1)) for n in range(len(durations))]
    options: dict[str, Any] = {} if loop is None else {"loop": loop}
    path.parent.mkdir(exist_ok=True)
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, disposal=1, **options)
    return path


def predict(predictor: Predictor, source: Path, out: Path) -> PredictResult:
    return predict_folder(predictor, [source], out, frame_masks=True)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_an_overlay_has_the_frames_the_times_and_the_sound_of_its_video(
    suffix: str, predictor: Predictor, tmp_path: Path
) -> None:
    path = write_video(tmp_path / f"clip.{suffix}", VARIABLE, sound=True)
    before = path.read_bytes()
    result = predict(predictor, path, tmp_path / "out")
    assert not result.failed and path.read_bytes() == before
    original, drawn = read_video(path), read_video(tmp_path / "out" / f"clip_overlay.{suffix}")
    assert [frame.shape for frame in drawn.frames] == [(48, 64, 3)] * len(VARIABLE)
    np.testing.assert_allclose(drawn.times, np.array(VARIABLE) / 1000, atol=2e-3)
    assert len(drawn.sound) > 20 and [content for _, content in drawn.sound] == [packet for _, packet in original.sound]
    np.testing.assert_allclose([t for t, _ in drawn.sound], [t for t, _ in original.sound], atol=2e-3)
    for number, (frame, shown) in enumerate(zip(original.frames, drawn.frames, strict=True)):
        prediction = predictor(frame)
        expected = np.asarray(prediction.overlay(legend=False))
        assert np.abs(shown.astype(int) - expected).mean() < 12, "H.264 loses little"
        mask = np.asarray(Image.open(tmp_path / "out" / "clip_masks" / f"{number + 1:06d}_mask.png"))
        assert (mask == prediction.mask).mean() > 0.999


def test_the_tables_have_sums_over_the_frames(predictor: Predictor, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", REGULAR)
    result = predict(predictor, path, tmp_path / "out")
    masks = np.stack([np.asarray(Image.open(file)) for file in sorted((tmp_path / "out" / "clip_masks").iterdir())])
    assert len(masks) == len(REGULAR)
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == list(predictor.classes)
    for index, row in enumerate(rows):
        assert int(row["pixels"]) == (masks == index).sum()
        assert float(row["fraction"]) == pytest.approx((masks == index).mean(), abs=1e-6)
        assert (row["objects"], row["median_object_area"]) == ("", "")
    confidences = [float(row["mean_confidence"]) for row in rows if row["mean_confidence"]]
    assert confidences and all(0.3 < value < 1 for value in confidences)
    (entry,) = result.report["photos"]
    assert (entry["width"], entry["height"]) == (64, 48)
    assert (entry["overlay"], entry["masks"]) == ("clip_overlay.mp4", "clip_masks")
    assert not (tmp_path / "out" / "objects.csv").exists()


def test_odd_sizes_and_old_containers_are_kept_or_become_mkv(predictor: Predictor, tmp_path: Path) -> None:
    write_video(tmp_path / "odd.mp4", REGULAR[:3], (45, 63))
    write_video(tmp_path / "old.avi", REGULAR[:5], sound=True)
    result = predict_folder(predictor, [tmp_path / "odd.mp4", tmp_path / "old.avi"], tmp_path / "out")
    assert not result.failed
    assert [frame.shape for frame in read_video(tmp_path / "out" / "odd_overlay.mp4").frames] == [(45, 63, 3)] * 3
    old = read_video(tmp_path / "out" / "old_overlay.mkv")
    assert len(old.frames) == 5
    assert [packet for _, packet in old.sound] == [packet for _, packet in read_video(tmp_path / "old.avi").sound]
    assert not list((tmp_path / "out").glob("*_masks")), "masks are written on request only"


def test_without_x264_a_video_is_mpeg4(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MPEG-4 has no time base of 1/90000, and its colors are at half the resolution, also in odd sizes."""
    path = write_video(tmp_path / "odd.mts", VARIABLE, (45, 63))
    with closing(VideoReader(path)) as reader:
        assert reader.time_base == Fraction(1, 90_000)
    original = read_video(path)
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    assert not predict_folder(predictor, [path], tmp_path / "out").failed
    with av.open(str(tmp_path / "out" / "odd_overlay.mkv")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    drawn = read_video(tmp_path / "out" / "odd_overlay.mkv")
    np.testing.assert_allclose(np.array(drawn.times) - drawn.times[0], np.array(VARIABLE) / 1000, atol=2e-3)
    for frame, shown in zip(original.frames, drawn.frames, strict=True):
        expected = np.asarray(predictor(frame).overlay(legend=False))
        assert np.abs(shown.astype(int) - expected).mean() < 15


@pytest.mark.parametrize("codec", [("libx264", {"profile": "baseline"}), ("libvpx", {})], ids=["encoder", "container"])
def test_a_video_that_cannot_be_encoded_is_named_and_the_others_are_predicted(
    codec: tuple[str, dict[str, str]], predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "odd.mp4", REGULAR[:2], (45, 63), sound=True)
    write_gif(tmp_path / "a.gif", [100, 100])
    monkeypatch.setattr(video_file, "_codec", lambda container: codec)
    result = predict_folder(predictor, [path, tmp_path / "a.gif"], tmp_path / "out")
    (error,) = result.failed
    assert str(error).startswith(f"{path}: its overlay cannot be encoded (") and "convert the video" in str(error)
    assert result.image_count == 1 and not list((tmp_path / "out").glob("odd*"))


def test_a_full_disk_is_no_error_of_the_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", REGULAR[:2])
    with closing(VideoReader(path)) as reader, closing(VideoWriter(tmp_path / "o.mp4", reader, (48, 64))) as writer:
        with pytest.raises(OSError, match="No space"), writer._data_errors():
            raise av.error.OSError(errno.ENOSPC, "No space left on device")
        writer.write(make_image(48, 64), 0)


@pytest.mark.parametrize("loop", [0, 3, None])
def test_all_frames_of_a_gif_are_drawn_with_their_durations(
    loop: int | None, predictor: Predictor, tmp_path: Path
) -> None:
    path = write_gif(tmp_path / "a.gif", [100, 250, 40, 700], loop)
    assert not predict(predictor, path, tmp_path / "out").failed
    with closing_reader(path) as original, closing_reader(tmp_path / "out" / "a_overlay.gif") as drawn:
        assert drawn.loop == loop and drawn.size == (40, 60)
        frames = list(drawn.frames())
        assert [frame.time for frame in frames] == [100, 250, 40, 700]
        for number, (frame, shown) in enumerate(zip(original.frames(), frames, strict=True)):
            prediction = predictor(frame.image)
            difference = shown.image.astype(int) - np.asarray(prediction.overlay(legend=False))
            assert np.abs(difference).mean() < 8, "256 colors"
            mask = np.asarray(Image.open(tmp_path / "out" / "a_masks" / f"{number + 1:06d}_mask.png"))
            assert (mask == prediction.mask).mean() > 0.999


class closing_reader:  # noqa: N801
    def __init__(self, path: Path) -> None:
        self.reader = GifReader(path)

    def __enter__(self) -> GifReader:
        return self.reader

    def __exit__(self, *error: object) -> None:
        self.reader.close()


def test_a_gif_of_one_frame_is_an_image(predictor: Predictor, tmp_path: Path) -> None:
    Image.fromarray(make_image(40, 60)).save(tmp_path / "a.gif")
    assert not is_animated_gif(tmp_path / "a.gif")
    predict_folder(predictor, [tmp_path / "a.gif"], tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"a_mask.png", "a_overlay.jpg"}


def test_a_gif_file_follows_the_format(tmp_path: Path) -> None:
    """The frames have exact colors if there are few, and a comment of any length is read back."""
    image = np.zeros((30, 50, 3), np.uint8)
    image[5:, 10:20] = 250, 30, 60
    buffer = io.BytesIO()
    with GifWriter(buffer, (30, 50), 0, "é" * 400) as writer:
        for shift in range(3):
            writer.write(Image.fromarray(np.roll(image, shift, 1)), 30)
    with Image.open(io.BytesIO(buffer.getvalue())) as stored:
        assert stored.info["comment"].decode() == "é" * 400 and getattr(stored, "n_frames", 1) == 3
        for shift in range(3):
            stored.seek(shift)
            np.testing.assert_array_equal(np.asarray(stored.convert("RGB")), np.roll(image, shift, 1))
            assert stored.info["duration"] == 30


def test_a_finished_video_is_resumed_with_its_fractions(predictor: Predictor, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", REGULAR[:3])
    write_gif(tmp_path / "a.gif", [100, 100])
    sources, out = [tmp_path / "clip.mp4", tmp_path / "a.gif"], tmp_path / "out"
    first = predict_folder(predictor, sources, out, frame_masks=True)
    again = predict_folder(predictor, sources, out, frame_masks=True, resume=True)
    assert again.resumed == 2 and again.report == first.report
    mark = read_mark(out / "clip_overlay.mp4")
    assert mark is not None and (mark.model, mark.shares) == (fingerprint(predictor.model), {})
    assert json.loads(read_comment(out / "clip_overlay.mp4") or "")["width"] == 64
    (out / "a_overlay.gif").unlink()
    assert predict_folder(predictor, sources, out, frame_masks=True, resume=True).resumed == 1
    with pytest.raises(OutputExistsError, match=r"clip_overlay\.mp4: exists already"):
        for table in (*out.glob("*.json"), *out.glob("*.csv")):
            table.unlink()
        predict_folder(predictor, sources, out)
    assert predict_folder(predictor, sources, out, frame_masks=True, overwrite=True).resumed == 0


def test_outputs_beside_the_videos_are_no_inputs(predictor: Predictor, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", REGULAR[:2])
    write_gif(tmp_path / "a.gif", [100, 100])
    first = predict_folder(predictor, [tmp_path / "*.mp4", tmp_path / "*.gif"], tmp_path)
    sources = [tmp_path / name for name in ("clip.mp4", "clip_overlay.mp4", "a.gif", "a_overlay.gif")]
    again = predict_folder(predictor, sources, tmp_path, resume=True)
    assert again.resumed == again.image_count == 2 and again.report == first.report


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("1.png", r"contains 1\.png and would be replaced"),
        ("000001_mask.png", "was not made by pixelwise and would be replaced"),
        ("notes.txt", r"contains notes\.txt and would be replaced"),
    ],
)
def test_a_directory_with_other_files_is_not_replaced(
    name: str, fault: str, predictor: Predictor, tmp_path: Path
) -> None:
    path, folder = write_gif(tmp_path / "a.gif", [100, 100]), tmp_path / "out" / "a_masks"
    predict(predictor, path, tmp_path / "out")
    Image.fromarray(make_image(40, 60)).save(folder / name, "PNG")
    before = contents(tmp_path / "out")
    with pytest.raises(OutputExistsError, match=rf"a_masks: {fault}; choose another `out`"):
        predict_folder(predictor, [path], tmp_path / "out", frame_masks=True, overwrite=True)
    assert contents(tmp_path / "out") == before
    (folder / name).unlink()
    result = predict_folder(predictor, [path], tmp_path / "out", frame_masks=True, overwrite=True)
    assert not result.failed and len(list(folder.iterdir())) == 2


def test_a_directory_with_an_image_of_the_call_is_not_replaced(predictor: Predictor, tmp_path: Path) -> None:
    path, out = write_gif(tmp_path / "a.gif", [100, 100]), tmp_path / "out"
    predict(predictor, path, out)
    before = contents(out)
    with pytest.raises(OutputExistsError, match=r"a_masks: contains one of the images"):
        predict_folder(predictor, [path, out / "a_masks" / "000001_mask.png"], out, frame_masks=True, overwrite=True)
    assert contents(out) == before


def test_the_masks_of_images_and_of_frames_have_different_directories(predictor: Predictor, tmp_path: Path) -> None:
    write_gif(tmp_path / "in" / "a.gif", [100, 100])
    (tmp_path / "in" / "a_masks").mkdir()
    Image.fromarray(make_image(40, 60)).save(tmp_path / "in" / "a_masks" / "b.png")
    with pytest.raises(OutputExistsError, match=r"a_masks: would contain the masks of a video and of images"):
        predict(predictor, tmp_path / "in", tmp_path / "out")


def test_a_folder_gives_its_videos_and_not_the_outputs(predictor: Predictor, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", REGULAR[:2])
    write_gif(tmp_path / "a.gif", [100, 100])
    predict(predictor, tmp_path, tmp_path)
    assert {path.name for path, _ in find_images([tmp_path]).images} == {"clip.mp4", "a.gif"}


def test_the_masks_of_multilabel_models_have_one_file_per_class(
    multilabel_predictor: Predictor, tmp_path: Path
) -> None:
    write_gif(tmp_path / "a.gif", [100, 100])
    result = predict_folder(
        multilabel_predictor, [tmp_path / "a.gif"], tmp_path / "out", frame_masks=True, overlays="none"
    )
    assert not result.failed and not (tmp_path / "out" / "a_overlay.gif").exists()
    assert len(list((tmp_path / "out" / "a_masks").iterdir())) == 2 * 3
    assert (tmp_path / "out" / "a_masks" / "000002_mask_face.png").exists()


def test_few_frames_are_in_memory_at_once(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gif(tmp_path / "a.gif", [20] * 80)
    read, written, most = 0, 0, 0
    frames, add = GifReader.frames, VideoTally.add

    def count_read(self: GifReader) -> Iterator[Frame]:
        nonlocal read, most
        for frame in frames(self):
            read += 1
            most = max(most, read - written)
            yield frame

    def count_written(*arguments: object) -> None:
        nonlocal written
        written += 1
        add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(GifReader, "frames", count_read)
    monkeypatch.setattr(VideoTally, "add", count_written)
    counted: list[int] = []

    def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
        counted.append(total)
        return items

    result, _ = predict_video(predictor, path, {"overlay": tmp_path / "o.gif"}, "", progress=progress)
    assert (result.frame_count, read, written, counted) == (80, 80, 80, [80])
    assert most <= video._PREFETCHED_FRAMES + 2 * video._BATCH_SIZE + 2 * available_cpus() + 2


def test_errors_of_animations_have_a_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gif(tmp_path / "a.gif", [100, 100])
    with closing_reader(path) as reader:
        monkeypatch.setattr(reader._image, "seek", lambda number: 1 / 0)
        with pytest.raises(DataError, match=r"a\.gif: frame 1 is corrupt \(.*\); replace or remove the file"):
            list(reader.frames())
    for module, open_file, file in (
        (animated_gif, GifReader, path),
        (video_file, VideoReader, write_video(tmp_path / "a.mp4", REGULAR[:2])),
    ):
        monkeypatch.setattr(module, "MAX_PIXELS", 100)
        with pytest.raises(DataError, match="more pixels than the maximum of 100; make them smaller"):
            open_file(file)


@pytest.mark.parametrize("name", ["broken.mp4", "broken.gif"])
def test_a_broken_file_is_named_and_leaves_nothing(name: str, predictor: Predictor, tmp_path: Path) -> None:
    good = (
        write_video(tmp_path / "good.mp4", REGULAR) if name.endswith("mp4") else write_gif(tmp_path / "b.gif", [9, 9])
    )
    (tmp_path / name).write_bytes(good.read_bytes()[: len(good.read_bytes()) // 3])
    with Image.open(write_gif(tmp_path / "ok.gif", [100, 100])):
        result = predict_folder(predictor, [tmp_path / name, tmp_path / "ok.gif"], tmp_path / "out")
    assert [str(error).split(": ")[0] for error in result.failed] == [str(tmp_path / name)]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "ok_overlay.gif", "predictions.csv", "predictions.json",
    }  # fmt: skip


def test_a_file_without_video_and_frames_of_other_sizes_are_errors(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"text\.mp4: truncated or corrupt"):
        VideoReader(tmp_path / "text.mp4")

    class Changing:
        path, loop = tmp_path / "a.gif", 0

        def __init__(self, path: Path) -> None:
            self.frame_count = 2

        def frames(self) -> Iterator[Frame]:
            yield Frame(make_image(20, 30), 100)
            yield Frame(make_image(20, 31), 100)

        def close(self) -> None: ...

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video, "GifReader", Changing)
        with pytest.raises(DataError, match=r"a\.gif: its frames change their size"):
            predict_video(predictor, tmp_path / "a.gif", {"overlay": tmp_path / "o.gif"}, "")
    assert not (tmp_path / "o.gif").exists()


def test_without_pyav_videos_are_named_with_the_extra(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "clip.mp4", REGULAR[:2])
    Image.fromarray(make_image(40, 60)).save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(folder_files, "find_spec", lambda name: None)
    (problem,) = find_images([tmp_path]).problems
    assert "1 .mp4 (clip.mp4: pip install 'pixelwise[video]')" in str(problem)
    result = predict_folder(predictor, [tmp_path / "clip.mp4"], tmp_path / "out")
    (error,) = result.failed
    assert str(error).endswith("clip.mp4: reading a video needs PyAV; pip install 'pixelwise[video]'")
