"""Prediction of videos and animated GIF files: an overlay of all frames, and on request one mask per frame."""

import csv
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from pixelwise.data.io.image_size import GROUP_BYTES
from pixelwise.errors import DataError
from pixelwise.inference.animated_gif import Frame, GifReader, GifWriter, is_animated_gif
from pixelwise.inference.file_names import mask_kinds
from pixelwise.inference.image_predictor import ImagePredictor, Output
from pixelwise.inference.inputs import from_array
from pixelwise.inference.output_options import MaskStyle
from pixelwise.inference.outputs import Mark, digest, write_outputs
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.sources import ImageSource
from pixelwise.inference.tables import image_cell
from pixelwise.inference.video_counts import VideoPrediction, VideoTally
from pixelwise.inference.video_file import VideoReader, VideoWriter, is_video, output_suffix
from pixelwise.runtime.atomic import atomic_directory, atomic_write
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import available_cpus, batched, prefetch
from pixelwise.visualization import add_legend

if TYPE_CHECKING:
    import av

FRAMES_KIND = "masks"
"""Kind of the directory with one mask per frame."""

FRAME_MASK = re.compile(r"\d{6,}_mask.*\.png", re.DOTALL)
"""Names of the files in this directory."""

_BATCH_SIZE = 8
"""Maximum number of frames per forward pass."""

_PREFETCHED_FRAMES = 8
"""Number of frames that are decoded ahead."""


def is_moving(path: ImageSource) -> bool:
    """Return True if a local file is a video or an animated GIF."""
    return isinstance(path, Path) and (is_video(path) or is_animated_gif(path))


def video_files(path: Path, files: Mapping[str, Path], frame_masks: bool) -> dict[str, Path]:
    """Return the output files of a video.

    Args:
        path: the video.
        files: the output files that an image of this name would have.
        frame_masks: True for one mask per frame.

    Returns:
        Kind → file: "overlay" for the overlay video, if `files` has an overlay, and "masks" for the directory of the
        masks, if `frame_masks` is True.
    """
    suffix = output_suffix(path) if is_video(path) else ".gif"
    result = {"overlay": files["overlay"].with_suffix(suffix)} if "overlay" in files else {}
    if frame_masks:
        kind, file = next((kind, file) for kind, file in files.items() if kind != "overlay")
        result[FRAMES_KIND] = file.with_name(f"{file.stem.removesuffix(kind)}{FRAMES_KIND}")
    return result


def predict_video(
    predictor: ImagePredictor[Output],
    path: Path,
    files: Mapping[str, Path],
    model: str,
    masks: MaskStyle = "index",
    progress: Progress = no_progress,
    clean: Callable[[Prediction], Prediction] = lambda prediction: prediction,
) -> tuple[VideoPrediction, Mark]:
    """Predict all frames of a video, and write its overlay and its masks. The memory does not depend on its length.

    The overlay has the size, the time stamps and the sound of the video. Its legend lists all classes. The masks are
    000001_mask.png, … in the directory `files["masks"]`.

    Args:
        predictor: the model.
        path: the video or animated GIF.
        files: see `video_files`.
        model: the `fingerprint` of the model.
        masks: the values of the masks, see `Prediction.mask_images`.
        progress: counts frames.
        clean: a function that changes the prediction of each frame.

    Returns:
        The counts, and the mark of the files with the fractions of the classes. The mark in the files has no fractions.

    Raises:
        DataError: The video cannot be read, the model cannot use its frames, or the memory does not suffice. Nothing
            has been written.
        OutputError: A file cannot be written.
        ConfigError: The model does not contain the values of `masks`.
    """
    reader: VideoReader | GifReader = VideoReader(path) if is_video(path) else GifReader(path)
    with closing(reader), ExitStack() as stack:
        tally = VideoTally(predictor.config)
        output = _Output(stack, reader, files, Mark(model, digest(path), 0, 0, {}, masks))
        items = reader.items() if isinstance(reader, VideoReader) else reader.frames()
        frames = output.frames(prefetch(items, _PREFETCHED_FRAMES))
        with closing(_predict_frames(predictor, frames, output, clean)) as drawn:
            for frame in progress(drawn, reader.frame_count):
                tally.add(frame.prediction)
                output.write(frame)
        output.finish()
    result = tally.result()
    fractions = {name: round(fraction, 6) for name, fraction in result.class_fractions.items()}
    return result, output.mark(fractions)


def read_fractions(table: Path, path: Path, classes: tuple[str, ...]) -> dict[str, float]:
    """Return the class fractions of a video from predictions.csv, for a prediction that is resumed.

    Args:
        table: predictions.csv, with all rows of the video.
        path: the video.
        classes: class names in index order.

    Returns:
        Class name → fraction in [0, 1].
    """
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["image"] == image_cell(path)]
    return {name: float(row["fraction"]) for name, row in zip(classes, rows, strict=False)}


class _Drawn(NamedTuple):
    """A frame with its prediction and its overlay. The overlay is None if none is written."""

    frame: Frame
    prediction: Prediction
    overlay: Image.Image | None


