"""The sides of predict_speed.py, each in a process of its own."""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _common import Job, Turns, run_side
from PIL import Image

if TYPE_CHECKING:
    from pixelwise.inference.image_predictor import ImagePredictor

SIZE, BATCH = 128, 16
CLASSES = 3
PASSES = 4
"""Number of passes over the images of the fast sides, so that a turn takes about a second."""

Timed = tuple[float, int]
"""Seconds, and the number of images."""


def timed(function: Callable[[], Any], count: int) -> Timed:
    """Return the seconds of a call, and its number of images."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started, count


def take_turns(turns: Turns, rounds: int, measure: Callable[[], dict[str, Any]], **first: Any) -> None:
    """Measure once to warm up, report `first`, and measure in each turn."""
    measure()
    turns.wait(**first)
    for _ in range(rounds):
        turns.wait(**measure())


# --- pixelwise


def pixelwise_run(turns: Turns, folder: str, outputs: str, model: str, rounds: int) -> None:
    """Measure a run with PyTorch: files, the network alone, and single images."""
    import torch

    import pixelwise as pw
    from pixelwise.runtime.process import configure

    configure()
    predictor = pw.Predictor.load(model, "cpu")
    batch = torch.zeros(BATCH, 3, *predictor.size, dtype=torch.uint8)
    files = sorted(Path(folder).iterdir())
    passes = max(1, len(files) // BATCH)

    def measure() -> dict[str, Any]:
        return {
            "folder": timed(lambda: pw.predict_folder(predictor, files, tempfile.mkdtemp(dir=outputs)), len(files)),
            "network": timed(lambda: [predictor.forward(batch) for _ in range(passes)], passes * BATCH),
            "single": timed(lambda: [predictor(file) for file in files[:BATCH]], len(files[:BATCH])),
            **measure_files(predictor, files, outputs),
        }

    take_turns(turns, rounds, measure)


def exported(turns: Turns, folder: str, outputs: str, path: str, split: str, rounds: int) -> None:
    """Measure an exported file: files, images of the size of the network, and single images."""
    from pixelwise.inference.exported.predictor import ExportedPredictor

    predictor = ExportedPredictor.load(path)
    files = sorted(Path(folder).iterdir())
    with np.load(split) as arrays:
        images, masks = list(arrays["images"]), arrays["masks"]

    def predict() -> list[Any]:
        return predictor.outputs(images)

    def measure() -> dict[str, Any]:
        network = timed(lambda: [predict() for _ in range(PASSES)], PASSES * len(images))
        return {"network": network, **measure_files(predictor, files, outputs)}

    take_turns(turns, rounds, measure, miou=mean_iou(masks, np.stack([each.mask for each in predict()])))


def measure_files(predictor: "ImagePredictor[Any]", files: Sequence[Path], outputs: str) -> dict[str, Any]:
    """Measure the masks of files, and the milliseconds from the bytes of each JPEG file to its mask."""
    from pixelwise.inference.batch import predict_folder

    masks = timed(lambda: predict_folder(predictor, files, tempfile.mkdtemp(dir=outputs), write=["mask"]), len(files))
    latency = []
    for content in [file.read_bytes() for file in files]:
        seconds, _ = timed(lambda content=content: predictor(content).mask, 1)
        latency.append(1000 * seconds)
    return {"masks": masks, "latency": latency}


def mean_iou(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean IoU over the classes of masks. 255 is ignored."""
    labeled = true < CLASSES
    pairs = true[labeled].astype(np.int64) * CLASSES + predicted[labeled]
    confusion = np.bincount(pairs, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    both = np.diag(confusion)
    return float(np.mean(both / np.maximum(1, confusion.sum(0) + confusion.sum(1) - both)))


# --- the peers


def smp(turns: Turns, folder: str, outputs: str, train: str, rounds: int, encoder: str, steps: int) -> None:
    """Measure a U-Net of segmentation_models_pytorch.

    It is trained for some steps before, so that its masks are not noise, which takes longer to compress.
    """
    import segmentation_models_pytorch
    import torch
    import torch.nn.functional as F

    torch.manual_seed(0)
    model = segmentation_models_pytorch.Unet(f"tu-{encoder}", encoder_weights=None, classes=CLASSES)
    with np.load(train) as arrays:
        images, masks = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["masks"]).long()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for indices in itertools.islice(itertools.cycle(torch.randperm(len(images)).split(BATCH)), steps):
        F.cross_entropy(model(normalize(images[indices])), masks[indices], ignore_index=255).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    files = sorted(Path(folder).iterdir())
    colors = np.array([(230, 159, 0), (86, 180, 233), (0, 158, 115)], np.uint8)
    loader = torch.utils.data.DataLoader(ImageFiles(files), BATCH, num_workers=os.cpu_count() or 1)

    def one_by_one(out: Path) -> None:
        for file in files:
            image = Image.open(file).convert("RGB")
            mask = to_mask(model(normalize(read_small(image)[None]))[0], *image.size)
            Image.fromarray(mask).save(out / f"{file.stem}_mask.png")
            Image.blend(image, Image.fromarray(colors[mask]), 0.5).save(out / f"{file.stem}_overlay.png")

    def in_batches(out: Path) -> None:
        for pixels, indices, widths, heights in loader:
            for logits, index, width, height in zip(model(normalize(pixels)), indices, widths, heights, strict=True):
                Image.fromarray(to_mask(logits, int(width), int(height))).save(out / f"{files[index].stem}.png")

    def to_mask(logits: torch.Tensor, width: int, height: int) -> np.ndarray:
        resized = F.interpolate(logits[None], (height, width), mode="bilinear")
        return resized.argmax(1)[0].byte().numpy()

    def network() -> list[torch.Tensor]:
        return [model(normalize(part)).argmax(1) for part in images.split(BATCH)]

    def measure() -> dict[str, Any]:
        with torch.inference_mode():
            return {
                "folder": timed(lambda: one_by_one(Path(tempfile.mkdtemp(dir=outputs))), len(files)),
                "masks": timed(lambda: in_batches(Path(tempfile.mkdtemp(dir=outputs))), len(files)),
                "network": timed(network, len(images)),
            }

    take_turns(turns, rounds, measure)


