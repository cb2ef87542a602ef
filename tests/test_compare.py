"""Runs against runs: means, spread and the paired test over documents."""

from __future__ import annotations

import json

import pytest
from mosaic_ner.analysis.compare import ComparisonError, compare, main
from scipy.stats import wilcoxon


def run_folder(path, f1, documents):
    path.mkdir()
    content = {"settings": {}, "test": {"biored": {"overall": {"f1": f1}}}}
    (path / "results.json").write_text(json.dumps(content), encoding="utf-8")
    (path / "document_f1.json").write_text(json.dumps({"biored": documents}), encoding="utf-8")
    return path


OURS = [0.9, 0.8, 0.7, 0.95, 0.6, 0.85]
OTHERS = [0.8, 0.75, 0.71, 0.9, 0.5, 0.8]


def test_means_spread_and_the_paired_test(tmp_path):
    ours = [run_folder(tmp_path / "a1", 0.80, OURS), run_folder(tmp_path / "a2", 0.84, OURS)]
    others = [run_folder(tmp_path / "b1", 0.70, OTHERS)]
    result = compare(ours, others, "biored")
    assert result["ours"]["mean"] == pytest.approx(0.82)
    assert result["ours"]["sd"] == pytest.approx(0.0282842712)
    assert result["others"] == {"runs": 1, "mean": 0.70, "sd": None}
    assert result["p"] == pytest.approx(wilcoxon(OURS, OTHERS).pvalue)
    assert result["documents"] == 6


def test_documents_are_averaged_over_the_runs_of_a_side(tmp_path):
    swapped = [b for a, b in zip(OURS, OTHERS, strict=True)]
    ours = [run_folder(tmp_path / "a1", 0.8, OURS), run_folder(tmp_path / "a2", 0.8, swapped)]
    middle = [(a + b) / 2 for a, b in zip(OURS, OTHERS, strict=True)]
    assert compare(ours, [run_folder(tmp_path / "b", 0.8, middle)], "biored")["p"] is None


def test_one_seed_is_called_one_seed(tmp_path, capsys):
    first, second = run_folder(tmp_path / "a", 0.8, OURS), run_folder(tmp_path / "b", 0.7, OTHERS)
    main([str(first), "--against", str(second)])
    printed = capsys.readouterr().out
    assert "80.00 (one seed)" in printed
    assert "over 6 documents" in printed


def test_what_cannot_be_compared_is_said(tmp_path, capsys):
    first = run_folder(tmp_path / "a", 0.8, OURS)
    with pytest.raises(ComparisonError, match="different numbers"):
        compare([first], [run_folder(tmp_path / "b", 0.7, OTHERS[:3])], "biored")
    other = run_folder(tmp_path / "c", 0.7, OTHERS)
    with pytest.raises(ComparisonError, match=r"a is named twice"):
        compare([first, first], [other], "biored")
    seeds = [run_folder(tmp_path / name, 0.8, OURS) for name in ("s1", "s2")]
    for folder in seeds:
        content = json.loads((folder / "results.json").read_text(encoding="utf-8")) | {"settings": {"seed": 1}}
        (folder / "results.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ComparisonError, match="two runs of one side have the seed 1"):
        compare(seeds, [other], "biored")
    for folder, ids in ((first, "a"), (other, "b")):
        content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        content["data"] = {"test": {"biored": {"ids": ids}}}
        (folder / "results.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ComparisonError, match="different biored documents, or in another order"):
        compare([first], [other], "biored")
    with pytest.raises(ComparisonError, match="not tested on 'bc5cdr'"):
        compare([first], [first], "bc5cdr")
    with pytest.raises(SystemExit) as stop:
        main([str(first), "--against", str(tmp_path)])
    assert stop.value.code == 2
    assert "not the folder of a finished run" in capsys.readouterr().err


def test_runs_of_one_side_that_differ_in_more_than_the_seed_are_told(tmp_path, capsys):
    runs = [run_folder(tmp_path / name, 0.8, OURS) for name in ("a", "b")]
    for seed, folder in enumerate(runs):
        content = json.loads((folder / "results.json").read_text()) | {"settings": {"seed": seed, "rate": seed}}
        (folder / "results.json").write_text(json.dumps(content))
    main([*map(str, runs), "--against", str(run_folder(tmp_path / "c", 0.7, OTHERS))])
    assert "warning: runs differ in rate, not in the seed alone" in capsys.readouterr().err


def test_a_run_without_the_f1_of_each_document_is_named(tmp_path):
    first, second = run_folder(tmp_path / "a", 0.8, OURS), run_folder(tmp_path / "b", 0.7, OTHERS)
    (second / "document_f1.json").unlink()
    with pytest.raises(ComparisonError, match=r"b has no document_f1.json"):
        compare([first], [second], "biored")
