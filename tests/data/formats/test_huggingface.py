"""Data sets of Hugging Face: columns, splits, class names, and damaged files."""

import builtins
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixelwise.data.formats.registry import FORMATS, detect_format
from pixelwise.data.io.image import read_image
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import CLASSES, read_as
from tests.data.formats.writers import tables
from tests.data.formats.writers.folders import Sample
from tests.data.formats.writers.tables import WRITERS, hf_dataset, png, write_parquet

pytestmark = [
    pytest.mark.usefixtures("quiet_datasets"),
    # Python 3.12 warns about a fork in a process with threads, which torch and pyarrow start.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def test_ambiguous_image_columns_are_listed(samples: list[Sample], tmp_path: Path) -> None:
    import datasets

    data = hf_dataset(samples, CLASSES, ("image", "mask"))
    second = hf_dataset(samples, CLASSES, ("x", "annotation")).remove_columns(["x", "classes"])
    datasets.concatenate_datasets([data, second], axis=1).save_to_disk(str(tmp_path / "two"))
    with pytest.raises(DataError, match=r"arrow: needs one column .* images: image, mask, annotation; call one"):
        detect_format(tmp_path / "two")
    data.remove_columns("mask").save_to_disk(str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"columns of images: image; call"):
        detect_format(tmp_path / "none")
    data.select_columns("classes").save_to_disk(str(tmp_path / "no images"))
    with pytest.raises(DataError, match=r"columns of images: none among classes; call"):
        detect_format(tmp_path / "no images")
    (tmp_path / "other").mkdir()
    data.select_columns("classes").to_parquet(str(tmp_path / "other" / "x.parquet"))
    assert FORMATS["huggingface"].component(tmp_path / "other") is None


def test_class_names_come_from_id2label(samples: list[Sample], tmp_path: Path) -> None:
    data = hf_dataset(samples, ["a", "b", "c"])
    data.save_to_disk(str(tmp_path))
    assert read_as("huggingface", tmp_path).class_names == ("a", "b", "c")
    data.rename_column("classes", "breed").save_to_disk(str(tmp_path / "breeds"))
    assert read_as("huggingface", tmp_path / "breeds").class_names == (), "a breed is the class of a whole image"
    names = {0: "sky", 1: "road", 2: "tree", 255: "void"}
    (tmp_path / "id2label.json").write_text(json.dumps(names))
    result = read_as("huggingface", tmp_path)
    assert (result.class_names, result.names_by_value) == ((), names)
    assert load_dataset(tmp_path).classes == ("sky", "road", "tree")


def test_splits_with_unknown_names(samples: list[Sample], tmp_path: Path) -> None:
    import datasets

    part = hf_dataset(samples[:2], CLASSES)
    datasets.DatasetDict({"everything": part}).save_to_disk(str(tmp_path / "one"))
    assert len(read_as("huggingface", tmp_path / "one").train) == 2
    datasets.DatasetDict({"train": part, "extra": part}).save_to_disk(str(tmp_path / "two"))
    result = read_as("huggingface", tmp_path / "two")
    assert len(result.records) == 2 and [(issue.kind, issue.severity) for issue in result.issues] == [
        ("unknown split", "warning")
    ]
    for names in (("fold1", "fold2"), ("val", "validation")):
        datasets.DatasetDict(dict.fromkeys(names, part)).save_to_disk(str(tmp_path / names[0]))
        with pytest.raises(DataError, match=f"its splits are {', '.join(names)}; call them train"):
            read_as("huggingface", tmp_path / names[0])


def test_rows_without_a_mask_and_images_outside_the_folder(samples: list[Sample], folder: Path) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "mask": datasets.Image()})
    images = [png(samples[0].image), str(folder / "a" / "1.png"), str(folder / "a" / "9.png"), png(samples[3].image)]
    rows = {
        "image": images,
        "mask": [png(samples[0].mask), str(folder / "m" / "1.png"), png(samples[2].mask), None],
    }
    data = datasets.Dataset.from_dict(rows, features=features)
    import pyarrow.parquet

    root = folder / "set"
    root.mkdir()
    pyarrow.parquet.write_table(data.data.table, root / "train-00000-of-00001.parquet", row_group_size=2)
    assert FORMATS["table"].component(root) is None
    with pytest.raises(DataError, match=r"parquet, row 2: .*/a/1\.png is outside the folder .*`allow_outside`"):
        detect_format(root)
    result = detect_format(root, options=LabelOptions(allow_outside=True))[1]
    assert [read_image(record.image).tobytes() for record in result.train] == [
        sample.image.tobytes() for sample in samples[:2]
    ]
    assert [(issue.kind, issue.file) for issue in result.issues] == [
        ("missing image", f"{folder}/a/9.png"),
        ("missing mask", f"{root}/train-00000-of-00001.parquet, row 4"),
    ]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("dataset_dict.json", lambda text: b"{", "is not valid JSON"),
        ("dataset_dict.json", lambda text: b"[]", "damaged"),
        ("dataset_dict.json", lambda text: b'{"splits": [3]}', "damaged"),
        ("train/state.json", lambda text: text[:-9], "is not valid JSON"),
        ("train/state.json", lambda text: b"{}", "damaged"),
        ("train/state.json", lambda text: text.replace(b"{", b'{"_indices_data_files": [{}],', 1), "index"),
        ("train/dataset_info.json", None, "cannot be read"),
        ("train/data-00000-of-00002.arrow", None, "no such file"),
        ("train/data-00000-of-00002.arrow", lambda text: text[: len(text) // 2], "cannot be read"),
        ("train/data-00000-of-00002.arrow", lambda text: b"", "cannot be read"),
        ("train/data-00000-of-00002.arrow", lambda text: text.replace(b"bytes", b"bites"), "contains no images"),
    ],
)  # fmt: skip
def test_damaged_data_sets_raise(
    file: str, change: Callable[[bytes], bytes] | None, message: str, samples: list[Sample], tmp_path: Path
) -> None:
    tables.write_saved(tmp_path, samples, CLASSES)
    path = tmp_path / file
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as error:
        detect_format(tmp_path)
    file_in_message = path.with_name("state.json") if file.endswith("state.json") else path
    assert (
        str(error.value).startswith(f"{file_in_message}: ")
        and message in str(error.value)
        and "\n" not in str(error.value)
    )


