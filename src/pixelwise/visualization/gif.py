"""Join images into an animated GIF."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from pixelwise.runtime.atomic import atomic_write

_MAX_WIDTH = 900
"""Maximum width of an animation in pixels. Wider images are scaled down."""

# One color fewer than GIF allows. Pillow uses the last color as transparent and stores only the pixels that changed
# since the previous frame. With 255 colors, eight sample grids take 0.29 MB. With 256 colors, they take 1.41 MB.
_COLORS = 255

_LAST_FRAME_FACTOR = 4
"""Duration of the last frame, which shows the result, divided by the duration of the other frames."""


def make_gif(images: Sequence[Path], out: Path, milliseconds: int = 600) -> None:
    """Join PNG files into one animated GIF that repeats forever.

    If an image is wider than 900 pixels, all images are scaled down by the same factor. An image smaller than the
    frame is placed at the upper left, and the rest of the frame is white. Each frame has its own 255 colors. If an
    image equals the one before it, the earlier frame lasts longer instead. The last frame lasts four times as long as
    the others.

    Args:
        images: PNG files, in order.
        out: the GIF file. An existing file is replaced in one step.
        milliseconds: duration of a frame, at least 20. It is rounded down to a multiple of 10.

    Raises:
        ValueError: There are no images, or `milliseconds` is below 20. Browsers play such animations slower.
        OSError: An image cannot be read.
        OutputError: The GIF file cannot be written.

    >>> make_gif(sorted(Path("run/samples").glob("epoch_*.png")), Path("run/samples.gif"))  # doctest: +SKIP
    """
    if not images:
        raise ValueError("an animation needs at least one image")
    if milliseconds < 20:
        raise ValueError(f"`milliseconds` is {milliseconds}; a frame lasts at least 20 milliseconds")
    original_sizes = [_size(path) for path in images]
    scale = min(1.0, _MAX_WIDTH / max(width for width, _ in original_sizes))
    sizes = [(max(1, round(width * scale)), max(1, round(height * scale))) for width, height in original_sizes]
    frame_size = max(width for width, _ in sizes), max(height for _, height in sizes)
    frames = [_frame(path, size, frame_size) for path, size in zip(images, sizes, strict=True)]
    durations = [milliseconds] * (len(frames) - 1) + [milliseconds * _LAST_FRAME_FACTOR]
    with atomic_write(out) as path:
        frames[0].save(
            path,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
            disposal=1,
        )


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path, formats=("PNG",)) as image:
        return image.size


def _frame(path: Path, size: tuple[int, int], frame_size: tuple[int, int]) -> Image.Image:
    """Read an image, resize it to `size`, place it at the upper left of a white frame, and reduce it to 255 colors."""
    with Image.open(path, formats=("PNG",)) as image:
        colors = image.convert("RGB")
    if colors.size != size:
        colors = colors.resize(size, Image.Resampling.LANCZOS)
    frame = Image.new("RGB", frame_size, (255, 255, 255))
    frame.paste(colors, (0, 0))
    return frame.quantize(_COLORS)
