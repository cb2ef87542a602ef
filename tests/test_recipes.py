"""Every recipe is run, through training, evaluation, card and prediction, and so is every command of the documentation."""

from __future__ import annotations

import json
import shlex
import subprocess
from glob import glob

import datasets
import pytest
from helpers_commands import SEARCH, Documented, commands_of
from helpers_recipes import INPUT, NEEDED, TRIALS, Workplace, recipes
from helpers_run import ROOT
from mosaic_ner.analysis.repeats import read_header
from mosaic_ner.analysis.study import Study
from mosaic_ner.data_builders import run_data
from mosaic_ner.data_builders.demo import load_demo_corpora
from mosaic_ner.training.arguments import as_argv, parse
from mosaic_ner.training.results import Results

import run_ner

BEFORE = {
    "verify outputs/quickstart outputs/hub/demo-ner": ["publish outputs/quickstart --repo_id my-lab/demo-ner"],
    "latents outputs/joint_ib/supvib outputs/joint_ib/all --split validation --output latents.png": [
        f"joint_ib/{name} --write_figures true --output_dir outputs/joint_ib/{name}" for name in ("supvib", "all")
    ],
    "figures outputs/alpha/* --output alpha.png": [
        "span_cvae/paper/alpha_sweep --alpha 0.1 --output_dir outputs/alpha/0.1"
    ],
    "compare RUN --against RUN --corpus bc5cdr_disease": [
        "aioner/paper/bl1 --corpora bc5cdr_disease --output_dir outputs/alone",
    ],
    "aioner/biored_all --complete_with outputs/teacher --output_dir outputs/student --sampling_rates '{}' --encoder E "
    "--data_dir D": [
        "aioner/biored_all --output_dir outputs/teacher --encoder E --data_dir D",
    ],
    "OUTPUT_DIR/best.yaml": ["joint_ib/all --hp_search recipes/joint_ib/search.yaml --output_dir outputs/joint_ib/all"],
}
"""What the page says has to be run first, where it isn't a recipe named by its output folder."""
IN_FULL = {
    "recipes/aioner/biored_all.yaml --encoder ENCODER --data_dir DIR": "aioner/biored_all --encoder E --data_dir D",
    "recipes/aioner/paper/bl1.yaml --corpora C": "aioner/paper/bl1 --corpora s800",
    "recipes/aioner/paper/bl2.yaml --corpora C biored --test_corpora C --types T": "aioner/paper/bl2 --corpora s800 biored "
    "--test_corpora s800 --types Species",
    "--model_name_or_path DIR": "--model_name_or_path outputs/span_cvae/multi_cvae --corpora biored --write_figures true "
    "--output_dir outputs/drawn",
    "--model_name_or_path RUN --corpora --data_dir D --output_dir NEW": "--model_name_or_path outputs/aioner/biored "
    "--corpora biored --data_dir D --output_dir outputs/again",
    "--model_name_or_path RUN --corpora … --data_dir D --write_figures true --output_dir NEW": "--model_name_or_path "
    "outputs/joint_ib/all --corpora ncbi_disease --data_dir D --write_figures true --output_dir outputs/drawn",
    "OUTPUT_DIR/best.yaml": "outputs/joint_ib/all/best.yaml",
    "recipes/span_cvae/paper/alpha_sweep.yaml --alpha A --output_dir outputs/alpha/A": "span_cvae/paper/alpha_sweep "
    "--alpha 0.1 --output_dir outputs/alpha/0.1",
    "table RUN": "table outputs/aioner/biored outputs/aioner/biored_all",
    "table RUN --errors --corpus ncbi_one_type --split validation": "table outputs/joint_ib/all --errors "
    "--corpus ncbi_one_type --split validation",
    "compare RUN --against RUN --corpus bc5cdr_disease": "compare outputs/aioner/paper/external --against outputs/alone "
    "--corpus bc5cdr_disease",
    "errors RUN --output errors.html": "errors outputs/aioner/biored --data_dir D --output errors.html",
    "conflicts mine.jsonl biored --data_dir D --output conflicts.html": "conflicts test.pubtator biored --data_dir D --output "
    "conflicts.html",
    "conflicts C C --output conflicts.html": "conflicts biored bc5cdr --data_dir D --output conflicts.html",
    "conflicts biored bc5cdr bioid gnormplus linnaeus ncbi_disease nlm_chem nlm_gene s800 tmvar3 --data_dir D --output "
    "conflicts.html --page docs/conflicts.md --model outputs/aioner/biored_all --documents 40": "conflicts biored bc5cdr bioid "
    "gnormplus linnaeus ncbi_disease nlm_chem nlm_gene s800 tmvar3 --data_dir D --output conflicts.html --model "
    "outputs/aioner/biored_all --documents 4",
    "compare RUN --against RUN": "compare outputs/aioner/biored --against outputs/span_cvae/single",
    "figures RUN --output alpha.png": "figures outputs/span_cvae/single_cvae outputs/span_cvae/single --output alpha.png",
    "reliability RUN --output reliability.png": "reliability outputs/aioner/biored --output reliability.png",
    "generation MODEL --corpora C": "generation outputs/joint_ib/all --corpora ncbi_disease --split test --data_dir D",
    "generation RUN --corpora ncbi_one_type --data_dir D": "generation outputs/joint_ib/all "
    "--corpora ncbi_one_type --data_dir D",
    "table outputs/sruner/multitask --corpora bc2gm jnlpba --alone outputs/sruner/bc2gm": "table outputs/sruner/multitask "
    "--corpora bc2gm --alone outputs/sruner/multitask",
    "verify FOLDER": "verify outputs/quickstart",
    "card FOLDER": "card outputs/quickstart",
    "publish FOLDER --repo_id OWNER/NAME": "publish outputs/quickstart --repo_id OWNER/NAME",
    "export MODEL --format stock": "export outputs/aioner/biored_stock --format stock --output outputs/stock_alone",
    "publish_data --repo_id OWNER/NAME --output FOLDER": "publish_data --repo_id OWNER/NAME --output outputs/all --corpora "
    "nlm_chem --data_dir D",
}
IN_FULL |= {
    text: text.replace(" M ", " outputs/quickstart ")
    for text in (
        "--do_predict --model_name_or_path M --predict_input pubmed26n0001.xml.gz --predict_output annotated.bioc.xml.gz",
        "--do_predict --model_name_or_path M --predict_input updatefiles/ --predict_output annotated/",
        "annotate updatefiles/ --model M --output tagged",
    )
}
"""Commands with names that stand for something → what is run."""
SENDS = "it sends to the Hub; tests/test_upload.py has one of its own"
SERVES = "it serves until it is stopped; tests/test_space_page.py visits it"
CANNOT = {
    "publish outputs/quickstart --repo_id OWNER/NAME --upload": SENDS,
    "publish outputs/quickstart --repo_id my-lab/demo-ner --upload": SENDS,
    "space outputs/quickstart": SERVES,
    "space MODEL": SERVES,
    "space outputs/aioner/biored outputs/sruner/multitask": SERVES,
    "latents RUN --output latents.png": "the name of a command; docs/analysis.md has it in full",
    "study STUDY --results DIR --runs DIR": "the options of a command; docs/completed_labels.md has one in full",
    "study completed_labels_base --results results/completed_labels_base --runs outputs/base --data_dir D": "it downloads two "
    "encoders, and trains for hours; tests/test_study.py runs a small study",
    "publish_data": "the name of a command; docs/hub.md has it in full",
    "tag": "the name of a command; README.md has one in full",
    "annotate": "the name of a command; docs/scale.md has one in full",
    "annotate pubmed/ --model M --output tagged --part $SLURM_ARRAY_TASK_ID/200": "a scheduler starts it; "
    "tests/test_annotate.py has parts",
    "annotate pubmed/ --model M --output /shared/tagged --engine ray --workers 64 --gpus 1 --batch_size 128 --address auto": (
        "it needs a cluster; tests/test_annotate_ray.py has one"
    ),
    "annotate 'hf://datasets/OWNER/PUBMED/*.xml.gz' --model OWNER/MODEL --output tagged --part 0/4": "it reads from the Hub; "
    "tests/test_annotate.py has addresses",
}
"""Commands that can't be run here, and why."""


