"""The prediction of one image: its mask, and what is computed from the mask."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from PIL import Image

from pixelwise.data.io.exif import rotate_as_stored
from pixelwise.data.mask_format import MaskFormat, encode_mask
from pixelwise.data.task import MULTICLASS, Task
from pixelwise.errors import ConfigError, OutputExistsError
from pixelwise.inference.file_names import mask_kinds
from pixelwise.inference.objects import MaskObject, ObjectTable, find_objects
from pixelwise.inference.output_options import MaskStyle
from pixelwise.inference.pixel_size import PixelSize
from pixelwise.inference.tables import ClassRows, ObjectRows
from pixelwise.models.config import ModelConfig
from pixelwise.palette import IGNORE_INDEX, Palette
from pixelwise.visualization import add_legend, index_image, overlay, save_image, to_display_image

if TYPE_CHECKING:
    import pandas as pd

_SHOWN_CLASSES = 20
"""Maximum number of classes that a notebook lists."""


@dataclass(frozen=True, repr=False)
class Prediction:
    """An image and its predicted mask.

    Attributes:
        image: (H, W, 3) uint8 RGB with EXIF orientation applied, or (H, W, bands) uint8 for a multi-band model.
        mask: class indices in [0, C), (H, W) uint8, at the image's own size. For a multi-label model, (C, H, W) uint8,
            1 if the pixel has the class, else 0. `predict_folder` uses a `PackedMask` for large ones. Nodata pixels of
            the image are 255 ("ignore"), in all classes.
        classes: C names in index order.
        palette: C colors (red, green, blue), each value in [0, 255].
        probabilities: (C, H, W) float32 in [0, 1], or None if they were not requested. They sum to 1 over the classes
            unless the task is multi-label.
        task: `pixelwise.data.task.MULTICLASS` or `MULTILABEL`.
        background: indices of the classes that overlays do not color and that have no objects.
        mask_format: the values of the training masks, or None if they had none.
        class_confidences: class name → mean probability of the class over its pixels, in [0, 1]. It is computed at the
            size of the model's logits. The value of a class without pixels is None. None instead of the mapping if it
            was not computed.
        compute_confidence: a function that returns `confidence`. None if it is that of the probabilities, or if there
            are none.
        nodata_pixels: number of nodata pixels of the image.
        orientation: EXIF orientation of the image file, 1 to 8. Masks as given are rotated to the stored pixels if the
            training masks are. 1 if this is not needed.
    """

    image: np.ndarray
    mask: np.ndarray
    classes: tuple[str, ...]
    palette: Palette
    probabilities: np.ndarray | None = None
    task: Task = MULTICLASS
    background: tuple[int, ...] = ()
    mask_format: MaskFormat | None = None
    class_confidences: dict[str, float | None] | None = None
    compute_confidence: Callable[[], np.ndarray] | None = None
    nodata_pixels: int = 0
    orientation: int = 1

    @classmethod
    def from_config(
        cls,
        image: np.ndarray,
        mask: np.ndarray,
        config: ModelConfig,
        *,
        nodata_pixels: int,
        probabilities: np.ndarray | None = None,
        confidences: Iterable[float | None] | None = None,
        compute_confidence: Callable[[], np.ndarray] | None = None,
    ) -> Self:
        """Return the prediction of a model. Its classes, palette, task, background and mask format are the model's.

        Args:
            image: see `Prediction`.
            mask: see `Prediction`.
            config: the configuration of the model.
            nodata_pixels: see `Prediction`.
            probabilities: see `Prediction`.
            confidences: the values of `class_confidences` in index order, or None.
            compute_confidence: see `Prediction`.
        """
        return cls(
            image,
            mask,
            config.classes,
            config.palette,
            probabilities,
            config.task,
            config.background,
            config.mask_format,
            None if confidences is None else dict(zip(config.classes, confidences, strict=True)),
            compute_confidence,
            nodata_pixels,
        )

    def __repr__(self) -> str:
        # The fields are arrays, which would take hundreds of lines.
        height, width = self.mask.shape[-2:]
        few = len(self.classes) <= _SHOWN_CLASSES
        shown = [f"{name} {fraction:.1%}" for name, fraction in self.class_fractions.items() if few or fraction]
        classes = ", ".join(shown[:_SHOWN_CLASSES]) + ", …" * (len(shown) > _SHOWN_CLASSES)
        return f"<Prediction {width}x{height}: {classes}>"

    @cached_property
    def areas(self) -> dict[str, int]:
        """Class name → number of pixels. The sum is the number of pixels with data unless the task is multi-label."""
        return {name: int(count) for name, count in zip(self.classes, self.task.class_pixels(self.mask), strict=False)}

    @cached_property
    def class_fractions(self) -> dict[str, float]:
        """Class name → fraction of the pixels with data, in [0, 1]. The sum is 1 unless the task is multi-label."""
        pixels = max(1, self.mask.shape[-2] * self.mask.shape[-1] - self.nodata_pixels)
        return {name: area / pixels for name, area in self.areas.items()}

    @cached_property
    def confidence(self) -> np.ndarray:
        """The model's probability that a pixel of the mask is correct, (H, W) float32 in [0, 1].

        This is the probability of the predicted class. For a multi-label model, each class has a probability of the
        predicted answer (present or absent), and the value is the minimum over the classes.

        Raises:
            ConfigError: The prediction has no probabilities. `Predictor.iter_predictions` and `predict_each` return
                such predictions unless probabilities are requested.
        """
        if self.compute_confidence is not None:
            return self.compute_confidence()
        if self.probabilities is not None:
            return self.task.confidence(self.probabilities)
        raise ConfigError("this prediction has no probabilities; predict with `probabilities` set to True")

    @cached_property
    def object_table(self) -> ObjectTable:
        """The objects of all classes but the background, as columns."""
        return find_objects(self.mask, self.task, len(self.classes), self.background)

    @cached_property
    def objects(self) -> tuple[MaskObject, ...]:
        """The objects of all classes but the background: connected regions of one class.

        >>> from pixelwise.data.task import MULTICLASS
        >>> mask = np.array([[1, 0, 1], [1, 0, 0]], np.uint8)
        >>> black = np.zeros((2, 3, 3), np.uint8)
        >>> prediction = Prediction(black, mask, ("background", "cell"), ((0, 0, 0), (9, 9, 9)), background=(0,))
        >>> [(item.class_name, item.area, item.bbox) for item in prediction.objects]
        [('cell', 2, (0, 0, 2, 1)), ('cell', 1, (0, 2, 1, 3))]
        """
        table = self.object_table
        columns = (table.class_ids, table.labels, table.areas, table.boxes, table.centroids)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return tuple(
            MaskObject(self.classes[index], label, area, tuple(box), tuple(centroid))
            for index, label, area, box, centroid in rows
        )

    def overlay(self, opacity: float = 0.5, legend: bool = True) -> Image.Image:
        """Return the image with the class colors blended over it and the class boundaries outlined.

        The background is not colored, see `background`.

        Args:
            opacity: from 0 (outlines only) to 1 (colors only).
            legend: True to draw the names and the colors of the classes in a corner. Images with a side below 120
                pixels have no room for it.

        Returns:
            A PIL image of mode "RGB" at the image's own size.
        """
        classes, palette = self.task.display_classes(self.classes, self.palette)
        uncolored = self.task.display_background(len(self.classes), self.background)
        if self.nodata_pixels:
            uncolored = (*uncolored, IGNORE_INDEX)
        mask = self.task.to_display(self.mask)
        drawn = overlay(to_display_image(self.image), mask, palette, opacity, uncolored)
        if legend:
            add_legend(drawn, mask, classes, palette, uncolored)
        return drawn

    def to_indexed_png(self) -> Image.Image:
        """Return the mask as a grayscale image, to be saved as PNG. Its gray values are class indices.

        Raises:
            ValueError: The mask is multi-label. `to_indexed_pngs` returns one image per class for it.
        """
        return index_image(self.mask)

    def to_indexed_pngs(self) -> dict[str, Image.Image]:
        """Return the mask as one grayscale image, or as one per class for a multi-label model.

        Returns:
            {"": the image of `to_indexed_png`}. For a multi-label model, class name → an image with the value 1 for
            pixels that have the class, else 0.
        """
        return self.mask_images("index")

    def mask_images(self, masks: MaskStyle = "index") -> dict[str, Image.Image]:
        """Return the mask as one image, or as one per class for a multi-label model.

        Args:
            masks: "index" for grayscale images of class indices. "as-given" for the mode and the values of the training
                masks, for example 0 and 255, a palette, or colors. If a class has several values, the first is used.
                If the training masks have the orientation of the stored pixels of their images, so have these.
                Nodata pixels are 255 in index images. For other values see `encode_mask`.

        Returns:
            {"": image}. For a multi-label model, class name → image.

        Raises:
            ConfigError: "as-given", and the training masks had no values, or the model does not contain them.
        """
        return dict(self.iter_mask_images(masks))

    def iter_mask_images(self, masks: MaskStyle = "index") -> Iterator[tuple[str, Image.Image]]:
        """Yield the names and images of `mask_images`. Each image is made when it is requested.

        Args:
            masks: see `mask_images`.

        Raises:
            ConfigError: See `mask_images`.
        """
        mask_format = None if masks == "index" else require_mask_format(self.mask_format)
        parts = [self.mask] if self.mask.ndim == 2 else self.mask
        for name, part in zip(self.task.mask_names(self.classes), parts, strict=True):
            if mask_format is None:
                yield name, index_image(part)
            else:
                stored = rotate_as_stored(part, self.orientation) if mask_format.as_stored else part
                yield name, encode_mask(stored, mask_format)

    def save(self, out: str | Path, masks: MaskStyle = "index", overwrite: bool = False) -> dict[str, Path]:
        """Write the mask and the overlay.

        Args:
            out: directory and first part of the names of the files. "results/cat" writes results/cat_mask.png and
                results/cat_overlay.jpg, and for a multi-label model results/cat_mask_CLASS.png for each class.
            masks: see `mask_images`.
            overwrite: replace files that exist.

        Returns:
            Kind → file. The kinds are "mask" (or "mask_CLASS" for each class) and "overlay".

        Raises:
            OutputExistsError: A file exists, and `overwrite` is False. Nothing has been written.
            OutputError: A file cannot be written.
            ConfigError: See `mask_images`.
        """
        out = Path(out)
        images = dict(zip(mask_kinds(self.task, self.classes), self.mask_images(masks).values(), strict=True))
        images["overlay"] = self.overlay()
        files = {kind: out.with_name(f"{out.name}_{kind}.{'jpg' if kind == 'overlay' else 'png'}") for kind in images}
        if not overwrite and (existing := next((file for file in files.values() if file.exists()), None)):
            raise OutputExistsError(f"{existing}: exists already; choose another `out`, or set `overwrite`")
        for kind, image in images.items():
            save_image(image, files[kind])
        return files

    def to_dataframe(self, rows: Literal["classes", "objects"] = "classes", pixel_size: str = "") -> "pd.DataFrame":
        """Return the counts of the classes, or the objects, as a table of pandas.

        Args:
            rows: "classes" for the columns of predictions.csv, "objects" for those of objects.csv, both without the
                image.
            pixel_size: side of a pixel with its unit, such as "0.65um". It adds columns in this unit.

        Raises:
            ConfigError: pandas is not installed, or `pixel_size` is invalid.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ConfigError("`to_dataframe` needs pandas; pip install 'pixelwise[pandas]'") from None
        size = PixelSize.parse(pixel_size) if pixel_size else None
        table = ClassRows(size) if rows == "classes" else ObjectRows(size)
        return pd.DataFrame(table.rows(self), columns=table.columns)

    def _repr_html_(self) -> str:
        """Return the image, its overlay and the fraction of each class, for a notebook."""
        from pixelwise.visualization import html

        colors = dict(zip(self.classes, self.palette, strict=True))
        present = sorted(self.class_fractions.items(), key=lambda item: -item[1])
        listed = [(name, fraction) for name, fraction in present if fraction > 0][:_SHOWN_CLASSES]
        legend = " · ".join(f"{html.class_name(name, colors[name])} {fraction:.1%}" for name, fraction in listed)
        image, drawn = Image.fromarray(to_display_image(self.image)), self.overlay(legend=False)
        pictures = html.image_tag(image, "image", width=440) + html.image_tag(drawn, "predicted mask", width=440)
        return html.block(html.paragraph(legend), pictures)


def require_mask_format(mask_format: MaskFormat | None) -> MaskFormat:
    """Return the mask format of a model.

    Raises:
        ConfigError: It is None.
    """
    if mask_format is None:
        raise ConfigError(
            "the model does not contain one mask value per class (the training had polygons, data sets with different "
            "values, or an earlier version); set `masks` to index"
        )
    return mask_format
