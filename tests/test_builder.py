"""The builder: every configuration on small files of our own, from a folder and over HTTP; the cache; the errors."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import threading
import zipfile
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import pytest
from helpers_corpora import pubtator, write_files
from mosaic_ner.data_builders import corpora
from mosaic_ner.data_builders.builder import (
    FEATURES,
    MosaicNERBuilder,
    document_to_example,
    example_to_document,
    load_corpus,
)
from mosaic_ner.data_builders.corpora import CORPORA, Corpus, CorpusError, MissingFileError, get_corpus, read_split
from mosaic_ner.data_builders.formats import FormatError, ReadReport
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.modeling.document import Document, Mention, Passage


@pytest.fixture
def server(tmp_path, monkeypatch):
    """(folder, URL) of a local HTTP server, reachable where the test run is told to stay off the network too."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_address[1]}/"
        http.shutdown()
        thread.join()


def served(monkeypatch, corpus: Corpus, url: str) -> None:
    """Make the corpus's URLs those of the local server."""
    files = {
        s: replace(f, url=url + ("archive.zip" if f.member else f.name), ids_url=url + f.ids)
        for s, f in corpus.files.items()
    }
    monkeypatch.setitem(corpora.CORPORA, corpus.name, replace(corpus, files=files))


def zip_brat(corpus: Corpus, documents: dict[str, list[Document]], path: Path) -> None:
    """An archive of brat files as JNLPBA's: a line break, not a space, parts title and abstract."""
    with zipfile.ZipFile(path, "w") as archive:
        for split, file in corpus.files.items():
            for d in documents[split]:
                lines = (f"T{n}\t{m.type} {m.start} {m.end}\t{d.surface(m)}\n" for n, m in enumerate(d.mentions, 1))
                archive.writestr(f"{file.member}/{d.id}.ann", "".join(lines))
                end = d.passages[0].end
                archive.writestr(f"{file.member}/{d.id}.txt", d.text[:end] + "\n" + d.text[end + 1 :])


@pytest.mark.parametrize("name", CORPORA)
def test_every_configuration(name, tmp_path, server, monkeypatch):
    """Metadata is complete; built, downloaded and directly read documents are the same, and sound."""
    corpus = get_corpus(name)
    assert {"train", "test"} <= set(corpus.splits) <= {"train", "validation", "test"}
    assert all((corpus.title, corpus.licence, corpus.split_policy, corpus.text, corpus.citation.startswith("@")))
    assert all(url.startswith("http") for url in [corpus.homepage, *(f.url for f in corpus.files.values())])
    folder, url = server
    write_files(corpus, folder)

    builder = MosaicNERBuilder(config_name=name, data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare()
    dataset = builder.as_dataset()
    assert dataset["train"].features == FEATURES
    assert builder.info.citation == corpus.citation

    report = ReadReport()
    documents = load_corpus(name, folder, tmp_path / "cache", report)
    assert list(documents) == corpus.splits
    assert report.documents == len({d.key for docs in documents.values() for d in docs})
    space = load_label_mapping()
    for split, docs in documents.items():
        path, format = corpus.files[split].find(folder)
        assert docs == list(read_split(corpus, split, path, format=format))
        assert docs == [example_to_document(row) for row in dataset[split]]
        for d in docs:
            assert d.annotated_types == set(corpus.types)
            assert d.article.startswith(f"{corpus.id_space}:" if corpus.id_space else f"{name}.{split}:")
            assert d.mentions
            assert {m.type for m in d.mentions} <= set(space.native_types(name))

    served(monkeypatch, corpus, url)
    if name == "jnlpba":
        zip_brat(corpus, documents, folder / "archive.zip")
        expected = {s: [(d.id, d.mentions, d.article) for d in docs] for s, docs in documents.items()}
        downloaded = load_corpus(name, cache_dir=tmp_path / "other")
        assert {s: [(d.id, d.mentions, d.article) for d in docs] for s, docs in downloaded.items()} == {
            s: [(i, tuple(replace(m, identifiers=()) for m in ms), a) for i, ms, a in rows]
            for s, rows in expected.items()
        }
    else:
        if any(file.member for file in corpus.files.values()):
            with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
                for file in corpus.files.values():
                    archive.write(folder / file.name, file.member)
        assert load_corpus(name, cache_dir=tmp_path / "other") == documents


def test_a_split_that_no_record_belongs_to_is_an_error(tmp_path):
    text = pubtator(["15001", "15002"], get_corpus("biored").types)
    (tmp_path / "BioRED_TrainDev.PubTator").write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match=r"TrainDev.* none of its 2 records is in the split 'validation' of biored"):
        load_corpus("biored", tmp_path, tmp_path / "cache", splits=["train", "validation"])
    assert len(load_corpus("biored", tmp_path, tmp_path / "cache", splits=["train"])["train"]) == 2


def medmentions(folder: Path) -> Path:
    """Small files of MedMentions: a packed file of six records, three lists of two ids each."""
    write_files(get_corpus("medmentions"), folder)
    return folder / "corpus_pubtator_pmids_dev.txt"


