"""Make the images of README.md and docs/gallery.md: draw data sets, train on them, and predict their test images.

usage: python docs/make_gallery.py [--runs FOLDER] [--photo FILE --pets-run RUN]

Two data sets are drawn: streets and cells. Each training has the preset "default" and `EPOCHS`. The images show test
images, which the training has not used. A run that exists in FOLDER is not trained again.

With --photo and --pets-run, a model that was trained on Oxford-IIIT Pet predicts a photo of a cat.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

import pixelwise as pw
from pixelwise.data.demo.synthetic.painter import noise
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.visualization import prediction_grid

IMAGES = Path(__file__).parent / "images"
TRAIN, TEST, SIZE, EPOCHS = 96, 12, (288, 192), 16
SHOWN = 3
MAX_BYTES = 150_000

STREET = ("sky", "building", "tree", "road", "sidewalk", "car")
CELLS = ("background", "cell", "nucleus")

Scene = tuple[Image.Image, Image.Image]
"""An image and its mask."""


class Canvas:
    """An image and its mask, drawn together at twice their size."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng, self.size = rng, size
        self.image = Image.new("RGB", (2 * size[0], 2 * size[1]))
        self.mask = Image.new("L", self.image.size)

    def draw(self, shape: str, box: list[tuple[float, float]], color: np.ndarray, value: int | None) -> None:
        """Draw a shape of `ImageDraw` in both. `value` None leaves the mask as it is."""
        points = [(2 * x, 2 * y) for x, y in box]
        getattr(ImageDraw.Draw(self.image), shape)(points, fill=tuple(int(c) for c in np.clip(color, 0, 255)))
        if value is not None:
            getattr(ImageDraw.Draw(self.mask), shape)(points, fill=value)

    def finish(self, grain: float, blur: float = 0.0) -> Scene:
        """Reduce both to the final size, and add noise of a camera to the image."""
        image = self.image.filter(ImageFilter.GaussianBlur(blur)).resize(self.size, Image.Resampling.BOX)
        shape = (self.size[1], self.size[0])
        light = 0.85 + 0.3 * noise(self.rng, shape, 60)
        pixels = np.asarray(image, np.float32) * light[..., None] + self.rng.normal(0, grain, (*shape, 3))
        mask = self.mask.resize(self.size, Image.Resampling.NEAREST)
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), mask


def vary(rng: np.random.Generator, color: tuple[int, int, int], amount: float = 18) -> np.ndarray:
    """Return a color that differs a little in brightness and hue."""
    return np.array(color) + rng.normal(0, amount) + rng.normal(0, amount / 3, 3)


