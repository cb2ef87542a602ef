"""The one way to the Hub: a folder becomes a repository's content, for models, datasets and Spaces.

All files become visible in one commit, so that nobody downloads half a model. (`HfApi.upload_folder` may make several commits
of a large folder; `HfApi.create_commit` makes one.) What was sent stays on the Hub, by its hash. So an interrupted upload is
resumed by the same command, which sends what the Hub lacks.

huggingface_hub repeats the transfers that fail in passing, but neither what makes the repository nor the commit. Here the
whole upload is repeated: each of its steps can be taken twice.

The token comes from the environment variable HF_TOKEN and is never written anywhere.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id
from mosaic_ner.modeling.label_space import UserError

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often an upload is tried."""
PAUSE = 2.0
"""Seconds before the second attempt; doubled for the third."""
PASSING = {408, 412, 429, 500, 502, 503, 504}
"""Statuses that may be others soon: too many requests, a commit by somebody else at the same moment, server errors."""
KEPT = {".gitattributes"}
"""Files of a repository that the Hub itself writes."""


class UploadError(UserError):
    """An upload that can't be begun or finished."""


class Uploaded(NamedTuple):
    """What a repository has after an upload.

    Attributes:
        url: of the commit.
        files: paths of the uploaded files in the repository.
        removed: files that were there before and no longer are.
        others: files that were there before and stay.
    """

    url: str
    files: list[str]
    removed: list[str]
    others: list[str]


def upload_folder(
    folder: str | Path,
    repo_id: str,
    *,
    repo_type: str = "model",
    private: bool = False,
    revision: str = "main",
    commit_message: str = "Upload with mosaic-ner",
    replace: bool = False,
    space_sdk: str | None = None,
    endpoint: str | None = None,
) -> Uploaded:
    """Makes the repository (if need be), its branch (if need be) and one commit with all files of the folder.

    Args:
        repo_id: `owner/name`.
        repo_type: "model", "dataset" or "space".
        private: make a private repository; one that is there already and public is an error.
        revision: the branch.
        replace: remove the repository's other files in the same commit.
        space_sdk: of a new Space, e.g. "gradio".
        endpoint: the Hub's address; default: HF_ENDPOINT or the public one.
    Raises:
        UploadError: says what failed and how to go on.
    """
    check_repo_id(repo_id)
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise UploadError(
            "the environment variable HF_TOKEN isn't set; make a token with write access in the Hub's settings "
            "(https://huggingface.co/settings/tokens), `export HF_TOKEN=…`, and run the same command again"
        )
    files = _files(Path(folder))
    api = HfApi(endpoint=endpoint, token=token)
    where = {"repo_id": repo_id, "repo_type": repo_type}
    seen: set[str] = set()
    attempt = 1
    while True:
        try:
            _make_repository(api, where, private, revision, space_sdk)
            return _commit(api, where | {"revision": revision}, files, commit_message, replace, seen)
        except UploadError:
            raise
        except OfflineModeIsEnabled as error:
            raise UploadError("HF_HUB_OFFLINE is set, so nothing can be sent; unset it") from error
        except (HTTPError, OSError, RuntimeError, ValueError) as error:
            reason, passing = _reason(error, api.endpoint, repo_id)
            reason = reason.replace(token, "(token)")
            if not passing or attempt == ATTEMPTS:
                tried = f" after {attempt} attempts" if attempt > 1 else ""
                raise UploadError(
                    f"the upload to the {repo_type} repository {repo_id} failed{tried}: {reason}. Files become visible by its "
                    "last step, the commit. To go on, mend the cause and run the same command again: what the Hub has is "
                    "not sent again"
                ) from error
        attempt += 1
        logger.warning("the upload failed (%s); attempt %d of %d", reason, attempt, ATTEMPTS)
        time.sleep(PAUSE * 2 ** (attempt - 2))


def check_repo_id(repo_id: str, option: str = "--repo_id") -> None:
    """Raises UploadError, naming the option, if this isn't `owner/name` as the Hub takes it."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UploadError(f"{option} {repo_id!r}: {error}") from error
    if repo_id.count("/") != 1:
        raise UploadError(f"{option} {repo_id!r}: expected owner/name, e.g. my-lab/biored-ner")


def _files(folder: Path) -> dict[str, Path]:
    """Path in the repository → file, sorted."""
    if not folder.is_dir():
        raise UploadError(f"{folder} is no folder")
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_symlink() or not p.is_dir()}
    if links := [name for name, path in files.items() if path.is_symlink()]:
        raise UploadError(f"{folder / links[0]} is a symbolic link; only files are uploaded: put the file itself there")
    if not files:
        raise UploadError(f"{folder} is empty; there is nothing to upload")
    return files


def _make_repository(api: HfApi, where: dict, private: bool, revision: str, space_sdk: str | None) -> None:
    api.create_repo(**where, private=private or None, exist_ok=True, space_sdk=space_sdk)
    if private and not api.repo_info(**where).private:
        raise UploadError(
            f"the {where['repo_type']} repository {where['repo_id']} is there already, and public, but --private was asked "
            "for; make it private in its settings or take another --repo_id (nothing was sent)"
        )
    if revision != "main":
        api.create_branch(**where, branch=revision, exist_ok=True)


def _commit(api: HfApi, where: dict, files: dict[str, Path], message: str, replace: bool, seen: set[str]) -> Uploaded:
    """Sends what the Hub lacks, then commits; a commit that would change nothing is left out.

    Args:
        seen: gets the names of the files that are there. An earlier attempt may have removed some, without an answer.
    """
    there = set(api.list_repo_files(**where))
    seen |= there
    others = sorted(seen - {*files, *KEPT})
    operations = [CommitOperationAdd(name, path) for name, path in files.items()]
    if replace:
        operations += [CommitOperationDelete(name) for name in others if name in there]
    url = api.create_commit(**where, operations=operations, commit_message=message).commit_url
    if lacking := sorted(set(files) - set(api.list_repo_files(**where))):
        raise UploadError(
            f"the {where['repo_type']} repository {where['repo_id']} has no {', '.join(lacking)} after the commit, perhaps "
            "because of a .gitignore there; remove that and run the same command again"
        )
    return Uploaded(url, [*files], others if replace else [], [] if replace else others)


def _reason(error: BaseException, endpoint: str, repo_id: str) -> tuple[str, bool]:
    """What went wrong, and whether it may pass."""
    # huggingface_hub tells which file, or what of a card, by an error around the request's own.
    cause = error
    while not isinstance(cause, HTTPError) and cause.__cause__ is not None:
        cause = cause.__cause__
    said = (" ".join(str(one).split()).rstrip(".") or type(one).__name__ for one in (error, cause))
    text = "; ".join(dict.fromkeys(said))[:1000]
    if isinstance(cause, HfHubHTTPError):
        status = cause.response.status_code
        if status == 401:
            text = f"401, the Hub doesn't accept the token in HF_TOKEN; is it complete and still valid? ({text})"
        if status == 403:
            text = (
                f"403, the token in HF_TOKEN may not write to {repo_id}; it needs write access, and you to be of that "
                f"organisation ({text})"
            )
        return text, status in PASSING
    if isinstance(cause, HTTPError):
        return f"{endpoint} can't be reached: {text}", True
    # Something between here and the Hub may answer in another language than JSON.
    return text, isinstance(cause, (RuntimeError, ConnectionError, TimeoutError, json.JSONDecodeError))
