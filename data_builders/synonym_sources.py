"""Where synonyms come from: the training documents' concept identifiers, UMLS, and ontologies."""

from __future__ import annotations

import gzip
import logging
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mosaic_ner.modeling.document import Document, Mention, normalise_name
from mosaic_ner.modeling.label_space import UserError, nearest

from .extras import require
from .synonym_index import Synonyms

logger = logging.getLogger(__name__)

CORPORA_SOURCE, UMLS_SOURCE, OBO_SOURCE = "corpora", "umls", "obo"

# UMLS Reference Manual, chapter 3, "Concept Names and Sources (File = MRCONSO.RRF)".
UMLS_COLUMNS = (
    *("CUI", "LAT", "TS", "LUI", "STT", "SUI", "ISPREF", "AUI", "SAUI", "SCUI", "SDUI"),
    *("SAB", "TTY", "CODE", "STR", "SRL", "SUPPRESS", "CVF"),
)
_CUI, _LAT, _SAB, _STR, _SUPPRESS = (UMLS_COLUMNS.index(name) for name in ("CUI", "LAT", "SAB", "STR", "SUPPRESS"))
SUPPRESSED = ("O", "Y", "E")
"""Values of SUPPRESS: obsolete, suppressed by NLM's editors, suppressed by the source's term type."""
UMLS_REMEDY = (
    "UMLS needs a licence (free, https://uts.nlm.nih.gov/uts/signup-login); with it, download MRCONSO.RRF from "
    "https://www.nlm.nih.gov/research/umls/licensedcontent/umlsknowledgesources.html and give its path"
)
SCOPES = ("EXACT", "BROAD", "NARROW", "RELATED")
"""Of a synonym in OBO 1.4."""

# What files write where a mention has no concept. NLM-Chem and PubTator put a namespace before it.
_PLACEHOLDER = re.compile(r"(?:\w+:)?(?:-|-1|none|null|n/?a|nil|cui-?less|)", re.IGNORECASE)
# Several concepts in one identifier: `D001|D002`, `D001,D002`, `D001+D002` (NCBI disease). tmVar's `p|SUB|V|600|E` also
# matches; it names a change, but not the gene.
_COMPOSITE = re.compile(r"[|,+;]")
_UNDECLARED = re.compile(r"undeclared synonym type: (.+)")


class SynonymError(UserError):
    """A terminology that can't be read as asked; the message starts with `file` or `file:line`."""


def from_training_documents(
    training: Iterable[Document], wanted: Iterable[str] | None = None, counts: Counter[str] | None = None
) -> Synonyms:
    """Mentions that share a concept identifier within one corpus are synonyms.

    Identifiers are compared as the file spells them, within a corpus. Bare numbers are compared within a type too, because
    genes and species of BioRED, and genes and families of NLM-Gene, have the same numbers. tmVar3 gives a cell line the
    number of its organism; such mentions are left out.

    Args:
        training: *training* documents alone, without those that are in an evaluation set (`part_overlap`). Nothing else
            is read, so nothing else can leak.
        wanted: as for `Synonyms`.
        counts: gains numbers of mentions: `mentions` (all), and those left out: `without_identifier` (none, or a
            placeholder such as `-`), `composite` (several concepts), `organism_only` (cell lines with a bare number).
    """
    counts = Counter() if counts is None else counts
    names: dict[str, set[str]] = {}
    for document in training:
        for mention in document.mentions:
            counts["mentions"] += 1
            concept = _concept(document, mention, counts)
            if concept is not None:
                names.setdefault(concept, set()).add(normalise_name(document.surface(mention)))
    logger.info("synonyms of the corpora: %s", dict(counts))
    return Synonyms(names, CORPORA_SOURCE, wanted)


def _concept(document: Document, mention: Mention, counts: Counter[str]) -> str | None:
    """The concept of a mention, with its namespace. None where there isn't exactly one; `counts` gains the cause."""
    identifiers = [i.strip() for i in mention.identifiers if not _PLACEHOLDER.fullmatch(i.strip())]
    if not identifiers:
        counts["without_identifier"] += 1
        return None
    if len(identifiers) > 1 or _COMPOSITE.search(identifiers[0]):
        counts["composite"] += 1
        return None
    if not identifiers[0].isdecimal():
        return f"{document.corpus}:{identifiers[0]}"
    if mention.type == "CellLine":
        counts["organism_only"] += 1
        return None
    return f"{document.corpus}:{mention.type}:{identifiers[0]}"


