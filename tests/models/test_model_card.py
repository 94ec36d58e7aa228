"""The model card: huggingface_hub reads its front matter, and untrusted names cannot add Markdown."""

from typing import Any

import pytest
from huggingface_hub import ModelCard

from pixelwise.models.config import ModelConfig
from pixelwise.models.model_card import CardFacts, escape, make_card
from tests.models.helpers import build_model

EVALUATION: dict[str, Any] = {
    "accuracy": 0.93,
    "miou": 0.81234,
    "classes": {"cat": {"iou": 0.9}, "dog": {"iou": 0.7}, "rest": {"iou": None}},
    "images": 1298,
    "resolution": "original",
    "split": "test",
    "evaluated_on": "the test split of the data set",
    "note": None,
    "warning": None,
    "intervals": {"miou": [0.8, 0.82], "classes": {"cat": [0.88, 0.92]}},
}


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return build_model().config


def parse(text: str) -> Any:
    """Read a card as the hub's client does."""
    return ModelCard(text)


def test_the_front_matter_has_the_scores_of_the_evaluation(config: ModelConfig) -> None:
    facts = CardFacts(name="pets", data="Pets & More", evaluation=EVALUATION, license="apache-2.0")
    data = parse(make_card(config, facts)).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("pixelwise", "image-segmentation", "apache-2.0")
    assert config.encoder in data.tags
    results = {result.metric_type: result for result in data.eval_results}
    assert results["mean_iou"].metric_value == 0.8123
    assert results["mean_iou"].metric_name == "mean IoU (95 % interval 0.800 to 0.820)"
    assert results["accuracy"].metric_value == 0.93
    assert {(result.dataset_name, result.dataset_type, result.dataset_split) for result in results.values()} == {
        ("Pets & More", "pets-more", "test")
    }


def test_without_an_evaluation_the_validation_counts(config: ModelConfig) -> None:
    trained = config.model_copy(update={"metrics": {"val_miou": 0.7, "val_accuracy": None, "iou_cat": 0.65}})
    text = make_card(trained, CardFacts(val_images=45))
    (result,) = parse(text).data.eval_results
    assert (result.metric_value, result.dataset_split) == (0.7, "validation")
    assert "Measured during the training on 45 images" in text
    assert "The best epoch was chosen on these images" in text
    assert "| 0 | cat | #010203 | 0.650 |" in text


def test_a_model_without_metrics_has_no_scores(config: ModelConfig) -> None:
    text = make_card(config.model_copy(update={"metrics": {}}), CardFacts())
    assert parse(text).data.eval_results is None
    assert "The model has not been evaluated." in text


def test_the_text_has_classes_limits_and_use(config: ModelConfig) -> None:
    facts = CardFacts(repo="me/pets", data="pets", train_images=1255, evaluation=EVALUATION, settings={"loss": "dice"})
    text = make_card(config, facts)
    for line in (
        "| 0 | cat | #010203 | 0.900 (0.880 to 0.920) |",
        "| 1 | dog | #040506 | 0.700 |",
        "| 2 | rest | #fafbfc | – |",
        "| mean IoU | 0.812 (0.800 to 0.820) |",
        "    pixelwise predict hf://me/pets IMAGES --out masks",
        "| images | 1,255 to train |",
        "| loss | dice |",
        "- It was trained on 1,255 images of pets. Scores on images from other cameras or places can be lower.",
        "- It is worst at dog, with an IoU of 0.70.",
    ):
        assert line in text.splitlines(), line
    assert "on 1,298 images, at the images' own size: the test split of the data set." in text
    assert 'pw.Predictor.load("hf://me/pets")' in text


def test_each_part_has_its_license(config: ModelConfig) -> None:
    known = config.model_copy(update={"licenses": {"encoder weights": "cc-by-nc-4.0", "training data": "unknown"}})
    text = make_card(known, CardFacts())
    assert "| encoder weights | cc-by-nc-4.0 |" in text and "| training data | unknown |" in text
    assert "The license of the training images is not known here." in text
    assert parse(text).data.license is None
    text = make_card(known, CardFacts(data_license="cc-by-sa-4.0"))
    assert "| training data | cc-by-sa-4.0 |" in text
    assert "not known here" not in text


def test_the_picture_is_shown_only_if_there_is_one(config: ModelConfig) -> None:
    assert "](sample.png)" in make_card(config, CardFacts(has_sample=True))
    assert "sample.png" not in make_card(config, CardFacts())


def test_names_cannot_add_markdown_or_front_matter(config: ModelConfig) -> None:
    evil = "x\n---\n# <script>|![a](http://host/a.png)`"
    hostile = config.model_copy(update={"classes": (evil, "dog", "rest"), "metrics": {"val_miou": 0.5}})
    card = parse(make_card(hostile, CardFacts(name=evil, data=evil, settings={"loss": evil})))
    assert card.data.library_name == "pixelwise"
    assert "<script>" not in card.text.replace("\\<script\\>", "")
    assert "![a]" not in card.text
    assert card.text.count("\n# ") == 1


def test_escape_keeps_plain_text() -> None:
    assert escape("train / val, 95 %") == "train / val, 95 %"
    assert escape("a\x1b[0m") == "a\\\\x1b\\[0m"
