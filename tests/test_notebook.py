"""The notebook of docs/: its cells run from top to bottom, on a few documents."""

from __future__ import annotations

import json
import re

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
    sizes = {"train": 72, "validation": 8, "test": 8}  # enough for a word to be a habit
    few = {corpus: {split: part[: sizes[split]] for split, part in splits.items()} for corpus, splits in whole.items()}
    monkeypatch.setattr(demo, "load_demo_corpora", lambda: few)
    names, shown = {}, []
    for number, code in enumerate(cells()):
        exec(compile(code, f"cell {number}", "exec"), names)
        shown.append(capsys.readouterr().out)
    assert [d.id for d in read_documents("tasks.labelstudio.json")] == [d.id for d in few["demo_all"]["test"]]
    check_folder(tmp_path / "outputs" / "hub" / "mine", strict=True)
    assert "my-lab/mine" in shown[-1]
    # What the cell before says of the other corpus is what the command finds.
    (conflicts,) = [text for text in shown if "| mine | demo_gene |" in text]
    for word in ("gene", "protein", "mrna"):
        assert re.search(rf"\| Gene \| … `{word}` \| 0 \(\d+\) \| 100 \(\d+\) \|", conflicts)
