"""Reading and writing of video files with PyAV, one frame at a time. The sound is copied without decoding it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.image_formats import VIDEO_SUFFIXES
from pixelwise.errors import DataError, first_line
from pixelwise.inference.animated_gif import Frame

if TYPE_CHECKING:
    import av

_CONTAINERS = {"mp4": "mp4", "m4v": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm"}
"""Suffix → FFmpeg's name of the container. Other videos are written as .mkv, which can contain any sound."""

_MAX_PACKETS = 64
"""Number of successive packets that cannot be decoded, from which on a video counts as damaged."""

_MPEG4 = "mpeg4"
"""FFmpeg's name of the encoder for MPEG-4 part 2."""

_MAX_MPEG4_DENOMINATOR = (1 << 16) - 1
"""Maximum denominator of the time base of MPEG-4 part 2."""

_MPEG4_TIME_BASE = Fraction(1, 60_000)
"""Time base of MPEG-4 files for videos with a finer one, such as 1/90000. Times are rounded by at most 9 µs."""

_MPEG4_QUALITY = 3 * 118
"""Quantizer 3 of 31, in FFmpeg's units of 1/118. Lower ones give larger files with less loss."""

_BT709 = 1
"""FFmpeg's number of the color space of HD video, of its primaries and of its transfer function."""


def is_video(path: Path) -> bool:
    """Return True if a file has the suffix of a video."""
    return path.suffix.lower().removeprefix(".") in VIDEO_SUFFIXES


def output_suffix(path: Path) -> str:
    """Return the suffix of the overlay of a video: that of the video, or ".mkv" for old containers.

    >>> output_suffix(Path("clip.MOV")), output_suffix(Path("clip.avi"))
    ('.mov', '.mkv')
    """
    suffix = path.suffix.lower()
    return suffix if suffix.removeprefix(".") in _CONTAINERS else ".mkv"


def _import_av(path: Path) -> Any:
    try:
        import av
    except ImportError:
        raise DataError(f"{path}: reading a video needs PyAV; pip install 'pixelwise[video]'") from None
    return av


class VideoReader:
    """The frames and the sound of a video file. FFmpeg decodes in its own threads, ahead of the caller.

    Args:
        path: the file.

    Attributes:
        size: (height, width) of the decoded frames in pixels, before they are rotated upright.
        frame_count: number of frames that the file states, or an estimate from its duration. At least 1.
        rate: mean number of frames per second.
        time_base: unit of the time stamps of frames in seconds.
        audio: the streams of the sound.

    Raises:
        DataError: The file cannot be read or has no video, or PyAV is not installed. The message names the file.
    """

    def __init__(self, path: Path) -> None:
        self._av, self.path = _import_av(path), path
        try:
            self.container = self._av.open(str(path))
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise DataError(f"{path}: truncated or corrupt ({first_line(error)}); replace or remove it") from None
        stream = self.container.streams.best("video")
        if stream is None:
            self.container.close()
            raise DataError(f"{path}: has no video; replace or remove it")
        self.stream: av.VideoStream = stream
        self.stream.thread_type = "AUTO"
        self.audio = tuple(self.container.streams.audio)
        self.rate = self.stream.average_rate or self.stream.base_rate or Fraction(25)
        self.time_base = self.stream.time_base or 1 / Fraction(self.rate)
        self.size = self.stream.height, self.stream.width
        duration = self.stream.duration * self.time_base if self.stream.duration else 0
        if not duration and self.container.duration:
            duration = Fraction(self.container.duration, self._av.time_base)
        self.frame_count = max(1, self.stream.frames or int(duration * self.rate))
        if self.size[0] * self.size[1] > MAX_PIXELS:
            self.container.close()
            raise DataError(
                f"{path}: its frames have more pixels than the maximum of {MAX_PIXELS:,}; make them smaller"
            )

    def items(self) -> "Iterator[Frame | av.Packet[Any]]":
        """Yield the frames and the packets of the sound in the order of the file.

        Packets that cannot be decoded are left out, as players do.

        Raises:
            DataError: No frame can be decoded, or many packets in a row cannot.
        """
        errors, last, count = 0, -1, 0
        streams = (self.stream, *self.audio)
        for packet in self._packets(streams):
            if packet.stream is not self.stream:
                if packet.dts is not None:
                    yield packet
                continue
            try:
                frames = packet.decode()
            except self._av.error.FFmpegError as error:
                errors += 1
                if errors >= _MAX_PACKETS:
                    fault = f"corrupt after frame {count} ({first_line(error)})"
                    raise DataError(f"{self.path}: {fault}; cut it there, or remove it") from None
                continue
            errors = 0
            for frame in frames:
                last = max(last + 1, frame.pts if frame.pts is not None else self._step(count))
                count += 1
                yield Frame(upright(frame.to_ndarray(format="rgb24"), frame.rotation), last)
        if not count:
            raise DataError(f"{self.path}: none of its frames can be decoded; replace or remove it")

    def _packets(self, streams: "tuple[av.stream.Stream, ...]") -> "Iterator[av.Packet[Any]]":
        """Yield the packets of the streams. They end at the first error, as in a file that is cut off."""
        with suppress(self._av.error.FFmpegError):
            yield from self.container.demux(*streams)

    def _step(self, count: int) -> int:
        """Return the time of a frame without a time stamp, in units of the time base, from its number."""
        return int(count / Fraction(self.rate) / self.time_base)

    def close(self) -> None:
        """Close the file."""
        self.container.close()


