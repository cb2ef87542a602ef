"""The data of a run: a user's own files in several formats, alone or merged, held-out shares, subsets, overlap."""

from __future__ import annotations

import json
import logging

import pytest
from helpers_run import QUICK, fails, messages, results, run
from mosaic_ner.data_builders.formats import write_documents
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.data_builders.run_data import RunDataError, load_run_data
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.training.bundle import TrainingData
from transformers import AutoConfig

SENTENCES = [
    ("BRCA1 causes velosis in mice.", [("BRCA1", "Protein"), ("velosis", "Illness")]),
    ("We saw TP53 and aniridia.", [("TP53", "Protein"), ("aniridia", "Illness")]),
    ("No PAX6 was found in glioma.", [("PAX6", "Protein"), ("glioma", "Illness")]),
]


def own_documents(prefix: str, count: int, kinds=("Protein", "Illness")) -> list[Document]:
    """Small documents, each with a text of its own."""
    out = []
    for number in range(count):
        text, wanted = SENTENCES[number % len(SENTENCES)]
        text = f"{text} It is case {prefix} {number}."
        mentions = [Mention(text.index(w), text.index(w) + len(w), t) for w, t in wanted if t in kinds]
        out.append(Document(f"{prefix}{number}", "user", text, tuple(mentions)))
    return out


@pytest.fixture
def own_files(tmp_path):
    """Function: file ending → options that name a train, a validation and a test file of that format."""

    def write(ending: str, **more) -> list[str]:
        argv = []
        for split, prefix, count in (("train", "A", 12), ("validation", "B", 3), ("test", "C", 4)):
            path = tmp_path / f"{split}{ending}"
            write_documents(own_documents(prefix, count, **more), path)
            argv += [f"--{split}_file", str(path)]
        return argv

    return write


def data_of(*argv, seed=42):
    """What `load_run_data` makes of some options."""
    options = {name.removeprefix("--"): value for name, value in zip(argv[::2], argv[1::2], strict=True)}
    return load_run_data(DataOptions(**options), seed)


@pytest.mark.parametrize("ending", [".pubtator", ".jsonl", ".iob2"])
def test_own_files_alone(own_files, tmp_path, ending):
    out = tmp_path / "out"
    run(*own_files(ending), *QUICK, "--corpus_name", "mine", "--output_dir", out)
    found = results(out)
    assert set(found["test"]) == set(found["validation"]) == {"mine"}
    assert found["test"]["mine"]["overall"]["support"] == 8
    assert set(found["test"]["mine"]["per_type"]) == {"Protein", "Illness"}
    assert found["coverage"]["mine"]["mentions"] == 2 * (12 + 3 + 4)
    assert AutoConfig.from_pretrained(out).labels.shared_types_of("mine") == ["Protein", "Illness"]
    for name in ("results.json", "README.md"):
        assert str(tmp_path) not in (out / name).read_text()


def test_types_that_are_given_are_annotated_even_if_they_never_occur(own_files):
    data = data_of(*own_files(".jsonl"), "--corpus_types", ["Illness", "Protein", "Cell"])
    assert data.space.shared_types_of("user") == ["Illness", "Protein", "Cell"]


def test_types_only_in_the_test_file_count_as_annotated(own_files, tmp_path):
    argv = own_files(".jsonl", kinds=("Protein",))
    write_documents(own_documents("C", 4), tmp_path / "test.jsonl")
    assert set(data_of(*argv).space.shared_types) == {"Protein", "Illness"}


