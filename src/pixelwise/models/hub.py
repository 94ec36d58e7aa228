"""Models on the Hugging Face hub: their names `hf://user/name@revision`, their download, and the hub's errors.

Only model.safetensors is downloaded. It contains the configuration, and no code or pickle. huggingface_hub is imported
inside the functions, because its import takes time.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.io.download_limits import check_download_size, max_download_bytes
from pixelwise.errors import DataError, RunError, first_line
from pixelwise.models.model_files import WEIGHTS_FILE

logger = logging.getLogger(__name__)

HUB_PREFIX = "hf://"
"""Start of the name of a model on the hub."""

_NAME = re.compile(
    r"hf://(?!datasets/|spaces/|buckets/)(?P<repo>[^/@\s]+/[^/@\s]+?)/?(?:@(?P<revision>[^\s@]+))?", re.ASCII
)

_WRITE_NAME = f"write {HUB_PREFIX}user/name or {HUB_PREFIX}user/name@revision"

_TIMEOUT_SECONDS = 10.0
"""Time limit in seconds for the first answer of the hub."""


@dataclass(frozen=True)
class HubName:
    """The name of a model on the hub.

    Attributes:
        repo: the repository, "user/name".
        revision: a branch, a tag or a commit. None for the newest commit of the branch "main".
    """

    repo: str
    revision: str | None = None

    @staticmethod
    def parse(text: str) -> "HubName":
        """Parse "hf://user/name" or "hf://user/name@revision".

        Raises:
            RunError: The text has another form.

        >>> HubName.parse("hf://me/pets@v1")
        HubName(repo='me/pets', revision='v1')
        """
        match = _NAME.fullmatch(text)
        if match is None:
            raise RunError(f"{text}: is not the name of a model on the hub; {_WRITE_NAME}")
        return HubName(match["repo"], match["revision"])

    @staticmethod
    def of_repo(text: str) -> "HubName":
        """Parse the name of a repository, with or without "hf://".

        Raises:
            RunError: The text has another form.

        >>> HubName.of_repo("me/pets")
        HubName(repo='me/pets', revision=None)
        """
        return HubName.parse(text if is_hub_name(text) else f"{HUB_PREFIX}{text}")

    def __str__(self) -> str:
        return f"{HUB_PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def is_hub_name(text: object) -> bool:
    """Return True for a text that starts with "hf://".

    >>> is_hub_name("hf://me/pets"), is_hub_name("runs/pets")
    (True, False)
    """
    return isinstance(text, str) and text.startswith(HUB_PREFIX)


def is_hub_model(text: object) -> bool:
    """Return True for the name of a model on the hub, and False for that of a file, a data set or a space.

    >>> is_hub_model("hf://me/pets"), is_hub_model("hf://datasets/me/pets/cat.jpg")
    (True, False)
    """
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def download_model(name: HubName, token: str | bool | None = None) -> Path:
    """Download model.safetensors of a repository into the hub's cache, unless it is there already.

    Without a connection, the newest cached version of the revision is used.

    Args:
        name: the repository and the revision.
        token: access token for a private repository. None uses the login of `hf auth login`.

    Returns:
        The file in the cache.

    Raises:
        RunError: There is no such repository, revision or file, the hub cannot be reached and the file is not in its
            cache, or the file is larger than PIXELWISE_MAX_DOWNLOAD_MB. The message has the fix.
    """
    from huggingface_hub import HfApi, hf_hub_download

    with hub_errors(name):
        unreachable = None
        try:
            info = HfApi(token=token).model_info(
                name.repo, revision=name.revision, files_metadata=True, timeout=_TIMEOUT_SECONDS
            )
        except Exception as error:
            if _status(error) is not None:
                raise
            unreachable = first_line(error)
        if unreachable is not None:
            return _cached_model(name, unreachable)
        sizes = {file.rfilename: file.size for file in info.siblings or ()}
        if WEIGHTS_FILE not in sizes:
            raise RunError(f"{name}: has no {WEIGHTS_FILE}; name a model that pixelwise saved")
        try:
            check_download_size(sizes[WEIGHTS_FILE] or 0, max_download_bytes())
        except DataError as error:
            raise RunError(f"{name}: {WEIGHTS_FILE} {error}") from None
        path = Path(hf_hub_download(name.repo, WEIGHTS_FILE, revision=name.revision, token=token))
    if name.revision is None:
        logger.info("%s: commit %s; to use the same weights each time: %s@%s", name, info.sha, name, info.sha)
    return path


def _cached_model(name: HubName, reason: str) -> Path:
    """Return the file of a model in the hub's cache. Raise RunError with the reason if it is not there."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = hf_hub_download(name.repo, WEIGHTS_FILE, revision=name.revision, local_files_only=True)
    except LocalEntryNotFoundError:
        raise RunError(
            f"{name}: the hub cannot be reached ({reason[:120]}), and the model is not in its cache; connect to the "
            "network, or copy the model's folder to this machine and name it"
        ) from None
    logger.info("%s: the hub cannot be reached; using the model in its cache", name)
    return Path(path)


@contextmanager
def hub_errors(name: HubName) -> Iterator[None]:
    """Convert the exceptions of huggingface_hub in the block to a RunError of one line with the name and the fix.

    Args:
        name: the repository.

    Raises:
        RunError: The hub's client failed. A RunError of the block is not changed.
    """
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    login = "log in with: hf auth login"
    try:
        yield
    except RunError:
        raise
    except HFValidationError as error:
        raise RunError(f"{name}: is not a valid name ({first_line(error)}); {_WRITE_NAME}") from None
    except GatedRepoError:
        page = f"https://huggingface.co/{name.repo}"
        raise RunError(f"{name}: its authors restrict the access; accept their terms at {page}, and {login}") from None
    except RepositoryNotFoundError:
        raise RunError(f"{name}: no such model on the hub, or it is private; check the name, or {login}") from None
    except RevisionNotFoundError:
        raise RunError(f"{name}: no such revision; name a branch, a tag or a commit of {name.repo}") from None
    except Exception as error:  # the client raises many exception types for network errors
        status = _status(error)
        if status in (401, 403):
            raise RunError(
                f"{name}: the hub refused the access ({status}); {login}, with a token that may do this"
            ) from None
        fault = "the hub cannot be reached" if status is None else f"the hub answered with status {status}"
        raise RunError(f"{name}: {fault} ({first_line(error)[:120]}); try again later") from None


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an error of the hub's client, or None if the hub did not answer or is overloaded."""
    from huggingface_hub.errors import HFValidationError

    if isinstance(error, HFValidationError):
        return 400
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) and status < 500 else None
