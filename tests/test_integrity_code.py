"""The code in a model's folder: this package never runs it, `verify` tells where it differs, publishing refuses it."""

from __future__ import annotations

import sys

import pytest
from helpers_integrity import CODE, EVIL, adapter, change, guarded_copy, refused
from mosaic_ner.hub import verify
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.integrity import check_folder, foreign_code, own_file, write_checksums
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError


@pytest.fixture
def folder(saved_model_dir, tmp_path, monkeypatch):
    """A copy of a saved model, that a test may spoil; nothing in it may ever run."""
    yield from guarded_copy(saved_model_dir, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", CODE)
def test_code_that_differs_is_told_and_not_published(folder, name):
    assert foreign_code(folder) == []
    check_folder(folder, strict=True)
    with (folder / "crf.py").open("a") as file:
        file.write(f"\n{CODE[name]}\n")
    check_folder(folder)
    assert foreign_code(folder) == ["crf.py"]
    refused(folder, "crf.py differs from this package's own file", strict=True)


def test_files_that_are_not_of_this_package_are_told_and_not_published(folder):
    (folder / "extra.py").write_text("x = 1\n")
    (folder / "__init__.py").write_text("")
    check_folder(folder)
    assert foreign_code(folder) == ["__init__.py", "extra.py"]
    refused(folder, "__init__.py is none of this package's files", strict=True)


def test_the_code_of_a_folder_is_never_run(saved_model_dir, folder, demo_texts):
    """All of it would run a command; the model loads, by this package's classes, and predicts as before."""
    expected = MentionPredictor(*load(str(saved_model_dir)))(demo_texts[:4])
    names = sorted(path.name for path in folder.glob("*.py"))
    assert names
    for name in names:
        source = (folder / name).read_text()
        (folder / name).write_text(source.replace("from __future__ import annotations\n", EVIL, 1))
    model, tokenizer = load(str(folder))
    assert MentionPredictor(model, tokenizer)(demo_texts[:4]) == expected
    assert sys.modules[type(model).__module__].__file__ == str(own_file("modeling_aioner.py"))
    assert foreign_code(folder) == names


def test_verify_names_the_code_that_differs(folder, capsys):
    with (folder / "crf.py").open("a") as file:
        file.write(EVIL)
    (folder / "extra.py").write_text("x = 1\n")
    write_checksums(folder)
    verify.main([str(folder)])
    written = capsys.readouterr().out
    assert written.startswith(
        f"{folder}: nothing amiss; checksums agree; code differs from this package's: crf.py, extra.py "
    )
    assert written.count("\n") == 1
    with pytest.raises(SystemExit):
        verify.main(["--publishing", str(folder)])
    assert "crf.py differs" in capsys.readouterr().err


def test_links_to_code_elsewhere_are_refused(folder):
    (folder / "crf.py").unlink()
    (folder / "crf.py").symlink_to(own_file("crf.py"))
    refused(folder, "crf.py is a symbolic link that leaves the folder")


def test_code_of_the_encoder_that_an_adapter_names_does_not_run(folder, monkeypatch):
    encoder = folder.parent / "encoder"
    encoder.mkdir()
    (encoder / "evil.py").write_text(EVIL + "class Config: pass\n")
    (encoder / "config.json").write_text('{"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}')
    adapter(folder, "adapter_model.safetensors", "head.safetensors")
    change(folder / "adapter_config.json", base_model_name_or_path=str(encoder))
    monkeypatch.setattr("builtins.input", lambda prompt="": "y")  # to whatever transformers asks
    with pytest.raises(ModelError, match=r"is an adapter on the encoder .*custom code"):
        load(str(folder))