def test_own_files_merged_through_a_mapping_table(own_files, tmp_path, capsys):
    table = tmp_path / "mapping.tsv"
    head = "corpus\tnative_type\tshared_type\taioner_type\tsource\tnote\n"
    table.write_text(head + "mine\tProtein\tGene\tGene\tours\t\nmine\tIllness\tDisease\tDisease\tours\t\n")
    out = tmp_path / "out"
    options = ["--corpora", "demo", *own_files(".pubtator"), "--corpus_name", "mine", "--extra_mapping", table, *QUICK]
    run(*options, "--output_dir", out)
    found = results(out)
    assert set(found["test"]) == {"demo_all", "demo_gene", "demo_disease", "demo_chem", "mine"}
    assert set(found["test"]["mine"]["per_type"]) == {"Gene", "Disease"}
    config = AutoConfig.from_pretrained(out)
    assert config.labels.shared("mine", "Protein") == "Gene"
    assert config.labels.shared_types == ["Gene", "Disease", "Chemical", "Species"]
    assert config.corpus_tasks["mine"] == ["Gene", "Disease"]
    table.write_text(head + "mine\tProtein\tGene\tGene\tours\t\n")
    message = fails(capsys, *options)
    assert "'Illness'" in message
    assert "mapping table" in message
    table.write_text(head + "yours\tProtein\tGene\tGene\tours\t\n")
    assert "'mine'" in fails(capsys, *options)


def test_own_files_merged_without_a_table_keep_their_type_names(own_files):
    data = data_of(*own_files(".jsonl"), "--corpora", ["demo_gene"])
    assert set(data.space.shared_types) == {"Gene", "Protein", "Illness"}


def test_own_test_documents_never_stay_in_a_demo_training_set(demo_corpora, tmp_path):
    stolen = demo_corpora["demo_chem"]["train"][:3]
    renamed = [Document(f"X{i}", "user", d.text, (Mention(0, 1, "Chemical"),)) for i, d in enumerate(stolen)]
    write_documents(renamed, tmp_path / "test.jsonl")
    data = data_of("--corpora", ["demo_chem"], "--test_file", str(tmp_path / "test.jsonl"))
    kept = {d.id for d in data.train["demo_chem"]}
    assert not kept & {d.id for d in stolen}
    assert data.overlap.to_dict()["training"]["demo_chem"]["by_text"] == 3
    assert len(kept) == len(demo_corpora["demo_chem"]["train"]) - 3


def test_no_synonym_comes_from_an_evaluation_document(tmp_path):
    def named(prefix, text, name):
        return Document(prefix, "user", text, (Mention(0, len(name), "Illness", ("D1",)),))

    # Long enough to be known again: shorter stretches are phrases that many articles share.
    names = ("velosis", "velotic disease", "secret name", "hidden name")
    texts = [
        f"{n} was seen in {i + 3} of the forty patients that the clinic had asked to come." for i, n in enumerate(names)
    ]
    first, second, secret, hidden = (named(f"D{i}", *pair) for i, pair in enumerate(zip(texts, names, strict=True)))
    train, test, held = [first, second], [secret], [hidden]
    copies = [Document(f"E{i}", "user", d.text, d.mentions) for i, d in enumerate((*test, *held))]
    argv = []
    for split, documents in (("train", [*train, *copies]), ("validation", held), ("test", test)):
        write_documents(documents, tmp_path / f"{split}.jsonl")
        argv += [f"--{split}_file", str(tmp_path / f"{split}.jsonl")]
    pair = {"velosis": ("velotic disease",), "velotic disease": ("velosis",)}

    def synonyms(*options):
        data = data_of(*argv, *options)
        return TrainingData(data.space, data.train).synonyms(["corpora"], 3)

    assert synonyms() == pair
    kept = synonyms("--overlap", "keep")  # what leaks when asked to
    assert {name for names in kept.values() for name in names} == {*pair, "secret name", "hidden name"}


def test_validation_fraction_takes_articles_out_of_training(own_files):
    argv = own_files(".jsonl")
    data = data_of(*argv[:2], "--validation_fraction", 0.25)
    assert (len(data.train["user"]), len(data.validation["user"])) == (9, 3)
    assert not {d.article for d in data.train["user"]} & {d.article for d in data.validation["user"]}
    again = data_of(*argv[:2], "--validation_fraction", 0.25)
    assert again.validation == data.validation
    other = data_of(*argv[:2], "--validation_fraction", 0.25, seed=1)
    assert other.validation != data.validation


