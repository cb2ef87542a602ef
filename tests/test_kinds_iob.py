"""Files of the kinds of ../shared/cases, of our own making: IOB, brat and folders of files."""

from __future__ import annotations

import gzip

import pytest
from helpers_formats import IOB, PUBTATOR, RECORDS, WORDS, collection, failure, file, passage, predicted, read, surfaces
from mosaic_ner.modeling.document import Mention
from mosaic_ner.prediction import outputs

# --- brat and folders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a severe\nvelosis", "T1\tD 2 8;9 16\tsevere velosis", ["severe\nvelosis"]),
        ("a severe\r\n  velosis", "T1\tD 2 8;12 19\tsevere velosis", ["severe\r\n  velosis"]),
        ("a b c", "T1\tD 4 5;2 3;0 1\ta b c", ["a b c"]), ("ab", "T1\tD 0 1;1 2\ta b", ["ab"]),
        ("a, b", "T1\tD 0 1;3 4\ta b", []),
    ],
)  # fmt: skip
def test_fragments(text, line, found, tmp_path):
    file(tmp_path, "x.txt", text)
    documents, counts = read(file(tmp_path, "x.ann", line), policy="lenient")
    assert [documents[0].surface(m) for m in documents[0].mentions] == found
    assert ("discontinuous" in counts) == (not found)


def test_several_locations_in_bioc(tmp_path):
    node = passage("severe\nvelosis, mild")
    places = [{"offset": 7, "length": 7}, {"offset": 0, "length": 6}]
    node["annotations"] = [{"id": "1", "infons": {"type": "D"}, "text": "severe velosis", "locations": places}]
    path = file(tmp_path, "x.json", collection({"id": "1", "passages": [node]}))
    assert surfaces(path) == [[("D", "severe\nvelosis")]]


def test_ids_that_brat_repeats_keep_both_mentions(tmp_path):
    file(tmp_path, "x.txt", "velosis in mice")
    lines = "T1\tD 0 7\tvelosis\nN1\tReference T1 x:1\tv\nT1\tS 11 15\tmice\nN2\tReference T1 x:2\tm\n"
    documents, counts = read(file(tmp_path, "x.ann", lines))
    assert documents[0].mentions == (Mention(0, 7, "D", ("x:1",)), Mention(11, 15, "S", ("x:2",)))
    assert counts == {"repeated_mention_id": 1}


@pytest.mark.parametrize(
    "line", ["T1 D 0 1\ta", "T1\tD 0\ta", "T1\tD 0 9\tabc", "N1\tReference", "T1\tD 0 1\tb", "T1\t\xff"]
)
def test_errors_name_the_ann_file(line, tmp_path):
    file(tmp_path, "x.txt", "abc")
    path = file(tmp_path, "x.ann", f"#1\tnote\n{line}\n".encode("latin-1"))
    assert failure(tmp_path).startswith(f"{path}:2: ")


def folder_of_everything(folder):
    file(folder, "b/x.tsv", IOB)
    file(folder, "a/x.jsonl.gz", gzip.compress(RECORDS.encode()))
    file(folder, "a/deep/p.txt", PUBTATOR.replace("1|", "7|").replace("1\t7", "7\t7").replace("2|", "8|"))
    file(folder, "a/n.txt", "Spiran alone.")
    file(folder, "c/d.txt", "Velosis")
    file(folder, "c/d.ann", "T1\tD 0 7\tVelosis\n")
    file(folder, "z.json", collection({"id": "9", "passages": [passage("nirlazole")]}))
    file(folder, "README.md", "# words")
    file(folder, ".DS_Store", b"\x00")
    return folder


def test_a_folder_of_any_formats_is_read_in_order(tmp_path):
    documents, counts = read(folder_of_everything(tmp_path / "in"))
    ids = ["7", "8", "a/n", "1", "2", "b/x:1", "b/x:2", "c/d", "9"]
    assert [d.id for d in documents] == ids
    assert counts == {"file_not_read": 1}
    assert [(m.type, d.surface(m)) for d in documents for m in d.mentions][-2:] == [
        ("Species", "mice"),
        ("D", "Velosis"),
    ]


