"""Which format a file has: by its content, by its ending where the content doesn't say."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from mosaic_ner.modeling.label_space import nearest

from . import jats, parquet, pubmed
from .iob2 import comment, is_header, is_tag, row_cells
from .jsontext import first_line_is_a_value, looks_like_a_collection, parses_across_lines
from .label_studio import looks_like_tasks
from .report import FormatError
from .streams import BOM, GzipBomb, open_binary

# name → (endings in lower case, description)
FORMATS: dict[str, tuple[tuple[str, ...], str]] = {
    "pubtator": ((".pubtator", ".pubtator.txt"), "PubTator: ID|t|title, ID|a|abstract, tab-separated mentions"),
    "bioc_xml": ((".bioc.xml", ".xml"), "BioC XML collection"),
    "bioc_json": ((".bioc.json", ".json"), "BioC JSON: a collection, a document, a list of them, PubTator 3's reply"),
    "jsonl": ((".jsonl", ".ndjson"), "one JSON document a line; holds all that a Document holds"),
    "brat": ((".ann",), "brat standoff: a folder of .txt and .ann files, or one of them"),
    "label_studio": ((".labelstudio.json", ".json"), "Label Studio's tasks: its export, or pre-annotations for it"),
    "xmi": ((".xmi",), "UIMA CAS XMI (INCEpTION): a folder of .xmi files with their TypeSystem.xml, or one of them"),
    "iob2": (
        (".iob2", ".iob", ".bio", ".conll", ".tsv", ".iobes", ".bilou"),
        "IOB2 (IOB1, IOBES, BILOU are read): token and tag a line, a blank line after a sentence",
    ),
    "pubmed": ((".pubmed.xml", ".xml"), "PubMed XML: citations, baseline and update files (reading only)"),
    "jats": ((".nxml", ".jats.xml", ".xml"), "JATS full texts (reading only)"),
    "parquet": ((".parquet",), "Parquet: a row a document, with the columns of a JSON line (reading only)"),
    "text": ((".txt",), "plain text: a file is one document; or a folder of .txt files (reading only)"),
    "genia_jsonl": ((), "GENIA's JSON lines with token offsets (reading only; never guessed from the name)"),
    "scai": ((), "Fraunhofer SCAI's IOB with offsets, in Latin-1 (reading only; never guessed from the name)"),
}
WRITTEN_AS = dict.fromkeys(("brat", "xmi", "text", "genia_jsonl", "parquet"), "jsonl") | dict.fromkeys(
    ("pubmed", "jats"), "bioc_xml"
)
"""Those that no single file is written in → the one that takes their documents."""
OPTIONS = {
    "offset_unit": ("pubtator", "bioc_xml", "bioc_json", "jsonl", "brat", "label_studio"),
    "entity_type": ("iob2", "jsonl", "bioc_json"),
    "type_infon": ("bioc_xml", "bioc_json", "jsonl"),
    "tag_column": ("iob2",),
}
"""Options of reading → the formats that they have an effect on; JSON files may hold BioC, or tokens and tags."""
_HEAD = 1 << 18  # bytes of a file that are looked at
_LINES = 50
# An id, not the |t| of a formula or of a program's output
_PUBTATOR = re.compile(r"[^|\s\"'{}\[\]<>()][^|\t\"'{}\[\]<>()]{0,80}(?<!\s)\|[ta]\|")
_ANN = re.compile(r"T[0-9]+\t\S+ [0-9]+ [0-9]+(;[0-9]+ [0-9]+)*\t")
_XML = re.compile(r"\s*<(\?xml|!DOCTYPE|[A-Za-z])")
_BIOC = re.compile(r"<collection\b|<document\b|<!DOCTYPE\s+collection\b")
_JATS = re.compile(r"<(?:\w+:)?article\b[^>]*>")
# What may stand before the root: declaration, comments, document type
_PROLOG = re.compile(r"<\?.*?\?>|<!--.*?-->|<!DOCTYPE(?:[^\[>\"']|\"[^\"]*\"|'[^']*'|\[[^\]]*\])*>", re.DOTALL)
_ROOT = re.compile(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)")
_JSON = re.compile(r"\s*(\[\s*([\[{\"]|\]?\s*$)|\{\s*([\"}]|$))")


def choice(value: str, known: Iterable[str], what: str, path) -> str:
    """The value, one of those known.

    Raises:
        FormatError: it is another; the message lists them and the nearest.
    """
    if value not in known:
        raise FormatError(
            path,
            f"a {what} of {', '.join(known)}",
            repr(value),
            f"pass one of these{nearest(value, known, listing=False)}",
        )
    return value


def endings() -> list[tuple[str, str]]:
    """(ending, format), longest ending first; of an ending that several formats have, the first."""
    pairs = {ending: name for name, (own, _) in reversed(FORMATS.items()) for ending in own}.items()
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def format_of_name(path: str | Path) -> str | None:
    """The format that a file's ending (before `.gz`) names; None for another ending."""
    name = Path(path).name.lower().removesuffix(".gz")
    return next((format for ending, format in endings() if name.endswith(ending)), None)


def named_so(path: Path, format: str) -> bool:
    """Whether a file's ending (before `.gz`) is one of the format's."""
    return path.name.lower().removesuffix(".gz").endswith(FORMATS[format][0] or ("",))


