"""Methods of runs by the conventions of Hugging Face: `save_pretrained` and `push_to_hub`, with a card of the run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pixelwise.data.join import dataset_names
from pixelwise.data.joined_spec import spec_roots
from pixelwise.models.config import ModelConfig
from pixelwise.models.hub import HubName
from pixelwise.models.model import SegmentationModel
from pixelwise.models.model_card import CardFacts
from pixelwise.registry import name_of
from pixelwise.runs.split_file import read_split
from pixelwise.runtime.durations import format_duration
from pixelwise.runtime.parsing import read_json

if TYPE_CHECKING:
    from pixelwise.runs.run_dir import Run

_SPLIT_ORDER = ("test", "all", "val")
"""Splits whose evaluation a card can have, the best first."""


class HubMethods:
    """A base class of `Run`."""

    path: Path

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        repo: str | None = None,
        license: str | None = None,
        data_license: str | None = None,
        sample: bool = True,
        overwrite: bool = False,
    ) -> Path:
        """Write the best model and a model card of the run into a folder, see `SegmentationModel.save_pretrained`.

        The card has the scores of the newest evaluation on the test split, else of another one, else of the validation
        during the training. It has the classes, the data, the limits, and the license of each part.

        Args:
            folder: the folder. It is made if it is missing.
            repo: the repository that the card names, "user/name". None if the model is not for the hub.
            license: the license that you give the model, as the hub abbreviates it, such as "apache-2.0".
            data_license: the license of the training images. None if it is not known.
            sample: False to leave out the picture. It shows validation images, whose license may not allow this.
            overwrite: replace files that exist. Other files of the folder stay in any case.

        Returns:
            The folder.

        Raises:
            RunError: The run has no model yet, or a file of it is damaged.
            OutputExistsError: One of the files exists already.
        """
        repo = None if repo is None else HubName.of_repo(repo).repo
        model = SegmentationModel.load(self.path)
        name = repo or Path(folder).resolve().name
        facts, picture = self._card(model.config, name, sample, repo=repo, license=license, data_license=data_license)
        return model.save_pretrained(folder, facts, sample=picture, overwrite=overwrite)

    def push_to_hub(
        self,
        repo: str,
        *,
        license: str | None = None,
        data_license: str | None = None,
        sample: bool = True,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        message: str = "Upload a model of pixelwise",
    ) -> str:
        """Upload the best model and a model card of the run to the Hugging Face hub, in one commit.

        Args:
            repo: the repository, "user/name". It is created if it is missing.
            license: see `save_pretrained`.
            data_license: see `save_pretrained`.
            sample: see `save_pretrained`.
            private: True to create a private repository. None for the default of the user or organization.
            token: access token that may write. None uses the login of `hf auth login`.
            revision: the branch, which must exist. None for "main".
            message: the first line of the commit message.

        Returns:
            The URL of the commit.

        Raises:
            RunError: The run has no model yet, there is no login, or the hub cannot be reached.
        """
        parsed = HubName.of_repo(repo)
        repo, revision = parsed.repo, revision or parsed.revision
        model = SegmentationModel.load(self.path)
        facts, picture = self._card(model.config, repo, sample, repo=repo, license=license, data_license=data_license)
        return model.push_to_hub(
            repo, facts, sample=picture, private=private, token=token, revision=revision, message=message
        )

    def _card(self, config: ModelConfig, name: str, sample: bool, **given: Any) -> tuple[CardFacts, Path | None]:
        """Return the facts of the card, with the fields that were given, and the picture if there is one."""
        run = cast("Run", self)
        picture = sample_picture(run, config) if sample else None
        facts = card_facts(run, config)
        return replace(facts, name=name.rpartition("/")[2], **given), picture


def card_facts(run: "Run", config: ModelConfig) -> CardFacts:
    """Collect the facts of a model card from the files of a run.

    Args:
        run: the run.
        config: the configuration of its best model.

    Returns:
        The facts.

    Raises:
        RunError: split.csv or data.yaml is damaged.
    """
    parts = [row.part for row in read_split(run.path) or ()]
    return CardFacts(
        data=_data_name(run),
        train_images=parts.count("train") if parts else None,
        val_images=parts.count("val") if parts else None,
        settings=_settings(run, config),
        evaluation=find_evaluation(run.path, config),
    )


def _data_name(run: "Run") -> str:
    """Return the name of the data set without its path, which can be private. "" if the run does not store it."""
    if not (run.path / "data.yaml").exists():
        return ""
    return " + ".join(name.rpartition("/")[2] for name in dataset_names(spec_roots(run.read_dataset_spec())))


def _settings(run: "Run", config: ModelConfig) -> dict[str, str]:
    best, seconds = config.metrics.get("epoch"), config.metrics.get("seconds")
    epochs = len(run.read_metrics()) or run.config.epochs
    length = f"{epochs} epochs" if best is None else f"{epochs} epochs, the best is epoch {best:.0f}"
    if seconds:
        length += f", after {format_duration(seconds)}"
    return {
        "length": length,
        "loss": name_of(run.config.loss),
        "batch size": str(run.config.batch_size),
        "learning rate": f"{run.config.lr:g}",
        "seed": str(run.config.seed),
    }


def find_evaluation(folder: Path, config: ModelConfig) -> Mapping[str, Any] | None:
    """Return the content of the evaluation file of a run that its card shows.

    An evaluation of an earlier model of the run is not used: its classes or its temperature differ. Neither is one on
    images that the model was trained on.

    Args:
        folder: the run directory.
        config: the configuration of the model.

    Returns:
        The newest evaluation on the test split, else on all images of other data, else on the val split, or None.
    """
    found = []
    for file in sorted(folder.glob("evaluation-*.json"), key=lambda file: file.stat().st_mtime):
        try:
            content = read_json(file)
            is_same = tuple(content["classes"]) == config.classes
            is_same = is_same and content["calibration"]["temperature"] == config.temperature
            if is_same and content["split"] in _SPLIT_ORDER and not content["warning"]:
                found.append(content)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a file of another version or program
    newest = {content["split"]: content for content in found}
    return next((newest[split] for split in _SPLIT_ORDER if split in newest), None)


def sample_picture(run: "Run", config: ModelConfig) -> Path | None:
    """Return the picture of the sample predictions of the best epoch, else the newest one, or None without pictures."""
    best = run.sample_image(int(config.metrics.get("epoch") or 0))
    pictures = run.sample_images(len(run.read_metrics()))
    return best if best in pictures else next(reversed(pictures), None)
