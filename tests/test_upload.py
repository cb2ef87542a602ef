"""Uploading to the Hub, against a stand-in on 127.0.0.1: what arrives, what is repeated and told, what is not sent twice."""

from __future__ import annotations

import huggingface_hub.constants
import pytest
from helpers_hub import PART, TOKEN, contents, go_online, hub_stub
from mosaic_ner.hub.upload import UploadError, upload_folder


@pytest.fixture
def stub():
    with hub_stub() as server:
        yield server


@pytest.fixture(autouse=True)
def online(monkeypatch):
    go_online(monkeypatch)


@pytest.fixture
def folder(tmp_path):
    """Small files, one of them below a folder, a middling one of weights, one that goes in parts."""
    path = tmp_path / "content"
    (path / "data").mkdir(parents=True)
    (path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Name\n", encoding="utf-8")
    (path / "empty.txt").write_bytes(b"")
    (path / "data" / "köpfe.json").write_text('{"ä": 1}', encoding="utf-8")
    (path / "a.safetensors").write_bytes(bytes(range(256)) * 300)
    (path / "b.safetensors").write_bytes(bytes(range(256)) * 4096 * 2 + b"tail")
    return path


def send(stub, folder, **options):
    return upload_folder(folder, "lab/name", endpoint=stub.url, **options)


@pytest.mark.parametrize("repo_type", ["model", "dataset", "space"])
def test_what_arrives_is_the_folder_byte_for_byte(stub, folder, repo_type):
    sdk = "gradio" if repo_type == "space" else None
    done = send(stub, folder, repo_type=repo_type, commit_message="First", space_sdk=sdk)
    repo = stub.repos[f"{repo_type}:lab/name"]
    assert repo["branches"]["main"] == contents(folder)
    assert repo["commits"] == ["First"]
    assert (repo["private"], repo["sdk"]) == (False, sdk)
    assert done.files == sorted(contents(folder))
    assert done.url == f"{stub.url}/lab/name/commit/{'1' * 40}"
    assert stub.count("part") == 3
    assert len(contents(folder)["b.safetensors"]) == 2 * PART + 4
    assert stub.tokens == {f"Bearer {TOKEN}", None}  # None: completing the parts, at an address that knows what for


def test_privacy_and_branch_arrive(stub, folder):
    send(stub, folder, private=True, revision="v2")
    repo = stub.repos["model:lab/name"]
    assert repo["private"]
    assert repo["branches"] == {"main": {}, "v2": contents(folder)}
    send(stub, folder, private=True, revision="v2")  # both are there now
    assert repo["branches"] == {"main": {}, "v2": contents(folder)}


def test_a_public_repository_is_not_taken_for_a_private_one(stub, folder):
    stub.add("lab/name")
    with pytest.raises(UploadError, match="public, but --private"):
        send(stub, folder, private=True)
    assert stub.repos["model:lab/name"]["branches"] == {"main": {}}
    assert stub.count("preupload") == 0


@pytest.mark.parametrize(
    "kind", ["create", "tree", "preupload", "batch", "put", "part", "complete", "yaml", "commit", "branch"]
)
def test_requests_that_fail_for_a_while_are_repeated(stub, folder, kind):
    stub.failures[kind] = [503, 429] if kind != "create" else [503, 500]
    send(stub, folder, revision="v2")
    assert stub.repos["model:lab/name"]["branches"]["v2"] == contents(folder)
    assert stub.failures[kind] == []


def test_a_commit_whose_answer_got_lost_is_made_once(stub, folder):
    stub.lose_answers = 1
    send(stub, folder, commit_message="Only")
    repo = stub.repos["model:lab/name"]
    assert repo["branches"]["main"] == contents(folder)
    assert repo["commits"] == ["Only"]


def test_a_lasting_failure_is_told_and_what_is_there_is_not_sent_again(stub, folder):
    stub.failures["complete"] = [503, None]
    with pytest.raises(UploadError) as told:
        send(stub, folder)
    message = str(told.value)
    for part in ("upload to the model repository lab/name failed after 3 attempts", "'b.safetensors'", "503"):
        assert part in message
    assert "run the same command again" in message
    assert TOKEN not in message
    assert stub.repos["model:lab/name"]["branches"]["main"] == {}
    stub.failures = {"commit": [500, None]}
    with pytest.raises(UploadError, match=r"failed after 3 attempts: .*500.*/commit/main"):
        send(stub, folder)
    sent = stub.count("put"), stub.count("part")
    stub.failures = {}
    send(stub, folder)
    assert (stub.count("put"), stub.count("part")) == sent
    assert stub.repos["model:lab/name"]["branches"]["main"] == contents(folder)


def test_a_second_upload_sends_what_has_changed(stub, folder):
    send(stub, folder)
    sent = stub.count("put"), stub.count("part")
    (folder / "empty.txt").write_text("no longer", encoding="utf-8")
    send(stub, folder, commit_message="Second")
    assert (stub.count("put"), stub.count("part")) == sent
    repo = stub.repos["model:lab/name"]
    assert repo["branches"]["main"] == contents(folder)
    commits = stub.count("commit")
    send(stub, folder, commit_message="Third")
    assert stub.count("commit") == commits
    assert repo["commits"] == ["Upload with mosaic-ner", "Second"]


@pytest.mark.parametrize("lost", [0, 1])
def test_other_files_are_told_or_removed(stub, folder, lost):
    stub.add("lab/name", **{"pytorch_model.bin": b"old", ".gitattributes": b"lfs"})
    assert send(stub, folder).others == ["pytorch_model.bin"]
    files = stub.repos["model:lab/name"]["branches"]["main"]
    assert files == contents(folder) | {"pytorch_model.bin": b"old", ".gitattributes": b"lfs"}
    stub.lose_answers = lost
    done = send(stub, folder, replace=True)
    assert (done.others, done.removed) == ([], ["pytorch_model.bin"])
    assert files == contents(folder) | {".gitattributes": b"lfs"}


def test_a_wrong_token_is_told_at_once(stub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "wrong" * 7)
    with pytest.raises(UploadError, match=r"401.*HF_TOKEN") as told:
        send(stub, folder)
    assert "wrongwrong" not in str(told.value)
    assert stub.count("create") == 1


def test_a_missing_right_is_told(stub, folder):
    stub.failures["create"] = [403]
    with pytest.raises(UploadError, match=r"403.*may not write to lab/name"):
        send(stub, folder)


def test_an_unreachable_hub_is_told(folder):
    with hub_stub() as server:
        gone = server.url
    with pytest.raises(UploadError, match=r"failed after 3 attempts: http://127.*can't be reached"):
        upload_folder(folder, "lab/name", endpoint=gone)


def test_mistakes_are_told_before_anything_is_sent(stub, folder, tmp_path, monkeypatch):
    def fails(match, where=folder, repo_id="lab/name"):
        with pytest.raises(UploadError, match=match):
            upload_folder(where, repo_id, endpoint=stub.url)

    fails("expected owner/name", repo_id="name")
    fails("lab/na me", repo_id="lab/na me")
    fails("is no folder", where=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    fails("is empty", where=tmp_path / "empty")
    monkeypatch.setenv("HF_TOKEN", " ")
    fails("HF_TOKEN isn't set")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (folder / "link").symlink_to(tmp_path)
    fails("symbolic link")
    (folder / "link").unlink()
    assert stub.requests == []
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    fails("HF_HUB_OFFLINE is set")
    assert stub.requests == []


def test_a_failure_of_the_xet_protocol_is_repeated_and_told(stub, folder, monkeypatch):
    """As huggingface_hub sends large files by default; the stand-in doesn't speak it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    with pytest.raises(UploadError, match=r"failed after 3 attempts: .*xet") as told:
        send(stub, folder)
    assert TOKEN not in str(told.value)
    assert stub.repos["model:lab/name"]["branches"] == {"main": {}}