class _Output:
    """The output files of a video. They are complete, or absent if an error is raised."""

    def __init__(
        self, stack: ExitStack, reader: VideoReader | GifReader, files: Mapping[str, Path], mark: Mark
    ) -> None:
        self._stack, self._reader, self._files, self._mark = stack, reader, files, mark
        self._writer: VideoWriter | GifWriter | None = None
        self._early: list[av.Packet[Any]] = []
        self._folder: Path | None = None
        self._number = 0
        self.has_overlay = "overlay" in files

    def mark(self, fractions: dict[str, float]) -> Mark:
        """Return the mark of the files with the fractions of the classes."""
        mark = self._mark
        return Mark(mark.model, mark.image, mark.width, mark.height, fractions, mark.masks)

    def frames(self, items: "Iterator[Frame | av.Packet[Any]]") -> Iterator[Frame]:
        """Yield the frames of a reader's items, and copy the sound. The first frame opens the output files."""
        with closing(items):  # type: ignore[type-var]
            for item in items:
                if isinstance(item, Frame):
                    if self._mark.height == 0:
                        self._open(item.image.shape[0], item.image.shape[1])
                    elif item.image.shape[:2] != (self._mark.height, self._mark.width):
                        raise DataError(f"{self._reader.path}: its frames change their size; cut the video there")
                    yield item
                elif isinstance(self._writer, VideoWriter):
                    self._writer.copy_sound(item)
                elif self.has_overlay:
                    self._early.append(item)

    def _open(self, height: int, width: int) -> None:
        mark = self._mark = Mark(self._mark.model, self._mark.image, width, height, {}, self._mark.masks)
        if FRAMES_KIND in self._files:
            self._folder = self._stack.enter_context(atomic_directory(self._files[FRAMES_KIND], replace=True))
        if not self.has_overlay:
            return
        part = self._stack.enter_context(atomic_write(self._files["overlay"]))
        if isinstance(self._reader, VideoReader):
            self._writer = self._stack.enter_context(
                closing(VideoWriter(part, self._reader, (height, width), mark.to_text()))
            )
            for packet in self._early:
                self._writer.copy_sound(packet)
            self._early.clear()
        else:
            file = self._stack.enter_context(part.open("wb"))
            self._writer = self._stack.enter_context(
                GifWriter(file, (height, width), self._reader.loop, mark.to_text())
            )

    def draw(self, prediction: Prediction) -> Image.Image | None:
        """Return the overlay of a frame. The legend is the same in all frames."""
        if not self.has_overlay:
            return None
        drawn = prediction.overlay(legend=False)
        classes, palette = prediction.task.display_classes(prediction.classes, prediction.palette)
        uncolored = prediction.task.display_background(len(prediction.classes), prediction.background)
        every = np.full((drawn.height, drawn.width), 255, np.uint8)
        every.reshape(-1)[every.size // 2 :][: len(classes)] = np.arange(len(classes))[: every.size // 2]
        add_legend(drawn, every, classes, palette, uncolored)
        return drawn

    def write_masks(self, number: int, prediction: Prediction) -> None:
        """Write the masks of a frame. Frames are numbered from 1."""
        if self._folder is not None:
            kinds = mask_kinds(prediction.task, prediction.classes)
            files = {kind: self._folder / f"{number:06d}_{kind}.png" for kind in kinds}
            write_outputs(prediction, self._mark, files)

    def write(self, drawn: _Drawn) -> None:
        """Append a frame to the overlay, if there is one."""
        if drawn.overlay is None:
            return
        if isinstance(self._writer, VideoWriter):
            self._writer.write(np.asarray(drawn.overlay), drawn.frame.time)
        elif self._writer is not None:
            self._writer.write(drawn.overlay, drawn.frame.time)

    def finish(self) -> None:
        """Write the last frames of the overlay."""
        if isinstance(self._writer, VideoWriter):
            self._writer.finish()


def _predict_frames(
    predictor: ImagePredictor[Output],
    frames: Iterator[Frame],
    files: _Output,
    clean: Callable[[Prediction], Prediction],
) -> Generator[_Drawn, None, None]:
    """Predict and draw frames in order. Threads draw them while the model computes the next ones."""
    config = predictor.config
    threads = available_cpus()
    pending: deque[Future[_Drawn]] = deque()
    number = 0

    def draw(number: int, frame: Frame, image: np.ndarray, output: Output) -> _Drawn:
        prediction = predictor.to_prediction(image, output, packed=True)
        if isinstance(prediction, DataError):
            raise prediction
        prediction = clean(prediction)
        files.write_masks(number, prediction)
        return _Drawn(frame, prediction, files.draw(prediction))

    with ThreadPoolExecutor(threads) as pool:
        try:
            for group in batched(frames, _BATCH_SIZE, lambda frame: frame.image.nbytes, GROUP_BYTES):
                images = [from_array(frame.image, config) for frame in group]
                for frame, image, output in zip(group, images, predictor.outputs_each(images), strict=True):
                    if isinstance(output, DataError):
                        raise output
                    number += 1
                    pending.append(pool.submit(draw, number, frame, image, output))
                    if len(pending) > 2 * threads:
                        yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
