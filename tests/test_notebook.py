"""The notebook of docs/: its cells run from top to bottom, on a few documents."""

from __future__ import annotations

import json

from helpers_run import ROOT
from mosaic_ner.data_builders import demo
from mosaic_ner.data_builders.formats import read_documents
from mosaic_ner.prediction.integrity import check_folder

NOTEBOOK = ROOT / "docs" / "own_corpus.ipynb"


def cells() -> list[str]:
    """The code of its cells, with a single pass over the training documents."""
    found = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in found)
    code = ["".join(cell["source"]) for cell in found]
    assert code[0].startswith("EPOCHS = ")
    return ["EPOCHS = 1", *code[1:]]


def test_the_cells_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole = demo.load_demo_corpora()
    few = {corpus: {split: part[:8] for split, part in splits.items()} for corpus, splits in whole.items()}
    monkeypatch.setattr(demo, "load_demo_corpora", lambda: few)
    names = {}
    for number, code in enumerate(cells()):
        exec(compile(code, f"cell {number}", "exec"), names)
    assert [d.id for d in read_documents("tasks.labelstudio.json")] == [d.id for d in few["demo_all"]["test"]]
    check_folder(tmp_path / "outputs" / "hub" / "mine", strict=True)
    assert "my-lab/mine" in capsys.readouterr().out