@pytest.mark.parametrize("chunk", [1, 2, 50])
def test_predictions_of_a_folder_are_files_of_the_same_names(chunk, tmp_path):
    source, target = folder_of_everything(tmp_path / "in"), tmp_path / "out"
    assert predicted(source, target, chunk=chunk) == 0
    names = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    written = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert written == names - {"README.md", ".DS_Store"} | {"a/n.ann"}
    before, after = read(source)[0], read(target)[0]
    assert [(d.id, d.text) for d in after] == [(d.id, d.text) for d in before]
    assert [(m.type, d.surface(m)) for d in after for m in d.mentions] == [
        ("Disease", "velosis"), ("Species", "mice"), ("Chemical", "Spiran"), ("Chemical", "Spiran"), ("Disease", "velosis"),
        ("Species", "mice"), ("Disease", "velosis"), ("Species", "mice"), ("Disease", "Velosis"), ("Chemical", "nirlazole"),
    ]  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}
    with pytest.raises(ValueError, match="not an empty folder"):
        predicted(source, target)


def test_a_broken_file_of_a_folder_counts_as_one(tmp_path):
    source = folder_of_everything(tmp_path / "in")
    file(source, "a/broken.xml", "<collection><docu")
    file(source, "c/alone.ann", "T1\tD 0 1\ta\n")
    assert predicted(source, tmp_path / "out") == 2
    assert len(read(tmp_path / "out")[0]) == 9


@pytest.mark.parametrize("target", ["out.jsonl.gz", "out.bioc.xml.gz", "out.json.gz", "out.tsv.gz", "out", "folder"])
@pytest.mark.parametrize("stop", [0, 1, 2])
def test_packed_files_and_brat_are_written_and_resumed(target, stop, tmp_path, monkeypatch):
    text = "".join(f'{{"id": "{n}", "text": "velosis {n}"}}\n' for n in range(7))
    source = folder_of_everything(tmp_path / "in") if target == "folder" else file(tmp_path, "in.jsonl", text)

    def content(path):
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        return {file.relative_to(tmp_path).parts[1:]: file.read_bytes() for file in files if file.is_file()}

    whole = tmp_path / ("whole" + target.removeprefix("out").removeprefix("folder"))
    assert predicted(source, whole) == 0
    calls = []

    class Killed(Exception):
        pass

    with monkeypatch.context() as patch:
        for kind in (outputs.ResumableOutput, outputs.FolderFormatOutput, outputs.FolderOutput):

            def write(self, documents, write=kind.write):
                if len(calls) == stop:
                    raise Killed
                calls.append(1)
                write(self, documents)

            patch.setattr(kind, "write", write)
        with pytest.raises(Killed):
            predicted(source, tmp_path / target)
    assert not (tmp_path / target).exists()
    assert predicted(source, tmp_path / target, resume=True) == 0
    assert content(tmp_path / target) == content(whole)
    assert len(read(tmp_path / target)[0]) == (9 if target == "folder" else 7)


