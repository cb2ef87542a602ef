"""Files of the kinds of ../shared/cases, of our own making: formats, line ends, offset units, bad records."""

from __future__ import annotations

import gzip
import json

import pytest
from helpers_formats import (
    IOB,
    JATS,
    PUBMED,
    PUBTATOR,
    RECORDS,
    collection,
    failure,
    file,
    passage,
    predicted,
    read,
    surfaces,
)
from mosaic_ner.data_builders import options
from mosaic_ner.data_builders.formats import FORMATS, UNITS, FormatError, detect_format
from mosaic_ner.data_builders.formats.units import Ruler, width
from mosaic_ner.prediction.resumable_output import JournalError

# --- content and ending -----------------------------------------------------------------------------------------------


def test_options_name_what_the_formats_have():
    assert tuple(FORMATS) == options.FORMATS
    assert tuple(UNITS) == options.OFFSET_UNITS


@pytest.mark.parametrize("name", ["x.txt", "x", "x.data", "x.csv", "x.json", "x.xml", "x.txt.gz"])
@pytest.mark.parametrize(
    ("format", "content", "count"),
    [
        ("pubtator", PUBTATOR, 2), ("pubtator", "\n\r\n" + PUBTATOR, 2), ("pubtator", PUBTATOR.replace("\n", "\r"), 2),
        ("iob2", IOB, 2), ("iob2", IOB.replace("\t", " "), 2), ("iob2", "###MEDLINE:1\n\n" + IOB, 1),
        ("iob2", "token\ttag\n" + IOB, 2), ("jsonl", RECORDS, 2), ("bioc_json", collection(BIOC := {"passages": []}), 1),
        ("bioc_json", json.dumps([BIOC], indent=2), 1), ("bioc_xml", "<collection><document/></collection>", 1),
        ("bioc_xml", "\ufeff<?xml version='1.0'?>\n<collection>\n<document/></collection>", 1),
        ("pubmed", PUBMED, 2), ("pubmed", PUBMED.split("?>")[1], 2), ("jats", JATS, 1), ("jats", JATS.split("?>")[1], 1),
        ("jats", f"<pmc-articleset>{JATS.split('?>')[1]}</pmc-articleset>", 1),
        ("jats", JATS.replace("?>", "?>\n<!DOCTYPE article SYSTEM '<[x>'>\n<?p?>\n"), 1),
        ("jats", JATS.replace("<article>", '<!-- <collection> -->\n<!DOCTYPE article [<!ENTITY a "b">]>\n<article>'), 1),
    ],
)  # fmt: skip
def test_content_goes_before_the_ending(name, format, content, count, tmp_path):
    data = content.encode()
    path = file(tmp_path, name, gzip.compress(data) if name.endswith(".gz") else data)
    assert detect_format(path) == format
    documents, counts = read(path)
    assert len(documents) == count
    if name == "x.txt":
        assert counts["format_by_content"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "hepatitis B",
        "vitamin B and\nhepatitis B",
        "a|t|b".replace("|t|", " "),
        "[1] See there.",
        "{x}",
        "O",
        "",
        "1\t2\n",
    ],
)
def test_plain_text_stays_plain_text(text, tmp_path):
    path = file(tmp_path, "x.txt", text)
    assert detect_format(path) == "text"
    assert [d.text for d in read(path)[0]] == [text]


def test_a_packed_file_without_gz_in_its_name(tmp_path):
    assert len(read(file(tmp_path, "x.jsonl", gzip.compress(RECORDS.encode())))[0]) == 2


# --- line ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("name", "content"), [("x.pubtator", PUBTATOR), ("x.tsv", IOB), ("x.jsonl", RECORDS)])
def test_line_ends_are_alike(name, content, end, tmp_path):
    expected = read(file(tmp_path, name, content))[0]
    documents, counts = read(file(tmp_path, name, content.replace("\n", end)))
    assert documents == expected
    assert counts == ({"crlf": 1} if end == "\r\n" else {"cr": 1} if end == "\r" else {})


