"""Annotations are read back with the same class at each pixel, also holes, corners that touch, and single pixels."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from PIL import Image
from scipy.ndimage import gaussian_filter

from pixelwise.data.formats._rle import decode_brush_rle
from pixelwise.data.io.rasterize import _fill
from pixelwise.data.task import MULTILABEL
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.writers.labeling import encode_brush, row_runs
from pixelwise.inference.writers.regions import Region, find_regions, signed_area
from tests.inference.helpers import make_image
from tests.inference.writers.helpers import CLASSES, make_config, predicted, read_back, write_all

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

IMAGES = {"coco": "", "yolo": "yolo/images", "labelme": "", "label-studio": "", "cvat": ""}
"""Writer → the folder of the images in the data set."""

DATA = {"coco": ".", "yolo": "yolo", "labelme": ".", "label-studio": ".", "cvat": "."}
"""Writer → the folder of the data set."""

FORMATS = {name: name for name in IMAGES} | {"yolo": "yolo-seg"}
"""Writer → the format that is detected."""


def accept(writer: str, folder: Path) -> None:
    """Accept the predictions of Label Studio as annotations, as its button "Submit" does."""
    if writer == "label-studio":
        path = folder / "label-studio.json"
        tasks = json.loads(path.read_text())
        for task in tasks:
            task["annotations"] = [{"result": task.pop("predictions")[0]["result"]}]
        path.write_text(json.dumps(tasks))


def hard_masks() -> dict[str, npt.NDArray[np.uint8]]:
    """Return masks with nested holes, corners that touch, single pixels, all of one class, and smooth regions."""
    rings = np.zeros((23, 31), np.uint8)
    for number, inset in enumerate(range(1, 11, 2)):
        rings[inset : 23 - inset, inset : 31 - inset] = (1, 0, 2, 1, 0)[number]
    noise = np.random.default_rng(1).integers(0, 3, (17, 40)).astype(np.uint8)
    checkers = (np.indices((16, 16)).sum(0) % 2).astype(np.uint8)
    smooth = gaussian_filter(np.random.default_rng(2).normal(size=(3, 90, 120)), (0, 4, 4)).argmax(0).astype(np.uint8)
    whole = np.ones((9, 11), np.uint8)
    empty = np.zeros((8, 8), np.uint8)
    pixel = np.zeros((301, 207), np.uint8)
    pixel[300, 206] = 2
    masks = {"rings": rings, "noise": noise, "checkers": checkers, "smooth": smooth}
    return masks | {"whole": whole, "empty": empty, "pixel": pixel}


@pytest.mark.parametrize("writer", IMAGES)
def test_hard_masks_are_read_back_exactly(writer: str, tmp_path: Path) -> None:
    config, masks = make_config(), hard_masks()
    images = [predicted(tmp_path / IMAGES[writer] / f"{name}.png", mask, config) for name, mask in masks.items()]
    write_all(writer, images, tmp_path)
    accept(writer, tmp_path)
    found, read = read_back(tmp_path / DATA[writer])
    assert found == FORMATS[writer]
    assert read.keys() == {f"{name}.png" for name in masks}
    for name, mask in masks.items():
        np.testing.assert_array_equal(read[f"{name}.png"], np.array(CLASSES)[mask], err_msg=name)


@pytest.mark.parametrize("writer", IMAGES)
def test_predictions_of_a_model_can_be_trained_on(writer: str, predictor: Predictor, tmp_path: Path) -> None:
    folder = tmp_path / IMAGES[writer]
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        Image.fromarray(make_image(60 + number, 80, number)).save(folder / f"{number}.png")
    result = predict_folder(predictor, [folder], tmp_path, write=[writer])
    assert result.image_count == 3
    accept(writer, tmp_path)
    found, read = read_back(tmp_path / DATA[writer])
    assert found == FORMATS[writer]
    for number in range(3):
        mask = predictor(folder / f"{number}.png").mask
        same = read[f"{number}.png"] == np.array(predictor.classes)[mask]
        assert same.mean() > 0.999, "predictions of batches differ in a few pixels"


@pytest.mark.parametrize("writer", IMAGES)
def test_a_model_without_background_has_all_classes(writer: str, tmp_path: Path) -> None:
    config = make_config(("sky", "road", "tree"))
    mask = hard_masks()["smooth"]
    write_all(writer, [predicted(tmp_path / IMAGES[writer] / "a.png", mask, config)], tmp_path)
    accept(writer, tmp_path)
    _, read = read_back(tmp_path / DATA[writer])
    np.testing.assert_array_equal(read["a.png"], np.array(config.classes)[mask])


def test_regions_of_a_multilabel_mask_overlap(tmp_path: Path) -> None:
    config = make_config(("face", "eye"), MULTILABEL)
    mask = np.zeros((2, 20, 20), np.uint8)
    mask[0, 2:18, 2:18], mask[1, 5:8, 5:8] = 1, 1
    mask[:, 0] = 255
    regions = list(find_regions(predicted(tmp_path / "a.png", mask, config)))
    assert [(region.class_id, region.area, region.box) for region in regions] == [
        (0, 256, (2, 2, 18, 18)),
        (1, 9, (5, 5, 8, 8)),
    ]


def test_nodata_is_no_region(tmp_path: Path) -> None:
    mask = np.full((6, 6), 255, np.uint8)
    mask[1:3, 1:4] = 1
    (region,) = find_regions(predicted(tmp_path / "a.png", mask, make_config()))
    assert region.area == 6 and region.class_id == 1


def test_pixels_and_area_of_a_region_with_holes(tmp_path: Path) -> None:
    mask = hard_masks()["rings"]
    regions = list(find_regions(predicted(tmp_path / "a.png", mask, make_config())))
    assert sum(region.area for region in regions) == np.count_nonzero(mask)
    for region in regions:
        left, top, right, bottom = region.box
        pixels = np.zeros(mask.shape, bool)
        pixels[top:bottom, left:right] = region.pixels()
        assert pixels.sum() == region.area and (mask[pixels] == region.class_id).all()
        assert region.area == round(abs(signed_area(region.keyhole())))
    assert any(region.has_holes for region in regions)


def test_coco_reads_the_file_with_its_own_tools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    config, masks = make_config(), hard_masks()
    write_all("coco", [predicted(tmp_path / f"{name}.png", mask, config) for name, mask in masks.items()], tmp_path)
    coco = COCO(tmp_path / "coco.json")
    capsys.readouterr()
    assert [coco.cats[number]["name"] for number in sorted(coco.cats)] == list(CLASSES[1:])
    for number, (name, mask) in enumerate(masks.items(), start=1):
        image = coco.imgs[number]
        assert (image["file_name"], image["height"], image["width"]) == (f"{name}.png", *mask.shape)
        drawn = np.zeros(mask.shape, np.uint8)
        for annotation in coco.imgToAnns[number]:
            pixels = coco.annToMask(annotation).astype(bool)
            assert pixels.sum() == annotation["area"] and not drawn[pixels].any()
            rows, columns = np.nonzero(pixels)
            left, top, width, height = annotation["bbox"]
            assert (columns.min(), rows.min()) == (left, top)
            assert (columns.max() + 1, rows.max() + 1) == (left + width, top + height)
            drawn[pixels] = annotation["category_id"]
        np.testing.assert_array_equal(drawn, mask)


def test_labelme_names_the_image_and_has_masks_for_holes(tmp_path: Path) -> None:
    config = make_config()
    mask = hard_masks()["rings"]
    mask[11, 15] = 1
    image = predicted(tmp_path / "images" / "rings.png", mask, config, "deeper/rings.png")
    write_all("labelme", [image], tmp_path / "out")
    path = tmp_path / "out" / "labelme" / "deeper" / "rings.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert (path.parent / content["imagePath"]).resolve() == (tmp_path / "images" / "rings.png").resolve()
    assert {shape["shape_type"] for shape in content["shapes"]} == {"polygon", "mask"}
    for shape in content["shapes"]:
        if shape["shape_type"] == "mask":
            (left, top), (right, bottom) = shape["points"]
            assert right - left > 1 and bottom - top > 1 and shape["mask"]


def test_yolo_settings_and_coordinates(tmp_path: Path) -> None:
    image = predicted(tmp_path / "yolo" / "images" / "whole.png", hard_masks()["whole"], make_config())
    write_all("yolo", [image], tmp_path)
    settings = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text(encoding="utf-8"))
    assert settings["names"] == {0: "cat", 1: "猫 dog"}
    line = (tmp_path / "yolo" / "labels" / "whole.txt").read_text()
    assert sorted(line.split()[1:]) == ["0"] * 4 + ["1"] * 4 and line.startswith("0 ")


def test_a_keyhole_keeps_the_pixels_of_several_holes() -> None:
    def square(left: float, top: float, side: float) -> npt.NDArray[np.float64]:
        return np.array([[0, 0], [0, 1], [1, 1], [1, 0.0]]) * side + (left, top)

    region = Region(1, (square(0, 0, 20), square(12, 3, 4)[::-1], square(2, 9, 5)[::-1]))
    assert abs(signed_area(region.keyhole())) == region.area == 400 - 16 - 25


def test_names_with_special_characters_are_escaped(tmp_path: Path) -> None:
    config = make_config(("background", '<b> & "x"', "a\x01b"))
    mask = hard_masks()["rings"]
    for writer in ("cvat", "label-studio"):
        write_all(writer, [predicted(tmp_path / "a & <b>.png", mask, config)], tmp_path)
        accept(writer, tmp_path)
    interface = ElementTree.parse(tmp_path / "label-studio.xml")
    labels = [label.get("value") for label in interface.iterfind("PolygonLabels/Label")]
    assert labels == ['<b> & "x"', "a_b"]
    document = ElementTree.parse(tmp_path / "cvat.xml")
    assert [image.get("name") for image in document.iterfind("image")] == ["a & <b>.png"]
    assert {shape.get("label") for shape in document.iterfind("image/*")} <= {'<b> & "x"', "a_b"}


@pytest.mark.parametrize("length", [1, 2, 7, 16, 17, 63, 64, 65, 70_000])
def test_brush_masks_of_all_lengths_are_decoded(length: int) -> None:
    runs = [3, length, 5]
    mask = decode_brush_rle(encode_brush(runs, sum(runs)), 1, sum(runs))
    np.testing.assert_array_equal(mask, np.repeat([False, True, False], runs)[None])


def test_row_runs_join_rows(tmp_path: Path) -> None:
    mask = np.ones((3, 4), np.uint8)
    mask[0, 0] = mask[2, 2] = 0
    (region,) = find_regions(predicted(tmp_path / "a.png", mask, make_config()))
    assert row_runs(region, (3, 4)) == row_runs(region) == [1, 9, 1, 1, 0]


def test_label_studio_s_own_sdk_accepts_the_file(tmp_path: Path) -> None:
    decode_rle = pytest.importorskip("label_studio_sdk.converter.brush").decode_rle
    interface_class = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    config, masks = make_config(), hard_masks()
    images = [predicted(tmp_path / f"{name}.png", mask, config) for name, mask in masks.items()]
    write_all("label-studio", images, tmp_path)
    interface = interface_class((tmp_path / "label-studio.xml").read_text(encoding="utf-8"))
    interface.validate()
    for task, mask in zip(json.loads((tmp_path / "label-studio.json").read_text()), masks.values(), strict=True):
        (prediction,) = task["predictions"]
        assert interface.validate_prediction(prediction, return_errors=True) == []
        for region in prediction["result"]:
            if region["type"] == "brushlabels":
                shape = (region["original_height"], region["original_width"], 4)
                pixels = decode_rle(region["value"]["rle"]).reshape(shape)[..., 3] > 0
                names = set(np.array(CLASSES)[mask[pixels]])
                assert names == set(region["value"]["brushlabels"])


def test_datumaro_reads_the_file_of_cvat(tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    config, masks = make_config(), hard_masks()
    images = [predicted(tmp_path / "images" / f"{name}.png", mask, config) for name, mask in masks.items()]
    write_all("cvat", images, tmp_path)
    data = datumaro.Dataset.import_from(str(tmp_path), "cvat")
    names = [label.name for label in data.categories()[datumaro.AnnotationType.label]]
    assert names == list(CLASSES[1:]) and len(data) == len(masks)
    for item in data:
        mask = masks[item.id]
        drawn = np.zeros(mask.shape, np.uint8)
        for annotation in item.annotations:
            if annotation.type == datumaro.AnnotationType.mask:
                drawn[annotation.image.astype(bool)] = annotation.label + 1
            else:
                outline = np.array(annotation.points).reshape(-1, 2)
                drawn[_fill([outline], mask.shape)] = annotation.label + 1
        np.testing.assert_array_equal(drawn, mask, err_msg=item.id)