# --- IOB --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-D I-D E-D O S-D", ["a b c", "e"]), ("B-D I-D L-D O U-D", ["a b c", "e"]),
        ("B-D E-D B-D E-D S-D", ["a b", "c d", "e"]),
        ("I-D I-D O I-E I-D", ["a b", "d", "e"]), ("B-D B-D I-D O O", ["a", "b c"]), ("S-D S-D E-D O O", ["a", "b", "c"]),
        ("B-D I-E I-E O O", ["a", "b c"]), ("O O O O B-D", ["e"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("typed", [True, False])
def test_schemes(tags, found, typed, tmp_path):
    if not typed and "-E" in tags:
        return
    tags = tags if typed else tags.replace("-D", "")
    rows = "".join(f"{token}\t{tag}\n" for token, tag in zip("abcde", tags.split(), strict=True))
    (document,), _ = read(file(tmp_path, "x.tsv", rows), entity_type=None if typed else "D")
    assert [document.surface(m) for m in document.mentions] == found
    assert {m.type for m in document.mentions} <= {"D", "E"}


@pytest.mark.parametrize(
    ("line", "id"),
    [
        ("###MEDLINE:0001", "0001"), ("# doc_id = 77", "77"), ("# newdoc id = a b", "a b"), ("#doc_id=5", "5"),
        ("# PMID: 12", "12"),
        ("-DOCSTART- (x 1)", "x 1"), ("-DOCSTART- -X- -X- O", "in:1"), ("-DOCSTART-\tO", "in:1"), ("-DOCSTART- O", "in:1"),
        ("### document 3", "3"), ("# newdoc", "in:1"), ("###PMID:9  ", "9"), ("# document_id: PMC1", "PMC1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("between", ["\n", "\n\n", "\r\n\r\n"])
def test_lines_that_begin_documents(line, id, between, tmp_path):
    content = f"{line}{between}Severe O\nvelosis B-D\n\nx O\n\n{line}{between}# O\n"
    documents, _ = read(file(tmp_path, "in.conll", content), repeated_ids="index")
    assert (documents[0].id, documents[0].text) == (id, "Severe velosis\nx")
    assert documents[1].text == "#"


def test_comments_are_counted_and_hashes_are_tokens(tmp_path):
    documents, counts = read(file(tmp_path, "x.conll", "# sent_id = 1\n# text = a b\n# O\n#1 O\n### B-D\n#\tO\n\n"))
    assert (documents[0].text, counts) == ("# #1 ### #", {"comment": 2})


@pytest.mark.parametrize("blank", [" ", "\t", "  ", "\t\t", " \t "])
@pytest.mark.parametrize("separator", [" ", "\t"])
def test_white_space_after_the_tag(blank, separator, tmp_path):
    rows = "".join(f"{token}{separator}{tag}{blank}\n" for token, tag in (("a", "O"), ("b", "B-D"))) + f"{blank}\n"
    assert surfaces(file(tmp_path, "x.tsv", rows + rows)) == [[("D", "b")], [("D", "b")]]


@pytest.mark.parametrize("header", ["token\ttag", "Word\tPOS\tTag", "tokens\tner_tags", "text label", "word\tNER"])
def test_headers(header, tmp_path):
    documents, counts = read(file(tmp_path, "x.tsv", f"{header}\n{IOB}"))
    assert (documents[0].text, counts) == ("Severe velosis", {"header": 1})


@pytest.mark.parametrize("rows", ["a\tO\tx\nb\tB-D\ty\n", "a O x 1\nb B-D y 2\n"])
def test_the_column_of_the_tag(rows, tmp_path):
    path = file(tmp_path, "x.tsv", rows)
    assert "2: 'O'" in failure(path)
    assert "--tag_column" in failure(path)
    assert surfaces(path, tag_column=2) == [[("D", "b")]]
    assert "a tag in column 9" in failure(path, tag_column=9)


@pytest.mark.parametrize(
    "content",
    [
        IOB, IOB.replace("\t", " "), "-DOCSTART- (1)\n\n" + IOB + "\n-DOCSTART- (2)\n\nSpiran\tO\n", "###MEDLINE:1\n\n" + IOB,
        "Severe\tJJ\tO\nvelosis-like\tNN\tB-X\n", "Severe\tO\tJJ\nvelosis-like\tB-X\tNN\n",
        "anti-velosis-spiran\tO\n(velosis\tO\n",
        "a\u00a0velosis\tO\nb c\tO\n", IOB.replace("\n", "\r\n"), "Severe\nvelosis\n\nmice\n", "VELOSISvelosis\tO\n",
    ],
)  # fmt: skip
def test_one_line_out_for_each_token_in(content, tmp_path, caplog):
    source, target = file(tmp_path, "in.iob2", content), tmp_path / "out.iob2"
    format = "iob2" if "\t" not in content else None
    assert predicted(source, target, format=format) == 0
    before = [line.rstrip() for line in content.splitlines()]
    after = target.read_text().splitlines()
    tokens = [[line.replace("\t", " ").split(" ")[0] for line in lines if line.strip()] for lines in (before, after)]
    assert tokens[0] == tokens[1]
    assert [not line for line in before if line is not before[-1]] == [not line for line in after][: len(before) - 1]
    inside = [
        token for token in tokens[0] if token.lower() not in WORDS and any(word in token.lower() for word in WORDS)
    ]
    assert ("widened_to_token" in caplog.text) == bool(inside)
    rows = [line for line in after if "velosis" in line]
    assert rows
    assert all("B-" in line or "I-" in line for line in rows)
    read(target, format="iob2", tag_column=2 if "B-X\tNN" in content else None)


def test_a_token_that_begins_with_a_number_sign_is_none_of_a_comment(tmp_path):
    text = "We PRP O\n#COVID19 NNP B-Disease\n# see the figure\n\nThe DT O\n# SYM O\n53 CD O\n"
    documents, counts = read(file(tmp_path, "x.conll", text))
    assert [d.text for d in documents] == ["We #COVID19", "The # 53"]
    assert [(d.surface(m), m.type) for d in documents for m in d.mentions] == [("#COVID19", "Disease")]
    assert counts == {"comment": 1}
    documents, _ = read(file(tmp_path, "y.conll", "###MEDLINE:1\n\nsee O\n#doc O\n# doc 2\nx O\n"))
    assert [(d.id, d.text) for d in documents] == [("1", "see #doc"), ("2", "x")]
    documents, counts = read(file(tmp_path, "z.conll", "We O PRP\n#COVID19 B-Disease NNP\n"), tag_column=2)
    assert [d.text for d in documents] == ["We #COVID19"]