class VideoWriter:
    """Write frames, and the sound of a video, to a new file.

    The frames have the time stamps of the video, so that a variable frame rate is kept. The codec is VP9 in .webm, else
    H.264, or MPEG-4 if FFmpeg has been built without x264.

    Args:
        path: the new file. Its suffix is that of `output_suffix`.
        reader: the video.
        size: (height, width) of the frames in pixels.
        comment: a text to store in the file.

    Raises:
        DataError: FFmpeg cannot encode the frames or copy the sound. The message names the video. The methods raise it
            as well.
    """

    def __init__(self, path: Path, reader: VideoReader, size: tuple[int, int], comment: str = "") -> None:
        self._av, self._reader = _import_av(path), reader
        self._last = -1
        with self._data_errors():
            self._open(path, size, comment)

    def _open(self, path: Path, size: tuple[int, int], comment: str) -> None:
        av, reader = self._av, self._reader
        container = _CONTAINERS[path.suffix.lower().removeprefix(".")]
        # The index in front lets a browser play the file before it is loaded.
        options = {"movflags": "+faststart"} if container in ("mp4", "mov") else {}
        self._output = av.open(str(path), "w", format=container, options=options)
        self._output.metadata["comment"] = comment
        codec, settings = _codec(container)
        stream = self._output.add_stream(codec, rate=reader.rate)
        stream.height, stream.width = size
        # Colors at half the resolution (4:2:0) need an even size, except in MPEG-4. Fewer players support 4:4:4.
        is_even = size[0] % 2 == 0 and size[1] % 2 == 0
        stream.pix_fmt = "yuv420p" if is_even or codec == _MPEG4 else "yuv444p"
        stream.options = settings
        is_exact = codec != _MPEG4 or reader.time_base.denominator <= _MAX_MPEG4_DENOMINATOR
        self._time_base = reader.time_base if is_exact else _MPEG4_TIME_BASE
        stream.codec_context.time_base = self._time_base
        for name in ("colorspace", "color_primaries", "color_trc"):
            setattr(stream.codec_context, name, _BT709)
        self._stream = stream
        self._sounds = {audio.index: self._output.add_stream_from_template(audio) for audio in reader.audio}

    def write(self, image: np.ndarray, time: int) -> None:
        """Append a frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            time: its time in units of the reader's time base.
        """
        frame = self._av.VideoFrame.from_ndarray(image, format="rgb24")
        frame = frame.reformat(format=self._stream.pix_fmt, dst_colorspace="ITU709")
        self._last = max(self._last + 1, round(time * self._reader.time_base / self._time_base))
        frame.pts, frame.time_base = self._last, self._time_base
        with self._data_errors():
            self._output.mux(self._stream.encode(frame))

    def copy_sound(self, packet: "av.Packet[Any]") -> None:
        """Append a packet of the sound."""
        packet.stream = self._sounds[packet.stream.index]
        with self._data_errors():
            self._output.mux(packet)

    def finish(self) -> None:
        """Write the last frames and close the file."""
        with self._data_errors():
            self._output.mux(self._stream.encode(None))
        self.close()

    def close(self) -> None:
        """Close the file. It is incomplete unless `finish` was called."""
        with self._data_errors():
            self._output.close()

    @contextmanager
    def _data_errors(self) -> Iterator[None]:
        """Convert errors of FFmpeg to DataError, except those of the disk and of memory."""
        try:
            yield
        except (OSError, MemoryError):  # some errors of FFmpeg have these types too
            raise
        except (self._av.error.FFmpegError, ValueError) as error:  # ValueError: the container cannot have this codec
            fault = f"its overlay cannot be encoded ({first_line(error)})"
            raise DataError(f"{self._reader.path}: {fault}; convert the video to MP4 with H.264 and AAC") from None


def read_comment(path: Path) -> str | None:
    """Return the comment of a video file, or None if there is none or the file cannot be read."""
    with suppress(Exception):  # PyAV is missing, or the file is damaged
        import av

        with av.open(str(path)) as container:
            return next((text for key, text in container.metadata.items() if key.lower() == "comment"), None)
    return None


def upright(image: np.ndarray, rotation: int) -> np.ndarray:
    """Rotate a frame as its file states, for example for a video that a phone took upright.

    Args:
        image: (H, W, 3) the decoded frame.
        rotation: the rotation for display in degrees, counterclockwise, a multiple of 90.

    >>> upright(np.array([[[1], [2]]]), 90)[..., 0].tolist()
    [[2], [1]]
    """
    turns = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _codec(container: str) -> tuple[str, dict[str, str]]:
    """Return FFmpeg's name of the encoder for a container, and its options."""
    import av

    if container == "webm":
        return "libvpx-vp9", {"crf": "31", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}
    if "libx264" in av.codecs_available:
        return "libx264", {"crf": "18", "preset": "veryfast"}
    return _MPEG4, {"flags": "+qscale", "global_quality": str(_MPEG4_QUALITY)}