def normalize(images: Any) -> Any:
    """Return (N, H, W, 3) uint8 images as the encoder takes them, (N, 3, H, W) float32."""
    return (images.permute(0, 3, 1, 2).float() - 127) / 128


def read_small(image: Image.Image) -> Any:
    """Return an image at the size of the network, (SIZE, SIZE, 3) uint8."""
    import torch

    return torch.from_numpy(np.array(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))


class ImageFiles:
    """The images of files at the size of the network, with their own sizes, for a DataLoader."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int, int, int]:
        """Return the image, its index, its width and its height."""
        with Image.open(self.files[index]) as file:
            image = file.convert("RGB")
        return read_small(image), index, *image.size


def yolo(turns: Turns, path: str, rounds: int, count: int) -> None:
    """Measure a network of Ultralytics in ONNX Runtime: one image with all threads, and one image in each thread."""
    import onnxruntime

    def open_file(threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    cores = len(os.sched_getaffinity(0))
    together, alone = open_file(cores), open_file(1)
    inputs = {together.get_inputs()[0].name: np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32)}
    with ThreadPoolExecutor(cores) as pool:
        take_turns(turns, rounds, lambda: {
            "all threads": timed(lambda: [together.run(None, inputs) for _ in range(count)], count),
            "a thread each": timed(lambda: list(pool.map(lambda _: alone.run(None, inputs), range(count))), count),
        })  # fmt: skip


JOBS: dict[str, Job] = {"run": pixelwise_run, "exported": exported, "smp": smp, "yolo": yolo}

if __name__ == "__main__":
    run_side(JOBS)
