"""The page of an evaluation: its values are those of the result, it is one file, and it is accessible."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pixelwise.data.task import MULTICLASS, MULTILABEL, Task
from pixelwise.errors import DataError
from pixelwise.metrics.calibration import ReliabilityBins
from pixelwise.metrics.confusion import Metrics
from pixelwise.metrics.evaluation import Evaluation, ImageExample, ImageScore
from pixelwise.metrics.intervals import bootstrap_iou
from pixelwise.palette import default_palette
from pixelwise.reporting.evaluation_report import (
    WRONG_COLOR,
    confusion_fractions,
    draw_difference,
    figure,
    most_confused,
    plot_points,
    render_evaluation,
)


def make_evaluation(classes: tuple[str, ...] = ("cat", "<b>dog</b>"), task: Task = MULTICLASS) -> Evaluation:
    """Return the result of 12 images with drawn counts."""
    rng, count = np.random.default_rng(0), len(classes)
    counts = rng.integers(100, 1000, (12, count, 3))
    shape = (count, count) if task is MULTICLASS else (count, 2, 2)
    bins, plain = ReliabilityBins(), ReliabilityBins()
    bins.update(torch.tensor([0.9, 0.5]), torch.tensor([True, False]))
    plain.update(torch.tensor([0.99, 0.6]), torch.tensor([True, False]))
    example = ImageExample(
        1,
        0.25,
        rng.integers(0, 256, (48, 64, 3), np.uint8),
        rng.integers(0, count, (48, 64), np.uint8),
        rng.integers(0, count, (48, 64), np.uint8),
        rng.random((48, 64)) < 0.2,
    )
    boundary: dict[str, float | None] = {"boundary_iou": 0.5, "boundary_f": 0.75}
    boundary |= {f"{metric}_{name}": 0.625 for metric in ("boundary_iou", "boundary_f") for name in classes}
    return Evaluation(
        metrics=Metrics.from_confusion(torch.from_numpy(rng.integers(1, 99, shape)), classes, task, 12, "original"),
        skipped=(),
        path=None,
        extra={},
        split="test",
        reason="the test split of the data set",
        warning="",
        note="",
        intervals=bootstrap_iou(counts, classes),
        boundary=boundary,
        calibration=bins.compute(),
        uncalibrated=plain.compute(),
        temperature=1.5,
        images=tuple(ImageScore(f"images/{index}.jpg", None, each, 900, 800, 0.5) for index, each in enumerate(counts)),
        worst=(example,),
        suspicious=(replace(example, index=2),),
        seconds_per_image=0.0123,
        device="cpu",
        task=task,
        palette=default_palette(count),
    )


def render(evaluation: Evaluation) -> str:
    return render_evaluation(evaluation, Path("runs/pets"), "evaluation-test.json", "evaluation-test.csv")


class Structure(HTMLParser):
    """Checks that tags are closed, and collects what makes tables and images accessible."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables = self.captions = self.images = 0
        self.headers: list[str | None] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.tables += tag == "table"
        self.captions += tag == "caption"
        if tag == "th":
            self.headers.append(values.get("scope"))
        if tag == "img":
            self.images += 1
            assert values["alt"] and values["src"] and values["src"].startswith("data:image/jpeg;base64,")
        if tag not in ("meta", "img", "rect", "line", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "img", "rect", "line", "circle", "polyline"):
            assert self.open.pop() == tag


def test_the_structure_is_valid_and_accessible() -> None:
    page = Structure()
    page.feed(render(make_evaluation()))
    assert page.open == []
    assert page.tables == page.captions == 2, "classes and confusion matrix"
    assert set(page.headers) == {"col", "row"}
    assert page.images == 8, "two examples of four panels"


def test_its_values_are_those_of_the_result() -> None:
    evaluation = make_evaluation()
    page, metrics = render(evaluation), evaluation.metrics
    assert evaluation.headline in page and "about 36 more images would halve the interval" in page
    for name, values in metrics.classes.items():
        interval = evaluation.intervals.classes[name]
        assert interval is not None and values.iou is not None and values.recall is not None
        for value in (values.iou, values.dice, values.precision, values.recall, interval.low, interval.high):
            assert value is not None and f"{100 * value:.1f}%" in page
    assert "12.3 ms per image on cpu" in page and "62.5%" in page
    error = evaluation.calibration.error
    assert error is not None and f"calibration error is {100 * error:.1f}%" in page and "temperature of 1.50" in page


