"""Corpora made from others: which documents, types and splits they have, overlap, and what a wrong one says."""

from __future__ import annotations

import itertools
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from helpers_run import QUICK, fails, results, run
from mosaic_ner.data_builders.builder import load_corpus
from mosaic_ner.data_builders.formats import write_documents
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.data_builders.parts import RunDataError, add_parts, read_parts
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.training.arguments import parse

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "corpora"
WITHOUT_NUMBERS = ["Velosis in mice", "TP53 again", "No glioma", "More PAX6", "One case", "Of them all"]


def data_of(parts, seed=42, **options):
    """What `load_run_data` makes of some options."""
    return load_run_data(DataOptions(parts=parts, **options), seed)


def articles(documents) -> set[str]:
    return {d.article for d in documents}


def halves(of="demo_all", **more) -> dict:
    """Two parts without a common article, each with one type."""
    return {
        "genes": {"of": of, "types": ["Gene"], "articles": [0, 0.5]} | more,
        "diseases": {"of": of, "types": ["Disease"], "articles": [0.5, 1]} | more,
    }


def test_halves_share_no_article_and_know_one_type_each(demo_corpora):
    data = data_of(halves(), corpora=["genes", "diseases"], test_corpora=["demo_all"])
    assert list(data.train) == ["genes", "diseases"]
    assert data.space.corpora["genes"] == {"Gene": "Gene"}
    assert data.space.corpora["diseases"] == {"Disease": "Disease"}
    for split, made in (("train", data.train), ("validation", data.validation)):
        whole = demo_corpora["demo_all"][split]
        one, other = articles(made["genes"]), articles(made["diseases"])
        assert not one & other
        assert one | other == articles(whole)
        assert abs(len(one) - len(other)) <= 1
        for name, kind in (("genes", "Gene"), ("diseases", "Disease")):
            for document in made[name]:
                (source,) = [d for d in whole if d.id == document.id]
                kept = tuple(m for m in source.mentions if m.type == kind)
                assert document == replace(source, corpus=name, mentions=kept, annotated_types=frozenset({kind}))
            order = [d.id for d in whole]
            assert [d.id for d in made[name]] == sorted((d.id for d in made[name]), key=order.index)
    # What they are made of is in the run where it is named: here as a test set.
    assert data.test == {"demo_all": demo_corpora["demo_all"]["test"]}
    assert set(data.validation) == {"genes", "diseases", "demo_all"}


def test_what_a_part_is_made_of_is_not_in_the_run_unless_named():
    data = data_of(halves(), corpora=["genes"], test_corpora=None, validation_corpora=["diseases"])
    assert set(data.train) == {"genes"}
    assert set(data.validation) == {"diseases"}
    assert data.test == {}
    assert set(data.space.corpora) == {"genes", "diseases"}