def test_a_carriage_return_inside_an_abstract_is_no_line_end(tmp_path):
    path = file(tmp_path, "x.pubtator", "1|t|a\n1|a|b\rc velosis\n1\t6\t13\tvelosis\tD\n")
    assert surfaces(path) == [[("D", "velosis")]]


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_brat_counts_the_line_ends_of_its_text(end, tmp_path):
    file(tmp_path, "x.txt", f"Severe{end}velosis")
    start = 6 + len(end)
    path = file(tmp_path, "x.ann", f"T1\tD {start} {start + 7}\tvelosis{end}T2\tD 0 {start + 7}\tSevere velosis{end}")
    assert surfaces(path) == [[("D", f"Severe{end}velosis"), ("D", "velosis")]]


# --- offset units -----------------------------------------------------------------------------------------------------

TEXT = "β-gen 𝛼 in\r\nmice 𝛼 VLX1\nand velosis here"
SPANS = [(TEXT.index(word), TEXT.index(word) + len(word), word) for word in ("gen", "VLX1", "velosis")]


def with_units(folder, format: str, unit: str):
    rows = [(width(TEXT[:a], unit), width(TEXT[:b], unit), word) for a, b, word in SPANS]
    if format == "jsonl":
        mentions = [{"start": a, "end": b, "type": "G", "text": t} for a, b, t in rows]
        return file(folder, "x.jsonl", json.dumps({"id": "1", "text": TEXT, "mentions": mentions}))
    if format == "bioc_json":
        return file(folder, "x.json", collection({"id": "1", "passages": [passage(TEXT, *rows)]}))
    file(folder, "x.txt", TEXT)
    return file(folder, "x.ann", "".join(f"T{n}\tG {a} {b}\t{t}\n" for n, (a, b, t) in enumerate(rows)))


@pytest.mark.parametrize("policy", ["strict", "lenient"])
@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit != "code_points"])
@pytest.mark.parametrize("format", ["jsonl", "bioc_json", "brat"])
def test_other_units_are_known_and_converted(format, unit, policy, tmp_path):
    path = with_units(tmp_path, format, unit)
    message = failure(path, policy=policy)
    assert f"--offset_unit {unit})" in message
    assert "all do in another unit" in message
    assert "lenient" not in message
    assert [s for _, s in surfaces(path, offset_unit=unit)[0]] == [word for *_, word in SPANS]


@pytest.mark.parametrize("unit", ["utf16", "utf8", "crlf_twice", "utf8_crlf_twice"])
def test_units_in_pubtator(unit, tmp_path):
    title, abstract = "β-gen 𝛼 in", "mice 𝛼 VLX1 and velosis"
    text = f"{title}\n{abstract}"
    spans = [(text.index(word), text.index(word) + len(word), word) for word in ("gen", "VLX1", "velosis")]
    rows = "".join(f"1\t{width(text[:a], unit)}\t{width(text[:b], unit)}\t{t}\tG\n" for a, b, t in spans)
    path = file(tmp_path, "x.pubtator", f"1|t|{title}\n1|a|{abstract}\n{rows}")
    assert f"--offset_unit {unit})" in failure(path)
    assert surfaces(path, offset_unit=unit) == [[("G", "gen"), ("G", "VLX1"), ("G", "velosis")]]


@pytest.mark.parametrize("unit", ["utf8", "utf16"])
def test_units_count_passages_too(unit, tmp_path):
    first, second = "𝛼 β gene", "𝛼 mice"
    place = width(first, unit) + 1
    start = place + width("𝛼 ", unit)
    at = width("𝛼 β ", unit)
    node = {
        "id": "1",
        "passages": [passage(first, (at, at + 4, "gene")), passage(second, (start, start + 4, "mice"), offset=place)],
    }
    path = file(tmp_path, "x.json", collection(node))
    assert f"--offset_unit {unit})" in failure(path)
    (document,), _ = read(path, offset_unit=unit)
    assert document.text == f"{first} {second}"
    assert surfaces(path, offset_unit=unit) == [[("G", "gene"), ("G", "mice")]]


def test_the_unit_must_fit_all_or_nearly_all(tmp_path):
    rows = [("gene", 2, 6), ("mice", 7, 11), ("rats", 12, 16), ("cells", 99, 104)]
    content = "1|t|β gene mice rats\n" + "".join(f"1\t{a + 1}\t{b + 1}\t{t}\tG\n" for t, a, b in rows)
    message = failure(path := file(tmp_path, "x.pubtator", content))
    assert "3 of 4 do in another unit" in message
    assert "lenient" not in message
    assert "--offset_unit utf8" in failure(path, policy="lenient")


