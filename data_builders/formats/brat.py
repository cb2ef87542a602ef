"""brat standoff: a folder with a .txt and an .ann file for each document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

from mosaic_ner.modeling.document import Document, Mention

from .base import Reading, parse_integer
from .streams import Undecodable, open_binary, read_lines, read_text

_SPAN = re.compile(r"(.+?) (-?[0-9]+ -?[0-9]+(?:;-?[0-9]+ -?[0-9]+)*)", re.DOTALL)
_NORMALISATION = re.compile(r"\S+ (\S+) (.*)", re.DOTALL)
_SCORE = re.compile(r"#[^\t]*\tAnnotatorNotes (T[^\t]*)\tscore ([01]\.[0-9]{1,6})")  # as we write it
_LINE_START = re.compile(r"[A-Z#*][A-Za-z0-9]*\t|\s*$")  # after a lone carriage return
_REPEATED = re.compile(r"(.+)\+record([1-9][0-9]*)", re.DOTALL)  # a "+" of the id itself is written %2B


def brat_files(path: Path) -> list[Path]:
    """The .txt files (there or not) of a folder with its subfolders, in the order of their names, or that of one file."""
    if not path.is_dir():
        return [path.with_suffix(".txt")]
    files = {file.with_suffix(".txt") for file in files_of(path) if file.suffix in (".txt", ".ann")}
    return sorted(files, key=lambda file: file.relative_to(path).with_suffix("").parts)


def files_of(folder: Path) -> list[Path]:
    """The files of a folder and its subfolders in the order of their names, without hidden ones."""
    found = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    kept = sorted(file.parts for file in found if not any(map(_is_hidden, file.parts)))
    return [folder.joinpath(*parts) for parts in kept]


def _is_hidden(name: str) -> bool:
    """Whether a file is no document; an id may begin with a dot."""
    return name.startswith(".") and (name.startswith("._") or not name.endswith((".txt", ".ann")))


def read_brat(path: Path, reading: Reading, root: Path | None = None) -> Iterator[Document]:
    """The documents of a folder and its subfolders in the order of their names, or the one document of a .txt or .ann file.

    In a subfolder of `root` (by default the folder), the id begins with its name.
    """
    files = brat_files(path)
    if not files:
        raise reading.error("files *.txt and *.ann", "none", "give the folder that holds them")
    root = root or (path if path.is_dir() else path.parent)
    yield from reading.records(partial(_read_pair, file, root, reading) for file in files)


def _read_pair(txt: Path, root: Path, reading: Reading) -> Document:
    id, index = id_of_stem(txt.stem)
    id = "/".join([*txt.relative_to(root).parts[:-1], id])
    ann = txt.with_name(f"{txt.stem}.ann")
    if not txt.exists():
        remedy = "offsets are meaningless without the text: put it beside the .ann file"
        raise reading.of(ann).error(f"the text {txt.name}", "an .ann file alone", remedy, document=id)
    text = read_text(txt, reading.of(txt))
    if not reading.gold:
        return reading.of(txt).document(id, text, (), index=index)
    if not ann.exists():
        expected = f"{ann.name} beside {txt.name} (it may be empty)"
        reading.of(txt).fault("no_annotation_file", expected, "none", document=id)
        return reading.of(txt).document(id, text, (), index=index)
    return reading.of(txt).document(id, text, _mentions(ann, text, id, reading.of(ann)), index=index)


def _mentions(ann: Path, text: str, id: str, reading: Reading) -> list[Mention]:
    """The mentions of an .ann file."""
    rows, identifiers, scores = {}, {}, {}
    with open_binary(ann) as handle:
        for number, line in read_lines(handle, reading, _LINE_START):
            if isinstance(line, Undecodable):
                raise line.error
            if line.startswith("T"):
                key, row = _entity(line, number, text, id, reading)
                if key in rows:
                    reading.note("repeated_mention_id", key, line=number, document=id)
                if row is not None:
                    rows.setdefault(key, []).append(row)
            elif line.startswith("N"):
                target, identifier = _normalisation(line, number, id, reading)
                # of the mention before it, where several have the id
                identifiers.setdefault((target, max(len(rows.get(target, ())), 1)), []).append(identifier)
            elif score := _SCORE.fullmatch(line):
                scores[score[1], max(len(rows.get(score[1], ())), 1)] = float(score[2])
            elif line.strip():
                reading.note("not_kept", line[:80], line=number, document=id)
    mentions = []
    for key, same in rows.items():
        for place, (span, type, surface, number) in enumerate(same, 1):
            ids, score = identifiers.get((key, place), ()), scores.get((key, place))
            mentions.append(reading.mention(text, span, type, surface, ids, score, line=number, id=id))
    return [mention for mention in mentions if mention is not None]


def _entity(line: str, number: int, text: str, id: str, reading: Reading):
    """(key, ((start, end), type, surface, line)) of a T line; (key, None) when it has several pieces with text between."""
    cells = line.split("\t", 2)
    match = _SPAN.fullmatch(cells[1]) if len(cells) > 1 else None
    if match is None:
        expected = "T<number>, tab, type start end, tab, text"
        remedy = "separate the three by tabs; offsets are characters"
        raise reading.error(expected, repr(line[:80]), remedy, line=number, document=id)
    pieces = [
        tuple(parse_integer(cell, reading, "an offset", line=number, document=id) for cell in piece.split(" "))
        for piece in match[2].split(";")
    ]
    span = reading.joined(text, pieces)
    if span is None:
        reading.report.mentions += 1
        reading.note("discontinuous", line[:80], line=number, document=id)
        return cells[0], None
    return cells[0], (span, match[1], cells[2] if len(cells) > 2 else None, number)


def _normalisation(line: str, number: int, id: str, reading: Reading) -> tuple[str, str]:
    """(key of the T line, identifier) of an N line."""
    cells = line.split("\t")
    match = _NORMALISATION.fullmatch(cells[1]) if len(cells) > 1 else None
    if match is None:
        expected = "N<number>, tab, Reference T<number> database:identifier, tab, text"
        remedy = "separate the three by tabs"
        raise reading.error(expected, repr(line[:80]), remedy, line=number, document=id)
    return match[1], match[2]


def id_of_stem(stem: str) -> tuple[str, int | None]:
    """Id and index that a file name stands for: those `file_stem` wrote, else the name itself."""
    match = _REPEATED.fullmatch(stem)
    if match and _unquoted(match[1]) is not None:
        return _unquoted(match[1]), int(match[2])
    plain = _unquoted(stem)
    return (stem if plain is None else plain), None


def _unquoted(stem: str) -> str | None:
    plain = unquote(stem)
    return plain if quote(plain, safe=" ") == stem else None