def test_lists_of_ids_part_a_file_that_splits_share(tmp_path, caplog):
    listed = medmentions(tmp_path)
    splits = load_corpus("medmentions", tmp_path, tmp_path / "cache")
    assert {split: [d.id for d in documents] for split, documents in splits.items()} == {
        "train": ["150000", "150001"],
        "validation": ["150010", "150011"],
        "test": ["150020", "150021"],
    }
    assert splits["test"][0].article == "pmid:150020"
    listed.write_text("150011\n150019\n150099\n")
    caplog.clear()
    edited = load_corpus("medmentions", tmp_path, tmp_path / "cache")  # the list is part of the cache's key
    assert [d.id for d in edited["validation"]] == ["150011"]
    assert [d.id for d in edited["train"]] == ["150000", "150001"]
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "2 of the 3 ids in corpus_pubtator_pmids_dev.txt are in no record of corpus_pubtator.txt.gz" in warning


def test_a_file_without_its_list_is_missing_and_both_are_named(tmp_path):
    medmentions(tmp_path).unlink()
    assert set(load_corpus("medmentions", tmp_path, tmp_path / "cache")) == {"train", "test"}
    with pytest.raises(MissingFileError) as caught:
        load_corpus("medmentions", tmp_path, tmp_path / "cache", splits=["validation"])
    for part in ("corpus_pubtator.txt.gz and corpus_pubtator_pmids_dev.txt", "/st21pv/data/", "/full/data/"):
        assert part in str(caught.value)


def test_rows_and_documents_convert_without_loss():
    document = Document(
        id="x",
        corpus="c",
        text="Naïve 𝔸 text",
        mentions=(Mention(0, 5, "A", ("1", "2")), Mention(6, 7, "B")),
        annotated_types=frozenset({"B", "A"}),
        index=3,
        article="pmid:1",
        passages=(Passage(0, 5, "title", (("type", "front"), ("section", ""))), Passage(6, 12)),
        infons=(("key", "value"),),
    )
    row = FEATURES.encode_example(document_to_example(document))
    assert example_to_document(FEATURES.decode_example(row)) == document


def test_an_edited_file_is_never_served_from_the_cache(tmp_path):
    corpus = get_corpus("s800")
    write_files(corpus, tmp_path)
    path = tmp_path / corpus.files["test"].name
    first = load_corpus("s800", tmp_path, tmp_path / "cache")
    stamp = path.stat()
    path.write_text(path.read_text(encoding="utf-8").replace("Of ", "On "), encoding="utf-8")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # same size and time: only the content tells
    assert path.stat().st_size == stamp.st_size
    second = load_corpus("s800", tmp_path, tmp_path / "cache")
    assert second["train"] == first["train"]
    assert [d.text for d in second["test"]] == [d.text.replace("Of ", "On ") for d in first["test"]]


def test_an_unchanged_file_is_served_from_the_cache_with_its_report(tmp_path, monkeypatch):
    corpus = get_corpus("s800")
    write_files(corpus, tmp_path)
    path = tmp_path / corpus.files["test"].name
    path.write_text(path.read_text(encoding="utf-8").replace("\tnämeNo0\t", "\twrong\t", 1), encoding="utf-8")
    first, again = ReadReport(), ReadReport()
    documents = load_corpus("s800", tmp_path, tmp_path / "cache", first)
    monkeypatch.setattr(MosaicNERBuilder, "_generate_examples", None)
    assert load_corpus("s800", tmp_path, tmp_path / "cache", again) == documents
    assert first.to_dict() == again.to_dict()
    assert first.counts == {"text_mismatch": 1}


def test_a_version_of_its_own_and_options_are_part_of_the_cache_folder(tmp_path):
    write_files(get_corpus("bioid"), tmp_path)
    builder = functools.partial(MosaicNERBuilder, config_name="bioid", data_dir=str(tmp_path), cache_dir=str(tmp_path))
    folders = {builder().cache_dir, builder(splits="test").cache_dir, builder(clean_suffix=True).cache_dir}
    assert len(folders) == 3
    assert all(Path(folder).name == str(MosaicNERBuilder.VERSION) for folder in folders)


def test_the_folder_above_the_files_will_do(tmp_path):
    folder = tmp_path / "pubtator"
    folder.mkdir()
    write_files(get_corpus("linnaeus"), folder)
    assert len(load_corpus("linnaeus", tmp_path, tmp_path / "cache")["train"]) == 2


def test_a_missing_file_is_named_with_its_url_and_the_option(tmp_path):
    with pytest.raises(MissingFileError) as error:
        load_corpus("bc5cdr", tmp_path, tmp_path / "cache")
    for part in ("bc5cdr (train)", "BC5CDR_TrainDev.PubTator", CORPORA["bc5cdr"].files["train"].url, "--data_dir"):
        assert part in str(error.value)