def test_the_seed_draws_the_articles():
    drawn = [articles(data_of(halves(), seed, corpora=["genes", "diseases"]).train["genes"]) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("borders", [[0, 1 / 3, 2 / 3, 1], [0, 0.1, 0.15, 0.5, 1]])
def test_adjoining_ranges_leave_no_article_out_and_keep_records_together(borders):
    documents = [Document(str(n), "c", f"text {n}", article=f"pmid:{n // 3}") for n in range(51)]
    ranges = list(itertools.pairwise(borders))
    given = {f"p{n}": {"of": "c", "articles": list(r)} for n, r in enumerate(ranges)}
    parts = read_parts(given, [*given], {"c": ["train"]})
    made, _ = add_parts({"c": {"train": documents}}, LabelSpace({"c": {"T": "T"}}), parts, [*given], 0)
    found = [articles(splits["train"]) for splits in made.values()]
    assert sum(map(len, found)) == len(set().union(*found)) == 17
    assert sum(len(splits["train"]) for splits in made.values()) == 51


def test_splits_in_other_roles(demo_corpora):
    given = {
        "dev": {"of": "demo_gene", "train": ["validation"]},
        "everything": {"of": "demo_chem", "test": ["train", "test"]},
    }
    data = data_of(given, corpora=["dev"], test_corpora=["everything"])
    assert [d.id for d in data.train["dev"]] == [d.id for d in demo_corpora["demo_gene"]["validation"]]
    chem = demo_corpora["demo_chem"]
    assert [d.id for d in data.test["everything"]] == [d.id for d in [*chem["train"], *chem["test"]]]
    assert data.validation == {}
    assert data.space.corpora["everything"] == {"Chemical": "Chemical", "OTHER": None}  # all types, in their order


def test_a_part_keeps_its_types_in_the_order_of_its_corpus():
    given = {"two": {"of": "demo_all", "types": ["Species", "Gene"]}}
    assert list(data_of(given, corpora=["two"]).space.corpora["two"]) == ["Gene", "Species"]


def test_records_of_two_splits_with_one_id_are_told_apart():
    splits = {s: [Document("1", "c", s), Document("1", "c", s, index=1)] for s in ("train", "test")}
    parts = read_parts({"p": {"of": "c", "test": ["train", "test"]}}, ["p"], {"c": [*splits]})
    made, _ = add_parts({"c": splits}, LabelSpace({"c": {"T": None}}), parts, ["p"], 0)
    assert [(d.text, d.index) for d in made["p"]["test"]] == [("train", 0), ("train", 1), ("test", 2), ("test", 3)]


def test_documents_of_a_part_are_those_of_its_corpus_when_overlap_is_removed():
    given = {"held": {"of": "demo_all", "articles": [0, 0.25], "test": ["train"]}}
    data = data_of(given, corpora=["demo_all"], test_corpora=["held"])
    kept = data_of(given, corpora=["demo_all"], test_corpora=["held"], overlap="keep")
    assert not articles(data.train["demo_all"]) & articles(data.test["held"])
    assert data.overlap.training["demo_all"].causes["by_id"] == len(data.test["held"]) > 0
    assert len(kept.train["demo_all"]) - len(data.train["demo_all"]) == len(data.test["held"])
    # Two parts of one corpus: the common quarter of their articles is taken out of training.
    given["most"] = {"of": "demo_all", "articles": [0.125, 1], "train": ["train"]}
    data = data_of(given, corpora=["most"], test_corpora=["held"])
    assert data.overlap.training["most"].found > 0
    assert not articles(data.train["most"]) & articles(data.test["held"])


def own_file(path: Path, texts=WITHOUT_NUMBERS) -> str:
    """Short sentences in IOB2, which has no ids: the reader numbers them."""
    documents = [Document(str(n), "own", t, (Mention(0, t.index(" "), "X"),)) for n, t in enumerate(texts)]
    write_documents(documents, path)
    path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines() if "DOCSTART" not in line))
    return str(path)


def test_parts_of_one_s_own_numbered_sentences_overlap_with_their_corpus(tmp_path):
    # Too short to be told by their text, and `file:1` alone says nothing: two files may have the same name.
    train = own_file(tmp_path / "mine.iob2")
    (tmp_path / "other").mkdir()
    test = own_file(tmp_path / "other" / "mine.iob2", [f"{t} too" for t in WITHOUT_NUMBERS])
    given = {"some": {"of": "mine", "articles": [0, 0.5], "test": ["train"]}}
    own = {"train_file": train, "test_file": test, "corpus_name": "mine"}
    data = data_of(given, corpora=["mine"], test_corpora=["some"], **own)
    assert len(data.test["some"]) == len(data.train["mine"]) == 3
    assert not {d.text for d in data.train["mine"]} & {d.text for d in data.test["some"]}
    both = data_of(given, corpora=["mine"], test_corpora=["some", "mine"], **own)
    assert len(both.train["mine"]) == 3  # equal numbers in the other file are no overlap


