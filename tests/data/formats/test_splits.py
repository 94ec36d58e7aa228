"""Words and lists that define splits."""

import shutil
from pathlib import Path

import pytest

from pixelwise.data.formats._folder_names import parse_folder_name, split_of
from pixelwise.data.formats._splits import SPLIT_WORDS
from pixelwise.data.schema import SPLITS, Split
from tests.data.formats.support import CLASSES, assert_error, pairs, path_of, read_as, touch
from tests.data.formats.writers.folders import draw_scenes, lines
from tests.data.formats.writers.tables import hf_dataset

pytestmark = pytest.mark.usefixtures("quiet_datasets")


@pytest.mark.parametrize(("word", "split"), SPLIT_WORDS.items())
def test_a_split_word_means_the_same_everywhere(word: str, split: Split, tmp_path: Path) -> None:
    for name in (word, word.upper()):
        assert parse_folder_name(name) == (split, None)
        assert parse_folder_name(f"{name}_images") == parse_folder_name(f"images-{name}") == (split, "images")
        assert parse_folder_name(f"{name} masks") == parse_folder_name(f"labels{name}") == (split, "masks")
    assert split_of(f"data/{word}2017") == split_of(f"instances_{word}") == split
    touch(tmp_path / "lists", "images/1.jpg", "masks/1.png", "images/2.jpg", "masks/2.png")
    lines(tmp_path / "lists" / f"{word}.txt", ["1"])
    assert [path_of(r.image).stem for r in getattr(read_as("folders", tmp_path / "lists"), split)] == ["1"]
    touch(tmp_path / "column", "1.png", "2.png")
    lines(tmp_path / "column" / "data.csv", ["image,mask,split", f"1.png,2.png,{word}"])
    assert len(getattr(read_as("table", tmp_path / "column"), split)) == 1
    touch(tmp_path / "names", "1.png", "2.png")
    lines(tmp_path / "names" / f"scenes-{word}.csv", ["image,mask", "1.png,2.png"])
    assert len(getattr(read_as("table", tmp_path / "names"), split)) == 1
    touch(tmp_path / "yolo", "images/a/1.png", "images/b/2.png")
    lines(tmp_path / "yolo" / "labels" / "a" / "1.txt", ["0 0 0 1 0 1 1"])
    other = "val" if split == "train" else "train"
    lines(tmp_path / "yolo" / "data.yaml", ["names: [cat]", f"{word}: images/a", f"{other}: images/b"])
    assert [record.image.name for record in getattr(read_as("yolo-seg", tmp_path / "yolo"), split)] == ["1.png"]
    datasets = pytest.importorskip("datasets")
    part = hf_dataset(draw_scenes(list("abcdef"), (0, 1, 2)), CLASSES)
    datasets.DatasetDict({word: part, "other": part}).save_to_disk(str(tmp_path / "saved"))
    assert len(getattr(read_as("huggingface", tmp_path / "saved"), split)) == 6


def test_words_of_each_split() -> None:
    words = {split: {word for word, meaning in SPLIT_WORDS.items() if meaning == split} for split in SPLITS}
    assert words["train"] == {"train", "training", "tr", "trn"}
    assert words["val"] == {"val", "valid", "validation", "dev"}
    assert words["test"] == {"test", "testing", "ts", "tst"}


def test_two_letters_in_front_of_a_word_are_no_split() -> None:
    assert {"tr", "trn", "ts", "tst"} <= set(SPLIT_WORDS)
    assert [parse_folder_name(name) for name in ("trim", "tsx", "trimap", "cats")] == [
        (None, None),
        (None, None),
        (None, "masks"),
        (None, None),
    ]


