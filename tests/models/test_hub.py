"""Models on the Hugging Face hub: names, downloads and uploads, with huggingface_hub and a server on this machine."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save

from pixelwise.errors import OutputError, OutputExistsError, RunError
from pixelwise.inference.model_location import is_model, load_model
from pixelwise.models import hub_methods
from pixelwise.models.hub import HubName
from pixelwise.models.model import SegmentationModel
from pixelwise.models.model_card import CARD_FILE
from pixelwise.models.model_files import WEIGHTS_FILE
from tests.hub_server import COMMIT, LocalHub, serve
from tests.models.helpers import build_model


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return build_model().eval()


@pytest.fixture
def hub(model: SegmentationModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """Serve one model as me/pets. The hub's client uses this server and an empty cache."""
    with serve() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        folder = model.save_pretrained(tmp_path / "saved")
        hub.repos["me/pets"] = {file.name: file.read_bytes() for file in folder.iterdir()}
        yield hub


def equal_weights(first: SegmentationModel, second: SegmentationModel) -> bool:
    weights = second.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in first.state_dict().items())


class TestNames:
    @pytest.mark.parametrize(
        ("text", "repo", "revision"),
        [
            ("hf://me/pets", "me/pets", None),
            ("hf://me/pets/", "me/pets", None),
            ("hf://me/pets@v1.2", "me/pets", "v1.2"),
            ("hf://me/pets@refs/pr/3", "me/pets", "refs/pr/3"),
        ],
    )
    def test_repository_and_revision(self, text: str, repo: str, revision: str | None) -> None:
        assert HubName.parse(text) == HubName(repo, revision)
        assert is_model(text)

    @pytest.mark.parametrize(
        "text", ["hf://me", "hf://", "hf://me/pets/file", "hf://me/pets@", "hf:///pets", "hf://a/b c"]
    )
    def test_other_forms_are_refused(self, text: str) -> None:
        with pytest.raises(RunError, match=r"write hf://user/name or hf://user/name@revision"):
            HubName.parse(text)

    @pytest.mark.parametrize("text", ["hf://datasets/me/pets/cat.jpg", "hf://me/pets/cat.jpg", "hf://datasets/pets"])
    def test_a_file_or_a_data_set_is_no_model(self, text: str) -> None:
        assert not is_model(text)