def test_one_s_own_corpus_that_parts_are_made_of_is_in_the_run_only_where_named(tmp_path):
    given = {"some": {"of": "user", "articles": [0, 0.5]}}
    train = own_file(tmp_path / "a.iob2")
    data = data_of(given, corpora=["some"], train_file=train, test_file=own_file(tmp_path / "b.iob2"))
    assert (set(data.train), set(data.test), set(data.space.corpora)) == ({"some"}, set(), {"some"})
    data = data_of(given, corpora=["some", "user"], train_file=train)
    assert {c: len(d) for c, d in data.train.items()} == {"some": 3, "user": 6}
    # In a run with other parts the own files are there without being named, as ever.
    data = data_of(halves(), corpora=["genes", "diseases"], train_file=train)
    assert set(data.train) == {"genes", "diseases", "user"}


def test_subsets_held_out_shares_and_types_work_with_parts():
    given = halves(train=["train"])
    names = {"corpora": ["genes", "diseases"]}
    small = data_of(given, max_train_documents={"genes": 5}, **names)
    whole = data_of(given, **names)
    assert len(small.train["genes"]) == 5
    assert articles(small.train["genes"]) < articles(whole.train["genes"])
    assert small.train["diseases"] == whole.train["diseases"]
    held = data_of(given, validation_fraction=0.25, **names)
    assert whole.validation == {}
    for name in given:
        assert len(held.validation[name]) == round(len(whole.train[name]) / 4)
        assert articles(held.train[name]) | articles(held.validation[name]) == articles(whole.train[name])
        assert not articles(held.train[name]) & articles(held.validation[name])
    limited = data_of({"two": {"of": "demo_all", "types": ["Gene", "Species"]}}, corpora=["two"], types=["Gene"])
    assert limited.space.corpora["two"] == {"Gene": "Gene", "Species": None}
    with pytest.raises(RunDataError, match="--types: no corpus of the run has type 'Species'"):
        data_of(halves(), types=["Species"], **names)


def test_a_range_without_an_article_is_reported_or_an_error(tmp_path, caplog):
    own = own_file(tmp_path / "a.iob2")
    few = {"of": "user", "articles": [0, 0.05]}
    with pytest.raises(RunDataError, match=r"'few' has no document: its range \[0, 0.05\] holds no article of 'user'"):
        data_of({"few": few}, corpora=["few"], train_file=own)
    one = own_file(tmp_path / "b.iob2", WITHOUT_NUMBERS[:1])
    with caplog.at_level(logging.WARNING):
        few = {"of": "user", "articles": [0, 0.3]}
        data = data_of({"few": few}, corpora=["few"], train_file=own, validation_file=one)
    assert data.validation == {}
    assert "few has no validation document: its range [0, 0.3] holds no article" in caplog.text


def test_a_part_of_a_corpus_with_test_documents_alone_says_which_splits_there_are(tmp_path):
    own = own_file(tmp_path / "a.iob2")
    with pytest.raises(RunDataError, match=r"'p' has no document: 'user' has test here.*\"test\": \[\"test\"\]"):
        data_of({"p": {"of": "user"}}, test_corpora=["p"], test_file=own)