def test_it_needs_no_other_file_and_names_are_escaped() -> None:
    page = render(make_evaluation())
    assert "<b>dog" not in page and "&lt;b&gt;dog" in page
    assert not re.search(r"(?:src|href)=\"(?!data:|evaluation-test\.)", page)
    assert "<script" not in page and "@import" not in page


def test_warnings_and_errors_are_shown() -> None:
    evaluation = make_evaluation()
    assert 'class="loud"' not in render(evaluation)
    page = render(
        replace(evaluation, warning="trained on 3 images", note="a remark", skipped=(DataError("1.jpg: damaged"),))
    )
    assert re.search(r"class=\"loud\" role=\"alert\">Warning: <bdi>trained on 3 images", page)
    assert "a remark" in page and "1.jpg: damaged" in page


def test_the_panels_show_the_difference() -> None:
    evaluation = make_evaluation()
    example = evaluation.worst[0]
    example.truth[0] = 255
    example.wrong[0] = False
    drawn = draw_difference(example)
    assert (drawn[example.wrong] == WRONG_COLOR).all() and (drawn[0] == 0).all()
    rest = drawn[1:][~example.wrong[1:]]
    assert (rest[:, 0] == rest[:, 1]).all() and (rest[:, 1] == rest[:, 2]).all(), "gray"
    urls = re.findall(r"data:image/jpeg;base64,([^\"]+)", render(evaluation))
    with Image.open(io.BytesIO(base64.b64decode(urls[3]))) as stored:
        assert stored.size == (64, 48)
        assert np.abs(np.asarray(stored).astype(int) - drawn).mean() < 30


def test_the_background_is_not_colored() -> None:
    gray = np.full((48, 64, 3), 120, np.uint8)
    mask = np.zeros((48, 64), np.uint8)
    mask[:, 32:] = 1
    example = ImageExample(1, 0.25, gray, mask, mask, np.zeros((48, 64), np.bool_))
    for background, differs in (((0,), False), ((), True)):
        evaluation = replace(make_evaluation(), background=background)
        content = figure(evaluation, example).panels["prediction"].partition(",")[2]
        panel = np.array(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int)
        assert (np.abs(panel[:, :20] - 120).max() > 30) == differs, "left: background"
        assert np.abs(panel[:, 44:] - 120).max() > 30, "right: the class"


def test_fractions_of_the_confusion_matrix() -> None:
    evaluation = make_evaluation()
    matrix = np.array([[3, 1], [0, 0]])
    metrics = replace(evaluation.metrics, confusion=matrix.tolist())
    assert confusion_fractions(replace(evaluation, metrics=metrics)) == [[0.75, 0.25], [None, None]]


def test_many_classes_have_a_list_of_confusions() -> None:
    classes = tuple(f"class {index}" for index in range(40))
    evaluation = make_evaluation(classes)
    confusion = np.diag(np.full(40, 10))
    confusion[3, 5], confusion[7, 2] = 30, 10
    evaluation = replace(evaluation, metrics=replace(evaluation.metrics, confusion=confusion.tolist()))
    pairs = most_confused(evaluation)
    assert [(pair.true, pair.predicted, pair.fraction) for pair in pairs] == [
        ("class 3", "class 5", 0.75),
        ("class 7", "class 2", 0.5),
    ]
    page = render(evaluation)
    assert "Most confused classes" in page and "Confusion matrix" not in page


def test_multilabel_masks_have_no_confusion_matrix() -> None:
    page = render(make_evaluation(task=MULTILABEL))
    assert "Confusion matrix" not in page and "Most confused" not in page and "several classes" in page


def test_the_plot_has_one_line_without_a_temperature() -> None:
    evaluation = make_evaluation()
    assert render(evaluation).count("<polyline") == 2
    assert render(replace(evaluation, temperature=1.0)).count("<polyline") == 1
    assert plot_points(evaluation.calibration) == [(120.0, 240.0), (216.0, 0.0)]


def test_a_notebook_shows_the_interval_and_the_table() -> None:
    evaluation = make_evaluation()
    shown = evaluation._repr_html_()
    assert evaluation.headline in shown and "the test split of the data set" in shown
    assert "&lt;b&gt;dog&lt;/b&gt;" in shown and "<b>dog" not in shown
    assert shown.count("<p") == 3 and len(shown) < 300_000
    warned = replace(
        evaluation, warning="was <trained> on them", skipped=(DataError("a.jpg: cut"),), path=Path("e.json")
    )._repr_html_()
    assert "<b>was &lt;trained&gt; on them</b>" in warned
    assert "1 image left out, for example a.jpg: cut" in warned and "page: e.html" in warned