def test_parquet_files_of_several_data_sets_raise(samples: list[Sample], tmp_path: Path) -> None:
    for name in ("small", "large"):
        tables.write_hub(tmp_path / name, samples, CLASSES)
    with pytest.raises(DataError, match=r"has several data sets \(large, small\); use one of the folders"):
        read_as("huggingface", tmp_path)
    assert detect_format(tmp_path / "small")[0] == "huggingface"
    write_parquet(tmp_path / "small" / "data", {"a": [1]})
    (tmp_path / "small" / "data" / "data.parquet").rename(tmp_path / "small" / "data" / "val.parquet")
    with pytest.raises(DataError, match=r"data/val.parquet: is not of the data set that .*test-00000-of-00002.parquet"):
        read_as("huggingface", tmp_path / "small")


def test_network_cache_and_datasets_are_not_used(samples: list[Sample], tmp_path: Path) -> None:
    tables.write_saved(tmp_path / "saved", samples, CLASSES)
    tables.write_hub(tmp_path / "hub", samples, CLASSES)
    code = (
        "import sys, socket\n"
        "from pathlib import Path\n"
        "def no(*_): raise AssertionError('network')\n"
        "socket.socket.connect = no\n"
        "from pixelwise.data.formats.registry import detect_format\n"
        "from pixelwise.data.io.image import read_image\n"
        "for name in ('saved', 'hub'):\n"
        "    [read_image(record.image) for record in detect_format(Path(name))[1].records]\n"
        "assert not {'datasets', 'torch', 'pandas'} & set(sys.modules)\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"HOME": str(home), "HF_HOME": str(home / "hf"), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=120)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("writer", "extra"), [("parquet bytes", "parquet"), ("saved", "huggingface"), ("hub", "huggingface")]
)
def test_without_pyarrow_the_error_names_the_extra(
    writer: str, extra: str, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[writer][1](tmp_path, samples, CLASSES)
    real_import = builtins.__import__

    def import_without_pyarrow(name: str, *args: Any) -> Any:
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return real_import(name, *args)

    monkeypatch.setattr(builtins, "__import__", import_without_pyarrow)
    with pytest.raises(DataError) as error:
        detect_format(tmp_path)
    assert f"pip install 'pixelwise[{extra}]'" in str(error.value) and str(tmp_path) in str(error.value)