def from_umls(
    path: str | Path,
    wanted: Iterable[str],
    *,
    languages: Iterable[str] | None = ("ENG",),
    vocabularies: Iterable[str] | None = None,
    counts: Counter[str] | None = None,
) -> Synonyms:
    """The names of the UMLS Metathesaurus concepts that a wanted text is a name of.

    The file is streamed twice: first for the concepts, then for their names.

    Args:
        path: `MRCONSO.RRF`, or the same compressed by gzip (`.gz`): UTF-8, 18 fields a row, each followed by a bar.
        wanted: the texts that will be looked up (`mention_texts`).
        languages: values of LAT; None for all.
        vocabularies: values of SAB, e.g. `MSH`, `SNOMEDCT_US`; None for all.
        counts: gains `rows` (all), the rows left out (`other_language`, `other_vocabulary`, `suppressed`) and `concepts`.

    Raises:
        SynonymError: no such file, a row with a wrong number of fields, not UTF-8, a damaged gzip file, or a language or
            vocabulary that no row has.
    """
    path, counts = Path(path), Counter() if counts is None else counts
    chosen = {
        column: None if values is None else frozenset(values)
        for column, values in (("LAT", languages), ("SAB", vocabularies))
    }
    seen: dict[str, set[str]] = {column: set() for column in chosen}
    wanted = {normalise_name(text) for text in wanted}
    names = ((cui, normalise_name(name)) for cui, name in _umls_names(path, chosen, counts, seen))
    concepts: dict[str, set[str]] = {cui: set() for cui, name in names if name in wanted}
    for column, values in chosen.items():
        for value in sorted((values or frozenset()) - seen[column]):
            raise SynonymError(
                f"{path}: expected rows with {column} {value!r}, got none{nearest(value, seen[column])}; "
                f"{'languages' if column == 'LAT' else 'vocabularies'} are named as the file does"
            )
    shared: dict[str, str] = {}  # A name that several concepts have is kept once.
    for cui, name in _umls_names(path, chosen, Counter(), seen):
        if cui in concepts:
            name = normalise_name(name)
            concepts[cui].add(shared.setdefault(name, name))
    counts["concepts"] += len(concepts)
    logger.info("%s: %s", path, dict(counts))
    return Synonyms(concepts, UMLS_SOURCE, wanted)


def _umls_names(
    path: Path, chosen: Mapping[str, frozenset[str] | None], counts: Counter[str], seen: Mapping[str, set[str]]
) -> Iterator[tuple[str, str]]:
    """(CUI, name) of the chosen rows that aren't suppressed, one row in memory at a time.

    `counts` gains the rows left out by cause, and `seen` the values of LAT and SAB.
    """
    for number, fields in _umls_rows(path):
        counts["rows"] += 1
        language, vocabulary = fields[_LAT], fields[_SAB]
        seen["LAT"].add(language)
        seen["SAB"].add(vocabulary)
        if chosen["LAT"] is not None and language not in chosen["LAT"]:
            counts["other_language"] += 1
        elif chosen["SAB"] is not None and vocabulary not in chosen["SAB"]:
            counts["other_vocabulary"] += 1
        elif fields[_SUPPRESS] in SUPPRESSED:
            counts["suppressed"] += 1
        elif not fields[_CUI]:
            raise SynonymError(f"{path}:{number}: expected a CUI in the first field, got none; {UMLS_REMEDY}")
        else:
            yield fields[_CUI], fields[_STR]


