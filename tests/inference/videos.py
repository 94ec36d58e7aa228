"""Small videos for tests, and reading them back with PyAV."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.inference.helpers import make_image

MILLISECOND = Fraction(1, 1000)


@dataclass(frozen=True)
class Video:
    """The content of a video file.

    Attributes:
        frames: (H, W, 3) uint8 RGB.
        times: the times of the frames in seconds.
        sound: the (time, content) of each packet of the sound.
    """

    frames: list[np.ndarray]
    times: list[float]
    sound: list[tuple[float, bytes]]


def write_video(path: Path, times: list[int], size: tuple[int, int] = (48, 64), sound: bool = False) -> Path:
    """Write a video of color blobs that move.

    Args:
        path: the file.
        times: the time of each frame in milliseconds.
        size: (height, width) in pixels.
        sound: add a tone.
    """
    image = make_image(*size)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        stream.options = {"crf": "10", "preset": "ultrafast"}
        if path.suffix != ".avi":
            stream.codec_context.time_base = MILLISECOND
        tone = (
            output.add_stream("mp3" if path.suffix == ".avi" else "aac", rate=44100, layout="mono") if sound else None
        )
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.roll(image, 3 * number, 1), format="rgb24")
            frame.pts, frame.time_base = time, MILLISECOND
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if tone is not None:
            wave = (np.sin(np.arange(44 * times[-1]) / 20) * 9000).astype(np.int16)
            for start in range(0, len(wave) - 1152, 1152):
                samples = av.AudioFrame.from_ndarray(wave[None, start : start + 1152], format="s16", layout="mono")
                samples.sample_rate, samples.pts, samples.time_base = 44100, start, Fraction(1, 44100)
                output.mux(tone.encode(samples))
            output.mux(tone.encode(None))
    return path


def read_video(path: Path) -> Video:
    """Decode a video file frame by frame."""
    frames, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            frames.append(frame.to_ndarray(format="rgb24"))
            times.append(float(frame.time or 0))
    with av.open(str(path)) as container:
        packets = list(container.demux(container.streams.audio)) if container.streams.audio else []
        sound = [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in packets
            if packet.size and packet.pts is not None and packet.time_base is not None
        ]
    return Video(frames, times, sound)