@pytest.mark.parametrize("folder", ["", "splits/", "ImageSets/Segmentation/"])
@pytest.mark.parametrize(
    "line", ["{}", "{}.jpg", "images/{}.jpg", "./images/{}.jpg masks/{}.png", "/home/me/images/{}.jpg,x"]
)
def test_lists_define_the_splits(folder: str, line: str, tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{i}.jpg" for i in range(6)), *(f"masks/{i}.png" for i in range(5)))
    for split, numbers in {"train": (2, 0), "val": (1,), "test": (4,)}.items():
        lines(tmp_path / f"{folder}{split}.txt", ["# comment", "", *(line.format(i, i) for i in numbers)])
    result = read_as("folders", tmp_path)
    assert list(pairs(result, tmp_path)) == ["images/2.jpg", "images/0.jpg"]
    assert (len(result.val), len(result.test)) == (1, 1)
    assert result.issues == (), "images 3 and 5 are in no list"


def test_names_in_lists_can_have_spaces(tmp_path: Path) -> None:
    touch(tmp_path, "images/a b.jpg", "masks/a b.png", "images/c.jpg", "masks/c.png")
    lines(tmp_path / "train.txt", ["a b"])
    lines(tmp_path / "val.txt", ["c masks/c.png"])
    result = read_as("folders", tmp_path)
    assert (list(pairs(result, tmp_path)), len(result.val)) == (["images/a b.jpg"], 1)


def test_without_a_train_list_unlisted_images_are_for_training(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{i}.jpg" for i in range(3)), *(f"masks/{i}.png" for i in range(3)))
    lines(tmp_path / "val.txt", ["1"])
    result = read_as("folders", tmp_path)
    assert list(pairs(result, tmp_path)) == ["images/0.jpg", "images/2.jpg"]
    assert list(pairs(result, tmp_path, "val")) == ["images/1.jpg"]


def test_lines_without_an_image_are_issues(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    lines(tmp_path / "train.txt", ["1", "2"])
    issue = read_as("folders", tmp_path).issues[0]
    assert (issue.kind, issue.file) == ("missing image", "2") and "train.txt" in issue.message
    lines(tmp_path / "train.txt", ["2", "3"])
    assert_error("folders", tmp_path, "train.txt", "none of its lines", "2")


def test_a_name_in_two_folders_needs_its_path(tmp_path: Path) -> None:
    names = ("mon/1", "tue/1")
    touch(tmp_path, *(f"images/{name}.jpg" for name in names), *(f"masks/{name}.png" for name in names))
    lines(tmp_path / "train.txt", ["1"])
    assert_error("folders", tmp_path, "train.txt", "images/mon/1.jpg", "images/tue/1.jpg", "write the path")
    lines(tmp_path / "train.txt", ["tue/1"])
    assert list(pairs(read_as("folders", tmp_path), tmp_path)) == ["images/tue/1.jpg"]


@pytest.mark.parametrize(
    "names",
    [
        "{}_list.txt", "list_{}.txt", "{}list.txt", "{}-ids.txt", "{}_images.lst", "{}set.txt", "image_names_{}.txt",
        "{}.LST", "split_{}.txt",
    ],
)  # fmt: skip
@pytest.mark.parametrize("folder", ["", "lists/", "data/"])
def test_lists_with_other_words_in_their_names(names: str, folder: str, tmp_path: Path) -> None:
    touch(tmp_path, *(f"data/images/{i}.jpg" for i in range(5)), *(f"data/masks/{i}.png" for i in range(5)))
    for word, numbers in {"train": (0, 1, 2), "valid": (3,), "test": (4,)}.items():
        lines(tmp_path / folder / names.format(word), [f"images/{i}.jpg masks/{i}.png" for i in numbers])
    result = read_as("folders", tmp_path)
    assert [len(result.train), len(result.val), len(result.test)] == [3, 1, 1] and result.issues == ()


def test_the_shortest_name_of_a_list_is_used(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{i}.jpg" for i in range(3)), *(f"masks/{i}.png" for i in range(3)))
    lines(tmp_path / "train.txt", ["0", "1"])
    lines(tmp_path / "train_ids.txt", ["2"])
    lines(tmp_path / "val.txt", ["2"])
    assert [path_of(r.image).stem for r in read_as("folders", tmp_path).train] == ["0", "1"]


def test_lists_of_folds_are_a_warning(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{i}.jpg" for i in range(3)), *(f"masks/{i}.png" for i in range(3)))
    for fold in (1, 2):
        lines(tmp_path / f"train_fold{fold}.txt", ["0", "1"])
        lines(tmp_path / f"labels_of_fold{fold}.txt", ["0"])
    result = read_as("folders", tmp_path)
    assert len(result.train) == 3
    assert [(issue.kind, issue.file, issue.severity) for issue in result.issues] == [
        ("unclear split", str(tmp_path / f"train_fold{fold}.txt"), "warning") for fold in (1, 2)
    ]
    assert "resembles the name of a split" in result.issues[0].message
    # The advice works.
    (tmp_path / "train_fold1.txt").rename(tmp_path / "train.txt")
    assert len(read_as("folders", tmp_path).train) == 2


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth"),
        ("{}_data/images", "{}_data/masks"),
        ("stage1_{}/images", "stage1_{}/masks"),
        ("x_{}", "y_{}"),
        ("{}-images", "{}-labels"),
        ("my_{}_photos_v2", "my_{}_masks_v2"),
        ("img_dir/{}", "ann_dir/{}"),
        ("images/set_{}_512", "masks/set_{}_512"),
        ("data-{0}/data-{0}-Image", "data-{0}/data-{0}-Mask"),
    ],
)
@pytest.mark.parametrize("words", [("train", "val", "test"), ("Training", "Validation", "Testing")], ids=str)
def test_splits_in_longer_names_of_folders(
    images: str, masks: str, words: tuple[str, str, str], tmp_path: Path
) -> None:
    for word in words:  # the same names in all splits
        touch(tmp_path, *(f"{images.format(word)}/{i}.jpg" for i in range(2)))
        touch(tmp_path, *(f"{masks.format(word)}/{i}.png" for i in range(2)))
    result = read_as("folders", tmp_path)
    for split, word in zip(SPLITS, words, strict=True):
        assert pairs(result, tmp_path, split) == {
            f"{images.format(word)}/{i}.jpg": f"{masks.format(word)}/{i}.png" for i in range(2)
        }
    assert result.issues == ()


def test_a_single_word_for_a_split_in_a_longer_name_is_a_warning(tmp_path: Path) -> None:
    touch(tmp_path, "blood_test_7/images/1.jpg", "blood_test_7/masks/1.png", "other/images/2.jpg", "other/masks/2.png")
    result = read_as("folders", tmp_path)
    assert len(result.train) == 2
    assert [(issue.kind, issue.file) for issue in result.issues] == [("unclear split", str(tmp_path / "blood_test_7"))]
    touch(tmp_path, "train_station/images/3.jpg", "train_station/masks/3.png")
    (tmp_path / "blood_test_7").rename(tmp_path / "blood")
    assert len(read_as("folders", tmp_path).train) == 3 and read_as("folders", tmp_path).issues == ()


def test_two_letters_count_if_they_are_all_that_differs(tmp_path: Path) -> None:
    for word in ("TR", "TE"):
        touch(tmp_path, f"DUTS-{word}/DUTS-{word}-Image/1.jpg", f"DUTS-{word}/DUTS-{word}-Mask/1.png")
    result = read_as("folders", tmp_path)
    assert (len(result.train), len(result.test)) == (1, 1)
    shutil.rmtree(tmp_path / "DUTS-TR")
    assert len(read_as("folders", tmp_path).train) == 1, "TE alone is no split"


def test_splits_at_the_beginning_of_all_names(tmp_path: Path) -> None:
    names = ["train_1", "train_2", "testA_1", "testB_1"]
    touch(tmp_path, *(f"{name}{tail}.bmp" for name in names for tail in ("", "_anno")))
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {f"train_{i}.bmp": f"train_{i}_anno.bmp" for i in (1, 2)}
    assert pairs(result, tmp_path, "test") == {f"test{x}_1.bmp": f"test{x}_1_anno.bmp" for x in "AB"}
    assert "the splits are those that the names of the images begin with" in result.issues[0].message
    touch(tmp_path, "cat_1.bmp", "cat_1_anno.bmp")  # a name without a split: none counts
    result = read_as("folders", tmp_path)
    assert len(result.train) == 5 and result.issues == ()


@pytest.mark.parametrize("separator", [" ", "\t", ",", ";"])
def test_lists_that_name_the_masks_define_the_pairs(separator: str, tmp_path: Path) -> None:
    touch(tmp_path, *(f"photos/my photo {i}.jpg" for i in range(4)), *(f"truth/{9 - i}.png" for i in range(4)))
    rows = [f"photos/my photo {i}.jpg{separator}truth/{9 - i}.png" for i in range(4)]
    lines(tmp_path / "train_list.txt", rows[:3])
    lines(tmp_path / "val_list.txt", rows[3:])
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {f"photos/my photo {i}.jpg": f"truth/{9 - i}.png" for i in range(3)}
    assert pairs(result, tmp_path, "val") == {"photos/my photo 3.jpg": "truth/6.png"}
    assert "matched by the lists of the splits: truth/9.png is the mask of photos/my photo 0.jpg" in str(result.issues)


def test_the_pairs_of_lists_replace_those_of_names(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{i}.jpg" for i in range(3)), *(f"masks/{i}.png" for i in range(3)))
    lines(tmp_path / "train.txt", ["images/0.jpg masks/1.png", "images/1.jpg masks/0.png"])
    lines(tmp_path / "test.txt", ["images/2.jpg"])
    result = read_as("folders", tmp_path)
    assert pairs(result, tmp_path) == {"images/0.jpg": "masks/1.png", "images/1.jpg": "masks/0.png"}
    assert sorted(issue.kind for issue in result.issues) == ["choice of masks", "images without masks"]
    lines(tmp_path / "train.txt", ["images/0.jpg masks/1.png", "images/0.jpg masks/0.png"])
    assert_error("folders", tmp_path, "train.txt", "lists images/0.jpg with masks/1.png and with masks/0.png")


@pytest.mark.parametrize("line", ["{}", "{}/", "480p/{}", "JPEGImages/480p/{}"])
def test_lists_can_name_folders_of_images(line: str, tmp_path: Path) -> None:
    for name in ("bear", "cat"):
        touch(tmp_path, *(f"JPEGImages/480p/{name}/{i:05}.jpg" for i in range(3)))
        touch(tmp_path, *(f"Annotations/480p/{name}/{i:05}.png" for i in range(3)))
    for split, name in {"train": "bear", "val": "cat"}.items():
        lines(tmp_path / "ImageSets" / "2017" / f"{split}.txt", [line.format(name)])
    result = read_as("folders", tmp_path)
    assert list(pairs(result, tmp_path)) == [f"JPEGImages/480p/bear/{i:05}.jpg" for i in range(3)]
    assert [path_of(r.image).parent.name for r in result.val] == ["cat"] * 3 and result.issues == ()
    for split in ("train", "val"):
        lines(tmp_path / "ImageSets" / "2017" / f"{split}.txt", ["dog"])
    result = read_as("folders", tmp_path)
    assert len(result.train) == 6
    assert [(issue.kind, Path(issue.file).name) for issue in result.issues] == [
        ("unclear split", "train.txt"),
        ("unclear split", "val.txt"),
    ]


@pytest.mark.parametrize("beginnings", [("train", "val", "test"), ("training", "validation", "testing")])
def test_words_for_splits_can_be_joined_with_another_word(beginnings: tuple[str, ...], tmp_path: Path) -> None:
    for beginning in beginnings:
        touch(
            tmp_path, *(f"{beginning}crop/{beginning[:2]}{number}{suffix}" for number in (1, 2) for suffix in SUFFIXES)
        )
    result = read_as("folders", tmp_path)
    assert (len(result.train), len(result.val), len(result.test)) == (2, 2, 2)


def test_one_joined_word_alone_is_no_split(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/1{suffix}" for folder in ("trainers", "shoes") for suffix in SUFFIXES))
    assert len(read_as("folders", tmp_path).train) == 2


SUFFIXES = (".jpg", ".png")

SPLIT_FILES = {
    "split.csv": "filename,split\n1.jpg,train\n2.jpg,train\n3.jpg,val\n4.jpg,test\n",
    "splits/partition.tsv": "id\tpartition\n1\ttraining\n2\ttraining\n3\tvalid\n4\ttesting\n",
    "meta.csv": "age;image;Split\n30;images/1.jpg;Train\n31;images\\2.jpg;Train\n9;3;Val\n7;4;Test\n",
    "split.json": '{"train": ["1.jpg", "2"], "val": ["images/3.jpg"], "test": ["4"]}',
}


@pytest.mark.parametrize("file", SPLIT_FILES)
def test_tables_and_json_files_define_the_splits(file: str, tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{number}.jpg" for number in range(1, 5)), *(f"masks/{n}.png" for n in range(1, 5)))
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(SPLIT_FILES[file])
    result = read_as("folders", tmp_path)
    found = {split: [path_of(record.image).stem for record in getattr(result, split)] for split in SPLITS}
    assert found == {"train": ["1", "2"], "val": ["3"], "test": ["4"]}
    assert any(f"the splits are those in {Path(file).name}" in issue.message for issue in result.issues)


def test_images_without_a_split_and_names_without_an_image_are_warnings(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{n}.jpg" for n in range(20)), *(f"masks/{n}.png" for n in range(20)))
    (tmp_path / "split.csv").write_text("name,split\nx.jpg,val\n" + "".join(f"{n}.jpg,train\n" for n in range(19)))
    result = read_as("folders", tmp_path)
    assert len(result.records) == 19
    texts = [str(issue) for issue in result.issues if issue.severity == "warning"]
    assert any("1 names have no image, for example x.jpg" in text for text in texts)
    assert any("1 images have no split, for example images/19.jpg; they are left out" in text for text in texts)


@pytest.mark.parametrize(
    "text", ["name,split\n1.jpg,fold1\n2.jpg,fold2\n", "a,split\nx,train\ny,val\n", "split\ntrain\n"]
)
def test_other_tables_define_no_splits(text: str, tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/1.png", "masks/2.png")
    (tmp_path / "split.csv").write_text(text)
    (tmp_path / "notes.json").write_text('{"train": 3}')
    assert len(read_as("folders", tmp_path).train) == 2


def test_an_image_in_two_lists_is_in_the_first_split_only(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"{folder}/{i}.{suffix}" for i in range(5) for folder, suffix in (("images", "jpg"), ("masks", "png"))),
    )
    lines(tmp_path / "train.txt", ["0", "1", "2"])
    lines(tmp_path / "test.txt", ["2", "3", "4"])
    result = read_as("folders", tmp_path)
    assert [path_of(record.image).stem for record in result.test] == ["3", "4"] and len(result.train) == 3
    assert [issue.message for issue in result.issues if issue.kind == "image in two splits"] == [
        "1 image of test also in an earlier split; used only there"
    ]


def test_an_image_in_two_rows_of_a_split_table_is_in_the_first_split_only(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"{folder}/{i}.{suffix}" for i in range(4) for folder, suffix in (("images", "jpg"), ("masks", "png"))),
    )
    lines(tmp_path / "split.csv", ["image,split", "0,train", "1,train", "2,val", "3,val", "0,val"])
    result = read_as("folders", tmp_path)
    assert [path_of(record.image).stem for record in result.val] == ["2", "3"] and len(result.train) == 2
    assert any(issue.kind == "image in two splits" for issue in result.issues)
