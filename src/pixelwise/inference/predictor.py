"""From an image to its mask, at the image's own size."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from pixelwise.data.io.image import read_image, to_rgb
from pixelwise.data.resize import resize_image
from pixelwise.errors import DataError, RunError
from pixelwise.models.model import SegmentationModel, logits_to_mask
from pixelwise.runtime.device import resolve_device, use_bfloat16
from pixelwise.runtime.threads import batched, prefetch_map
from pixelwise.visualization import index_image, overlay, to_display_image, to_display_mask

ImageInput = str | Path | Image.Image | np.ndarray
"""A path, a PIL image of any mode, or a HWC uint8 RGB array with values in [0, 255]."""


@dataclass(frozen=True)
class Prediction:
    """An image and the mask that was predicted for it.

    Attributes:
        image: HWC uint8 RGB (or a TIFF's bands), the image turned upright.
        mask: (H, W) uint8 class indices 0..C-1, at the image's own size; of a multi-label model (C, H, W) uint8, 1
            where the class is.
        classes: the names, in index order.
        palette: one (red, green, blue) in 0..255 a class.
    """

    image: np.ndarray
    mask: np.ndarray
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    @cached_property
    def class_fractions(self) -> dict[str, float]:
        """Each class's share of the image's pixels; they sum to 1 unless a pixel can be of several classes."""
        if self.mask.ndim == 3:
            return {name: float(layer.mean()) for name, layer in zip(self.classes, self.mask, strict=True)}
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes))
        return {name: float(count) / self.mask.size for name, count in zip(self.classes, counts, strict=True)}

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The image with the classes' colors over it; `opacity` from 0 (image alone) to 1 (colors alone)."""
        mask, _, palette = to_display_mask(self.mask, self.classes, self.palette)
        return overlay(to_display_image(self.image), mask, palette, opacity)

    def to_indexed_png(self) -> Image.Image:
        """The mask as a palette image whose pixel values are the class indices: save it as PNG.

        Multi-label masks do not fit in one image: see `to_indexed_pngs`.
        """
        return index_image(self.mask, self.palette)

    def to_indexed_pngs(self) -> dict[str, Image.Image]:
        """The mask as palette images by what tells their files apart: "" is one whose pixels are the class indices.

        Of a multi-label model there is one a class, by its name: 1 where the class is, 0 where it is not.
        """
        if self.mask.ndim == 2:
            return {"": self.to_indexed_png()}
        return {
            name: index_image(layer, ((0, 0, 0), color))
            for name, layer, color in zip(self.classes, self.mask, self.palette, strict=True)
        }


class Predictor:
    """A trained model that takes images as they are and gives masks at their own size.

    Args:
        model: what predicts; it is set to evaluation mode and moved to the device.
        device: see `pixelwise.device.choose_device`.
        precision: "bf16", "float32", or "auto" for bfloat16 where the device is faster at it. Masks made in the one
            and in the other differ in a few pixels along edges.

    >>> predictor = Predictor.load("runs/pets")  # doctest: +SKIP
    >>> predictor("cat.jpg").overlay().save("cat.png")  # doctest: +SKIP
    """

    def __init__(self, model: SegmentationModel, device: str | torch.device = "auto", precision: str = "auto") -> None:
        self.device = resolve_device(device) if isinstance(device, str) else device
        self.bfloat16 = use_bfloat16(self.device, precision)
        self.model = model.eval().to(self.device)

    @staticmethod
    def load(run: str | Path, device: str | torch.device = "auto", precision: str = "auto") -> "Predictor":
        """Load the best model of a run folder; RunError where there is none."""
        folder = Path(run)
        if not folder.is_dir():
            raise RunError(f"{folder}: no such run folder; train one with pixelwise train DATA --out {folder}")
        return Predictor(SegmentationModel.load(folder), device, precision)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in index order."""
        return self.model.config.classes

    def __call__(self, source: ImageInput) -> Prediction:
        """Predict one image's mask; DataError names a file that cannot be read."""
        image = self._as_array(source)
        return self._prediction(image, self.predict_batch([image])[0])

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Predict a batch: HWC uint8 images of any sizes → (H, W) uint8 class indices (see `Prediction`) as large.

        The logits, not the mask, are brought to the image's size: bilinear, so that edges stay smooth.
        """
        return [
            logits_to_mask(
                F.interpolate(logits[None], image.shape[:2], mode="bilinear", align_corners=False)[0],
                self.model.config.multilabel,
            )
            .cpu()
            .numpy()
            for image, logits in zip(images, self.logits(images), strict=True)
        ]

    def logits(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Logits at the model's size: HWC uint8 images of any sizes → (N, C, size, size) float32."""
        size = (self.model.config.size, self.model.config.size)
        return self.forward(torch.stack([resize_image(image, size) for image in images]))

    @torch.inference_mode()
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits of images of the model's size already: (N, 3, size, size) uint8 → (N, C, size, size) float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.model(batch.to(self.device).contiguous(memory_format=torch.channels_last)).float()

    def iter_predictions(
        self, paths: Iterable[Path], batch_size: int = 16
    ) -> Iterator[tuple[Path, Prediction | DataError]]:
        """Predict many files, in order; a file that cannot be read comes with its error instead of a prediction.

        The next images are read while the model works; memory stays bounded, however many files there are.
        """
        for group in batched(prefetch_map(self._read_or_error, paths, ahead=2 * batch_size), batch_size):
            images = [image for _, image in group if isinstance(image, np.ndarray)]
            masks = iter(self.predict_batch(images) if images else [])
            for path, image in group:
                yield path, image if isinstance(image, DataError) else self._prediction(image, next(masks))

    def _prediction(self, image: np.ndarray, mask: np.ndarray) -> Prediction:
        return Prediction(image, mask, self.model.config.classes, self.model.config.palette)

    def _as_array(self, source: ImageInput) -> np.ndarray:
        channels, bits = len(self.model.config.mean), self.model.config.bit_depth
        if isinstance(source, np.ndarray):
            if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != channels or source.size == 0:
                raise DataError(
                    f"an array must be (H, W, {channels}) uint8{' RGB' * (channels == 3)} with values in [0, 255], "
                    f"this one is {source.shape} {source.dtype}"
                )
            # A copy: torch takes no read-only array and no negative strides, and the caller may use his again.
            return np.array(source, order="C")
        if not isinstance(source, Image.Image):
            return read_image(Path(source), channels, bits)
        if channels != 3:
            raise DataError(f"this model takes TIFFs of {channels} bands; give the file's path, or an array")
        return np.array(to_rgb(source, bits))

    def _read_or_error(self, path: Path) -> tuple[Path, np.ndarray | DataError]:
        try:
            return path, self._as_array(path)
        except DataError as error:
            return path, error
