"""A study runs each cell once, goes on where it was interrupted, and tells what is significant."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace

import helpers_run
import pytest
from helpers_run import ROOT
from hypothesis import given
from hypothesis import strategies as st
from mosaic_ner.analysis import study
from mosaic_ner.analysis.study import Runner, Study, StudyError, put, write_tables
from mosaic_ner.analysis.study_tables import Table, holm, left_out, readme, table_text
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.prediction.options import IN_THE_BOX
from mosaic_ner.training.aioner import build_scheme
from mosaic_ner.training.arguments import as_argv, parse
from mosaic_ner.training.results import Results

OPTIONS = """
common:
  corpora: [demo_all]
  encoder: scratch
  scratch_layers: 1
  scratch_hidden_size: 32
  max_tokens: 64
  max_steps: 4
  save_steps: 2
  save_strategy: steps
  eval_strategy: 'no'
  load_best_model_at_end: false
  report_to: none
  disable_tqdm: true
"""
TEXT = (
    OPTIONS
    + """
seeds: [1, 2]
cells:
  plain: {recipe: quickstart}
  masked: {recipe: quickstart, token_masking: 0.2, seeds: [1]}
  taught: {recipe: quickstart, complete_with: ['cell:plain'], seeds: [1]}
tables:
- {title: Two settings, cells: [masked, plain, taught], corpora: [demo_all], reference: plain}
"""
)


class Calls:
    """Runs in this process; keeps what was asked for."""

    def __init__(self):
        self.made = []

    def __call__(self, argv):
        self.made.append(argv)
        helpers_run.run(*argv, "--use_cpu", "true")


@pytest.fixture
def runner(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return Runner(Study.read(str(path)), tmp_path / "results", tmp_path / "runs", [], Calls())


def test_a_cell_runs_once_unless_settings_or_sources_change(runner, monkeypatch):
    runner.run("plain", 1)
    runner.run("plain", 1)
    assert len(runner.call.made) == 1
    before = helpers_run.results(runner.results / "plain" / "1")
    assert before["settings"]["seed"] == 1
    assert not list((runner.runs / "plain" / "1").glob("checkpoint-*"))
    monkeypatch.setattr(study, "code_digest", lambda: "another")
    runner.any_code = True
    runner.run("plain", 1)
    assert len(runner.call.made) == 1
    runner.any_code = False
    runner.run("plain", 1)
    assert len(runner.call.made) == 2
    runner.more = ["--learning_rate", "0.001"]
    runner.run("plain", 1)
    assert len(runner.call.made) == 3


def test_an_interrupted_cell_goes_on_from_its_checkpoint(runner, monkeypatch):
    class Killed(Exception):
        pass

    def killed(argv):
        helpers_run.run(*argv, "--use_cpu", "true")
        (runner.runs / "plain" / "2" / "results.json").unlink()
        raise Killed

    whole = runner.call
    runner.call = killed
    with pytest.raises(Killed):
        runner.run("plain", 2)
    runner.call = whole
    runner.run("plain", 2)
    (argv,) = whole.made
    assert argv[argv.index("--resume_from_checkpoint") + 1].endswith("checkpoint-4")


def test_a_cell_that_refers_to_another_runs_it_first(runner):
    runner.run("taught", 1)
    first, second = runner.call.made
    assert first[first.index("--output_dir") + 1] == str(runner.runs / "plain" / "1")
    assert second[second.index("--complete_with") + 1] == str(runner.runs / "plain" / "1")


def test_a_cell_runs_again_when_one_that_it_refers_to_changes(runner):
    runner.run("taught", 1)
    runner.study.cells["plain"]["learning_rate"] = 1e-4
    runner.run("taught", 1)
    assert len(runner.call.made) == 4
    runner.run("taught", 1)
    assert len(runner.call.made) == 4


def test_weights_of_other_settings_teach_nobody(runner):
    runner.run("plain", 1)
    state = runner.runs / "plain" / "1" / "cell.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"code": "older"}))
    runner.run("plain", 1)
    assert len(runner.call.made) == 1  # its figures are there
    runner.run("taught", 1)
    assert len(runner.call.made) == 3
    runner.any_code = True
    state.write_text(json.dumps(json.loads(state.read_text()) | {"code": "older"}))
    shutil.rmtree(runner.results / "taught")
    shutil.rmtree(runner.runs / "taught")
    runner.run("taught", 1)
    assert len(runner.call.made) == 4


def test_a_table_shows_the_seeds_of_its_study_and_whether_their_settings_differ(runner):
    for seed in (1, 2):
        runner.run("plain", seed)
    folders = runner.study.folders(runner.results)
    table = Table("T", ["plain"], ["demo_all"])
    assert "| demo_all | plain | 2 | " in table_text(table, folders)
    other = Results.read(folders["plain"][1])
    replace(other, settings=other.settings | {"learning_rate": 0.5}).write(folders["plain"][1])
    assert "| demo_all | plain | 2, settings differ | " in table_text(table, folders)
    replace(other, device="NVIDIA H200", seconds={"train": 90.0}).write(folders["plain"][1])
    assert " cpu, 1.5 NVIDIA H200 |" in table_text(table, folders)
    runner.study.seeds.remove(2)
    assert "| demo_all | plain | 1 | " in table_text(table, runner.study.folders(runner.results))


def test_tables_are_written_from_figures_alone(runner):
    runner.results.mkdir()
    write_tables(runner.study, runner.results)
    text = (runner.results / "README.md").read_text(encoding="utf-8")
    assert text.count("not run") == 3
    for cell, seed in (("plain", 1), ("plain", 2), ("masked", 1)):
        runner.run(cell, seed)
    write_tables(runner.study, runner.results)
    text = (runner.results / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith("| demo_all | plain")]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    f1 = [helpers_run.results(runner.results / "plain" / s)["test"]["demo_all"]["overall"]["f1"] for s in "12"]
    assert cells[2] == "2"
    assert cells[5].startswith(f"{50 * sum(f1):.2f} ± ")
    assert text.count("not run") == 1
    assert (runner.results / "table1.png").read_bytes()[:4] == b"\x89PNG"


def test_a_table_for_choosing_has_validation_figures_and_left_out_corpora_have_a_table_of_their_own(runner, tmp_path):
    runner.run("plain", 1)
    folder = runner.results / "plain" / "1"
    results = Results.read(folder)
    near = results.test["demo_all"]["relaxed"]["near"]["overall"]["f1"]
    report = results.test["demo_all"] | {"calibration": {"ece": 0.125, "uncalibrated": {"ece": 0.25}}}
    replace(results, test={"demo_gene": report}, validation={"demo_all": report}).write(folder)
    tables = [Table("T", ["plain", "masked"], ["demo_all"], split="validation"), Table("U", ["plain"], ["demo_gene"])]
    folders = runner.study.folders(runner.results)
    text = readme(tables, {"plain": ["demo_all"], "masked": ["demo_all"]}, folders, runner.results)
    chosen, unseen = text.split("## Corpora that a run was trained without")
    assert [line for line in chosen.splitlines() if line.startswith("| demo_all | plain | 1 | ")]
    assert "Validation documents" in chosen
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in unseen.splitlines() if line.startswith("| demo_")
    ]
    assert rows[0][:4] == ["demo_gene", "plain", "all", "1"]
    assert rows[0][7:] == [f"{100 * near:.2f}", "0.125", "0.250"]
    assert [row[2] for row in rows[1:]] == sorted(report["per_type"])
    assert left_out(tables[:1], {"plain": ["demo_all"], "masked": ["demo_all"]}, folders) == ""
    assert "not run" in left_out(tables[1:], {"plain": []}, runner.study.folders(tmp_path / "none"))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_holm_equals_the_closed_test_with_bonferroni(values):
    # The corrected value of a hypothesis is the largest Bonferroni value of all sets of hypotheses that contain it.
    numbers = range(len(values))
    sets = [s for size in range(1, len(values) + 1) for s in itertools.combinations(numbers, size)]
    for i, corrected in enumerate(holm(values)):
        closed = max(min(1.0, len(s) * min(values[j] for j in s)) for s in sets if i in s)
        assert corrected == pytest.approx(closed)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cell: {}", "did you mean 'cells'"),
        ("cells: {a: {}}", "names no recipe"),
        ("cells: {a: }", "names no recipe"),
        ("seeds: 42\ncells: {a: {recipe: quickstart}}", "a list of whole numbers such as .* got 42"),
        (
            "tables: [{title: T, cells: [], corpus: [c], corpora: [c]}]",
            "'T': unknown key 'corpus'; did you mean 'corpora'",
        ),
        ("tables: [{title: T}]", "table 1: expected a mapping with title, cells and corpora"),
        ("cells: {a: {recipe: quickstart}}\ntables: [{title: T, cells: [b], corpora: [c]}]", "no cell 'b'"),
    ],
)
def test_a_study_that_cannot_be_understood(tmp_path, text, told):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=told):
        Study.read(str(path))


def test_cells_are_chosen_by_name_and_seed():
    found = Study({"a": {}, "b 0.5": {"seeds": [7]}, "c/d": {}}, [1, 2])
    assert found.chosen(None) == [("a", 1), ("a", 2), ("b 0.5", 7), ("c/d", 1), ("c/d", 2)]
    assert found.chosen(["c/d", "a/2", "c/d/1"]) == [("c/d", 1), ("c/d", 2), ("a", 2), ("c/d", 1)]
    assert found.chosen([]) == []
    for word, told in (("a/3", "has the seeds 1, 2"), ("e", "no cell 'e'"), ("b 0.5/1", "has the seeds 7")):
        with pytest.raises(StudyError, match=told):
            found.chosen([word])


def settings_of(found: Study, cell: str) -> dict:
    values = found.common | {k: v for k, v in found.cells[cell].items() if k not in ("recipe", "seeds")}
    return parse([found.cells[cell]["recipe"], *as_argv(values)]).settings()


def test_every_study_of_the_package_can_be_read():
    names = [path.stem for path in study.STUDIES.glob("*.yaml")]
    assert "comparison" in names
    for name in names:
        found = Study.read(name)
        for cell in found.cells:
            assert settings_of(found, cell)["corpora"] == found.corpora_of(cell)
        assert json.dumps(found.cells)


def test_a_study_draws_from_tasks_and_corpora_that_its_cells_have():
    checked = 0
    for path in study.STUDIES.glob("*.yaml"):
        for cell in (found := Study.read(str(path))).cells:
            settings = settings_of(found, cell)
            corpora = {*settings["corpora"]} - {"nlm_chem"}  # has no training documents where the studies were run
            groups = corpora
            if settings["family"] == "aioner" and "scheme" not in settings and "complete_with" not in settings:
                space = load_label_mapping(scheme=settings.get("mapping", "shared")).restricted_to(corpora)
                groups = {task for tasks in build_scheme("aio", space).corpus_tasks.values() for task in tasks}
            assert {*settings.get("sampling_rates", {})} <= groups, f"{path.stem}: {cell}"
            checked += bool(settings.get("sampling_rates"))
    assert checked > 10


def test_a_familys_control_is_the_cell_of_the_comparison():
    ours, comparison = Study.read("completed_labels"), Study.read("comparison")
    same = [cell for cell in ours.cells if cell in comparison.cells]
    assert len(same) == 3
    for cell in same:
        assert settings_of(ours, cell) == settings_of(comparison, cell)
        student = settings_of(ours, f"{cell}, completed")
        differing = {
            k
            for k in student.keys() | settings_of(ours, cell).keys()
            if student.get(k) != settings_of(ours, cell).get(k)
        }
        assert differing == {"corpora", "sampling_rates", "complete_with"}


def test_what_was_run_has_the_settings_of_its_cell():
    for name in ("completed_labels", "comparison", "left_out"):
        found = Study.read(name)
        for path in (ROOT / "results" / name).glob("*/*/cell.json"):
            state = json.loads(path.read_text(encoding="utf-8"))
            told, wanted = state["settings"] | {"seed": 42}, settings_of(found, path.parts[-3])
            referred = [word for word in wanted.get("complete_with", ()) if word.startswith("cell:")]
            assert list(state.get("cells", {})) == referred
            assert told | {k: wanted.get(k) for k in ("encoder", "bf16")} == wanted | {"bf16": wanted.get("bf16")}


@pytest.mark.parametrize("folder", sorted((ROOT / "results").iterdir()), ids=lambda p: p.name)
def test_the_pages_of_figures_are_up_to_date(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "results")
    write_tables(Study.read(folder.name), tmp_path / "results")
    assert (tmp_path / "results" / "README.md").read_text("utf-8") == (folder / "README.md").read_text("utf-8")
    page = (ROOT / "README.md").read_text("utf-8")
    if f"<!-- {folder.name} -->" in page:
        (tmp_path / "page.md").write_text(page.replace("| biored | ", "| old | "), encoding="utf-8")
        put(tmp_path / "page.md", Study.read(folder.name), folder, folder.name)
        assert (tmp_path / "page.md").read_text("utf-8") == page
    else:
        assert folder.name != "completed_labels"


def test_the_card_of_the_model_in_the_box_has_other_seeds_and_the_corpora_left_out():
    completed = Study.read("completed_labels"), ROOT / "results" / "completed_labels", "completed_labels"
    text = study.note(*completed, ["completed", "control"])
    assert (IN_THE_BOX / "seeds.md").read_text("utf-8") == text
    rows = [line.split(" | ")[:3] for line in text.splitlines() if line.startswith("| biored")]
    assert [row[1:] for row in rows] == [["control", "3"], ["completed", "3"]]
    assert "against control, corrected for 2 tests" in " ".join(text.split())
    with pytest.raises(StudyError, match="no table of test figures"):
        study.note(*completed, ["completed", "joint IB"])
    text = study.note(Study.read("left_out"), ROOT / "results" / "left_out", "left_out")
    assert (IN_THE_BOX / "left_out.md").read_text("utf-8") == f"{text}\n{study.note(*completed)}"
    with pytest.raises(StudyError, match="no cell is measured"):
        study.note(Study.read("comparison"), ROOT / "results" / "comparison", "comparison")
