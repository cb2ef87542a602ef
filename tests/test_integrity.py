"""Folders that are not what they say: refused with the file's name, before anything of them is loaded."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from helpers_integrity import HOSTILE, Evil, adapter, change, config_of, guarded_copy, pickled, refused, with_weights
from helpers_run import fails
from mosaic_ner.hub import verify
from mosaic_ner.prediction.integrity import check_folder, write_checksums
from mosaic_ner.prediction.loading import load
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForTokenClassification


@pytest.fixture
def folder(saved_model_dir, tmp_path, monkeypatch):
    """A copy of a saved model, that a test may spoil; nothing in it may ever run."""
    yield from guarded_copy(saved_model_dir, tmp_path, monkeypatch)


# ---- what is as it should be


def test_what_every_family_saves_is_accepted(build_bundle, tmp_path):
    families_and_more = (
        {"scheme": "mtl"},
        {"scheme": "naive"},
        {"classifier": "softmax"},
        {"family": "sruner"},
        {"family": "joint_ib"},
        {"family": "span_cvae"},
        {"family": "span_cvae", "labels_per": "shared"},
    )
    for number, options in enumerate(families_and_more):
        bundle = build_bundle(**options)
        for small in {False, bool(bundle.model.training_modules)}:
            bundle.save(tmp_path / f"{number}{small}", small)
            check_folder(tmp_path / f"{number}{small}", strict=True)


@pytest.mark.parametrize("encoder", ["t5_dir", "bert_dir"])
def test_other_encoders_are_accepted(build_bundle, encoder, request, tmp_path):
    build_bundle(encoder=str(request.getfixturevalue(encoder))).save(tmp_path)
    check_folder(tmp_path, strict=True)


def test_the_hubs_cache_is_accepted(saved_model_dir, tmp_path):
    """There the files of a snapshot are links to contents kept beside."""
    blobs, snapshot = tmp_path / "models--lab--name" / "blobs", tmp_path / "models--lab--name" / "snapshots" / "main"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in saved_model_dir.iterdir():
        shutil.copy(path, blobs / path.name)
        (snapshot / path.name).symlink_to(blobs / path.name)
    check_folder(snapshot, strict=True)


def test_what_resumes_a_training_is_for_checkpoints_only(folder):
    torch.save({"state": Evil()}, folder / "optimizer.pt")
    refused(folder, "optimizer.pt")
    (folder / "trainer_state.json").write_text("{}")
    load(str(folder))
    refused(folder, "optimizer.pt", strict=True)


# ---- what is not


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused_and_nothing_in_it_runs(folder, name):
    spoil, part = HOSTILE[name]
    spoil(folder)
    message = refused(folder, part)
    assert str(folder) in message


def test_evaluation_and_prediction_refuse_it(folder, tmp_path, capsys):
    spoil, part = HOSTILE["pickle as weights"]
    spoil(folder)
    source = tmp_path / "in.txt"
    source.write_text("1|t|A gene\n1|a|\n\n")
    predicting = ["--do_predict", "--predict_input", source, "--predict_output", tmp_path / "out.PubTator"]
    assert part in fails(capsys, "--model_name_or_path", folder, *predicting)
    assert not (tmp_path / "out.PubTator").exists()
    assert part in fails(capsys, "--model_name_or_path", folder, "--corpora", "demo", "--output_dir", tmp_path / "run")
    assert part in fails(capsys, "--encoder", folder, "--corpora", "demo", "--output_dir", tmp_path / "run")


def test_checksums_tell_what_was_changed_lost_or_added(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "a.txt").write_text("a")
    write_checksums(folder)
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs")  # the Hub's
    check_folder(folder, strict=True)
    load(str(folder))
    (folder / "sub" / "b.txt").write_text("b")
    refused(folder, "b.txt", "doesn't list it")
    (folder / "sub" / "b.txt").unlink()
    text = (folder / "crf.py").read_text()
    (folder / "crf.py").write_text(text + "\n")
    refused(folder, "crf.py", "another SHA-256")
    (folder / "crf.py").unlink()
    refused(folder, "crf.py is missing")
    (folder / "crf.py").write_text(text)
    check_folder(folder, strict=True)
    card = (folder / "README.md").read_text() if (folder / "README.md").exists() else None
    (folder / "README.md").write_text("edited on the Hub's page")
    (folder / "LICENSE").write_text("added there")
    load(str(folder))
    refused(folder, "LICENSE", strict=True)
    (folder / "LICENSE").unlink()
    refused(folder, "README.md", strict=True)
    (folder / "README.md").unlink() if card is None else (folder / "README.md").write_text(card)
    (folder / "checksums.json").write_text('{"algorithm": "none", "files": {}}')
    refused(folder, "checksums.json: expected")


def test_sharded_weights_are_followed_within_the_folder(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {}}
    for number, part in enumerate((dict([*tensors.items()][:3]), dict([*tensors.items()][3:]))):
        save_file(part, folder / f"part{number}.safetensors", {"format": "pt"})
        index["weight_map"] |= dict.fromkeys(part, f"part{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    check_folder(folder)
    load(str(folder))
    change(folder / "model.safetensors.index.json", weight_map=dict.fromkeys(tensors, "../part0.safetensors"))
    refused(folder, "no ../part0.safetensors")


def test_an_adapter_has_its_own_weights_alone(folder):
    weights = folder.parent / "model.safetensors"
    shutil.copy(folder / "model.safetensors", weights)
    adapter(folder, "adapter_model.safetensors", "head.safetensors")
    check_folder(folder)
    refused(folder, "adapter_config.json is beside a config.json with auto_map", strict=True)
    config = config_of(folder)
    (folder / "config.json").write_text(
        json.dumps({k: config[k] for k in config.keys() - {"auto_map", "custom_pipelines"}})
    )
    check_folder(folder, strict=True)
    shutil.copy(weights, folder)
    check_folder(folder)
    refused(folder, "adapter_config.json is beside model.safetensors", strict=True)
    HOSTILE["part of the head"][0](folder)
    refused(folder, "lacks classifier.bias")


def test_the_weights_that_are_loaded_are_looked_at(folder):
    """An index beside a whole file isn't read, nor is a file of that name in a subfolder."""
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "rest.safetensors"}}')
    (folder / "old").mkdir()
    save_file({}, folder / "old" / "model.safetensors", {"format": "pt"})
    check_folder(folder, strict=True)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "old" / "model.safetensors")
    (folder / "model.safetensors.index.json").unlink()
    refused(folder, "no model.safetensors", strict=True)
    HOSTILE["part of the head"][0](folder / "old")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    check_folder(folder, strict=True)


