"""The Parquet tables of `mosaic-ner annotate`: their columns, in every program that reads them, and the view of the newest."""

from __future__ import annotations

import random
import re

import datasets
import duckdb
import polars
import pyarrow.dataset
import pytest
from helpers_annotate import citation, pubmed
from helpers_formats import Finder
from helpers_run import ROOT
from mosaic_ner.data_builders.formats import read_documents
from mosaic_ner.prediction.inputs import sources
from mosaic_ner.prediction.shards import Job, annotate_shard
from mosaic_ner.prediction.tables import SCHEMAS
from mosaic_ner.prediction.tagger import Tagger

ARTICLE = """<article><front><article-meta><article-id pub-id-type="pmid">77</article-id><article-id pub-id-type="pmcid">PMC5
</article-id><title-group><article-title>On velosis.</article-title></title-group></article-meta></front><body><sec
sec-type="methods"><title>Methods</title><p>We gave nirlazole to mice.</p><fig id="f1"><caption><p>Mice with velosis.</p>
</caption></fig></sec></body></article>"""


def annotated(inputs, output):
    job = Job(str(output), chunk=2)
    for source in sources([str(inputs)]):
        assert "failed" not in annotate_shard(source, job, Tagger(Finder(), []))
    return output


def rows(folder, table) -> list[dict]:
    return pyarrow.dataset.dataset(folder / table).to_table().to_pylist()


@pytest.fixture(scope="module")
def pubmed_folder(tmp_path_factory):
    """A baseline and its updates, in which citations come again, in other versions, and go."""
    folder, chance = tmp_path_factory.mktemp("pubmed"), random.Random(0)
    for number in range(6):
        keys = {(chance.randrange(12), chance.choice((1, 1, 1, 2))): None for _ in range(8)}
        texts = [citation(pmid, f"Velosis {number}. Mice got spiran {chance.random()}.", v) for pmid, v in keys]
        gone = [(chance.randrange(12), chance.choice((1, 2))) for _ in range(3 * (number > 0))]
        pubmed(folder / f"pubmed26n{number:04d}.xml.gz", texts, gone)
    return folder


@pytest.fixture(scope="module")
def tables(pubmed_folder, tmp_path_factory):
    return annotated(pubmed_folder, tmp_path_factory.mktemp("tables") / "tagged")


def test_mentions_are_the_texts_of_their_documents(pubmed_folder, tables):
    texts = {
        (path.name, number): document
        for path in sorted(pubmed_folder.iterdir())
        for number, document in enumerate(read_documents(path, repeated_ids="index"))
    }
    found = rows(tables, "mentions")
    assert len(found) == 3 * len(texts)
    for row in found:
        document = texts[row["file"], row["record"]]
        assert document.text[row["start"] : row["end"]] == row["text"]
        assert (row["document_id"], row["identifiers"]) == (document.id, [])
        assert str(row["version"]) == dict(document.infons)["version"]
    documents = rows(tables, "documents")
    assert all(row["pmid"] == row["document_id"] and row["pmcid"] is None for row in documents)
    assert {(r["file"], r["record"]): (r["document_id"], r["characters"], r["mentions"]) for r in documents} == {
        key: (d.id, len(d.text), 3) for key, d in texts.items()
    }


def test_full_texts_say_where_a_mention_stands(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nxml").write_text(ARTICLE, "utf-8")
    out = annotated(tmp_path / "in", tmp_path / "out")
    assert [(r["text"], r["passage"], r["section_type"]) for r in rows(out, "mentions")] == [
        ("velosis", "title", "TITLE"),
        ("nirlazole", "paragraph", "METHODS"),
        ("mice", "paragraph", "METHODS"),
        ("Mice", "fig_caption", "FIG"),
        ("velosis", "fig_caption", "FIG"),
    ]
    (document,) = rows(out, "documents")
    assert (document["document_id"], document["file"], document["pmid"], document["pmcid"]) == (
        "PMC5",
        "a.nxml",
        "77",
        "PMC5",
    )


def test_every_program_reads_the_tables(tables, tmp_path):
    for name, schema in SCHEMAS.items():
        pattern, count = str(tables / name / "*.parquet"), len(rows(tables, name))
        assert count
        assert duckdb.sql(f"SELECT count(*) FROM '{pattern}'").fetchall() == [(count,)]
        assert polars.read_parquet(pattern).shape == (count, len(schema))
        read = datasets.load_dataset("parquet", data_files=pattern, split="train", cache_dir=str(tmp_path))
        assert (len(read), read.column_names) == (count, schema.names)


def test_the_documented_view_is_the_newest(pubmed_folder, tables, monkeypatch):
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    monkeypatch.chdir(tables.parent)
    connection = duckdb.connect()
    for statement in re.findall(r"```sql\n(.*?)```", page, re.DOTALL):
        connection.execute(statement)
    # The same, one file after the other.
    there: dict[tuple[str, int], tuple[str, int]] = {}
    seen = set()
    gone = {(r["file"], r["document_id"], r["version"]) for r in rows(tables, "deleted")}
    documents = sorted(rows(tables, "documents"), key=lambda r: (r["file"], r["record"]))
    for file in sorted(path.name for path in pubmed_folder.iterdir()):
        for row in documents:
            if row["file"] == file:
                there[row["document_id"], row["version"]] = (file, row["record"])
                seen.add((row["document_id"], row["version"]))
        for _, id, version in (key for key in gone if key[0] == file):
            there.pop((id, version), None)
    newest = {id: there[id, max(v for other, v in there if other == id)] for id, _ in there}
    found = connection.execute("SELECT document_id, file, record FROM newest").fetchall()
    assert {id: (file, record) for id, file, record in found} == newest
    assert len(found) == len(newest) < len(documents)
    assert len({id for id, _ in seen}) > len(newest)  # some are gone in every version
    mentions = connection.execute("SELECT file, record FROM newest_mentions").fetchall()
    assert len(mentions) == 3 * len(newest)
    assert set(mentions) == set(newest.values())
