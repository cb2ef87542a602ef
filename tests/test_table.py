"""One table of several runs, with the baseline that copies the training annotations."""

from __future__ import annotations

import json

import pytest
from mosaic_ner.analysis.table import build_choices, build_disjoint_and_merged, build_table, main
from mosaic_ner.data_builders.markdown import markdown_table


def row(f1: float) -> dict:
    return {"precision": f1 + 0.01, "recall": f1 - 0.01, "f1": f1, "support": 9, "predicted": 9}


def run_folder(path, f1: float, kept: bool, copying: dict | None, types=("Gene",)):
    path.mkdir()
    evaluation = {"biored/test": {"copying": copying}} if copying else {}
    content = {
        "test": {"biored": {"overall": row(f1), "per_type": {t: row(f1 / 2) for t in types}}},
        "overlap": {"kept": kept, "training": {}, "evaluation": evaluation},
        "settings": {"seed": 7},
        "history": [{"step": 10}, {"step": 20}],
    }
    (path / "results.json").write_text(json.dumps(content), encoding="utf-8")
    return path


COPYING = {"precision": 0.9683, "recall": 0.5106, "f1": 0.6686, "predicted": 12}


NAMES = ("disjoint", "merged")


def cells(table: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]


def test_a_row_per_run_and_one_for_copying(tmp_path):
    runs = [
        run_folder(tmp_path / "clean", 0.8, False, COPYING, ("Gene", "Species")),
        run_folder(tmp_path / "leaky", 0.9, True, COPYING),
    ]
    header, _, clean, leaky, copying = cells(build_table(runs, "biored"))
    assert header == ["run", "seed", "overlap", "updates", "gold", "P", "R", "F1", "Gene", "Species"]
    assert clean == ["clean", "7", "removed", "20", "9", "81.00", "79.00", "80.00", "40.00", "40.00"]
    assert leaky == ["leaky", "7", "kept", "20", "9", "91.00", "89.00", "90.00", "45.00", "-"]
    assert copying == ["copying, no model", "-", "-", "-", "-", "96.83", "51.06", "66.86", "-", "-"]


