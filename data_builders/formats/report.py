"""Errors of files, and the report of everything that a file holds and a document does not.

Use `mosaic_ner.data_builders.formats`; this file and base.py are its foundation.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from mosaic_ner.modeling.label_space import UserError

# cause → (what the percentage in the summary refers to, meaning)
CAUSES = {
    "text_mismatch": ("mention", "the mention's text in the file is not the text at its offsets; offsets kept"),
    "outside_text": ("mention", "the mention is empty or reaches outside the text; dropped"),
    "duplicate_mention": ("mention", "the same offsets, type and identifiers again in one document; kept once"),
    "discontinuous": ("mention", "the mention has several pieces, parted by more than white space; dropped"),
    "iob1_start": ("mention", "an I- tag that continues nothing; read as the start of a mention"),
    "repeated_id": ("document", "the document id occurred before in the file; told apart by its index"),
    "empty_document": ("document", "the document has no text but white space; kept"),
    "missing_blank_line": ("document", "a PubTator record follows another without a blank line; read as a new record"),
    "no_annotation_file": ("document", "a brat .txt without its .ann; read as a document without mentions"),
    "relation": ("", "relations between mentions; not kept"),
    "extra_field": ("", "a cell after the identifiers of a PubTator mention; not kept"),
    "infon_not_kept": ("", "an infon of an annotation or sentence that has no place in a mention; not kept"),
    "not_kept": ("", "a brat line other than T, N and a score (relation, event, attribute, note); not kept"),
    "empty_token": ("", "an IOB line whose first cell is empty; dropped"),
    "crlf": ("file", "lines end with CR LF; in plain text and brat the CR stays part of the text"),
    "bom": ("file", "the file starts with a byte order mark; stripped"),
    "bad_record": ("", "a record that can't be read; skipped"),
    "broken_file": ("", "the file ends in the middle of a record or breaks there; the records before are kept"),
    "unwritable": ("document", "the output's format cannot hold the document; left out"),
    "format_by_content": (
        "file",
        "the file's content is of another format than its ending says; the content was believed",
    ),
    "file_not_read": ("", "a file of a folder that is of no format known here; left out"),
    "missing_id": ("document", "a record without an id; named by its line or its place in the file"),
    "no_location": ("mention", "an annotation of a document without a place in its text (an index term); left out"),
    "no_type": ("mention", "an annotation without an infon 'type'; left out"),
    "repeated_mention_id": ("mention", "a brat id that occurs twice; both mentions kept"),
    "short_row": ("", "a PubTator line of three cells, a relation of names; not kept"),
    "annotation_not_kept": ("", "an annotation of another layer than named entities (XMI); not kept"),
    "region_not_kept": ("", "a region of Label Studio that is no label of the text's characters; not kept"),
    "several_annotators": ("document", "a task with several annotations; each is a document, told apart by its index"),
    "other_version": ("", "an annotation or prediction of a task beside the one that is read; not kept"),
    "prediction_read": ("document", "a task without annotations; the mentions are its prediction's"),
    "not_annotated": ("document", "a task without annotations or predictions; no type counts as annotated in it"),
    "key_not_kept": ("", "a key of a JSON record that a document has no place for; not kept"),
    "lone_surrogate": ("", "half of a UTF-16 pair, which is no character; replaced by U+FFFD, so that offsets hold"),
    "comment": ("", "a comment line of an IOB file; not kept"),
    "header": ("file", "the names of an IOB file's columns; not read as a token"),
    "cr": ("file", "lines end with CR alone; in plain text and brat it stays part of the text"),
    "widened_to_token": ("mention", "the mention began or ended inside a token of the input; widened to whole tokens"),
    "score_not_written": ("mention", "the format has no place for a prediction's score"),
    "identifiers_not_written": ("mention", "the format has no place for concept identifiers"),
    "identifier_split": ("mention", "an identifier contains ';' and will be read back as two"),
    "nested_not_written": ("mention", "the mention overlaps a longer or earlier one, which IOB2 cannot express"),
    "blank_mention_not_written": ("mention", "the mention covers only white space, which IOB2 cannot express"),
    "mention_trimmed": ("mention", "the mention starts or ends with white space, which IOB2 cannot express"),
    "relations_not_written": ("", "the format has no place for relations between mentions"),
    "annotated_types_not_written": ("document", "the format has no place for the types that the document declares"),
    "unclear_not_written": ("mention", "the format has no place for a mention that is unclear"),
    "key_not_written": ("", "the format has no place for a key of a BioC document or of a part of it"),
    "collection_not_written": ("", "the format has no place for what a collection says beside its documents"),
    "infons_not_written": ("document", "the format has no place for the document's infons"),
    "article_not_written": ("document", "the format has no place for an article id that differs from the document's"),
    "passages_not_written": ("document", "the format cannot express these passages"),
    "text_respaced": ("document", "IOB2 keeps tokens, not spacing: the text read back differs in white space"),
    "resplit_token": ("", "a token was cut at a mention's boundary"),
    "whitespace_replaced": ("", "characters of line ends replaced by one space each, so that offsets hold"),
    "deleted_citation": ("", "a citation that PubMed deleted; listed"),
    "other_language": ("", "a title or abstract in another language than English; not read"),
    "reference": ("", "an entry of a full text's list of references; not read"),
    "sub_article": ("", "an article within an article, such as a reviewer's letter; not read"),
    "formula_not_read": ("", "a formula that is TeX or a picture; not read"),
    "character_replaced": ("", "characters that the format cannot hold replaced one by one, so that offsets hold"),
}


class FormatError(UserError):
    """A file (or a document to be written) that does not follow its format.

    Args:
        path: the file.
        expected, got: what the format asks for and what is there.
        remedy: what to do next.
        line: line number from 1, where there is one.
        document: id of the document, where known.
    """

    def __init__(self, path, expected: str, got: str, remedy: str, *, line: int | None = None, document=None):
        self.path, self.line, self.document, self.expected, self.got = str(path), line, document, expected, got
        self.remedy = remedy
        where = f"{path}:{line}" if line is not None else str(path)
        if document is not None:
            where += f": document {document!r}"
        super().__init__(f"{where}: expected {expected}, got {got}; {remedy}")


class ReadReport:
    """Counts, by cause, of everything a file holds that is not (or not exactly) represented; see `CAUSES`.

    `documents` and `mentions` are totals seen, dropped ones included; `examples` keeps the first few of each cause.
    `bad` lists records that were skipped, files that broke and documents that could not be written, with their places; its
    length is bounded, its count is `bad_count`. `deleted` are the citations that PubMed's files delete: (PMID, version, file).
    """

    max_examples, max_bad = 3, 1000
    BAD = ("bad_record", "broken_file", "unwritable")

    def __init__(self):
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)
        self.bad: list[str] = []
        self.deleted: list[tuple[str, str, str]] = []
        self.documents = 0
        self.mentions = 0

    @property
    def bad_count(self) -> int:
        """How many records are missing in what was read or written."""
        return sum(self.counts[cause] for cause in self.BAD)

    def add_bad(self, cause: str, error: FormatError) -> None:
        """Count and list a record that is left out."""
        self.add(cause, str(error))
        if len(self.bad) < self.max_bad:
            self.bad.append(str(error))

    def add(self, cause: str, where: str, detail: str = "", count: int = 1) -> None:
        """Count `cause`; `where` is `file:line` or a document name, `detail` what was seen there."""
        self.counts[cause] += count
        if len(self.examples[cause]) < self.max_examples:
            self.examples[cause].append(f"{where}: {detail}" if detail else where)

    def merge(self, other: ReadReport) -> None:
        """Add another report's counts and, as far as there is room, its examples."""
        self.counts.update(other.counts)
        self.bad += other.bad[: self.max_bad - len(self.bad)]
        self.deleted += other.deleted
        self.documents += other.documents
        self.mentions += other.mentions
        for cause, examples in other.examples.items():
            self.examples[cause].extend(examples[: self.max_examples - len(self.examples[cause])])

    def to_dict(self, examples: bool = True) -> dict:
        """Plain types only, for JSON.

        Args:
            examples: with the places of the first faults, which name files of this machine and quote their text.
        """
        out = {"documents": self.documents, "mentions": self.mentions, "counts": dict(self.counts)}
        if examples:
            out["examples"] = {cause: list(places) for cause, places in self.examples.items()}
        return out

    def summary(self) -> str:
        """Readable lines, most frequent cause first, with percentages of the mentions or documents seen."""
        lines = [f"{self.documents:,} documents, {self.mentions:,} mentions"]
        for cause, count in self.counts.most_common():
            unit, meaning = CAUSES.get(cause, ("", cause))
            total = {"mention": self.mentions, "document": self.documents}.get(unit, 0)
            share = f" ({100 * count / total:.2f}% of {total:,} {unit}s)" if total else ""
            lines.append(f"  {cause}: {count:,}{share}: {meaning}; e.g. {self.examples[cause][0]}")
        return "\n".join(lines)
