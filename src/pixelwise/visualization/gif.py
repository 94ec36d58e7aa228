"""Images joined into an animation."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from pixelwise.runtime.files import atomic_write

_WIDEST = 900


# One fewer than GIF holds: Pillow makes the last one transparent and stores only what changed since the frame
# before. Eight sample sheets took 0.29 MB, and 1.41 MB with 256 colors.
_COLORS = 255


_LAST_FRAME_HELD = 4  # times as long as the others, so that one can look at the result


def make_gif(images: Sequence[Path], out: Path, milliseconds: int = 600) -> None:
    """Join image files into one animated GIF at `out` that repeats for ever.

    images: files that Pillow reads, in order. Images wider than 900 pixels are all scaled down by one
    factor; where sizes differ, smaller ones are set at the upper left of a white frame as large as the
    largest. Each frame has the 255 colors that suit it best. milliseconds: time for each frame, in GIF's
    steps of 10; the last is held four times as long. An image equal to the one before it lengthens that
    frame instead of making another.

    Raises ValueError for no images or fewer than 20 milliseconds (which browsers slow down).

    >>> make_gif(sorted(Path("run/samples").glob("epoch_*.png")), Path("run/samples.gif"))  # doctest: +SKIP
    """
    if not images:
        raise ValueError("an animation needs at least one image")
    if milliseconds < 20:
        raise ValueError(f"a frame lasts at least 20 milliseconds, not {milliseconds}")
    shown = [_size(path) for path in images]
    scale = min(1.0, _WIDEST / max(width for width, _ in shown))
    sizes = [(max(1, round(width * scale)), max(1, round(height * scale))) for width, height in shown]
    canvas = max(width for width, _ in sizes), max(height for _, height in sizes)
    frames = [_frame(path, size, canvas) for path, size in zip(images, sizes, strict=True)]
    durations = [milliseconds] * (len(frames) - 1) + [milliseconds * _LAST_FRAME_HELD]
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
    with Image.open(path) as image:
        return image.size


def _frame(path: Path, size: tuple[int, int], canvas: tuple[int, int]) -> Image.Image:
    """Return the image at `path`, `size` large, upper left on a white `empty_rle`, in its best colors."""
    with Image.open(path) as image:
        colors = image.convert("RGB")
    if colors.size != size:
        colors = colors.resize(size, Image.Resampling.LANCZOS)
    whole = Image.new("RGB", canvas, (255, 255, 255))
    whole.paste(colors, (0, 0))
    return whole.quantize(_COLORS)