@pytest.mark.parametrize(
    ("lost", "told"),
    [("classifier.bias", "classifier.bias"), ("bert.embeddings.word_embeddings.weight", "word_embeddings")],
)
def test_a_stock_model_needs_embeddings_and_head(tiny_parts, tmp_path, lost, told):
    config = BertConfig(
        vocab_size=len(tiny_parts.tokenizer),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )
    BertForTokenClassification(config).save_pretrained(tmp_path)
    tiny_parts.tokenizer.save_pretrained(tmp_path)
    check_folder(tmp_path, strict=True)
    with_weights(lambda tensors: tensors.pop(lost))(tmp_path)
    refused(tmp_path, "model.safetensors doesn't fit config.json: it lacks", told)


def test_subfolders_are_looked_at_for_publishing(folder):
    (folder / "sub").mkdir()
    pickled("sub/rest.pt")(folder)
    check_folder(folder)
    refused(folder, "rest.pt", strict=True)


def test_verify_looks_at_every_folder(saved_model_dir, folder, tmp_path, capsys, monkeypatch):
    write_checksums(folder)
    (folder / "README.md").write_text("edited on the Hub's page")
    verify.main([str(folder)])
    assert capsys.readouterr().out == f"{folder}: nothing amiss; checksums agree\n"
    bad = tmp_path / "bad"
    shutil.copytree(saved_model_dir, bad)
    HOSTILE["archive that is broken"][0](bad)

    def failing(place, strict):
        if place.name == "lost":
            raise PermissionError(13, "Permission denied", str(place))
        check_folder(place, strict)

    monkeypatch.setattr(verify, "check_folder", failing)
    with pytest.raises(SystemExit) as stop:
        verify.main([str(tmp_path / name) for name in ("bad", "lost", "x" * 300, "model")])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert [line.partition(": ")[2][:6] for line in err.splitlines()] == ["error:"] * 3
    assert str(folder) in out
    with pytest.raises(SystemExit):
        verify.main(["--publishing", str(folder)])
    assert "README.md" in capsys.readouterr().err