def stem_of(path: Path) -> str:
    """The file name without its ending and `.gz`."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    ending = next((ending for ending, _ in endings() if name.lower().endswith(ending)), Path(name).suffix)
    return (name[: -len(ending)] if ending else name) or name


def unknown_ending(path: Path, remedy: str = "rename the file or pass format= (--format)") -> FormatError:
    """The error for a name that tells no format."""
    known = sorted(ending for ending, _ in endings())
    got = Path(path.name.lower().removesuffix(".gz")).suffix
    remedy = f"{remedy}, one of {', '.join(FORMATS)}{nearest(got, known, listing=False)}"
    return FormatError(path, f"a file ending of {', '.join(known)}", repr(got) if got else "none", remedy)


def detect_format(path: str | Path) -> str:
    """The format of a file, by its content where that tells one, else by its ending (before `.gz`).

    Raises:
        FormatError: neither tells; the message lists the known endings and the nearest.
    """
    path = no_pipe(Path(path))
    named = format_of_name(path)
    found = format_of_content(path) if path.is_file() else None
    if found == "brat" and named not in (None, "text", "brat"):
        found = None
    if {found, named} == {"bioc_json", "jsonl"}:
        found = _json_format(head(path), named)
    if found is None and named == "text" and path.with_suffix(".ann").exists():
        return "brat"
    if found or named:
        return found or named
    raise unknown_ending(path)


def no_pipe(path: Path) -> Path:
    """The path, unless it is a pipe: a file is opened more than once, and the start of a pipe would be lost.

    Raises:
        FormatError: it is one.
    """
    if path.is_fifo() or path.is_char_device() or path.is_socket():
        raise FormatError(path, "a file or a folder", "a pipe", "write it to a file, or pipe it to `mosaic-ner tag -`")
    return path


def head(path: Path) -> str:
    """The first characters of a file, unpacked; what is not UTF-8 is replaced."""
    raw = b""
    # A break is said when the file is read.
    with contextlib.suppress(EOFError, GzipBomb, OSError, zlib.error), open_binary(path) as handle:
        while len(raw) < _HEAD and (piece := handle.read1(_HEAD - len(raw))):
            raw += piece
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ""
    return raw.removeprefix(BOM).decode("utf-8", "replace")


def format_of_content(path: Path) -> str | None:
    """What the file's first lines are, None where they could be anything."""
    text = head(path)
    if text.startswith(parquet.MAGIC):
        return "parquet"
    # The last line may be cut.
    lines = [line for line in re.split(r"\r\n|\n|\r", text)[: _LINES + 1] if line.strip()][:_LINES]
    if not lines:
        return None
    if any(_PUBTATOR.match(line) for line in lines[:20]):
        return "pubtator"
    if _XML.match(text):
        return _xml_format(text)
    if _JSON.match(text):
        return _json_format(text, None)
    if _is_iob(lines, cut=len(text) >= _HEAD and len(lines) < _LINES):
        return "iob2"
    if _ANN.match(lines[0]):
        return "brat"
    return None


def _after_prolog(text: str) -> str:
    rest = text.lstrip()
    while before := _PROLOG.match(rest):
        rest = rest[before.end() :].lstrip()
    return rest


def _root(text: str) -> str:
    root = _ROOT.match(_after_prolog(text))
    return root[1] if root else ""


def _xml_format(text: str) -> str | None:
    rest, name = _after_prolog(text), _root(text)
    if name in pubmed.ROOTS:
        return "pubmed"
    if name == "XMI":
        return "xmi"
    if name in jats.ROOTS and _JATS.search(rest):
        return "jats"
    return "bioc_xml" if _BIOC.search(text) else None


def is_beside(path: Path) -> bool:
    """Whether a file is what a format has beside its documents: INCEpTION's types, Label Studio's interface."""
    return path.suffix.lower() == ".xml" and _root(head(path)) in ("typeSystemDescription", "View")


def _json_format(text: str, named: str | None) -> str:
    """The reader of lines for one value a line, else that of any JSON."""
    if looks_like_tasks(text):
        return "label_studio"
    if looks_like_a_collection(text):
        return "bioc_json"
    if first_line_is_a_value(text):
        several = len([line for line in text.splitlines() if line.strip()]) > 1
        return "jsonl" if several or named == "jsonl" else "bioc_json"
    return "jsonl" if named == "jsonl" and not parses_across_lines(text) else "bioc_json"


def _is_iob(lines: list[str], cut: bool) -> bool:
    """Whether every line is a token with a tag, but for headers and comments."""
    rows = [row_cells(line) for line in lines if comment(line) is None]
    if cut:
        rows = rows[:-1]
    if rows and is_header(rows[0]):
        rows = rows[1:]
    if not rows or min(map(len, rows)) < 2:
        return False
    columns = [{cells[n] for cells in rows} for n in range(1, min(map(len, rows)))]
    last = {cells[-1] for cells in rows}
    tagged = [found for found in [last, *columns] if all(is_tag(tag) for tag in found)]
    # "hepatitis B" is no file of tags, nor is "role of B-cell lymphoma"
    sure = [found for found in tagged if any("-" in tag for tag in found) or ("O" in found and len(rows) > 2)]
    return bool(sure) and (any("\t" in line for line in lines) or len(rows) > 2)
