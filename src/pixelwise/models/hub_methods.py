"""Methods of models by the conventions of Hugging Face: `save_pretrained`, `from_pretrained` and `push_to_hub`."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pixelwise.errors import OutputExistsError, RunError, without_name
from pixelwise.models.config import ModelConfig
from pixelwise.models.hub import HubName, download_model, hub_errors, is_hub_name
from pixelwise.models.model_card import CARD_FILE, SAMPLE_FILE, CardFacts, make_card
from pixelwise.models.model_files import CONFIG_FILE, WEIGHTS_FILE, write_config, write_weights
from pixelwise.runtime.atomic import make_directory, temporary_directory
from pixelwise.runtime.files import expand_home, write_errors


class HubMethods:
    """A base class of `SegmentationModel`.

    huggingface_hub's own `ModelHubMixin` is not used (docs/decisions.md).
    """

    config: ModelConfig

    def save_pretrained(
        self, folder: str | Path, facts: CardFacts | None = None, *, sample: Path | None = None, overwrite: bool = False
    ) -> Path:
        """Write the model and its model card into a folder: model.safetensors, model.json, README.md and sample.png.

        After an error, the folder is as before.

        Args:
            folder: the folder. It is made if it is missing.
            facts: facts for the card. `Run.save_pretrained` collects those of a run.
            sample: a picture for the card, which is copied. None for no picture.
            overwrite: replace files that exist. Other files of the folder stay in any case.

        Returns:
            The folder.

        Raises:
            OutputExistsError: One of the files exists already.
            OutputError: A file cannot be written.
        """
        folder = expand_home(folder)
        facts = replace(facts or CardFacts(), has_sample=sample is not None)
        card = make_card(self.config, facts)
        writers: dict[str, Callable[[Path], object]] = {
            WEIGHTS_FILE: lambda path: write_weights(path, self.config, self._tensors()),
            CONFIG_FILE: lambda path: write_config(path, self.config),
            CARD_FILE: lambda path: path.write_text(card, encoding="utf-8", errors="backslashreplace", newline="\n"),
        }
        if sample is not None:
            writers[SAMPLE_FILE] = lambda path: shutil.copyfile(sample, path)
        for name in writers:
            if (folder / name).is_dir() or ((folder / name).exists() and not overwrite):
                raise OutputExistsError(f"{folder / name}: exists already; set `overwrite`, or choose another folder")
        with make_directory(folder), write_errors(folder), temporary_directory(folder) as part:
            for name, write in writers.items():
                with write_errors(folder / name):
                    write(part / name)
            for name in writers:
                (part / name).replace(folder / name)
        return folder

    def _tensors(self) -> dict[str, Any]:
        return self.state_dict()  # type: ignore[attr-defined]

    @classmethod
    def from_pretrained(cls, name: str | Path, revision: str | None = None, token: str | bool | None = None) -> Self:
        """Load a model from a folder or from the Hugging Face hub.

        A model of the hub is downloaded once into the hub's cache. The file contains tensors and JSON, and no code.

        Args:
            name: a folder with model.safetensors, or "user/name" or "hf://user/name@revision" for a model of the hub.
            revision: a branch, a tag or a commit on the hub. A commit always gives the same weights.
            token: access token for a private repository. None uses the login of `hf auth login`.

        Returns:
            The model, in evaluation mode.

        Raises:
            RunError: There is no such model, the hub cannot be reached, or the file is damaged.
        """
        if not is_hub_name(name) and expand_home(name).exists():
            return cls.load(expand_home(name))  # type: ignore[attr-defined]
        hub_name = HubName.of_repo(str(name))
        hub_name = HubName(hub_name.repo, revision or hub_name.revision)
        path = download_model(hub_name, token)
        try:
            return cls.load(path)  # type: ignore[attr-defined]
        except RunError as error:
            fault = without_name(error, path).partition(";")[0]
            raise RunError(f"{hub_name}: {fault}; name a model that pixelwise saved") from None

    def push_to_hub(
        self,
        repo: str,
        facts: CardFacts | None = None,
        *,
        sample: Path | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        message: str = "Upload a model of pixelwise",
    ) -> str:
        """Upload the files of `save_pretrained` to the Hugging Face hub, in one commit.

        Args:
            repo: the repository, "user/name". It is created if it is missing.
            facts: see `save_pretrained`.
            sample: see `save_pretrained`.
            private: True to create a private repository. None for the default of the user or organization.
            token: access token that may write. None uses the login of `hf auth login`.
            revision: the branch, which must exist. None for "main".
            message: the first line of the commit message.

        Returns:
            The URL of the commit.

        Raises:
            RunError: The name is invalid, there is no login, the token may not write, or the hub cannot be reached.
        """
        from huggingface_hub import HfApi

        name = HubName.of_repo(repo)
        facts = replace(facts or CardFacts(name=name.repo.rpartition("/")[2]), repo=name.repo)
        api = HfApi(token=token)
        with tempfile.TemporaryDirectory(prefix="pixelwise-hub-") as folder:
            self.save_pretrained(folder, facts, sample=sample, overwrite=True)
            with hub_errors(name):
                api.create_repo(name.repo, private=private, exist_ok=True)
                commit = api.upload_folder(
                    repo_id=name.repo, folder_path=folder, commit_message=message, revision=revision or name.revision
                )
        return str(commit.commit_url)
