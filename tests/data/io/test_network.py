"""URLs that tables may name, and the limits of requests."""

import pytest

from pixelwise.data.io.network import check_url, options_of_named_url, retry_once, with_limits
from pixelwise.errors import AnnotationError, DataError


@pytest.mark.parametrize("protocol", ["file", "http", "https", "s3", "gs", "az", "abfs", "hf", "memory", "HTTPS"])
def test_these_protocols_can_be_in_a_table(protocol: str) -> None:
    check_url(f"{protocol}://bucket/1.png")


@pytest.mark.parametrize(
    "url",
    [
        "reference://a.png::file:///data/refs.json", "https://a.b/1.png::reference://x", "simplecache::http://a.b/1.png",
        "zip://1.png::http://a.b/x.zip", "reference://a.png", "ftp://a.b/1.png", "webhdfs://a.b/1.png",
        "filecache://a.b/1.png", "nonsense://a.b/1.png", "jar://x", "github://a:b@c/1.png", "ssh://a.b/1.png",
    ],
)  # fmt: skip
def test_other_protocols_and_chains_cannot(url: str) -> None:
    with pytest.raises(AnnotationError) as error:
        check_url(url)
    assert url in str(error.value)


def test_a_url_of_another_protocol_gets_no_options() -> None:
    options = {"key": "k"}
    assert options_of_named_url("s3://other/1.png", "s3://bucket/train.csv", options, False) == options
    assert options_of_named_url("gs://other/1.png", "s3://bucket/train.csv", options, False) == {}


def test_s3_has_time_limits_that_options_replace() -> None:
    limits = with_limits("s3://bucket/1.png", {"key": "k"})
    assert limits["key"] == "k"
    assert limits["config_kwargs"] == {
        "connect_timeout": 10,
        "read_timeout": 10,
        "retries": {"total_max_attempts": 2},
    }
    own = with_limits("s3://bucket/1.png", {"config_kwargs": {"read_timeout": 60}})["config_kwargs"]
    assert (own["read_timeout"], own["connect_timeout"]) == (60, 10)
    assert with_limits("memory://bucket/1.png", {"a": 1}) == {"a": 1}


def test_google_and_azure_have_time_limits_that_options_replace() -> None:
    timeout = with_limits("gs://bucket/1.png", {"token": "anon"})["session_kwargs"]["timeout"]
    assert (timeout.sock_connect, timeout.sock_read, timeout.total) == (10, 10, None)
    assert with_limits("gcs://b/1.png", {"session_kwargs": {"timeout": 1}})["session_kwargs"] == {"timeout": 1}
    limits = {"connection_timeout": 10, "read_timeout": 10}
    assert with_limits("az://container/1.png", {"account_name": "a"}) == {"account_name": "a"} | limits
    assert with_limits("abfs://container/1.png", {"read_timeout": 60}) == limits | {"read_timeout": 60}


@pytest.mark.parametrize(
    ("url", "error", "calls"),
    [
        ("https://a.b/c", ConnectionResetError(), 2),
        ("https://a.b/c", TimeoutError(), 2),
        ("https://a.b/c", DataError("private"), 1),
        ("https://a.b/c", FileNotFoundError(), 1),
        ("gs://a/b", ConnectionResetError(), 2),
        ("hf://a/b", TimeoutError(), 2),
        ("s3://a/b", ConnectionResetError(), 1),
    ],
)
def test_a_read_is_repeated_once_if_the_network_failed(url: str, error: Exception, calls: int) -> None:
    seen = []

    def read() -> None:
        seen.append(1)
        raise error

    with pytest.raises(type(error)):
        retry_once(url, read)
    assert len(seen) == calls