def draw_street(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Draw a street with houses, trees and cars."""
    canvas, (width, height) = Canvas(rng, size), size
    horizon = height * rng.uniform(0.45, 0.55)
    sky = vary(rng, [(150, 190, 230), (190, 195, 200), (120, 150, 200)][rng.integers(3)])
    canvas.draw("rectangle", [(0, 0), (width, height)], sky, 0)
    x = -rng.uniform(0, 30)
    while x < width:
        wide, top = rng.uniform(35, 80), horizon * rng.uniform(0.15, 0.75)
        wall = vary(rng, [(170, 120, 95), (190, 180, 165), (120, 125, 135), (205, 170, 120)][rng.integers(4)])
        canvas.draw("rectangle", [(x, top), (x + wide, horizon + 8)], wall, 1)
        pane, step = wall * rng.uniform(0.4, 0.7), rng.uniform(11, 16)
        for row in np.arange(top + 7, horizon - 8, step * 1.3):
            for column in np.arange(x + 6, x + wide - 9, step):
                canvas.draw("rectangle", [(column, row), (column + 5, row + 8)], pane, None)
        x += wide + (rng.uniform(5, 25) if rng.random() < 0.3 else 0)
    canvas.draw("rectangle", [(0, horizon + 3), (width, height)], vary(rng, (155, 150, 145)), 4)
    vanish, near = width * rng.uniform(0.3, 0.7), (-width * 0.15, width * 1.15)
    road = [(vanish - 12, horizon + 3), (vanish + 12, horizon + 3), (near[1], height), (near[0], height)]
    canvas.draw("polygon", road, vary(rng, (85, 85, 90), 10), 3)
    for start in np.linspace(0.05, 0.9, 6):
        y, length = horizon + (height - horizon) * start**1.5, 3 + 14 * start
        half = 0.5 + 2 * start
        canvas.draw("rectangle", [(vanish - half, y), (vanish + half, y + length)], np.full(3, 215), None)
    for _ in range(rng.integers(1, 5)):
        _draw_tree(canvas, rng.uniform(0, width), horizon + rng.uniform(5, 25))
    for depth in sorted(rng.uniform(0.15, 0.85, rng.integers(1, 4))):
        _draw_car(canvas, vanish, horizon, depth)
    return canvas.finish(grain=5, blur=0.7)


def _draw_tree(canvas: Canvas, x: float, foot: float) -> None:
    rng, tall = canvas.rng, canvas.rng.uniform(35, 70)
    canvas.draw("rectangle", [(x - 2, foot - tall * 0.6), (x + 2, foot)], vary(rng, (80, 60, 45)), 2)
    leaf = vary(rng, (70, 110, 55))
    for _ in range(40):
        radius = rng.uniform(4, 9)
        cx, cy = x + rng.normal(0, tall * 0.13), foot - tall * 0.75 + rng.normal(0, tall * 0.13)
        canvas.draw("ellipse", [(cx - radius, cy - radius), (cx + radius, cy + radius)], vary(rng, leaf, 12), 2)


def _draw_car(canvas: Canvas, vanish: float, horizon: float, depth: float) -> None:
    rng, (width, height) = canvas.rng, canvas.size
    scale = 10 + 55 * depth
    y = horizon + 6 + (height - horizon) * depth * 0.9
    x = vanish + rng.choice((-1, 1)) * depth * width * rng.uniform(0.15, 0.4)
    paint = vary(rng, [(170, 40, 40), (40, 70, 140), (220, 220, 220), (40, 42, 48), (200, 160, 40)][rng.integers(5)])
    canvas.draw("ellipse", [(x - scale * 0.75, y - 3), (x + scale * 0.75, y + 4)], np.full(3, 45), None)
    for side in (-0.45, 0.45):
        r = scale * 0.16
        canvas.draw("ellipse", [(x + side * scale - r, y - 2 * r), (x + side * scale + r, y)], np.full(3, 25), 5)
    canvas.draw("rectangle", [(x - scale * 0.7, y - scale * 0.45), (x + scale * 0.7, y - scale * 0.1)], paint, 5)
    roof = [(-0.5, -0.45), (-0.32, -0.78), (0.3, -0.78), (0.52, -0.45)]
    canvas.draw("polygon", [(x + a * scale, y + b * scale) for a, b in roof], paint, 5)
    glass = [(-0.4, -0.47), (-0.28, -0.72), (0.25, -0.72), (0.42, -0.47)]
    canvas.draw("polygon", [(x + a * scale, y + b * scale) for a, b in glass], vary(rng, (120, 150, 165)), None)


def draw_cells(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Draw stained cells with nuclei under a microscope, and dirt that is no cell."""
    canvas, (width, height) = Canvas(rng, size), size
    paper = vary(rng, (232, 218, 228), 8)
    canvas.draw("rectangle", [(0, 0), (width, height)], paper, 0)
    for _ in range(rng.integers(3, 9)):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(2, 6)
        canvas.draw("ellipse", [(x - r, y - r), (x + r, y + r)], vary(rng, (150, 120, 160)), None)
    body = vary(rng, (205, 140, 175), 10)
    for _ in range(rng.integers(9, 26)):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(11, 22)
        canvas.draw("polygon", _blob(rng, x, y, radius), vary(rng, tuple(body), 8), 1)
        inner = radius * rng.uniform(0.3, 0.5)
        dx, dy = rng.normal(0, radius * 0.12, 2)
        canvas.draw("polygon", _blob(rng, x + dx, y + dy, inner), vary(rng, (95, 60, 140), 10), 2)
    return canvas.finish(grain=7, blur=2.0)


def _blob(rng: np.random.Generator, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = [rng.normal(0, 0.09) * np.cos(k * angles + rng.uniform(0, 6.3)) for k in (2, 3, 4)]
    radii = radius * (1 + sum(waves))
    return list(zip(x + radii * np.cos(angles), y + radii * np.sin(angles), strict=True))


def write_scenes(root: Path, draw: Callable[[np.random.Generator, tuple[int, int]], Scene]) -> None:
    """Write a data set of two splits: folders of images and masks."""
    for split, count, seed in (("train", TRAIN, 0), ("test", TEST, 1)):
        rng = np.random.default_rng(seed)
        for folder in ("images", "masks"):
            (root / split / folder).mkdir(parents=True)
        for index in range(count):
            image, mask = draw(rng, SIZE)
            image.save(root / split / "images" / f"{index:03}.jpg", quality=92)
            mask.save(root / split / "masks" / f"{index:03}.png")


def make(name: str, draw: Callable[[np.random.Generator, tuple[int, int]], Scene], classes: tuple[str, ...],
         runs: Path) -> None:  # fmt: skip
    """Train on a data set, and draw predictions of its test images."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        write_scenes(folder, draw)
        data = pw.load_dataset(folder, classes=classes)
        if not (runs / name / "model.safetensors").exists():
            pw.train(data, runs / name, pw.Config.from_preset("default", epochs=EPOCHS), verbose=True)
        predictor = pw.Predictor.load(runs / name)
        metrics = pw.evaluate(runs / name, data, split="test").metrics
        records = data.test[:SHOWN]
        pairs = [read_image_and_mask(record, data.read_spec) for record in records]
        masks = [predictor(image).mask for image, _ in pairs]
        title = f"test mIoU {metrics.mean_iou:.2f}"
        images, truths = zip(*pairs, strict=True)
        grid = prediction_grid(images, truths, masks, data.classes, predictor.model.config.palette, title, width=760)
    save(grid, IMAGES / f"gallery-{name}.jpg")
    print(f"{name}: {title}")


def make_photo(photo: Path, run: Path) -> None:
    """Draw a photo and the prediction of a model side by side."""
    prediction = pw.Predictor.load(run)(photo)
    image = Image.open(photo).convert("RGB")
    sheet = Image.new("RGB", (2 * image.width + 8, image.height), "white")
    sheet.paste(image, (0, 0))
    sheet.paste(prediction.overlay(), (image.width + 8, 0))
    save(sheet, IMAGES / "cat.jpg")


def save(image: Image.Image, path: Path) -> None:
    """Save an image as a JPEG of at most `MAX_BYTES`."""
    for quality in range(90, 40, -5):
        image.convert("RGB").save(path, quality=quality, optimize=True)
        if path.stat().st_size <= MAX_BYTES:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/gallery"), help="directory of the trainings")
    parser.add_argument("--photo", type=Path, help="a photo of a cat or dog")
    parser.add_argument("--pets-run", type=Path, help="run of a model that was trained on Oxford-IIIT Pet")
    arguments = parser.parse_args()
    make("street", draw_street, STREET, arguments.runs)
    make("cells", draw_cells, CELLS, arguments.runs)
    if arguments.photo:
        make_photo(arguments.photo, arguments.pets_run)


if __name__ == "__main__":
    main()
