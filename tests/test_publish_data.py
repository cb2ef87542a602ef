"""Publishing corpora: what is written is what is loaded again; licences, missing files, the card, the upload."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset, get_dataset_config_names, load_dataset
from helpers_hub import contents, fails, go_online, hub_stub
from huggingface_hub import DatasetCard
from mosaic_ner.data_builders.builder import FEATURES, example_to_document, load_corpus
from mosaic_ner.data_builders.corpora import CORPORA, TEN
from mosaic_ner.data_builders.formats import write_documents
from mosaic_ner.data_builders.published import PublishedError, load_published
from mosaic_ner.hub import publish_data
from mosaic_ner.hub.publish_data import LICENCES, main, size_category

REAL = Path(__file__).resolve().parents[2] / "shared" / "corpora"
REPOSITORY = "my-lab/corpora"
NAMES = ["ncbi_disease", "nlm_gene", "s800"]
"""Two under a licence that lets anybody publish them, one without any."""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A place of their own for what the tests build and load."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, demo_corpora):
    """The generated corpora, as files of published ones with types and ids of theirs."""
    folder = tmp_path_factory.mktemp("files")
    for name, source in zip(NAMES, ("demo_disease", "demo_gene", "demo_all"), strict=True):
        corpus = CORPORA[name]
        for split, file in corpus.files.items():
            documents = []
            for n, d in enumerate(demo_corpora[source][split][:12]):
                own = [replace(m, type=corpus.types[i % len(corpus.types)]) for i, m in enumerate(d.mentions)]
                documents.append(replace(d, id=str(7000 + n), mentions=tuple(own)))
            write_documents(documents, folder / file.name)
    return folder


@pytest.fixture(scope="module")
def published(data_dir, tmp_path_factory):
    """A folder as it would be uploaded, of the three corpora, in small shards."""
    folder = tmp_path_factory.mktemp("published") / "data"
    cache_dir = tmp_path_factory.mktemp("built")
    options = ["--redistribute", "s800", "--max_shard_size", "6KB"]
    main([*arguments(data_dir, folder), "--cache_dir", str(cache_dir), *options])
    return folder


def arguments(data_dir, folder, *names) -> list[str]:
    paths = ["--data_dir", str(data_dir), "--output", str(folder)]
    return ["--repo_id", REPOSITORY, "--corpora", *(names or NAMES), *paths]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_loaded_is_what_the_files_hold(published, data_dir, tmp_path, name):
    expected = load_corpus(name, data_dir, tmp_path / "built")
    assert all(expected.values())
    rows = load_dataset(str(published), name)
    assert list(rows) == CORPORA[name].splits
    for split, documents in expected.items():
        assert rows[split].features == FEATURES
        assert [example_to_document(row) for row in rows[split]] == documents
        assert any(d.mentions for d in documents)
        assert all(d.passages for d in documents)
    assert load_published(published, name) == expected
    assert load_published(published, name, ["test"]) == {"test": expected["test"]}


def test_the_parts_are_named_and_numbered_as_datasets_does(published):
    found = set(contents(published))
    pattern = re.compile(r"(\w+)/(train|test)-(\d{5})-of-(\d{5})\.parquet")
    matches = [pattern.fullmatch(f).groups() for f in found - {"README.md"}]
    for name in NAMES:
        for split in ("train", "test"):
            numbers = sorted(int(i) for n, s, i, _ in matches if (n, s) == (name, split))
            totals = {int(t) for n, s, _, t in matches if (n, s) == (name, split)}
            assert totals == {len(numbers)}
            assert numbers == list(range(len(numbers)))
    assert any(total != "00001" for *_, total in matches)


def test_the_card_is_what_the_hub_reads(published, data_dir, tmp_path):
    data = DatasetCard.load(published / "README.md").data.to_dict()
    assert (data["language"], data["task_categories"]) == ("en", ["token-classification"])
    assert data["license"] == ["cc0-1.0", "unknown"]
    assert data["size_categories"] == ["n<1K"]
    assert data["pretty_name"]
    assert get_dataset_config_names(str(published)) == NAMES
    listed = {path for c in data["configs"] for d in c["data_files"] for path in d["path"]}
    assert listed == set(contents(published)) - {"README.md"}
    for info in data["dataset_info"]:
        documents = load_corpus(info["config_name"], data_dir, tmp_path / "built")
        assert {s["name"]: s["num_examples"] for s in info["splits"]} == {s: len(d) for s, d in documents.items()}
        sizes = [p.stat().st_size for p in (published / info["config_name"]).iterdir()]
        assert info["download_size"] == sum(sizes)


def test_the_card_tells_of_every_corpus(published, data_dir, tmp_path):
    text = (published / "README.md").read_text(encoding="utf-8")
    assert f'load_dataset("{REPOSITORY}", "ncbi_disease", split="train")' in text
    sections = dict(re.findall(r"\n## [^\n]*\(`(\w+)`\)\n(.*?)(?=\n## |\Z)", text, re.DOTALL))
    assert list(sections) == NAMES
    for name, section in sections.items():
        corpus, documents = CORPORA[name], load_corpus(name, data_dir, tmp_path / "built")
        assert f"- Licence: {corpus.licence}" in section
        assert ("by permission" in section) == (name == "s800")
        assert corpus.citation in section
        assert corpus.homepage in section
        for kind in corpus.types:
            counts = [sum(m.type == kind for d in part for m in d.mentions) for part in documents.values()]
            assert f"| `{kind}` | {' | '.join(map(str, counts))} |" in section
    assert str(tmp_path.parents[1]) not in text


def test_a_second_call_writes_the_same_and_removes_what_was_there(data_dir, tmp_path):
    folder = tmp_path / "data"
    main(arguments(data_dir, folder, "ncbi_disease", "nlm_gene"))
    first = contents(folder)
    main(arguments(data_dir, folder, "ncbi_disease"))
    assert set(contents(folder)) == {name for name in first if "nlm_gene" not in name}
    # One corpus is written as a mapping in the metadata, not as a list.
    assert get_dataset_config_names(str(folder)) == ["ncbi_disease"]
    assert load_published(folder, "ncbi_disease") == load_corpus("ncbi_disease", data_dir, tmp_path / "built")
    main(arguments(data_dir, folder, "ncbi_disease", "nlm_gene"))
    assert contents(folder) == first


def test_corpora_without_a_licence_are_refused_unless_named(data_dir, tmp_path, capsys):
    folder = tmp_path / "data"
    message = fails(capsys, publish_data, *arguments(data_dir, folder))
    assert "s800: published by its authors for research, without a named licence" in message
    assert "`--redistribute s800`" in message
    assert not folder.exists()
    message = fails(capsys, publish_data, *arguments(data_dir, folder, "nlm_gene"), "--redistribute", "s800")
    assert "--redistribute s800: not among --corpora (nlm_gene)" in message
    message = fails(capsys, publish_data, "--repo_id", REPOSITORY, "--output", folder)
    refused = message[message.index("--redistribute") :]
    assert [n for n in TEN if n in refused] == ["biored", "bioid", "gnormplus", "s800", "tmvar3"]


def test_every_licence_of_the_table_is_known_here():
    assert {corpus.licence for corpus in CORPORA.values()} == set(LICENCES)


def test_missing_files_are_named_all_at_once_with_their_source(data_dir, tmp_path, capsys):
    folder = tmp_path / "data"
    for name in ("ncbi_disease", "nlm_gene"):
        for split, file in CORPORA[name].files.items():
            if (name, split) != ("nlm_gene", "test"):
                (tmp_path / file.name).write_bytes((data_dir / file.name).read_bytes())
    names = ("ncbi_disease", "nlm_gene", "bc5cdr")
    message = fails(capsys, publish_data, *arguments(tmp_path, folder, *names))
    for file in (CORPORA["nlm_gene"].files["test"], *CORPORA["bc5cdr"].files.values()):
        assert f"{file.name} is not in {str(tmp_path)!r}; download it from {file.url}" in message
    assert "--skip_missing" in message
    # A corpus of which nothing is there can't be published in part.
    message = fails(capsys, publish_data, *arguments(tmp_path, folder, *names), "--skip_missing")
    assert "nlm_gene" not in message
    assert "leave these corpora out of --corpora" in message
    assert not folder.exists()
    main([*arguments(tmp_path, folder, *names[:2]), "--skip_missing"])
    assert list(load_published(folder, "nlm_gene")) == ["train"]
    assert "**Not included** (its file was not at hand): test" in (folder / "README.md").read_text(encoding="utf-8")


def test_wrong_options_end_with_one_message(data_dir, tmp_path, capsys):
    folder = tmp_path / "data"
    good = arguments(data_dir, folder, "nlm_gene")
    assert "did you mean 'nlm_gene'?" in fails(capsys, publish_data, *arguments(data_dir, folder, "nlm_genes"))
    for size in ("big", "0KB"):
        assert "expected a size such as 500MB" in fails(capsys, publish_data, *good, "--max_shard_size", size)
    assert "expected owner/name" in fails(capsys, publish_data, "--repo_id", "corpora", *good[2:])
    assert "--output is needed" in fails(capsys, publish_data, *good[:-2])
    assert "--replace needs --upload" in fails(capsys, publish_data, *good, "--replace")
    folder.write_text("mine")
    assert "is a file, expected a folder" in fails(capsys, publish_data, *good)
    folder.unlink()
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    assert "holds something else (data)" in fails(capsys, publish_data, *good)
    (folder / "thesis.tex").write_text("mine")
    assert "holds something else (thesis.tex)" in fails(capsys, publish_data, *good)
    assert set(contents(folder)) == {"README.md", "thesis.tex"}


def test_wrong_repositories_are_named(published, tmp_path):
    with pytest.raises(PublishedError, match=r"corpus 'biored': .*ncbi_disease"):
        load_published(published, "biored")
    with pytest.raises(PublishedError, match="has no split 'tset'; did you mean 'test'"):
        load_published(published, "s800", ["tset"])
    with pytest.raises(PublishedError, match="is not to be found: expected a Hub id"):
        load_published(tmp_path / "nothing", "s800")
    Dataset.from_dict({"tokens": [["a"]]}).to_parquet(tmp_path / "other" / "train.parquet")
    with pytest.raises(PublishedError, match=r"expected the columns id, index, .*, got tokens"):
        load_published(tmp_path / "other", "default")


def test_the_upload_sends_exactly_the_folder(data_dir, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "data"
    with hub_stub() as hub:
        hub.add(REPOSITORY, "dataset", **{"nlm_gene/train-00000-of-00002.parquet": b"of an earlier version"})
        go_online(monkeypatch, hub.url)
        main([*arguments(data_dir, folder, "nlm_gene"), "--upload"])
        there = hub.repos[f"dataset:{REPOSITORY}"]["branches"]["main"]
        written = contents(folder)
        assert {name: content for name, content in there.items() if name in written} == written
        assert "left as they were (remove with --replace): nlm_gene/train-00000-of-00002" in capsys.readouterr().out
        main([*arguments(data_dir, folder, "nlm_gene"), "--upload", "--replace"])
        assert hub.repos[f"dataset:{REPOSITORY}"]["branches"]["main"] == written
        monkeypatch.delenv("HF_TOKEN")
        assert "HF_TOKEN isn't set" in fails(capsys, publish_data, *arguments(data_dir, folder, "nlm_gene"), "--upload")


def test_size_categories():
    assert [size_category(n) for n in (0, 999, 1000, 24_000, 99_999, 100_000, 5_000_000)] == [
        "n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "10K<n<100K", "100K<n<1M", "1M<n<10M",
    ]  # fmt: skip


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real corpora are not in ../shared/corpora")
def test_biored_published_and_loaded_is_biored(tmp_path, caplog):
    caplog.set_level(logging.INFO, publish_data.__name__)
    folder = tmp_path / "data"
    main([*arguments(REAL, folder, "biored"), "--redistribute", "biored"])
    assert "biored: train 400, validation 100, test 100" in caplog.text
    expected = load_corpus("biored", REAL)
    assert load_published(folder, "biored") == expected
    rows = load_dataset(str(folder), "biored", split="test")
    assert [example_to_document(row) for row in rows] == expected["test"]
    assert "| all | 13,351 | 3,533 | 3,535 |" in (folder / "README.md").read_text(encoding="utf-8")
