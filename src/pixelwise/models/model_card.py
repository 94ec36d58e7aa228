"""The model card: README.md of a model for the Hugging Face hub, with YAML front matter.

The names of classes and data sets can come from an untrusted data set, so Markdown and HTML in them are escaped.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from pixelwise.data.input_size import to_pair
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import printable
from pixelwise.models.config import ModelConfig
from pixelwise.models.hub import HUB_PREFIX
from pixelwise.palette import to_hex
from pixelwise.registry import name_of

CARD_FILE = "README.md"

SAMPLE_FILE = "sample.png"
"""Name of the picture in the folder of the card."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#|~&!$])")

_NARROW_PIXELS = 3
"""Width in pixels of the model's input below which structures are often lost."""


@dataclass(frozen=True)
class CardFacts:
    """Facts of a model card that are not in the model.

    Attributes:
        name: the title of the card.
        repo: the repository on the hub, "user/name", for the example. None names the folder.
        data: the name of the data set of the training. "" if it is not known.
        train_images: number of training images. None if it is not known.
        val_images: number of images that chose the best epoch. None if it is not known.
        settings: settings of the training, as name → text.
        evaluation: the content of evaluation-<split>.json. None without an evaluation.
        has_sample: True if the folder has a picture, `SAMPLE_FILE`.
        license: the license that the author gives the model, as the hub abbreviates it. None to state none.
        data_license: the license of the training images. None if it is not known.
        is_bundled: True for the model in the package, which needs no name.
    """

    name: str = "Segmentation model"
    repo: str | None = None
    data: str = ""
    train_images: int | None = None
    val_images: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    evaluation: Mapping[str, Any] | None = None
    has_sample: bool = False
    license: str | None = None
    data_license: str | None = None
    is_bundled: bool = False


def make_card(config: ModelConfig, facts: CardFacts) -> str:
    """Return the text of a model card.

    Args:
        config: the configuration of the model.
        facts: everything else.

    Returns:
        Markdown with YAML front matter, which `huggingface_hub.ModelCard` accepts.
    """
    sections = [_summary(config, facts), _usage(facts), _classes(config, facts), _scores(config, facts)]
    sections += [_training(config, facts), _limits(config, facts), _licenses(config, facts)]
    return f"---\n{_front_matter(config, facts)}\n---\n\n" + "\n\n".join(sections) + "\n"


def escape(text: object) -> str:
    r"""Escape a text for Markdown. Characters that begin a new line or control a terminal become escapes.

    >>> print(escape("<b>a|b</b>"))
    \<b\>a\|b\</b\>
    """
    return _SPECIAL.sub(r"\\\1", printable(str(text)))


def _front_matter(config: ModelConfig, facts: CardFacts) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    data = facts.data or "unknown"
    results = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=re.sub(r"[^a-z0-9_.-]+", "-", data.lower()).strip("-") or "unknown",
            dataset_name=printable(data),
            dataset_split=score.split,
            metric_type=score.kind,
            metric_name=score.title,
            metric_value=round(score.value, 4),
        )
        for score in _headline_scores(config, facts)
    ]
    return ModelCardData(
        license=facts.license,
        library_name="pixelwise",
        pipeline_tag="image-segmentation",
        tags=["pixelwise", "semantic-segmentation", config.encoder],
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=printable(facts.name),
        eval_results=results or None,
    ).to_yaml()


@dataclass(frozen=True)
class _Score:
    kind: str
    name: str
    split: str
    value: float
    interval: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        """The name of the metric, with its interval if there is one."""
        if self.interval is None:
            return self.name
        return f"{self.name} (95 % interval {self.interval[0]:.3f} to {self.interval[1]:.3f})"


def _headline_scores(config: ModelConfig, facts: CardFacts) -> list[_Score]:
    """Return the mean IoU and the accuracy of the evaluation, or those of the validation during the training."""
    if facts.evaluation is None:
        named = (("mean_iou", "mean IoU", "val_miou"), ("accuracy", "pixel accuracy", "val_accuracy"))
        values = [(kind, name, config.metrics.get(key)) for kind, name, key in named]
        return [_Score(kind, name, "validation", value) for kind, name, value in values if value is not None]
    split = str(facts.evaluation["split"])
    interval = (facts.evaluation.get("intervals") or {}).get("miou")
    scores = (
        ("mean_iou", "mean IoU", facts.evaluation.get("miou"), interval and (interval[0], interval[1])),
        ("accuracy", "pixel accuracy", facts.evaluation.get("accuracy"), None),
    )
    return [_Score(kind, name, split, value, bounds) for kind, name, value, bounds in scores if value is not None]


def _summary(config: ModelConfig, facts: CardFacts) -> str:
    names = ", ".join(map(escape, config.classes))
    count = f"{len(config.classes)} class{'es' * (len(config.classes) != 1)}"
    kind = "It can give a pixel several classes" if config.task is MULTILABEL else "It gives each pixel one class"
    lines = [
        f"# {escape(facts.name)}",
        f"A semantic segmentation model with {count}: {names}. {kind}, at the image's own size.",
    ]
    if facts.has_sample:
        lines.append(f"![Images, their true masks, and the predictions]({SAMPLE_FILE})")
        lines.append("Validation images, their true masks, and the predictions of the model.")
    return "\n\n".join(lines)


def _usage(facts: CardFacts) -> str:
    place = "path/to/this/folder" if facts.repo is None else f"{HUB_PREFIX}{facts.repo}"
    argument, word = ("", "") if facts.is_bundled else (f'"{place}"', f"{place} ")
    return f"""## Use

    pip install pixelwise
    pixelwise predict {word}IMAGES --out masks

```python
import pixelwise as pw

prediction = pw.Predictor.load({argument})("image.jpg")
prediction.overlay().save("overlay.png")  # prediction.mask has the class indices, (H, W) uint8
```

The files are safetensors and JSON. They contain no code."""


