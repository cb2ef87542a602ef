"""The one way to the Hub: a folder becomes a repository's content, for models, datasets and Spaces.

Large files are sent one after the other, then everything becomes visible in one commit, so that nobody downloads half a
model. A request that fails for a passing reason is repeated; a second call sends only what the server hasn't got, because
the Hub keeps contents by their hash. (With hf_xet that holds for chunks of a file; without it, for whole files.)

The token comes from the environment variable HF_TOKEN and is never written anywhere.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a step is tried; huggingface_hub itself repeats most requests of a step five times."""
PAUSE = 2.0
"""Seconds before a step's second attempt; doubled for each further one."""
LARGE = 1 << 20
"""Bytes from which a file is sent, and told, by itself."""
PASSING = {408, 412, 429, 500, 502, 503, 504}
"""Statuses that may be others soon: too many requests, a commit by somebody else at the same moment, server errors."""
KEPT = {".gitattributes"}
"""Files of a repository that the Hub itself writes."""

Result = TypeVar("Result")


class UploadError(RuntimeError):
    """An upload that can't be begun or finished."""


class Uploaded(NamedTuple):
    """`url`: of the commit; `files`: paths in the repository; `removed`: files that were there before and no longer are;
    `others`: files that were there before and stay."""

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
        UploadError: says what failed, what the server has by now and how to go on.
    """
    return _Upload(folder, repo_id, repo_type, revision, endpoint).run(private, commit_message, replace, space_sdk)


def check_repo_id(repo_id: str, option: str = "--repo_id") -> None:
    """Raises UploadError, naming the option, if this isn't `owner/name` as the Hub takes it."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UploadError(f"{option} {repo_id!r}: {error}") from error
    if repo_id.count("/") != 1:
        raise UploadError(f"{option} {repo_id!r}: expected owner/name, e.g. my-lab/biored-ner")


