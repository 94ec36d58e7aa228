"""Train one model for each training recipe and each split of the training images, and compare their validation mIoU.

    python benchmarks/recipes.py --data oxford-iiit-pet --out recipes.json

The recipes are in recipes.json: the number of images of all epochs, settings, and parts that pixelwise does not have
(`_recipe_parts.py`). The last model of each training is evaluated at its image size and at 1.25 times this size, with
and without test-time flips. Splits of Oxford-IIIT Pet hold out a random quarter of the training images. Those of CamVid
are its own val split, and two videos that are held out. The script is meant for a GPU.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _common import describe, existing, finish, make_parser, parse, say

if TYPE_CHECKING:
    from pixelwise.data.index import DatasetIndex

EVAL_SCALES = (1.0, 1.25)
"""Sizes of the evaluation, as multiples of the image size."""

VIDEOS = (None, "0016E5", "0006R0")
"""The validation video of each split of CamVid. None for the val split."""

COMMON: dict[str, Any] = {
    "encoder_training": "decoder-first",
    "freeze_depthwise": True,
    "freeze_batchnorm": True,
    "image_size": 192,
}
"""Settings of all recipes, unless a recipe replaces them: those of a plan on a CPU."""

QUICK: dict[str, Any] = {
    "library": {"settings": {"encoder_weights": "none"}},
    "all parts": {
        "settings": {"encoder_weights": "none", "image_size": 64, "start_size": 32},
        "parts": {
            "start_fraction": 0.7, "average": 0.99, "alternate_flips": True, "views": 2, "rare_crops": 0.9,
            "paste": 0.9, "edge_weight": 1.0, "boundary_head": 0.5, "late": "lovasz", "context": True, "dropout": 0.1,
        },
    },
}  # fmt: skip
"""The recipes of --quick. The second one has all parts but the label smoothing, which replaces the loss."""


def load_recipes(data: str) -> dict[str, dict[str, Any]]:
    """Return the groups of recipes of a data set, "table" and "alone": name → recipe."""
    return json.loads((Path(__file__).parent / "recipes.json").read_text(encoding="utf-8"))[data]


def divide(data: "DatasetIndex", name: str, number: int) -> "DatasetIndex":
    """Return the data set with the training and validation images of a split.

    Args:
        data: the data set.
        name: "pets" or "camvid".
        number: number of the split, from 0.
    """
    import torch

    from pixelwise.training.splits import with_split

    if name == "pets":
        order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(1000 + number)).tolist()
        held_out = len(order) // 4
        return with_split(
            data, *([data.train[index] for index in part] for part in (order[held_out:], order[:held_out]))
        )
    if VIDEOS[number] is None:
        return data
    images = (*data.train, *data.val)
    is_held_out = [Path(record.image).name.startswith(f"{VIDEOS[number]}_") for record in images]
    train, val = (
        [each for each, out in zip(images, is_held_out, strict=True) if out == part] for part in (False, True)
    )
    return with_split(data, train, val)


def settings_of(recipe: dict[str, Any], train_images: int, factor: float, images: int | None) -> dict[str, Any]:
    """Return the fields of `Config` of a recipe.

    Args:
        recipe: the recipe.
        train_images: number of training images.
        factor: factor of the image sizes. They are rounded to multiples of 32 px.
        images: number of images of all epochs, or None for that of the recipe.
    """
    from pixelwise.data.input_size import map_sides, parse_size

    settings = COMMON | recipe.get("settings", {})
    for name in ("image_size", "start_size"):
        if name in settings:
            size = parse_size(settings[name], smallest=32, largest=1024)
            settings[name] = map_sides(lambda side: max(32, round(side * factor / 32) * 32), size)
    return settings | {"epochs": max(2, round((images or recipe.get("images", 12_000)) / train_images))}


def score(model: Any, data: "DatasetIndex", scale: float, tta: bool) -> dict[str, Any]:
    """Return the validation mIoU and the IoU of each class at the images' own size.

    Args:
        model: the model.
        data: the data set.
        scale: size of the evaluation, as a multiple of the image size. It is rounded to multiples of 32 px.
        tta: average the predictions of each image and its mirror image.
    """
    from pixelwise.data.input_size import map_sides
    from pixelwise.evaluation.evaluator import compute_confusion_matrix
    from pixelwise.inference.predictor import Predictor
    from pixelwise.metrics import Metrics

    config = model.config
    size = map_sides(lambda side: max(32, round(side * scale / 32) * 32), config.size)
    model.config = config.model_copy(update={"size": size})
    predictor = Predictor(model, next(model.parameters()).device, tta=tta)
    confusion = compute_confusion_matrix(predictor, data.val, data.read_spec)
    model.config = config
    metrics = Metrics.from_confusion(confusion, data.classes, data.read_spec.task, len(data.val), "original")
    return {"miou": metrics.mean_iou, "iou": {name: each.iou for name, each in metrics.classes.items()}}


def train_recipe(job: dict[str, Any]) -> dict[str, Any]:
    """Train a recipe on a split and return its scores.

    Args:
        job: "name", "recipe", "split", "data" (directory), "list" (name of the data set), "factor", "images", "device".
    """
    from _recipe_parts import Parts, RecipeTraining

    import pixelwise as pw

    started = time.perf_counter()
    data = divide(pw.load_dataset(job["data"]), job["list"], job["split"])
    settings = settings_of(job["recipe"], len(data.train), job["factor"], job["images"])
    training = RecipeTraining(Parts(**job["recipe"].get("parts", {})), settings | {"device": job["device"]})
    with tempfile.TemporaryDirectory() as folder, training.registered():
        # The run's best model would be chosen on the images that it is compared on. The last model is not.
        pw.train(
            data, Path(folder) / "run", callbacks=[training], defaults=False, seed=job["split"], **training.settings
        )
        scores = {
            f"{name}, {scale:g}{', flips' * tta}": score(model, data, scale, tta)
            for name, model in training.models.items()
            for scale in EVAL_SCALES
            for tta in (False, True)
        }
    return {"scores": scores, "seconds": round(time.perf_counter() - started, 1), "epochs": settings["epochs"]}


def best(scores: dict[str, Any], model: str, flips: bool) -> float | None:
    """Return the mIoU of a model at the better of the sizes, or None if the recipe has no such model."""
    names = [f"{model}, {scale:g}{', flips' * flips}" for scale in EVAL_SCALES]
    return max((scores[name]["miou"] for name in names if name in scores), default=None)


def table(results: dict[str, list[dict[str, Any]]]) -> list[Sequence[str]]:
    """Return a row per recipe, with the mIoU of its splits at the better of the sizes."""
    rows: list[Sequence[str]] = [("recipe", "mIoU", "with flips", "mean of the weights")]
    for name, splits in results.items():
        cells = []
        for model, flips in (("last", False), ("last", True), ("average", False)):
            values = [best(each["scores"], model, flips) for each in splits]
            cells.append(", ".join("–" if value is None else f"{value:.3f}" for value in values))
        rows.append((name, *cells))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help="directory of Oxford-IIIT Pet, or of CamVid")
    parser.add_argument("--list", choices=("pets", "camvid"), default="pets", help="data set of the recipes")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="recipes, by default those of the table")
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2], choices=(0, 1, 2), help="numbers of splits")
    parser.add_argument("--images-seen", type=int, help="images of all epochs, to try a recipe in seconds")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of the image sizes, to try a recipe in seconds"
    )
    parser.add_argument("--device", default="auto", help="device of the trainings")
    parser.add_argument("--processes", type=int, default=1, help="trainings at the same time")
    arguments = parse(parser, argv)
    groups = load_recipes(arguments.list)
    recipes = groups["table"] | groups["alone"]
    names = arguments.only or list(groups["table"])
    if unknown := [name for name in names if name not in recipes]:
        parser.error(f"unknown recipes: {', '.join(unknown)}; choose from: {', '.join(recipes)}")
    common = {"data": str(arguments.data), "list": arguments.list, "device": arguments.device}
    common |= {"factor": arguments.scale, "images": arguments.images_seen}
    if arguments.quick:
        names, recipes, common["factor"], common["images"] = list(QUICK), QUICK, 1 / 6, 1
        arguments.splits = [0]
    content = describe(arguments, ("torch", "timm", "pixelwise"))
    jobs = [
        {**common, "name": name, "recipe": recipes[name], "split": split}
        for name in names
        for split in arguments.splits
    ]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for job, result in zip(jobs, run_all(jobs, arguments.processes), strict=True):
        say(
            f"{job['name']}, split {job['split']}: {best(result['scores'], 'last', False):.4f} in {result['seconds']} s"
        )
        results[job["name"]].append(result)
    note = "Validation mIoU of the splits at the better of two sizes of whole images."
    finish(arguments.out, {**content, "results": results, "table": table(results), "note": note})


def run_all(jobs: Sequence[dict[str, Any]], processes: int) -> Any:
    """Yield the result of each job, in order. With more than one process, several run at the same time."""
    if processes == 1:
        yield from map(train_recipe, jobs)
        return
    with get_context("spawn").Pool(processes, maxtasksperchild=1) as pool:
        yield from pool.imap(train_recipe, jobs, chunksize=1)


if __name__ == "__main__":
    main()
