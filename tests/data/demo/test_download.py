"""The four sources of Oxford-IIIT Pet, with the real download code and a server on this machine."""

import hashlib
import io
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import platformdirs
import pytest
import torchvision.datasets.utils as torchvision_utils
from torchvision.datasets import OxfordIIITPet

from pixelwise.data.demo import download as fetch
from pixelwise.data.demo import synthetic as drawn
from pixelwise.data.demo.download import NAME, find_oxford_pets
from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError

ARCHIVES = ("images.tar.gz", "annotations.tar.gz")
DRAWN = f"drawn-pets-v{drawn.VERSION}"


class Host:
    """The official host, on this machine: `answers` maps a path to bytes, a status or "stall"."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, bytes | int | str] = {}
        self.asked: list[str] = []
        self.released = threading.Event()


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The two archives of a data set of two images, packed as the official ones are."""
    pets = drawn.draw_dataset(tmp_path_factory.mktemp("official") / "pets", train=1, test=1, size=(80, 60))
    packed = {}
    for archive in ARCHIVES:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            folder = archive.partition(".")[0]
            tar.add(pets / folder, folder)
        packed[archive] = buffer.getvalue()
    return packed


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests see no folder of whoever runs them, and no proxy, and draw little."""
    for name in ("PIXELWISE_DATA", "PIXELWISE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetch, "DRAWN_IMAGES", (1, 1))


def official(monkeypatch: pytest.MonkeyPatch, archives: dict[str, bytes], port: int) -> None:
    """Let torchvision download from this machine."""
    resources = [
        (f"http://127.0.0.1:{port}/{name}", hashlib.md5(archives[name], usedforsecurity=False).hexdigest())
        for name in ARCHIVES
    ]
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", tuple(resources))


@pytest.fixture
def host(archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = here.answers[self.path[1:]]
            here.asked.append(self.path[1:])
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
            pass  # a client that has read enough hangs up

    server = Server(("127.0.0.1", 0), Handler)
    here = Host(server.server_address[1])
    here.answers.update(archives)
    official(monkeypatch, archives, here.port)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,))
    serving.start()
    yield here
    here.released.set()
    server.shutdown()
    server.server_close()
    serving.join()


@pytest.fixture
def refusing(archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: nobody listens at the official host's port."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    official(monkeypatch, archives, port)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_images(folder: Path) -> int:
    dataset = load_dataset(folder)
    assert dataset.format == "oxford-pets"
    return len(dataset.train) + len(dataset.test)


def test_a_folder_named_in_the_environment_comes_first(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_oxford_pets(tmp_path / "cache")  # a copy downloaded before, which must not be taken
    host.asked.clear()
    mine = tmp_path / "mine" / NAME
    mine.mkdir(parents=True)
    monkeypatch.setenv("PIXELWISE_DATA", str(tmp_path / "mine"))
    assert find_oxford_pets(tmp_path / "cache") == (
        mine,
        f"data: Oxford-IIIT Pet from PIXELWISE_DATA ({mine})",
    )
    assert host.asked == []


def test_a_folder_named_in_the_environment_must_hold_the_data(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIXELWISE_DATA", str(tmp_path / "nothing"))
    with pytest.raises(DataError, match=f"PIXELWISE_DATA=.*nothing: holds no folder {NAME}; .* images/") as error:
        find_oxford_pets(tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert host.asked == []


def test_downloaded_once_and_kept(
    host: Host, archives: dict[str, bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cache, kept = tmp_path / "not" / "yet", tmp_path / "not" / "yet" / NAME
    assert find_oxford_pets(cache) == (kept, f"data: Oxford-IIIT Pet downloaded now into {kept}")
    assert names(cache) == [NAME]
    assert names(kept) == ["annotations", "images"], "the archives are gone"
    assert make_images(kept) == 2
    assert set(host.asked) == set(ARCHIVES)
    shown = capfd.readouterr()
    assert "downloading Oxford-IIIT Pet" in shown.err and "100%" in shown.err
    assert shown.out == ""

    host.asked.clear()
    assert find_oxford_pets(cache) == (kept, f"data: Oxford-IIIT Pet downloaded before ({kept})")
    assert host.asked == []


def test_the_cache_is_the_users_unless_the_environment_names_another(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "user" / name)
    assert find_oxford_pets()[0] == tmp_path / "user" / "pixelwise" / NAME
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "other"))
    assert find_oxford_pets()[0] == tmp_path / "other" / NAME
    assert find_oxford_pets(tmp_path / "asked")[0] == tmp_path / "asked" / NAME


@pytest.mark.usefixtures("refusing")
def test_without_a_network_animals_are_drawn_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root, line = find_oxford_pets(tmp_path)
    assert root == tmp_path / DRAWN
    assert line.startswith(f"data: no network (Connection refused), so the built-in drawn animals ({root}); ")
    assert "PIXELWISE_DATA" in line and "\n" not in line
    assert make_images(root) == 2
    assert capfd.readouterr().err.startswith("drawing 2 images")

    with monkeypatch.context() as patch:
        patch.setattr(drawn, "draw_animal_scene", lambda *_: pytest.fail("drawn again"))
        assert find_oxford_pets(tmp_path) == (root, line)
    assert capfd.readouterr().err == ""

    monkeypatch.setattr(drawn, "VERSION", drawn.VERSION + 1)
    assert find_oxford_pets(tmp_path)[0] != root, "a changed generator draws again"


@pytest.mark.parametrize(
    ("archive", "answer", "told"),
    [
        ("images.tar.gz", b"not what was asked for", "corrupted"),
        ("annotations.tar.gz", b"not what was asked for", "corrupted"),
        ("images.tar.gz", 404, "HTTP 404 Not Found"),
        ("annotations.tar.gz", 503, "HTTP 503"),
        ("annotations.tar.gz", "stall", "timed out"),
    ],
)
def test_a_download_that_fails_leaves_nothing(
    archive: str,
    answer: bytes | int | str,
    told: str,
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch, "STALL_SECONDS", 0.3)
    host.answers[archive] = answer
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(77.0)
    try:
        with within(5):
            root, line = find_oxford_pets(tmp_path)
        assert socket.getdefaulttimeout() == 77.0, "the limit holds during the download only"
    finally:
        socket.setdefaulttimeout(before)
    assert root == tmp_path / DRAWN
    assert line.startswith("data: the download failed (") and told in line
    assert names(tmp_path) == [DRAWN]


def test_a_host_that_never_answers_costs_no_more_than_the_timeout(
    archives: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, within(3):
        official(monkeypatch, archives, silent.getsockname()[1])
        root, line = find_oxford_pets(tmp_path, timeout=0.3)
    assert root == tmp_path / DRAWN
    assert line.startswith("data: no network (")


def test_a_name_look_up_that_hangs_costs_no_more_than_the_timeout(
    archives: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(20)
        raise socket.gaierror("nobody knows")

    official(monkeypatch, archives, port=9)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with within(3):
            _, line = find_oxford_pets(tmp_path, timeout=0.3)
    finally:
        released.set()
    assert line.startswith("data: no network (no answer within 0.3 s), so the built-in drawn animals")


@pytest.mark.parametrize("network", ["host", "refusing"])
def test_a_cache_that_cannot_be_written_is_named(
    network: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request.getfixturevalue(network)
    (tmp_path / "file").write_text("keep me")  # in place of a folder: root may write into any folder
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
    extract = torchvision_utils.extract_archive

    def interrupted(path: str, *rest: object) -> object:
        extract(path, *rest)
        if path.endswith(archive):
            assert not (tmp_path / NAME).exists(), "half-made under its final name"
            raise KeyboardInterrupt
        return path

    before = socket.getdefaulttimeout()
    with monkeypatch.context() as patch:
        patch.setattr(torchvision_utils, "extract_archive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            find_oxford_pets(tmp_path)
    assert names(tmp_path) == []
    assert socket.getdefaulttimeout() == before
    assert "downloaded now" in find_oxford_pets(tmp_path)[1]


def test_of_two_downloads_at_once_the_first_is_kept(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = torchvision_utils.extract_archive
    first: list[int] = []

    def overtaken(path: str, *rest: object) -> object:
        monkeypatch.setattr(torchvision_utils, "extract_archive", extract)
        find_oxford_pets(tmp_path)
        first.append((tmp_path / NAME).stat().st_ino)
        return extract(path, *rest)

    monkeypatch.setattr(torchvision_utils, "extract_archive", overtaken)
    kept, _ = find_oxford_pets(tmp_path)
    assert [kept.stat().st_ino] == first
    assert names(tmp_path) == [NAME]
    assert make_images(kept) == 2


@pytest.mark.usefixtures("refusing")
def test_of_two_drawings_at_once_the_first_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = drawn.draw_animal_scene
    first: list[int] = []

    def overtaken(*arguments):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(drawn, "draw_animal_scene", draw)
        find_oxford_pets(tmp_path)
        first.append((tmp_path / DRAWN).stat().st_ino)
        return draw(*arguments)

    monkeypatch.setattr(drawn, "draw_animal_scene", overtaken)
    root, _ = find_oxford_pets(tmp_path)
    assert [root.stat().st_ino] == first
    assert names(tmp_path) == [DRAWN]


def test_half_a_copy_is_not_used_and_not_lost(host: Host, tmp_path: Path) -> None:
    half = tmp_path / NAME
    (half / "images").mkdir(parents=True)
    (half / "images" / "Cat_1.jpg").write_text("keep me")
    kept, line = find_oxford_pets(tmp_path)
    assert "downloaded now" in line
    assert make_images(kept) == 2
    assert names(tmp_path) == [NAME, f"{NAME}-incomplete"]
    assert (tmp_path / f"{NAME}-incomplete" / "images" / "Cat_1.jpg").read_text() == "keep me"


@pytest.mark.usefixtures("refusing")
def test_half_a_copy_is_not_used_without_a_network(tmp_path: Path) -> None:
    (tmp_path / NAME / "images").mkdir(parents=True)
    assert find_oxford_pets(tmp_path)[0] == tmp_path / DRAWN