def test_splits_that_are_there_load_without_those_that_are_not(tmp_path, caplog):
    corpus = get_corpus("nlm_chem")
    write_files(corpus, tmp_path)
    (tmp_path / corpus.files["train"].name).unlink()
    for _ in range(2):  # also when the cache answers
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert list(load_corpus("nlm_chem", tmp_path, tmp_path / "cache")) == ["test"]
        assert "NLMchem_TrainDev.PubTator is not in" in caplog.text
    assert list(load_corpus("nlm_chem", tmp_path, tmp_path / "cache", splits=["test"])) == ["test"]
    with pytest.raises(MissingFileError, match=r"NLMchem_TrainDev\.PubTator"):
        load_corpus("nlm_chem", tmp_path, tmp_path / "cache", splits=["train"])
    write_files(corpus, tmp_path)
    assert list(load_corpus("nlm_chem", tmp_path, tmp_path / "cache")) == ["train", "test"]


def test_what_is_missing_is_told_once(tmp_path, caplog):
    with pytest.raises(MissingFileError, match=r"NLMchem_TrainDev\.PubTator"):
        load_corpus("nlm_chem", tmp_path, tmp_path / "cache")
    assert not caplog.records


def test_only_the_splits_asked_for_are_downloaded(tmp_path, server, monkeypatch):
    folder, url = server
    corpus = get_corpus("nlm_chem")
    write_files(corpus, folder)
    (folder / corpus.files["train"].name).unlink()
    served(monkeypatch, corpus, url)
    assert len(load_corpus("nlm_chem", cache_dir=tmp_path / "cache", splits=["test"])["test"]) == 2
    with pytest.raises(MissingFileError) as error:
        load_corpus("nlm_chem", cache_dir=tmp_path / "cache")
    assert f"could not be downloaded from {url}NLMchem_TrainDev.PubTator" in str(error.value)
    assert "--data_dir" in str(error.value)


def test_unknown_names_get_the_nearest():
    with pytest.raises(CorpusError, match="did you mean 'biored'"):
        load_corpus("bio_red")
    with pytest.raises(CorpusError, match="has no split 'valid'; did you mean 'validation'"):
        load_corpus("biored", splits=["valid"])


def test_errors_of_the_reader_come_through(tmp_path):
    corpus = get_corpus("s800")
    write_files(corpus, tmp_path)
    (tmp_path / corpus.files["test"].name).write_text("no PubTator\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"SPECIES_Test\.PubTator:1"):
        load_corpus("s800", tmp_path, tmp_path / "cache")
    shutil.copy(tmp_path / corpus.files["train"].name, tmp_path / corpus.files["test"].name)
    load_corpus("s800", tmp_path, tmp_path / "cache")


def test_ids_that_do_not_fit_the_corpus_are_an_error(tmp_path):
    corpus = get_corpus("bioid")
    write_files(corpus, tmp_path)
    path = tmp_path / corpus.files["test"].name
    path.write_text(pubtator(["PMC12"], corpus.types), encoding="utf-8")
    with pytest.raises(CorpusError, match="bioid:PMC12: expected an article id of the form"):
        load_corpus("bioid", tmp_path, tmp_path / "cache")


def test_cell_suffix_is_removed_on_demand_only(tmp_path):
    corpus = get_corpus("bioid")
    write_files(corpus, tmp_path)
    (tmp_path / corpus.files["test"].name).write_text(
        "45101001|t|HeLa cells and MCF-7 cell but cells.\n45101001|a|\n45101001\t0\t10\tHeLa cells\tCellLine\tX\n"
        "45101001\t15\t25\tMCF-7 cell\tCellLine\tY\n45101001\t30\t35\tcells\tCellLine\tZ\n",
        encoding="utf-8",
    )
    for clean, expected in ((False, ["HeLa cells", "MCF-7 cell", "cells"]), (True, ["HeLa", "MCF-7", "cells"])):
        (d,) = load_corpus("bioid", tmp_path, tmp_path / "cache", clean_suffix=clean)["test"]
        assert [d.surface(m) for m in d.mentions] == expected


@pytest.mark.parametrize("failure", ["500", "refused", "no zip"])
def test_a_failed_download_names_file_url_and_option(tmp_path, server, monkeypatch, failure):
    folder, url = server
    if failure == "500":
        monkeypatch.setattr(SimpleHTTPRequestHandler, "do_GET", lambda self: self.send_error(500))
        monkeypatch.setattr(SimpleHTTPRequestHandler, "do_HEAD", lambda self: self.send_error(500))
    elif failure == "no zip":
        (folder / "archive.zip").write_bytes(b"not found")
    else:
        url = "http://127.0.0.1:9/"
    served(monkeypatch, get_corpus("jnlpba"), url)
    with pytest.raises(MissingFileError) as error:
        load_corpus("jnlpba", cache_dir=tmp_path / "cache")
    assert f"JNLPBA_Train.PubTator could not be downloaded from {url}archive.zip" in str(error.value)
    assert "--data_dir" in str(error.value)