ALL = {"of": "demo_all"}
WRONG = {
    "no mapping": ({"p": "demo_all"}, ["'p'", "expected a mapping", "'demo_all'"]),
    "key": ({"p": ALL | {"typs": ["Gene"]}}, ["'p' has an unknown key 'typs'", "did you mean 'types'"]),
    "no corpus": ({"p": {"types": ["Gene"]}}, ["'p'", "the corpus it is made of", "None"]),
    "corpus": ({"p": {"of": "demo_al"}}, ["'p' is made of 'demo_al'", "no corpus", "did you mean 'demo_all'"]),
    "group": ({"p": {"of": "demo"}}, ["'p' is made of 'demo'", "did you mean 'demo_"]),
    "own": ({"p": {"of": "user"}}, ["'p' is made of 'user'", "--train_file"]),
    "part of a part": ({"p": {"of": "q"}, "q": ALL}, ["'p' is made of 'q', a part", "'demo_all'"]),
    "type": ({"p": ALL | {"types": ["Genes"]}}, ["'p' keeps type 'Genes'", "did you mean 'Gene'"]),
    "published type": ({"p": {"of": "bc2gm", "types": ["Gene"]}}, ["type 'Gene'", "'bc2gm'", "'GENE'|known: GENE"]),
    "types": ({"p": ALL | {"types": "Gene"}}, ["'p'", "expected a list of native types", "'Gene'"]),
    "no type": ({"p": ALL | {"types": []}}, ["'p'", "expected a list of native types"]),
    "split": ({"p": ALL | {"train": ["dev"]}}, ["'p'", "split 'dev'", "train"]),
    "published split": ({"p": {"of": "jnlpba", "test": ["validation"]}}, ["'validation'", "'jnlpba'", "train"]),
    "splits": ({"p": ALL | {"test": "train"}}, ["'p'", "expected a list of splits for 'test'", "'train'"]),
    "twice": ({"p": ALL | {"test": ["test", "test"]}}, ["'p'", "twice"]),
    "outside": ({"p": ALL | {"articles": [0, 1.5]}}, ["'p'", "0 <= from < to <= 1", "[0, 1.5]"]),
    "below": ({"p": ALL | {"articles": [-0.5, 1]}}, ["'p'", "0 <= from < to <= 1", "[-0.5, 1]"]),
    "empty": ({"p": ALL | {"articles": [0.5, 0.5]}}, ["'p'", "0 <= from < to <= 1", "[0.5, 0.5]"]),
    "one number": ({"p": ALL | {"articles": 0.5}}, ["'p'", "[from, to]", "got 0.5"]),
    "words": ({"p": ALL | {"articles": ["a", "b"]}}, ["'p'", "[from, to]", "['a', 'b']"]),
    "name": ({"p": ALL, "biored": ALL}, ["'biored' is the name of a corpus"]),
    "group's name": ({"p": ALL, "demo": ALL}, ["'demo' is the name of a corpus"]),
    "path": ({"p": ALL, "a/b": ALL}, ["'a/b'", "letters"]),
    "never named": ({"p": ALL, "other": ALL}, ["'other' is in none of --corpora, --test_corpora"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_part_says_what_was_expected(case):
    given, expected = WRONG[case]
    named = ["p", "q"] if "q" in given else ["p"]
    with pytest.raises(RunDataError) as error:
        data_of(given, corpora=named)
    for text in expected:
        assert any(t in str(error.value) for t in text.split("|")), (text, str(error.value))


def test_a_part_with_the_name_of_one_s_own_corpus(tmp_path):
    with pytest.raises(RunDataError, match="'user' is the name of a corpus"):
        data_of({"user": ALL}, corpora=["user"], train_file=own_file(tmp_path / "a.iob2"))


def test_a_part_s_misspelt_name_in_the_corpora_gets_the_nearest():
    with pytest.raises(RunDataError, match="unknown corpus 'gene'; did you mean 'genes'"):
        data_of(halves(), corpora=["gene", "diseases"])


def test_an_own_corpus_s_types_and_splits_are_checked_too(tmp_path):
    own = own_file(tmp_path / "a.iob2")
    with pytest.raises(RunDataError, match=r"keeps type 'Y', which 'user' doesn't annotate.* known: X"):
        data_of({"p": {"of": "user", "types": ["Y"]}}, corpora=["p"], train_file=own)
    with pytest.raises(RunDataError, match="split 'test', which 'user' doesn't have here; known: train"):
        data_of({"p": {"of": "user", "test": ["test"]}}, test_corpora=["p"], train_file=own)


def test_a_split_whose_file_is_not_there(tmp_path):
    (tmp_path / "BC4CHEMD_devel.tsv").write_text("zinc\tB-Chemical\n\n")
    options = {"data_dir": str(tmp_path), "cache_dir": str(tmp_path / "cache")}
    with pytest.raises(RunDataError, match="split 'train', which 'mtl_bc4chemd' doesn't have here; known: validation"):
        data_of({"p": {"of": "mtl_bc4chemd", "train": ["train"]}}, corpora=["p"], **options)
    data = data_of({"p": {"of": "mtl_bc4chemd", "train": ["validation"]}}, corpora=["p"], **options)
    assert [d.text for d in data.train["p"]] == ["zinc"]


def test_a_recipe_and_the_command_line_give_parts(tmp_path, capsys):
    recipe = {"corpora": ["genes", "diseases"], "parts": halves(), "report_to": "none", "output_dir": str(tmp_path)}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arguments = parse([str(tmp_path / "recipe.yaml")])
    assert arguments.data.parts == arguments.settings()["parts"] == halves()
    assert parse([str(tmp_path / "recipe.yaml"), "--parts", json.dumps({"p": ALL})]).data.parts == {"p": ALL}
    with pytest.raises(SystemExit):
        parse(["--parts", "[1]"])
    assert "expected a JSON object" in capsys.readouterr().err
    assert "parts" not in parse(["--corpora", "demo", "--report_to", "none"]).settings()


@pytest.mark.parametrize(
    ("family", "rates"), [("sruner", {"genes": 0.5}), ("span_cvae", {"genes": 0.5}), ("aioner", {"Gene": 0.5})]
)
def test_every_family_trains_on_parts_and_is_measured_on_the_whole(tmp_path, family, rates):
    out = tmp_path / "out"
    options = ["--family", family, "--corpora", "genes", "diseases", "--test_corpora", "demo_all", *QUICK]
    bridge = ["--bridge", "genes"] if family == "aioner" else []
    parts = ["--parts", json.dumps(halves()), "--sampling_rates", json.dumps(rates)]
    run(*options, *bridge, *parts, "--output_dir", out)
    found = results(out)
    assert found["settings"]["parts"] == halves()
    assert set(found["data"]["train"]) == {"genes", "diseases"}
    assert set(found["test"]) == {"demo_all"}
    assert {"Gene", "Disease"} <= set(found["test"]["demo_all"]["per_type"])


def test_a_wrong_part_ends_the_program_with_one_message(capsys):
    message = fails(capsys, "--corpora", "demo", "--parts", '{"p": {"of": "demo_all"}}', *QUICK)
    assert "'p' is in none of --corpora" in message


@pytest.mark.real
def test_the_halves_of_bc5cdr(tmp_path):
    """SRU-NER section 3.6: one half with chemicals only, one with diseases only, of training and development sets."""
    if not REAL.is_dir():
        pytest.skip("no real corpora in ../shared")
    given = {
        "bc5_chemical": {"of": "mtl_bc5cdr", "types": ["Chemical"], "articles": [0, 0.5]},
        "bc5_disease": {"of": "mtl_bc5cdr", "types": ["Disease"], "articles": [0.5, 1]},
    }
    options = {"data_dir": str(REAL), "cache_dir": str(tmp_path), "mapping": "sruner", "overlap": "keep"}
    data = data_of(given, corpora=[*given], test_corpora=["mtl_bc5cdr"], validation_corpora=[*given], **options)
    whole = load_corpus("mtl_bc5cdr", REAL, tmp_path)
    for split, made in (("train", data.train), ("validation", data.validation)):
        chemical, disease = made["bc5_chemical"], made["bc5_disease"]
        assert {m.type for d in chemical for m in d.mentions} == {"Chemical"}
        assert {m.type for d in disease for m in d.mentions} == {"Disease"}
        assert {d.annotated_types for d in disease} == {frozenset({"Disease"})}
        assert not {d.id for d in chemical} & {d.id for d in disease}
        assert sorted((d.id, d.text) for d in [*chemical, *disease]) == sorted((d.id, d.text) for d in whole[split])
        assert abs(len(chemical) - len(disease)) <= 1
        mentions = {d.id: d.mentions for d in whole[split]}
        for document in [*chemical, *disease]:
            assert document.mentions == tuple(m for m in mentions[document.id] if m.type in document.annotated_types)
    assert data.test["mtl_bc5cdr"] == whole["test"]
    assert data.space.shared_types_of("bc5_chemical") == ["Chemical"]
    # By default, sentences of the evaluation sets that are in a half are taken out, by their text.
    honest = data_of(given, corpora=[*given], test_corpora=["mtl_bc5cdr"], **options | {"overlap": "remove"})
    assert {c: o.found for c, o in honest.overlap.training.items()} == {
        c: len(data.train[c]) - len(honest.train[c]) for c in given
    }
