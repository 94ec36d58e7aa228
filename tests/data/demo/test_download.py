"""The four sources of Oxford-IIIT Pet, with a server on this machine in place of the official host."""

import hashlib
import io
import logging
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from pixelwise.data.demo import download, synthetic
from pixelwise.data.demo.download import ARCHIVES, BASE_URL, NAME, find_oxford_pets
from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError

SYNTHETIC = f"drawn-pets-v{synthetic.VERSION}"


class Host:
    """A server in place of the official host. `answers` maps a file name to its bytes, an HTTP status or "stall"."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, bytes | int | str] = {}
        self.requests: list[str] = []
        self.released = threading.Event()


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The two archives of a data set of two images, packed like the official ones."""
    pets = synthetic.draw_dataset(tmp_path_factory.mktemp("official") / "pets", train=1, test=1, size=(80, 60))
    packed = {}
    for archive in ARCHIVES:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            folder = archive.partition(".")[0]
            tar.add(pets / folder, folder)
        packed[archive] = buffer.getvalue()
    return packed


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Remove the user's settings and proxies, and draw few images."""
    for name in ("PIXELWISE_DATA", "PIXELWISE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "SYNTHETIC_IMAGES", (1, 1))
    caplog.set_level(logging.INFO, "pixelwise")


def use_port(monkeypatch: pytest.MonkeyPatch, archives: dict[str, bytes], port: int) -> None:
    """Download from a port of this machine."""
    checksums = {name: hashlib.md5(archives[name], usedforsecurity=False).hexdigest() for name in ARCHIVES}
    monkeypatch.setattr(download, "BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(download, "ARCHIVES", checksums)


@pytest.fixture
def host(archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = here.answers[self.path[1:]]
            here.requests.append(self.path[1:])
            if isinstance(answer, int):
                self.send_error(answer)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if answer == "stall":
                self.wfile.flush()
                here.released.wait(20)
            elif isinstance(answer, bytes):
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client closes the connection when it has read enough

    server = Server(("127.0.0.1", 0), Handler)
    here = Host(server.server_address[1])
    here.answers.update(archives)
    use_port(monkeypatch, archives, here.port)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,))
    serving.start()
    yield here
    here.released.set()
    server.shutdown()
    server.server_close()
    serving.join()


@pytest.fixture
def no_network(archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a port on which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    use_port(monkeypatch, archives, port)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def count_images(folder: Path) -> int:
    dataset = load_dataset(folder)
    assert dataset.format == "oxford-pets"
    return len(dataset.train) + len(dataset.test)


def test_the_official_archives_are_those_of_torchvision() -> None:
    from torchvision.datasets import OxfordIIITPet

    assert {f"{BASE_URL}/{name}": checksum for name, checksum in ARCHIVES.items()} == dict(OxfordIIITPet._RESOURCES)


def test_the_folder_that_the_environment_names_comes_first(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_oxford_pets(tmp_path / "cache")  # a previous download, which must not be used
    host.requests.clear()
    mine = tmp_path / "mine" / NAME
    mine.mkdir(parents=True)
    monkeypatch.setenv("PIXELWISE_DATA", str(tmp_path / "mine"))
    line = f"data: Oxford-IIIT Pet from PIXELWISE_DATA ({mine})"
    assert find_oxford_pets(tmp_path / "cache") == (mine, line)
    assert host.requests == []


def test_the_folder_that_the_environment_names_must_contain_the_data(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIXELWISE_DATA", str(tmp_path / "nothing"))
    with pytest.raises(DataError, match=f"PIXELWISE_DATA=.*nothing: has no folder {NAME}; .* images/") as error:
        find_oxford_pets(tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert host.requests == []


def test_a_download_is_kept_and_used_again(
    host: Host, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    cache, pets = tmp_path / "not" / "yet", tmp_path / "not" / "yet" / NAME
    assert find_oxford_pets(cache) == (pets, f"data: Oxford-IIIT Pet downloaded now into {pets}")
    assert names(cache) == [NAME]
    assert names(pets) == ["annotations", "images"], "the archives are removed"
    assert count_images(pets) == 2
    assert set(host.requests) == set(ARCHIVES)
    assert capfd.readouterr() == ("", ""), "nothing is printed"
    assert caplog.messages == [f"downloading Oxford-IIIT Pet into {pets}, once ..."]

    host.requests.clear()
    assert find_oxford_pets(cache) == (pets, f"data: Oxford-IIIT Pet downloaded before ({pets})")
    assert host.requests == []


def test_progress_counts_the_chunks_of_a_download(
    host: Host, archives: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_CHUNK_BYTES", 1000)
    totals, counts = [], []

    def count(items: Iterator[bytes], total: int) -> Iterator[bytes]:
        totals.append(total)
        counts.append(0)
        for item in items:
            counts[-1] += 1
            yield item

    find_oxford_pets(tmp_path, progress=count)  # type: ignore[arg-type]
    assert totals == counts == [-(-len(archives[name]) // 1000) for name in ARCHIVES]


def test_the_cache_is_the_users_unless_the_environment_names_another(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "user" / name)
    assert find_oxford_pets()[0] == tmp_path / "user" / "pixelwise" / NAME
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "other"))
    assert find_oxford_pets()[0] == tmp_path / "other" / NAME
    assert find_oxford_pets(tmp_path / "argument")[0] == tmp_path / "argument" / NAME


@pytest.mark.usefixtures("no_network")
def test_without_a_network_animals_are_drawn_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    root, line = find_oxford_pets(tmp_path)
    assert root == tmp_path / SYNTHETIC
    assert line.startswith(f"data: no network (Connection refused), so synthetic animals ({root}); ")
    assert "PIXELWISE_DATA" in line and "\n" not in line
    assert count_images(root) == 2
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("drawing 2 images")

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "draw_animal_scene", lambda *_: pytest.fail("drawn again"))
        assert find_oxford_pets(tmp_path) == (root, line)
    assert len(caplog.messages) == 1
    assert capfd.readouterr() == ("", ""), "nothing is printed"

    monkeypatch.setattr(synthetic, "VERSION", synthetic.VERSION + 1)
    assert find_oxford_pets(tmp_path)[0] != root, "a new version draws again"


@pytest.mark.parametrize(
    ("archive", "answer", "message"),
    [
        ("images.tar.gz", b"another file", "wrong checksum"),
        ("annotations.tar.gz", b"another file", "wrong checksum"),
        ("images.tar.gz", 404, "HTTP 404 Not Found"),
        ("annotations.tar.gz", 503, "HTTP 503"),
        ("annotations.tar.gz", "stall", "timed out"),
    ],
)
def test_a_failed_download_leaves_nothing(
    archive: str,
    answer: bytes | int | str,
    message: str,
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    host.answers[archive] = answer
    before = socket.getdefaulttimeout()
    with within(5):
        root, line = find_oxford_pets(tmp_path)
    assert socket.getdefaulttimeout() == before
    assert root == tmp_path / SYNTHETIC
    assert line.startswith("data: the download failed (") and message in line
    assert names(tmp_path) == [SYNTHETIC]


def test_a_host_that_never_answers_costs_no_more_than_the_timeout(
    archives: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, within(3):
        use_port(monkeypatch, archives, silent.getsockname()[1])
        root, line = find_oxford_pets(tmp_path, timeout=0.3)
    assert root == tmp_path / SYNTHETIC
    assert line.startswith("data: no network (")


def test_a_name_resolution_that_hangs_costs_no_more_than_the_timeout(
    archives: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(20)
        raise socket.gaierror("unknown name")

    use_port(monkeypatch, archives, port=9)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with within(3):
            _, line = find_oxford_pets(tmp_path, timeout=0.3)
    finally:
        released.set()
    assert line.startswith("data: no network (no answer within 0.3 s), so synthetic animals")


@pytest.mark.parametrize("network", ["host", "no_network"])
def test_the_error_names_a_cache_that_cannot_be_written(
    network: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request.getfixturevalue(network)
    (tmp_path / "file").write_text("keep me")  # in place of a folder, because root may write into any folder
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("PIXELWISE_CACHE", str(cache))
        with pytest.raises(DataError, match=f"{cache}: .*set PIXELWISE_CACHE") as error:
            find_oxford_pets()
        assert "\n" not in str(error.value)
    assert (tmp_path / "file").read_text() == "keep me"


@pytest.mark.parametrize("archive", ARCHIVES)
def test_an_interrupted_download_leaves_nothing(
    archive: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = download._extract

    def interrupted(file: Path, folder: Path) -> None:
        extract(file, folder)
        if file.name == archive:
            assert not (tmp_path / NAME).exists(), "incomplete under its final name"
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "_extract", interrupted)
        with pytest.raises(KeyboardInterrupt):
            find_oxford_pets(tmp_path)
    assert names(tmp_path) == []
    assert "downloaded now" in find_oxford_pets(tmp_path)[1]


def test_of_two_simultaneous_downloads_the_first_is_kept(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = download._extract
    first: list[int] = []

    def overtaken(file: Path, folder: Path) -> None:
        monkeypatch.setattr(download, "_extract", extract)
        find_oxford_pets(tmp_path)
        first.append((tmp_path / NAME).stat().st_ino)
        extract(file, folder)

    monkeypatch.setattr(download, "_extract", overtaken)
    pets, _ = find_oxford_pets(tmp_path)
    assert [pets.stat().st_ino] == first
    assert names(tmp_path) == [NAME]
    assert count_images(pets) == 2


@pytest.mark.usefixtures("no_network")
def test_of_two_simultaneous_drawings_the_first_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = synthetic.draw_animal_scene
    first: list[int] = []

    def overtaken(rng: np.random.Generator, size: tuple[int, int], kind: str) -> tuple[np.ndarray, np.ndarray]:
        monkeypatch.setattr(synthetic, "draw_animal_scene", draw)
        find_oxford_pets(tmp_path)
        first.append((tmp_path / SYNTHETIC).stat().st_ino)
        return draw(rng, size, kind)

    monkeypatch.setattr(synthetic, "draw_animal_scene", overtaken)
    root, _ = find_oxford_pets(tmp_path)
    assert [root.stat().st_ino] == first
    assert names(tmp_path) == [SYNTHETIC]


def test_an_incomplete_copy_is_replaced_and_kept_aside(host: Host, tmp_path: Path) -> None:
    incomplete = tmp_path / NAME
    (incomplete / "images").mkdir(parents=True)
    (incomplete / "images" / "Cat_1.jpg").write_text("keep me")
    pets, line = find_oxford_pets(tmp_path)
    assert "downloaded now" in line
    assert count_images(pets) == 2
    assert names(tmp_path) == [NAME, f"{NAME}-incomplete"]
    assert (tmp_path / f"{NAME}-incomplete" / "images" / "Cat_1.jpg").read_text() == "keep me"


@pytest.mark.usefixtures("no_network")
def test_an_incomplete_copy_is_not_used_without_a_network(tmp_path: Path) -> None:
    (tmp_path / NAME / "images").mkdir(parents=True)
    assert find_oxford_pets(tmp_path)[0] == tmp_path / SYNTHETIC