def documented() -> list[Documented]:
    """All commands of the pages and of the recipes' comments; those that train first, as the others need their folders."""
    pages = [ROOT / "README.md", ROOT / "recipes" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [c for path in [*pages, *sorted((ROOT / "recipes").rglob("*.yaml"))] for c in commands_of(path, ROOT)]
    return sorted(found, key=lambda c: (c.words[0] in run_ner.COMMANDS, c.words[0].startswith("--do")))


def variants() -> list[tuple[str, tuple[str, ...]]]:
    """Every recipe, and with every set of options under which its header names a figure."""
    found = {}
    for name, path in recipes().items():
        found |= dict.fromkeys([(name, ()), *((name, repeat.options) for repeat in read_header(path).repeats)])
    return list(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory, bert_dir, t5_dir):
    """The folder of all runs."""
    return Workplace(tmp_path_factory.mktemp("recipes"), bert_dir, t5_dir)


def few(corpora: dict[str, dict[str, list]]) -> dict[str, dict[str, list]]:
    """The first documents of each split."""
    return {corpus: {split: part[:12] for split, part in splits.items()} for corpus, splits in corpora.items()}


@pytest.fixture(autouse=True)
def _inside(place, monkeypatch):
    monkeypatch.chdir(place.folder)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", place.folder / "cache")
    monkeypatch.setattr(run_data, "load_demo_corpora", lambda: few(load_demo_corpora()))


@pytest.mark.parametrize(("name", "options"), variants(), ids=lambda x: x if isinstance(x, str) else " ".join(x))
def test_a_recipe_trains_is_measured_and_predicts(place, name, options):
    words = [f"recipes/{name}.yaml", *NEEDED.get(name, []), *options]
    place.make(words)
    folder = place.run(words)
    data, found = parse(words).data, Results.read(folder)
    split, measured = found.measured
    assert measured
    assert set(measured) >= {c for c in data.test_corpora or (data.corpora if split == "test" else []) if c != "demo"}
    assert all(report["overall"]["support"] > 0 for report in measured.values())
    for repeat in (r for r in read_header(recipes()[name]).repeats if r.options == options):
        assert repeat.measured(found) is not None, repeat
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("---\n")
    if options:
        return
    annotated = folder / "annotated.jsonl"
    run_ner.main(["--do_predict", "--model_name_or_path", str(folder), "--predict_input", INPUT, "--predict_output",
                  str(annotated), "--use_cpu", "true"])  # fmt: skip
    texts = [json.loads(line)["text"] for line in annotated.read_text(encoding="utf-8").splitlines()]
    assert len(texts) == (place.folder / INPUT).read_text(encoding="utf-8").count("|t|")


@pytest.mark.parametrize("cell", ["CVAE-NER Multi, completed", "joint IB, completed", "SRU-NER, completed"])
def test_every_family_is_trained_as_a_student(place, cell):
    study = Study.read("completed_labels")
    options = study.common | study.cells[cell] | {"complete_with": ["model_cards/mosaic-ner-mini"]}
    recipe = options.pop("recipe")
    options.pop("seeds", None)
    found = Results.read(place.run([recipe, *as_argv(options)]))
    assert set(found.completion["labels"]) == set(options["corpora"])
    assert sum(n["added"] for types in found.completion["labels"].values() for n in types.values()) > 0
    assert found.test["biored"]["overall"]["support"] > 0


@pytest.mark.parametrize("command", documented(), ids=lambda c: f"{c.page}: {c.text}")
def test_a_documented_command_runs(place, command):
    if command.text in CANNOT:
        pytest.skip(CANNOT[command.text])
    for text in BEFORE.get(command.text, []):
        carry_out(place, text)
    carry_out(place, IN_FULL.get(command.text, command.text))


def carry_out(place: Workplace, text: str) -> None:
    """Runs a command, and first the recipes whose output folders it names."""
    words = [file for word in shlex.split(text) for file in ((sorted(glob(word)) or [word]) if "*" in word else [word])]
    words += NEEDED.get(words[0].removeprefix("recipes/").removesuffix(".yaml"), [])
    place.make(words)
    if words[0] in run_ner.COMMANDS or "--do_predict" in words:
        run_ner.main(words)
    else:
        folder = place.run(words)
        if "--hp_search" in words:
            assert len(json.loads((folder / "search.json").read_text(encoding="utf-8"))["trials"]) >= TRIALS
        else:
            assert Results.read(folder).measured[1]
    for option in ("--output", "--predict_output"):
        if option in words:
            assert (place.folder / words[words.index(option) + 1]).exists()


def test_the_lists_of_commands_name_commands_that_are_documented():
    texts = {command.text for command in documented()}
    assert [text for text in [*BEFORE, *IN_FULL, *CANNOT] if text not in texts] == []


def test_every_search_is_in_a_command():
    searched = {word for command in documented() for word in command.words if word.endswith(SEARCH)}
    assert searched == {str(p.relative_to(ROOT)) for p in (ROOT / "recipes").rglob(f"*{SEARCH}")}


def test_what_a_user_with_a_gpu_runs_first(place):
    script = ROOT / "benchmarks" / "paper_on_gpu.sh"
    listed = subprocess.run([script, "--list"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(listed) == 4
    for line in listed:
        carry_out(place, line.removeprefix("mosaic-ner "))