def _class_ious(config: ModelConfig, facts: CardFacts) -> dict[str, float | None]:
    """Return the IoU of each class, of the evaluation or else of the validation during the training."""
    if facts.evaluation is None:
        return {name: config.metrics.get(f"iou_{name}") for name in config.classes}
    scores = facts.evaluation.get("classes", {})
    return {name: scores.get(name, {}).get("iou") for name in config.classes}


def _classes(config: ModelConfig, facts: CardFacts) -> str:
    ious = _class_ious(config, facts)
    bounds = ((facts.evaluation or {}).get("intervals") or {}).get("classes", {})
    rows = [
        f"| {index} | {escape(name)} | {to_hex(color)} | {_number(ious.get(name), bounds.get(name))} |"
        for index, (name, color) in enumerate(zip(config.classes, config.palette, strict=True))
    ]
    return "\n".join(
        ["## Classes", "", "| value in the mask | class | color | IoU |", "| --- | --- | --- | --- |", *rows]
    )


def _number(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _scores(config: ModelConfig, facts: CardFacts) -> str:
    scores = _headline_scores(config, facts)
    if not scores:
        return "## Scores\n\nThe model has not been evaluated."
    rows = [f"| {score.name} | {_number(score.value, score.interval)} |" for score in scores]
    return "\n".join(
        ["## Scores", "", "| metric | value |", "| --- | --- |", *rows, "", " ".join(_score_remarks(config, facts))]
    )


def _score_remarks(config: ModelConfig, facts: CardFacts) -> Iterator[str]:
    evaluation = facts.evaluation
    if evaluation is None:
        count = "" if facts.val_images is None else f" on {facts.val_images:,} images"
        yield f"Measured during the training{count}, at the model's size of {_size_text(config)}."
        yield "The best epoch was chosen on these images, so the values are slightly too high."
        return
    size = "at the images' own size" if evaluation.get("resolution") == "original" else "at the model's size"
    yield f"`pixelwise evaluate` measured them on {evaluation['images']:,} images, {size}:"
    yield f"{escape(evaluation.get('evaluated_on') or evaluation['split'])}."
    if evaluation.get("tta"):
        yield "The predictions of each image and of its mirror image were averaged."
    if (evaluation.get("intervals") or {}).get("miou") is not None:
        yield "The numbers in parentheses are 95 % confidence intervals."
    for remark in (evaluation.get("note"), evaluation.get("warning")):
        if remark:
            yield f"Note: {escape(remark)}."


def _training(config: ModelConfig, facts: CardFacts) -> str:
    images = [
        f"{count:,} {purpose}"
        for count, purpose in ((facts.train_images, "to train"), (facts.val_images, "to choose the best epoch"))
        if count is not None
    ]
    rows = {
        "data set": escape(facts.data) if facts.data else "not known",
        "images": ", ".join(images) or "not known",
        "encoder": f"`{config.encoder}`",
        "decoder": f"`{name_of(config.decoder)}`",
        "input": f"{_size_text(config)}, {_channels(config)}",
        **{name: escape(value) for name, value in facts.settings.items()},
        "saved with": f"pixelwise {version('pixelwise')}",
    }
    return "\n".join(
        ["## Training", "", "| | |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in rows.items())]
    )


def _size_text(config: ModelConfig) -> str:
    height, width = to_pair(config.size)
    return f"{width}x{height} px"


def _channels(config: ModelConfig) -> str:
    return "RGB" if len(config.mean) == 3 and not config.band_ranges else f"{len(config.mean)} bands"


def _limits(config: ModelConfig, facts: CardFacts) -> str:
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in _limit_lines(config, facts))


def _limit_lines(config: ModelConfig, facts: CardFacts) -> Iterator[str]:
    if config.task is not MULTILABEL:
        yield "Each pixel gets one of the classes above, also in images that show something else."
    yield "It does not separate objects of one class that touch."
    side = max(to_pair(config.size))
    if config.view == "whole":
        yield (
            f"Each image is resized to {_size_text(config)}. Structures narrower than {_NARROW_PIXELS} of these pixels "
            f"({100 * _NARROW_PIXELS / side:.1f} % of the image's side) are often lost."
        )
    else:
        yield f"Images are predicted in windows of {_size_text(config)}, at {config.scale:g} times their own size."
    if config.object_scale is not None:
        share = config.object_scale.object_side / config.object_scale.image_side
        yield (
            f"The objects in the training images have about {100 * share:.0f} % of the image's side. Much smaller and "
            "much larger ones can be missed."
        )
    count = "" if facts.train_images is None else f"{facts.train_images:,} "
    source = f" of {escape(facts.data)}" if facts.data else ""
    yield f"It was trained on {count}images{source}. Scores on images from other cameras or places can be lower."
    known = {name: iou for name, iou in _class_ious(config, facts).items() if iou is not None}
    if len(known) > 1:
        worst = min(known, key=lambda name: known[name])
        yield f"It is worst at {escape(worst)}, with an IoU of {known[worst]:.2f}."


def _licenses(config: ModelConfig, facts: CardFacts) -> str:
    known = config.licenses | ({} if facts.data_license is None else {"training data": facts.data_license})
    rows = [f"| {escape(part)} | {escape(license)} |" for part, license in known.items()]
    lines = ["## Licenses", ""]
    if facts.license is not None:
        lines += [f"The author gives the model the license {escape(facts.license)}.", ""]
    if rows:
        lines += ["| part | license |", "| --- | --- |", *rows, ""]
    if facts.data_license is None:
        lines.append("The license of the training images is not known here. It can restrict the use of the model.")
    return "\n".join(lines).rstrip()