def _umls_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each row."""
    if not path.is_file():
        raise SynonymError(f"{path}: expected UMLS's MRCONSO.RRF, got {_kind(path)}; {UMLS_REMEDY}")
    expected = f"expected {len(UMLS_COLUMNS)} fields ({', '.join(UMLS_COLUMNS)}), each followed by '|'"
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                fields = line.decode("utf-8").rstrip("\r\n").split("|")
                if len(fields) == len(UMLS_COLUMNS) + 1 and not fields[-1]:
                    fields.pop()
                if len(fields) != len(UMLS_COLUMNS):
                    raise SynonymError(
                        f"{path}:{number}: {expected}, got {len(fields)}; is this MRCONSO.RRF, and was all of it "
                        "downloaded?"
                    )
                yield number, fields
    except UnicodeDecodeError as error:
        raise SynonymError(
            f"{path}:{number}: expected UTF-8, got {error.reason} at byte {error.start} of "
            "the line; download the file again, or give the compressed one the ending .gz"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SynonymError(
            f"{path}:{number + 1}: expected a whole gzip file, got one that is damaged ({error}); download it again"
        ) from None


def _kind(path: Path) -> str:
    return "a folder" if path.is_dir() else "no such file"


def from_obo(
    path: str | Path,
    wanted: Iterable[str] | None = None,
    *,
    scopes: Iterable[str] = ("EXACT",),
    counts: Counter[str] | None = None,
) -> Synonyms:
    """The names and synonyms of an ontology's terms, without obsolete terms; the source is `obo:` and the file's stem.

    `pronto` (the extra `ontologies`) reads OBO, also compressed, OWL and OBO Graphs. What the ontology imports is not
    loaded.

    Args:
        path: the file.
        wanted: as for `Synonyms`.
        scopes: which synonyms are taken, of `SCOPES`; the term's name is always taken.
        counts: gains `terms`, `obsolete` and `other_scope` (synonyms).

    Raises:
        SynonymError: no such file, an unknown scope, or a file that pronto can't read.
        ExtraError: pronto is missing.
    """
    path, scopes, counts = Path(path), tuple(scopes), Counter() if counts is None else counts
    for scope in scopes:
        if scope not in SCOPES:
            raise SynonymError(f"{path}: unknown synonym scope {scope!r}{nearest(scope, SCOPES)}")
    if not path.is_file():
        raise SynonymError(
            f"{path}: expected an OBO file, got {_kind(path)}; ontologies are at https://obofoundry.org, e.g. doid.obo"
        )
    pronto = require("ontologies", f"{path}: reading an ontology", "pronto")
    ontology = _load_ontology(pronto, path)
    names: dict[str, set[str]] = {}
    for term in ontology.terms():
        counts["terms"] += 1
        if term.obsolete:
            counts["obsolete"] += 1
            continue
        taken = names[term.id] = {term.name} if term.name else set()
        for synonym in _term_synonyms(pronto, ontology, term, path):
            if synonym.scope in scopes:
                taken.add(synonym.description)
            else:
                counts["other_scope"] += 1
    logger.info("%s: %s", path, dict(counts))
    return Synonyms(names, f"{OBO_SOURCE}:{path.name.split('.')[0]}", wanted)


def _load_ontology(pronto, path: Path):
    remedy = "download the file again, or convert it to OBO 1.4 (https://robot.obolibrary.org, `robot convert`)"
    try:
        with open(path, "rb") as handle, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # pronto would look for a missing path on the network, hence the handle; it would also fetch imports.
            ontology = pronto.Ontology(handle, import_depth=0)
    except SyntaxError as error:
        where = f"{path}:{error.lineno}" if error.lineno else f"{path}"
        raise SynonymError(f"{where}: expected an ontology that pronto can read, got: {error.msg}; {remedy}") from error
    except KeyError as error:
        raise SynonymError(
            f"{path}: expected all terms that it refers to, got none with id {error}; imports are not loaded: give the "
            "release that contains them (`robot merge`)"
        ) from error
    except (ValueError, TypeError, OSError, EOFError, zlib.error) as error:
        raise SynonymError(f"{path}: expected an ontology that pronto can read, got: {error}; {remedy}") from error
    if caught:
        logger.info("%s: %d warnings by pronto, the first: %s", path, len(caught), caught[0].message)
    return ontology


def _term_synonyms(pronto, ontology, term, path: Path) -> Iterable:
    """A term's synonyms.

    pronto refuses synonym types that the header doesn't declare (its issues 219 and 229). Slims use some, such as the
    Disease Ontology's type of acronyms, so they are declared here.
    """
    declared = ontology.metadata.synonymtypedefs
    while True:
        try:
            return term.synonyms
        except ValueError as error:
            undeclared = _UNDECLARED.fullmatch(str(error))
            if undeclared is None or any(kind.id == undeclared[1] for kind in declared):
                raise SynonymError(
                    f"{path}: expected synonyms of {term.id} that pronto can read, got: {error}"
                ) from error
            declared.add(pronto.SynonymType(undeclared[1], undeclared[1]))


def collect(
    training: Iterable[Document],
    wanted: Iterable[str],
    *,
    umls: str | Path | None = None,
    obo: Iterable[str | Path] = (),
    languages: Iterable[str] | None = ("ENG",),
    vocabularies: Iterable[str] | None = None,
    scopes: Iterable[str] = ("EXACT",),
    counts: dict[str, Counter[str]] | None = None,
) -> Synonyms:
    """The synonyms of the wanted texts from the training documents, and from UMLS and ontologies where they are given.

    `counts` gains a counter per source. `from_training_documents`, `from_umls` and `from_obo` say the rest.

    Raises:
        SynonymError, ExtraError: a source can't be read.
    """
    wanted, counts = {normalise_name(text) for text in wanted}, {} if counts is None else counts
    counter = counts.setdefault(CORPORA_SOURCE, Counter())
    parts = [from_training_documents(training, wanted, counter)]
    if umls is not None:
        counter = counts.setdefault(UMLS_SOURCE, Counter())
        parts.append(from_umls(umls, wanted, languages=languages, vocabularies=vocabularies, counts=counter))
    for path in obo:
        counter = Counter()
        parts.append(from_obo(path, wanted, scopes=scopes, counts=counter))
        counts.setdefault(parts[-1].sources[0], Counter()).update(counter)
    return Synonyms.merged(*parts)