def test_a_few_misfits_are_counted_when_lenient_and_the_unit_is_told(tmp_path, caplog):
    ascii_only = "".join(f"{n}|t|gene\n{n}\t0\t4\tgene\tG\n\n" for n in range(9, 99))
    rows = "1\t3\t7\tgene\tG\n1\t8\t12\tmice\tG\n1\t0\t1\tx\tG\n\n"
    path = file(tmp_path, "x.pubtator", f"1|t|β gene mice rats\n{rows}{ascii_only}")
    assert "92 of 93 do in another unit" in failure(path)
    assert read(path, policy="lenient")[1] == {"text_mismatch": 3}
    assert caplog.text.count("--offset_unit utf8") == 1


def test_offsets_that_no_unit_explains(tmp_path):
    rows = "".join(f"1\t{n}\t{n + 4}\tgene\tG\n" for n in (3, 4, 5))
    message = failure(file(tmp_path, "x.pubtator", f"1|t|x gene gene gene\n{rows}"))
    assert "lenient" not in message
    assert "of 3 mentions 0 fit" in message


def test_rulers_agree_with_widths():
    for unit in UNITS:
        ruler = Ruler(TEXT, unit)
        starts = {index: width(TEXT[:index], unit) for index in range(len(TEXT) + 1) if TEXT[:index][-1:] != "\r"}
        for index, offset in starts.items():
            assert ruler.index(offset) == index, unit
        inside = {ruler.index(offset) for offset in set(range(starts[len(TEXT)])) - set(starts.values())}
        assert inside <= {None, TEXT.index("\r") + 1}


# --- lines of PubTator that are no mentions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "cause", "message"),
    [
        ("1\tAssociation\tD003\tD004", "relation", None), ("1\tPositive_Correlation\tD003\tD004\tNovel", "relation", None),
        ("1\ttreats\tD003\tD004\t0.9\tin mice it helps", "relation", None), ("1\tSNP\trs99", "short_row", "three cells"),
        ("1\t7\t14\tvelosis\tDisease\tD1\tmore", "extra_field", "a seventh"),
    ],
)  # fmt: skip
def test_lines_that_are_no_mentions(line, cause, message, tmp_path):
    path = file(tmp_path, "x.pubtator", f"1|t|Severe velosis.\n1|a|In mice.\n{line}\n1\t19\t23\tmice\tSpecies\n")
    documents, counts = read(path, policy="lenient")
    assert counts == {cause: 1}
    assert ("Species", "mice") in [(m.type, documents[0].surface(m)) for m in documents[0].mentions]
    if message is None:
        assert read(path)[1] == counts
    else:
        assert message in failure(path)
    assert predicted(path, tmp_path / "out.pubtator") == 0


# --- bad records ------------------------------------------------------------------------------------------------------

MANY = b"".join(b'{"id": "%d", "text": "velosis %d"}\n' % (n, n * n) for n in range(9000))
BAD = {
    "pubtator": ("x.pubtator", PUBTATOR.replace("\n\n", "\n\n3|a|no title\n\n4|t|\u00e9x\n4|t|two\n\n"), 1),
    "latin-1": ("x.pubtator", PUBTATOR.encode().replace(b"\n\n", b"\n\n3|t|caf\xe9\n\n"), 1),
    "jsonl": ("x.jsonl", RECORDS.replace("\n", '\n{"id": "3", "text": \n', 1), 1),
    "jsonl type": ("x.jsonl", RECORDS.replace("\n", '\n{"id": "3", "text": 5}\n[]\n', 1), 2),
    "jsonl bytes": ("x.jsonl", RECORDS.encode().replace(b"\n", b'\n{"id": "3", "text": "\xff"}\n', 1), 1),
    "json": ("x.json", collection({"passages": [{"text": "no offset"}]}, {"id": "2", "passages": [passage("a")]}), 1),
    "xml": (
        "x.xml", "<collection><document><id>1</id><passage><text>a</text></passage></document><document><id>2</id><passage>"
        "<offset>0</offset><text>b</text></passage></document></collection>", 1,
    ),
    "xml breaks": ("x.xml", "<collection><document><id>1</id></document><document><id>2</id></docum", 1),
    "json breaks": ("x.json", collection({"id": "1", "passages": []}, {"id": "2", "passages": []})[:-25], 1),
    "iob": ("x.tsv", IOB.encode().replace(b"\n\n", b"\n\nx\xff\tO\n\n"), 1),
    "gzip": ("x.jsonl.gz", gzip.compress(MANY)[:-800], 1),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "count"), BAD.values(), ids=BAD)