def test_validation_fraction_leaves_given_validation_sets_alone(own_files):
    data = data_of(*own_files(".jsonl"), "--validation_fraction", 0.25)
    assert (len(data.train["user"]), len(data.validation["user"])) == (12, 3)


def test_validation_fraction_through_the_command_line(own_files, tmp_path):
    argv = own_files(".jsonl")
    run(*argv[:2], *QUICK, "--validation_fraction", "0.25", "--output_dir", tmp_path / "out")
    found = results(tmp_path / "out")
    assert found["test"] == {}
    assert found["validation"]["user"]["documents"] == 3
    assert (tmp_path / "out" / "README.md").exists()


def test_without_validation_documents_the_run_says_so(own_files, tmp_path, caplog):
    argv = own_files(".jsonl")
    quick = [
        a for a in QUICK if a not in ("--eval_strategy", "no", "--save_strategy", "--load_best_model_at_end", "false")
    ]
    with caplog.at_level(logging.WARNING):
        run(*argv[:2], *argv[4:], *quick, "--output_dir", tmp_path / "out")
    assert "no validation documents" in messages(caplog)
    assert results(tmp_path / "out")["validation"] == {}


def test_larger_subsets_contain_smaller_ones(demo_corpora):
    sets = []
    for size in (5, 20):
        data = data_of("--corpora", ["demo_gene", "demo_all"], "--max_train_documents", {"demo_gene": size})
        assert len(data.train["demo_gene"]) == size
        assert len(data.train["demo_all"]) == len(demo_corpora["demo_all"]["train"])
        sets.append({d.id for d in data.train["demo_gene"]})
    assert sets[0] < sets[1]


def test_chosen_splits():
    data = data_of("--corpora", ["demo"], "--test_corpora", ["demo_all"], "--validation_corpora", ["demo_gene"])
    assert (set(data.test), set(data.validation)) == ({"demo_all"}, {"demo_gene"})
    only = data_of("--corpora", ["demo_gene"], "--test_corpora", ["demo_all"])
    assert set(only.train) == {"demo_gene"}
    assert set(only.test) == {"demo_all"}


def test_a_split_that_is_not_there(own_files):
    argv = own_files(".jsonl")
    with pytest.raises(RunDataError, match="user has no test split; it has train"):
        data_of(*argv[:2], "--test_corpora", ["user"])


def test_repeated_ids_are_an_error_or_numbered(tmp_path, capsys):
    record = "1|t|Case of TP53\n1|a|x\n1\t8\t12\tTP53\tGene\n\n"
    path = tmp_path / "twice.pubtator"
    path.write_text(record + record.replace("Case", "Here"))
    message = fails(capsys, "--train_file", path, *QUICK)
    assert "'1'" in message or "1" in message
    assert "repeated" in message or "again" in message or "twice" in message
    data = data_of("--train_file", str(path), "--repeated_ids", "index")
    assert [d.index for d in data.train["user"]] == [0, 1]


def test_faults_of_a_file_are_counted_in_the_results(tmp_path):
    path = tmp_path / "train.pubtator"
    path.write_text("1|t|Case of TP53\n1|a|x\n1\t8\t12\tTP53\tGene\n1\t8\t12\tTP53\tGene\n\n")
    run("--train_file", path, *QUICK, "--output_dir", tmp_path / "out")
    faults = results(tmp_path / "out")["faults"]
    assert faults["counts"]["duplicate_mention"]
    assert str(tmp_path) not in json.dumps(faults)  # results.json is published: no path of this machine


def test_unclear_mentions_of_types_that_nothing_annotates_are_dropped_and_counted(tmp_path, caplog):
    row = {"id": "1", "text": "Aspirin for asthma.", "mentions": [{"start": 12, "end": 18, "type": "Disease"}]}
    row["unclear"] = [{"start": 0, "end": 7, "type": "Chemical"}, {"start": 0, "end": 7, "type": "Disease"}]
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    data = load_run_data(DataOptions(train_file=str(tmp_path / "train.jsonl")))
    (document,) = data.train["user"]
    assert [m.type for m in document.unclear] == ["Disease"]
    assert "1 unclear mentions have no effect" in caplog.text