class TestFolders:
    def test_a_saved_model_loads_from_its_folder(self, model: SegmentationModel, tmp_path: Path) -> None:
        folder = model.save_pretrained(tmp_path / "model")
        assert sorted(file.name for file in folder.iterdir()) == ["README.md", "model.json", "model.safetensors"]
        loaded = SegmentationModel.from_pretrained(folder)
        assert equal_weights(model, loaded) and loaded.config == model.config and not loaded.training

    def test_files_are_replaced_only_if_asked(self, model: SegmentationModel, tmp_path: Path) -> None:
        (tmp_path / "README.md").write_text("mine", encoding="utf-8")
        (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
        with pytest.raises(OutputExistsError, match=r"README\.md: exists already; set `overwrite`"):
            model.save_pretrained(tmp_path)
        assert not (tmp_path / WEIGHTS_FILE).exists()
        model.save_pretrained(tmp_path, overwrite=True)
        assert "mine" not in (tmp_path / "README.md").read_text(encoding="utf-8")
        assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"

    @pytest.mark.parametrize("written", [WEIGHTS_FILE, CARD_FILE])
    def test_a_full_disk_leaves_the_folder_as_it_was(
        self, model: SegmentationModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
    ) -> None:
        folder = tmp_path / "new" / "model"
        write = Path.write_text

        def fail(path: Path, *args: Any, **options: Any) -> int:
            if path.name == written:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return write(path, *args, **options)

        def fail_weights(path: Path, *args: object) -> None:
            fail(path, "weights", encoding="utf-8")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", fail)
            patch.setattr(hub_methods, "write_weights", fail_weights)
            with pytest.raises(OutputError, match=rf"new.model.{written}: no space left on device; free space"):
                model.save_pretrained(folder)
        assert list(tmp_path.iterdir()) == []
        model.save_pretrained(folder)
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", fail)
            patch.setattr(hub_methods, "write_weights", fail_weights)
            with pytest.raises(OutputError, match="no space left on device"):
                build_model().save_pretrained(folder, overwrite=True)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


class TestDownloads:
    @pytest.mark.parametrize("name", ["hf://me/pets", "hf://me/pets@v1", f"hf://me/pets@{COMMIT}"])
    def test_the_model_is_that_of_the_hub(self, model: SegmentationModel, hub: LocalHub, name: str) -> None:
        loaded = load_model(name)
        assert isinstance(loaded, SegmentationModel)
        assert equal_weights(model, loaded)

    def test_only_the_weights_are_fetched_and_only_once(self, hub: LocalHub) -> None:
        hub.repos["me/pets"] |= {"pytorch_model.bin": b"a pickle", "train.py": b"code"}
        SegmentationModel.from_pretrained("me/pets")
        files = [request for request in hub.requests if "/resolve/" in request]
        assert files == [f"GET /me/pets/resolve/main/{WEIGHTS_FILE}"]
        SegmentationModel.from_pretrained("me/pets")
        assert [request for request in hub.requests if "/resolve/" in request] == files

    def test_the_log_names_the_commit(self, hub: LocalHub, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO", "pixelwise"):
            SegmentationModel.from_pretrained("me/pets")
        assert f"hf://me/pets@{COMMIT}" in caplog.text

    def test_without_an_answer_the_cache_is_used(self, model: SegmentationModel, hub: LocalHub) -> None:
        SegmentationModel.from_pretrained("me/pets")
        hub.status = 503
        assert equal_weights(model, SegmentationModel.from_pretrained("me/pets"))
        with pytest.raises(RunError, match=r"hf://me/cats: the hub cannot be reached \(.*503.*connect to the network"):
            SegmentationModel.from_pretrained("me/cats")

    @pytest.mark.parametrize(
        ("name", "fault"),
        [
            (
                "hf://me/none",
                "no such model on the hub, or it is private; check the name, or log in with: hf auth login",
            ),
            ("hf://me/pets@v9", "no such revision; name a branch, a tag or a commit of me/pets"),
            ("hf://me/empty", "has no model.safetensors; name a model that pixelwise saved"),
            ("hf://me/other", "has no configuration of a model; name a model that pixelwise saved"),
            ("hf://me/cut", "the model cannot be read ("),
            ("hf://me/-x", "is not a valid name ("),
        ],
    )
    def test_an_error_is_one_line_with_the_name_and_the_fix(self, hub: LocalHub, name: str, fault: str) -> None:
        weights = hub.repos["me/pets"][WEIGHTS_FILE]
        hub.repos |= {"me/empty": {"README.md": b""}, "me/cut": {WEIGHTS_FILE: weights[:1000]}}
        hub.repos["me/other"] = {WEIGHTS_FILE: save({"weight": torch.zeros(3)})}
        with pytest.raises(RunError) as caught:
            load_model(name)
        assert str(caught.value).startswith(f"{name}: {fault}")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["hf://../x", "hf://me/-x", "hf://me/x..y"])
    def test_the_error_of_an_invalid_name_has_the_form_of_a_valid_one(self, name: str) -> None:
        with pytest.raises(RunError, match=r"; write hf://user/name or hf://user/name@revision$"):
            load_model(name)

    def test_a_file_above_the_limit_is_not_downloaded(self, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIXELWISE_MAX_DOWNLOAD_MB", "1")
        hub.repos["me/pets"][WEIGHTS_FILE] += b" " * (1 << 20)
        with pytest.raises(RunError, match=r"hf://me/pets: model.safetensors is larger than 1 MiB.*PIXELWISE_MAX_DOWN"):
            SegmentationModel.from_pretrained("me/pets")
        assert not any("/resolve/" in request for request in hub.requests)


class TestUploads:
    def test_the_pushed_model_loads(self, model: SegmentationModel, hub: LocalHub, tmp_path: Path) -> None:
        url = model.push_to_hub("me/new", token="good")
        assert url == f"{hub.url}/me/new/commit/{COMMIT}"
        assert sorted(hub.repos["me/new"]) == ["README.md", "model.json", WEIGHTS_FILE]
        (tmp_path / "pushed.safetensors").write_bytes(hub.repos["me/new"][WEIGHTS_FILE])
        assert load_file(tmp_path / "pushed.safetensors").keys() == model.state_dict().keys()
        assert equal_weights(model, SegmentationModel.from_pretrained("hf://me/new"))

    def test_its_card_names_the_repository(self, model: SegmentationModel, hub: LocalHub) -> None:
        model.push_to_hub("hf://me/new", token="good")
        card = hub.repos["me/new"]["README.md"].decode()
        assert "hf://me/new" in card and "hf://hf://" not in card and "path/to/this/folder" not in card

    def test_the_client_validates_the_card(self, model: SegmentationModel, hub: LocalHub) -> None:
        model.push_to_hub("me/new", token="good")
        assert hub.validated == hub.repos["me/new"]["README.md"].decode()

    def test_without_a_login_the_error_names_it(self, model: SegmentationModel, hub: LocalHub) -> None:
        with pytest.raises(RunError, match=r"^hf://me/new: the hub refused the access \(401\); log in with: hf auth"):
            model.push_to_hub("me/new", token="bad")
        assert "me/new" not in hub.repos