def test_a_row_per_setting_with_means_over_seeds(tmp_path, capsys):
    def with_seed(name, f1, seed, types=("Gene",), corpus="biored"):
        path = run_folder(tmp_path / name, f1, False, None, types) / "results.json"
        content = json.loads(path.read_text())
        content["settings"]["seed"] = seed
        content["test"] = {corpus: content["test"]["biored"]}
        path.write_text(json.dumps(content))
        return str(path.parent)

    base = [with_seed("a", 0.7, 1), with_seed("b", 0.8, 2), with_seed("c", 0.6, 1, ("Gene", "Species"), "s800")]
    other = [with_seed("d", 0.75, 1)]
    main(["--group", "Baseline", *base, "--group", "All", *other])
    text = capsys.readouterr().out
    header, _, first, second = cells(text)
    assert "Means" in text
    assert header == ["setting", "biored", "s800", "s800: Gene", "s800: Species"]
    assert first == ["Baseline", "75.00 ± 7.07 (2)", "60.00", "30.00", "30.00"]
    assert second == ["All", "75.00", "-", "-", "-"]
    main(["--group", "Baseline", base[0], base[2]])
    assert "One seed (1)." in capsys.readouterr().out
    mixed = with_seed("e", 0.5, 2, ("Gene",), "s800")
    main(["--group", "Baseline", base[2], "--group", "All", mixed])
    text = capsys.readouterr().out
    assert "different seeds (1, 2)" in text
    assert cells(text)[3] == ["All", "50.00", "25.00", "-"]
    untested = run_folder(tmp_path / "f", 0.8, False, None)
    content = json.loads((untested / "results.json").read_text())
    (untested / "results.json").write_text(json.dumps(content | {"test": {}}))
    for wrong, message in (
        (["--group", "x", base[0], str(tmp_path / "d")], "only run on biored with seed 1"),
        (["--group", "x", base[0], "--group", "x", base[1]], "used once"),
        (["--group", "x"], "at least one run"),
        (["--group", "x", str(untested)], "tested on any corpus"),
        ([base[0], "--group", "x", base[1]], "belongs to a group"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(wrong)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def test_documents_that_were_not_scored_and_unlike_runs_are_told(tmp_path, capsys):
    one, other = (run_folder(tmp_path / name, 0.8, False, COPYING) for name in ("one", "other"))
    path = one / "results.json"
    content = json.loads(path.read_text())
    content["overlap"]["evaluation"]["biored/test"] |= {"mode": "evaluation", "not_scored": 54}
    content["settings"] |= {"seed": 8, "learning_rate": 1.0}
    path.write_text(json.dumps(content))
    assert [r[2] for r in cells(build_table([one, other], "biored"))[2:4]] == ["54 not scored", "removed"]
    main(["--group", "x", str(one), str(other)])
    assert "Runs of x differ in learning_rate, too." in capsys.readouterr().out.replace("\n", " ")


def validated(path, seed: int, **settings):
    path.mkdir()
    report = {"documents": 3, "overall": row(0.5), "per_type": {}}
    content = {"settings": {"seed": seed, "num_train_epochs": 5.0} | settings, "validation": {"biored": report}}
    (path / "results.json").write_text(json.dumps(content))
    return path


def test_choices_tell_of_epochs_updates_and_seed_what_all_runs_share(tmp_path):
    a, b, c = (validated(tmp_path / n, s, **more) for n, s, more in (("a", 1, {}), ("b", 1, {"x": 2}), ("c", 2, {})))
    d, e = validated(tmp_path / "d", 1, max_steps=9), validated(tmp_path / "e", 1, max_steps=9, x=3)
    for runs, told in (
        ([a, b], "settings shown, after 5.0 epochs with seed 1."),
        ([a, c], "settings shown, after 5.0 epochs."),
        ([d, e], "settings shown, after 9 updates with seed 1."),
        ([a, d], "settings shown with seed 1."),
    ):
        assert told in build_choices(runs, "biored").replace("\n", " ")


def test_without_overlap_there_is_nothing_to_copy(tmp_path):
    runs = [
        run_folder(tmp_path / "a", 0.8, False, None),
        run_folder(tmp_path / "b", 0.7, False, COPYING | {"predicted": 0}),
    ]
    assert len(cells(build_table(runs, "biored"))) == 4


def test_the_command_writes_and_prints_the_same(tmp_path, capsys):
    run = run_folder(tmp_path / "a", 0.8, False, COPYING)
    main([str(run)])
    main([str(run), "--output", str(tmp_path / "table.md")])
    assert capsys.readouterr().out == (tmp_path / "table.md").read_text(encoding="utf-8") != ""


def test_what_is_no_run_ends_with_a_message(tmp_path, capsys):
    run = run_folder(tmp_path / "a", 0.8, False, None)
    for argv, message in (
        ([str(tmp_path)], "is not the folder of a finished run: no results.json"),
        ([str(run), "--corpus", "bc5cdr"], "was not tested on 'bc5cdr'; it has biored"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def measured_folder(path, test: dict):
    """A run with corpus → (disjoint F1 or None, merged F1)."""
    path.mkdir()
    scores = {
        corpus: {name: None if f1 is None else {"overall": row(f1)} for name, f1 in zip(NAMES, pair, strict=True)}
        for corpus, pair in test.items()
    }
    (path / "results.json").write_text(json.dumps({"settings": {}, "test": scores}), encoding="utf-8")
    return path


def test_disjoint_and_merged_of_each_corpus_and_the_mean_of_runs_that_have_all(tmp_path, capsys):
    runs = [
        measured_folder(tmp_path / "multi", {"a": (0.8, 0.5), "b": (0.6, 0.4), "c": (0.1, 0.1)}),
        measured_folder(tmp_path / "only_a", {"a": (0.7, 0.7)}),
        measured_folder(tmp_path / "not_b", {"a": (0.9, 0.9), "b": (None, 0.3)}),
    ]
    header, _, *rows = cells(build_disjoint_and_merged(runs, ["b", "a"]))
    assert header == ["corpus", *(f"{run}: {name}" for run in ("multi", "only_a", "not_b") for name in NAMES)]
    assert rows == [
        ["b", "60.00", "40.00", "-", "-", "-", "30.00"],
        ["a", "80.00", "50.00", "70.00", "70.00", "90.00", "90.00"],
        ["mean", "70.00", "45.00", "-", "-", "-", "60.00"],
    ]
    main([*map(str, runs), "--corpora", "b", "a"])
    assert capsys.readouterr().out == build_disjoint_and_merged(runs, ["b", "a"])
    with pytest.raises(SystemExit):
        main([str(runs[0]), "--corpora", "a", "d"])
    assert "no run was tested on 'd'; there are a, b, c" in capsys.readouterr().err


def test_runs_older_than_these_figures_have_none(tmp_path):
    run = run_folder(tmp_path / "old", 0.8, False, None)
    assert cells(build_disjoint_and_merged([run], ["biored"]))[2:] == [["biored", "-", "-"], ["mean", "-", "-"]]


def test_single_task_runs_are_one_column(tmp_path, capsys):
    multi = measured_folder(tmp_path / "multi", {"a": (0.8, 0.5), "b": (0.6, 0.4)})
    single = [measured_folder(tmp_path / name, {name: (f1, f1)}) for name, f1 in (("a", 0.7), ("b", 0.9))]
    header, _, *rows = cells(build_disjoint_and_merged([multi], ["a", "b"], single))
    assert header == ["corpus", "multi: disjoint", "multi: merged", "alone: disjoint", "alone: merged"]
    assert [row[3] for row in rows] == ["70.00", "90.00", "80.00"]
    arguments = [str(multi), "--corpora", "a", "b", "--alone", *map(str, single)]
    main(arguments)
    assert capsys.readouterr().out == build_disjoint_and_merged([multi], ["a", "b"], single)
    for wrong, message in (
        ([*arguments, str(multi)], "was tested on a, b, as was a run named before it"),
        (["--corpora", "a"], "at least one finished run"),
        ([str(multi), "--alone", str(single[0])], "--alone needs --corpora"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(wrong)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def test_choices_name_what_differs_from_the_reference(tmp_path, capsys):
    runs = []
    for name, own, f1 in (
        ("base", {}, 0.7),
        ("next", {"write": "next"}, 0.6),
        ("both", {"write": "next", "size": 3}, 0.5),
    ):
        runs.append(tmp_path / name)
        runs[-1].mkdir()
        report = {"overall": row(f1) | {"support": 40}, "documents": 12}
        settings = {"seed": 1, "num_train_epochs": 7, "size": 2} | own
        content = {"settings": settings, "validation": {"c": report}, "test": {}}
        (runs[-1] / "results.json").write_text(json.dumps(content), encoding="utf-8")
    main([*map(str, runs), "--choices", "--corpus", "c"])
    table = capsys.readouterr().out
    assert "12 validation documents of c (40 mentions)" in table
    assert [line[0] for line in cells(table)[2:]] == ["reference", "write next", "size 3, write next"]
    assert [line[-1] for line in cells(table)[2:]] == ["70.00", "60.00", "50.00"]
    with pytest.raises(SystemExit):
        main([*map(str, runs), "--choices", "--corpus", "d"])
    assert "was not validated on 'd'; it was on c" in capsys.readouterr().err


def test_two_runs_of_one_folder_name_keep_a_row_each(tmp_path):
    runs = []
    for name, f1 in (("one", 0.8), ("two", 0.9)):
        (tmp_path / name).mkdir()
        runs.append(run_folder(tmp_path / name / "biored", f1, False, None))
    assert [(r[0], r[7]) for r in cells(build_table(runs, "biored"))[2:]] == [
        (runs[0].as_posix(), "80.00"),
        (runs[1].as_posix(), "90.00"),
    ]


def test_a_border_of_a_table_in_a_cell_is_none():
    assert markdown_table(["a", "b"], [["x|y\nz", r"u\|v"]]).splitlines()[-1] == r"| x\|y z | u\|v |"