def test_a_bad_record_never_stops_a_prediction(name, content, count, tmp_path, caplog):
    path = file(tmp_path, name, content)
    target = tmp_path / "out.jsonl"
    assert predicted(path, target) == count
    assert f"{count} records are not in the output" in caplog.text
    assert str(path) in caplog.text
    assert len(read(target)[0]) >= 1
    with pytest.raises(FormatError):
        predicted(path, tmp_path / "strict.jsonl", policy="strict")
    assert not (tmp_path / "strict.jsonl").exists()


def test_a_file_of_which_nothing_can_be_read_is_an_error(tmp_path):
    with pytest.raises(FormatError, match="iconv -f UTF-16"):
        predicted(file(tmp_path, "x.pubtator", PUBTATOR.encode("utf-16")), tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.pubtator", PUBTATOR.replace("7\t14\tvelosis", "7\tx\tv\tw\tx\ty\tz")), ("x.pubtator", PUBTATOR.replace("14", "99")),
        ("x.tsv", IOB.replace("B-Disease", "Q-Disease")), ("x.tsv", IOB.replace("B-Disease", "B")),
        ("x.json", collection({"id": "1", "passages": [passage("velosis", (5, 900, "x"))]})),
        ("x.jsonl", '{"id": "1", "text": "velosis", "mentions": [{"start": "a"}]}\n'),
        ("x.jsonl", '{"id": "1", "text": "velosis", "label": [[0, 1, "x"]]}\n'),
    ],
)  # fmt: skip
def test_gold_that_is_thrown_away_is_not_judged(name, content, tmp_path):
    path = file(tmp_path, name, content)
    assert predicted(path, tmp_path / "out.jsonl") == 0
    assert ("Disease", "velosis") in surfaces(tmp_path / "out.jsonl")[0]
    with pytest.raises(FormatError):
        read(path)


def test_a_document_that_the_output_cannot_hold_is_left_out(tmp_path, caplog):
    path = file(tmp_path, "x.jsonl", RECORDS.replace('"1"', '"a|b"'))
    assert predicted(path, tmp_path / "out.pubtator") == 1
    assert [d.id for d in read(tmp_path / "out.pubtator")[0]] == ["2"]
    assert "document id" in caplog.text


def test_text_on_a_line_of_its_own_is_not_lost_in_silence(tmp_path):
    path = file(tmp_path, "x.pubtator", "1|t|a\n1|a|b\nand more text\n\n2|t|velosis\n")
    assert predicted(path, tmp_path / "out.pubtator") == 1


def test_files_of_a_folder_keep_apart_and_have_the_ending_of_what_they_hold(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    pyarrow.parquet.write_table(
        pyarrow.table({"id": ["1"], "text": ["velosis"]}), file(tmp_path / "in", "a.parquet", "")
    )
    file(tmp_path / "in", "c.txt", "velosis")
    packed = file(tmp_path / "in", "c.txt.gz", gzip.compress(b"another velosis"))
    with pytest.raises(JournalError, match=r"c\.txt and .*c\.txt\.gz would both become c\.txt; give one another name"):
        predicted(tmp_path / "in", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    packed.rename(packed.with_name("d.txt.gz"))
    assert predicted(tmp_path / "in", tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.jsonl", "c.ann", "c.txt", "d.ann", "d.txt"]
    assert surfaces(tmp_path / "out" / "a.jsonl") == [[("Disease", "velosis")]]
    assert (tmp_path / "out" / "d.txt").read_text() == "another velosis"