class _Upload:
    """One upload, and how far it has come."""

    def __init__(self, folder: str | Path, repo_id: str, repo_type: str, revision: str, endpoint: str | None):
        check_repo_id(repo_id)
        self.folder, self.repo_id, self.repo_type, self.revision = Path(folder), repo_id, repo_type, revision
        self.token = os.environ.get("HF_TOKEN", "").strip()
        if not self.token:
            raise UploadError(
                "the environment variable HF_TOKEN isn't set; make a token with write access in the Hub's settings "
                "(https://huggingface.co/settings/tokens), `export HF_TOKEN=…`, and run the same command again"
            )
        self.api = HfApi(endpoint=endpoint, token=self.token)
        self.files = _files(self.folder)
        self.done: list[str] = []
        self.url = ""

    def run(self, private: bool, message: str, replace: bool, space_sdk: str | None) -> Uploaded:
        where = {"repo_id": self.repo_id, "repo_type": self.repo_type}
        name = f"{self.repo_type} repository {self.repo_id}"
        self._step(
            f"making the {name}",
            lambda: self.api.create_repo(**where, private=private or None, exist_ok=True, space_sdk=space_sdk),
        )
        if private and not self._step(f"looking at the {name}", lambda: self.api.repo_info(**where)).private:
            raise UploadError(
                f"the {name} is there already, and public, but --private was asked for; make it private in its settings "
                "or take another --repo_id (nothing was sent)"
            )
        self.done.append(f"the {name}")
        where["revision"] = self.revision
        if self.revision != "main":
            branch = {"branch": self.revision, "repo_id": self.repo_id, "repo_type": self.repo_type}
            self._step(f"making the branch {self.revision}", lambda: self.api.create_branch(**branch, exist_ok=True))
            self.done.append(f"its branch {self.revision}")
        before = self._step("listing what is there", lambda: set(self.api.list_repo_files(**where)))
        others = sorted(before - {*self.files, *KEPT})
        additions = self._additions()
        large = [a for a in additions if self.files[a.path_in_repo].stat().st_size >= LARGE]
        small = [a for a in additions if a not in large]
        for group in (*([a] for a in large), small):
            self._send(group, where)
        self._commit(additions, others if replace else [], message, where)
        after = self._step("listing what is there", lambda: set(self.api.list_repo_files(**where)))
        if lacking := sorted(set(self.files) - after):
            raise UploadError(
                f"the {name} has no {', '.join(lacking)} after the commit, perhaps because of a .gitignore there; remove "
                "that and run the same command again"
            )
        return Uploaded(self.url, [*self.files], others if replace else [], [] if replace else others)

    def _additions(self) -> list[CommitOperationAdd]:
        return [CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(path)) for name, path in self.files.items()]

    def _send(self, additions: list[CommitOperationAdd], where: dict) -> None:
        if not additions:
            return
        names = [a.path_in_repo for a in additions]
        what = names[0] if len(names) == 1 else f"{len(names)} small files"
        # Its contents stay: the commit may need them again.
        self._step(
            f"sending {what}", lambda: self.api.preupload_lfs_files(additions=additions, free_memory=False, **where)
        )
        if len(names) == 1:
            self.done.append(what)
        logger.info("%s: on the server, or to go with the commit", what)

    def _commit(self, additions: list[CommitOperationAdd], removed: list[str], message: str, where: dict) -> None:
        first = iter([additions])

        def commit():
            operations, gone = next(first, None), removed
            if operations is None:  # ask for everything again: the commit may be there although its answer got lost
                there = self.api.list_repo_files(**where)
                operations, gone = self._additions(), [name for name in removed if name in there]
            deletions = [CommitOperationDelete(path_in_repo=name) for name in gone]
            return self.api.create_commit(operations=[*operations, *deletions], commit_message=message, **where)

        self.url = self._step("the commit", commit).commit_url

    def _step(self, what: str, call: Callable[[], Result]) -> Result:
        """The call's result, at the first attempt that has one.

        Raises:
            UploadError: none has, or the failure isn't a passing one.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return call()
            except OfflineModeIsEnabled as error:
                raise UploadError("HF_HUB_OFFLINE is set, so nothing can be sent; unset it") from error
            except (HTTPError, OSError, RuntimeError, ValueError) as error:
                reason, passing = self._reason(error)
                if not passing or attempt == ATTEMPTS:
                    raise UploadError(self._report(what, reason, attempt)) from error
                logger.warning("%s failed (%s); attempt %d of %d", what, reason, attempt + 1, ATTEMPTS)
            time.sleep(PAUSE * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def _reason(self, error: BaseException) -> tuple[str, bool]:
        """What went wrong, in words without the token, and whether it may pass."""
        # huggingface_hub tells of a failed file by a RuntimeError around the request's own error.
        cause = error
        while not isinstance(cause, HTTPError) and cause.__cause__ is not None:
            cause = cause.__cause__
        # The Hub's own words are in the later lines, in an attribute, or in an error around the request's.
        said = [cause, getattr(cause, "server_message", None), error if isinstance(error, ValueError) else None]
        words = dict.fromkeys(" ".join(str(part).split()) for part in said if part)
        told = [w for w in words if w and not any(w != other and w in other for other in words)]
        text = "; ".join(told)[:1000].replace(self.token, "(token)") or type(cause).__name__
        if isinstance(cause, HfHubHTTPError):
            status = cause.response.status_code
            if status == 401:
                return (
                    f"401, the Hub doesn't accept the token in HF_TOKEN; is it complete and still valid? ({text})",
                    False,
                )
            if status == 403:
                return (
                    f"403, the token in HF_TOKEN may not write to {self.repo_id}; it needs write access, and you to be of "
                    f"that organisation ({text})",
                    False,
                )
            return text, status in PASSING
        if isinstance(cause, HTTPError):
            return f"{self.api.endpoint} can't be reached: {text}", True
        # Something between here and the Hub may answer in another language than JSON.
        return text, isinstance(cause, (RuntimeError, ConnectionError, TimeoutError, json.JSONDecodeError))

    def _report(self, what: str, reason: str, attempts: int) -> str:
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        there = ", ".join(self.done) or "nothing"
        return (
            f"{what} failed{tried}: {reason}. There by now: {there}; what is not yet committed is not to be seen. To go on, "
            "mend the cause and run the same command again: contents that are there are not sent again"
        )


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
