"""Tables and images behind URLs."""

from pathlib import Path

import fsspec
import pytest

from pixelwise.data.formats.registry import detect_format
from pixelwise.data.io.image import count_channels, read_image
from pixelwise.data.io.remote import open_url
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import CLASSES, check_records, read_as, write_table
from tests.data.formats.writers import tables
from tests.data.formats.writers.folders import Sample, lines
from tests.data.formats.writers.tables import WRITERS

pytestmark = [
    pytest.mark.usefixtures("quiet_datasets"),
    # Python 3.12 warns about a fork in a process with threads, which torch and pyarrow start.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def upload(url: str, folder: Path) -> None:
    """Copy all files of a folder to a URL."""
    system, path = fsspec.url_to_fs(url)
    for file in folder.rglob("*"):
        if file.is_file():
            system.pipe_file(f"{path}/{file.relative_to(folder)}", file.read_bytes())


@pytest.mark.parametrize("url", ["memory", "s3"])
def test_images_of_a_table_can_be_remote(
    url: str, samples: list[Sample], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base_url = request.getfixturevalue(url)
    files = tables.make_images(tmp_path / "up", samples)
    upload(base_url, tmp_path / "up")
    rows = [
        f"{base_url}/{image.relative_to(tmp_path / 'up')},{base_url}/{mask.relative_to(tmp_path / 'up')},{sample.split}"
        for (image, mask), sample in zip(files, samples, strict=True)
    ]
    path = write_table(tmp_path, "image,mask,split", *rows)
    lines(tmp_path / "classes.txt", CLASSES)
    data = load_dataset(path)
    assert data.classes == CLASSES
    check_records(data, data.read_spec.label_map, samples)
    # Reading, not loading, detects a missing file.
    url_of_image = str(data.train[0].image)
    system, key = fsspec.url_to_fs(url_of_image)
    system.rm(key)
    with pytest.raises(DataError) as error:
        read_image(data.train[0].image)
    assert str(error.value) == f"{url_of_image}: no such file"


@pytest.mark.parametrize("url", ["memory", "s3"])
@pytest.mark.parametrize("writer", ["csv", "parquet bytes"])
def test_the_table_can_be_remote(
    url: str, writer: str, samples: list[Sample], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base_url = request.getfixturevalue(url)
    WRITERS[writer][1](tmp_path, samples, CLASSES)
    upload(base_url, tmp_path)
    name = "data.csv" if writer == "csv" else "data.parquet"
    data = load_dataset(f"{base_url}/{name}", classes=CLASSES)
    assert data.format == "table"
    check_records(data, data.read_spec.label_map, samples)
    with pytest.raises(DataError) as error:
        read_as("table", open_url(f"{base_url}/none-{name}"))
    assert str(error.value).startswith(f"{base_url}/none-{name}: no such file") and "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["s3://bucket/1.png", "http://127.0.0.1:9/1.png", "http://127.0.0.1:9/1.tif"])
def test_an_unreachable_url_raises_one_line(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    path = write_table(folder, "image,mask", f"{url},m/0.png")
    (record,) = detect_format(path, options=LabelOptions(allow_outside=True))[1].train
    read = count_channels if url.endswith("tif") else read_image
    with pytest.raises(DataError) as error:
        read(record.image)
    assert str(error.value).startswith(f"{url}: cannot be read (") and "\n" not in str(error.value)
    with pytest.raises(DataError, match="cannot be read"):
        record.image.read_bytes()
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
