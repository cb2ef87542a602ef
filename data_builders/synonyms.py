"""Synonyms of mentions, for models that learn to generate them: from UMLS, ontologies and the training corpora themselves.

A mention and a name match when they are equal in lower case with white space normalised; that is all, as in the joint
information bottleneck (Nguyen, Miwa and Ananiadou 2023, section 4.1, footnote 2, which lower-cases alone). So a short form
gets the names of every concept that it is short for (their section 5.3).

`python -m mosaic_ner.data_builders.synonyms --corpora ncbi_disease bc5cdr --data_dir DIR [--umls MRCONSO.RRF] [--obo FILE …]`
prints how many mentions have a synonym, their Table 1.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import random
import re
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mosaic_ner.modeling.document import Document, Mention, normalise_name
from mosaic_ner.modeling.label_space import nearest

from .corpora import CorpusError, get_corpus, read_split
from .overlap import remove_overlap

logger = logging.getLogger(__name__)

CORPORA_SOURCE, UMLS_SOURCE, OBO_SOURCE = "corpora", "umls", "obo"
TOTAL, ALL_TYPES = "total", "all"

# UMLS Reference Manual, chapter 3, "Concept Names and Sources (File = MRCONSO.RRF)"; every row ends with a bar.
UMLS_COLUMNS = (
    *("CUI", "LAT", "TS", "LUI", "STT", "SUI", "ISPREF", "AUI", "SAUI", "SCUI", "SDUI"),
    *("SAB", "TTY", "CODE", "STR", "SRL", "SUPPRESS", "CVF"),
)
_CUI, _LAT, _SAB, _STR, _SUPPRESS = (UMLS_COLUMNS.index(name) for name in ("CUI", "LAT", "SAB", "STR", "SUPPRESS"))
# O: obsolete; Y: suppressed by NLM's editors; E: by the source's term type. N: not suppressed.
SUPPRESSED = ("O", "Y", "E")
UMLS_REMEDY = (
    "UMLS needs a licence (free, https://uts.nlm.nih.gov/uts/signup-login); with it, download MRCONSO.RRF from "
    "https://www.nlm.nih.gov/research/umls/licensedcontent/umlsknowledgesources.html and give its path"
)
SCOPES = ("EXACT", "BROAD", "NARROW", "RELATED")

# What files write where a mention has no concept; NLM-Chem's and PubTator's may have a namespace before it.
_PLACEHOLDER = re.compile(r"(?:\w+:)?(?:-|-1|none|null|n/?a|nil|cui-?less|)", re.IGNORECASE)
# Several concepts in one identifier: `D001|D002`, `D001,D002`, NCBI disease's `D001+D002`; tmVar's `p|SUB|V|600|E`, which
# names a change but not whose, goes with them.
_COMPOSITE = re.compile(r"[|,+;]")
_UNDECLARED = re.compile(r"undeclared synonym type: (.+)")


class SynonymError(ValueError):
    """A terminology that can't be read as asked; the message starts with the file, and the line where there is one."""


class Concept(NamedTuple):
    """One concept of one source: its names, normalised, each once, sorted."""

    source: str
    identifier: str
    names: tuple[str, ...]


class Synonyms(Mapping[str, tuple[str, ...]]):
    """Mention text → the other names of its concepts, in alphabetical order, never the mention itself.

    Keys and names are normalised (`normalise_name`), and a text is normalised before it is looked up. Iteration is over the
    texts that have a synonym, in alphabetical order. A text that is a name of several concepts has the names of all.

    Args:
        concepts: concept identifier → its names.
        source: where they are from, kept for every synonym (`provenance`).
        wanted: the texts that will be looked up; the rest is not kept. All names when None.
    """

    def __init__(
        self,
        concepts: Mapping[str, Iterable[str]] | None = None,
        source: str = "own",
        wanted: Iterable[str] | None = None,
    ):
        self.sources: tuple[str, ...] = () if concepts is None else (source,)
        kept = None if wanted is None else {normalise_name(text) for text in wanted}
        index: dict[str, list[Concept]] = {}
        for identifier, names in (concepts or {}).items():
            concept = Concept(source, identifier, tuple(sorted({normalise_name(name) for name in names} - {""})))
            if len(concept.names) > 1:
                for name in concept.names:
                    if kept is None or name in kept:
                        index.setdefault(name, []).append(concept)
        # One object per concept, whichever of its names lead to it.
        self._index = {name: tuple(index[name]) for name in sorted(index)}

    @classmethod
    def merged(cls, *parts: Synonyms) -> Synonyms:
        """The synonyms of all parts; each keeps its sources. No concept of one part is joined with one of another."""
        result, index = cls(), {}
        for part in parts:
            for name, concepts in part._index.items():
                index[name] = (*index.get(name, ()), *(c for c in concepts if c not in index.get(name, ())))
        result._index = {name: index[name] for name in sorted(index)}
        result.sources = tuple(dict.fromkeys(source for part in parts for source in part.sources))
        return result

    def __getitem__(self, text: str) -> tuple[str, ...]:
        """The synonyms of a mention text; KeyError where it has none (`get(text, ())` gives no error)."""
        mention = normalise_name(text)
        if mention not in self._index:
            raise KeyError(f"{text!r} has no synonym in {', '.join(self.sources) or 'no source'}")
        names = {name for concept in self._index[mention] for name in concept.names}
        return tuple(sorted(names - {mention}))

    def __contains__(self, text: object) -> bool:
        """Whether the mention text has a synonym."""
        return isinstance(text, str) and normalise_name(text) in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def concepts(self, text: str) -> tuple[Concept, ...]:
        """The concepts that have the text as a name and at least one other; none where there are none."""
        return self._index.get(normalise_name(text), ())

    def provenance(self, text: str) -> dict[str, tuple[str, ...]]:
        """Synonym → the sources that gave it, in the order of `sources`; synonyms in alphabetical order."""
        concepts = self.concepts(text)
        given = {name: {concept.source for concept in concepts if name in concept.names} for name in self.get(text, ())}
        return {name: tuple(s for s in self.sources if s in sources) for name, sources in given.items()}

    def sources_of(self, text: str) -> tuple[str, ...]:
        """The sources that give the mention text a synonym, in the order of `sources`."""
        given = {concept.source for concept in self.concepts(text)}
        return tuple(source for source in self.sources if source in given)

    def choose(self, text: str, generator: random.Random) -> str | None:
        """One synonym of a mention text, all equally likely; None, and nothing drawn, where it has none.

        The same synonyms and a generator in the same state give the same choice.
        """
        names = self.get(text, ())
        return generator.choice(names) if names else None


def mention_texts(documents: Iterable[Document]) -> set[str]:
    """The distinct mention texts of some documents, normalised: the `wanted` of the sources below."""
    return {normalise_name(document.surface(mention)) for document in documents for mention in document.mentions}


def from_training_documents(
    training: Iterable[Document], wanted: Iterable[str] | None = None, counts: Counter[str] | None = None
) -> Synonyms:
    """Mentions that share a concept identifier within one corpus are synonyms.

    Args:
        training: *training* documents alone, those that are in an evaluation set taken out (`remove_overlap`): nothing
            else is read, so nothing else can leak. Documents without identifiers give nothing.
        wanted: as for `Synonyms`.
        counts: gains the numbers of mentions: `mentions`, `without_identifier` (or with a placeholder, `-`, `-1`),
            `composite` (of several concepts: several identifiers, or `D001|D002`), `organism_only`.

    An identifier counts as the file has it, per corpus. Bare numbers count per type too: BioRED's genes and species, and
    NLM-Gene's genes and families, are numbered alike. tmVar3 gives a cell line the number of its organism, which is no name
    of the line (`organism_only`).
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
    """The one concept that a mention is of, with its namespace; None, and counted why, where there is none."""
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

    The file is streamed twice, first for the concepts, then for their names; only those are kept.

    Args:
        path: `MRCONSO.RRF`, or the same compressed by gzip (`.gz`): 18 fields, each followed by a bar, in UTF-8 (UMLS
            Reference Manual, chapter 3).
        wanted: the texts that will be looked up (`mention_texts`).
        languages: values of LAT; None for all.
        vocabularies: values of SAB, e.g. `MSH`, `SNOMEDCT_US`; None for all.
        counts: gains `rows`, those left out (`other_language`, `other_vocabulary`, `suppressed`: SUPPRESS is O, Y or E)
            and `concepts`.

    Raises:
        SynonymError: no such file, a row with another number of fields, not UTF-8, damaged compression, or a language or
            vocabulary that no row has.
    """
    path, counts = Path(path), Counter() if counts is None else counts
    chosen = {
        "LAT": None if languages is None else frozenset(languages),
        "SAB": None if vocabularies is None else frozenset(vocabularies),
    }
    wanted = {normalise_name(text) for text in wanted}
    seen: dict[str, set[str]] = {"LAT": set(), "SAB": set()}
    concepts: dict[str, set[str]] = {}
    for cui, name in _umls_names(path, chosen, counts, seen):
        if normalise_name(name) in wanted:
            concepts[cui] = set()
    for column, values in chosen.items():
        for value in sorted((values or frozenset()) - seen[column]):
            raise SynonymError(
                f"{path}: expected rows with {column} {value!r}, got none{nearest(value, seen[column])}; "
                f"{'languages' if column == 'LAT' else 'vocabularies'} are named as the file does"
            )
    shared: dict[str, str] = {}
    for cui, name in _umls_names(path, chosen, Counter(), {"LAT": set(), "SAB": set()}):
        if cui in concepts:
            name = normalise_name(name)
            concepts[cui].add(shared.setdefault(name, name))
    counts["concepts"] += len(concepts)
    logger.info("%s: %s", path, dict(counts))
    return Synonyms(concepts, UMLS_SOURCE, wanted)


def _umls_names(
    path: Path, chosen: dict[str, frozenset[str] | None], counts: Counter[str], seen: dict[str, set[str]]
) -> Iterator[tuple[str, str]]:
    """(CUI, name) of the chosen rows that aren't suppressed, one row in memory at a time."""
    languages, vocabularies = chosen["LAT"], chosen["SAB"]
    for number, fields in _umls_rows(path):
        counts["rows"] += 1
        seen["LAT"].add(fields[_LAT])
        seen["SAB"].add(fields[_SAB])
        if languages is not None and fields[_LAT] not in languages:
            counts["other_language"] += 1
        elif vocabularies is not None and fields[_SAB] not in vocabularies:
            counts["other_vocabulary"] += 1
        elif fields[_SUPPRESS] in SUPPRESSED:
            counts["suppressed"] += 1
        elif not fields[_CUI]:
            raise SynonymError(f"{path}:{number}: expected a CUI in the first field, got none; {UMLS_REMEDY}")
        else:
            yield fields[_CUI], fields[_STR]


def _umls_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
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
    """The names and synonyms of an ontology's terms, obsolete terms left out; the source is `obo:` and the file's stem.

    Read by `pronto` (the extra `ontologies`), which takes OBO, also compressed, and as well OWL and OBO Graphs. What the
    ontology imports is not loaded.

    Args:
        path: the file.
        wanted: as for `Synonyms`.
        scopes: which synonyms are taken, of `SCOPES` (OBO 1.4, synonym clause); the term's name always is.
        counts: gains `terms`, `obsolete` and `other_scope` (synonyms).

    Raises:
        SynonymError: pronto is missing, no such file, an unknown scope, or a file that pronto can't read.
    """
    path, scopes, counts = Path(path), tuple(scopes), Counter() if counts is None else counts
    for scope in scopes:
        if scope not in SCOPES:
            raise SynonymError(f"{path}: unknown synonym scope {scope!r}{nearest(scope, SCOPES)}")
    if not path.is_file():
        raise SynonymError(
            f"{path}: expected an OBO file, got {_kind(path)}; ontologies are at https://obofoundry.org, e.g. doid.obo"
        )
    names: dict[str, set[str]] = {}
    ontology = _load_ontology(path)
    for term in ontology.terms():
        counts["terms"] += 1
        if term.obsolete:
            counts["obsolete"] += 1
            continue
        taken = names[term.id] = {term.name} if term.name else set()
        for synonym in _term_synonyms(ontology, term, path):
            if synonym.scope in scopes:
                taken.add(synonym.description)
            else:
                counts["other_scope"] += 1
    logger.info("%s: %s", path, dict(counts))
    return Synonyms(names, f"{OBO_SOURCE}:{path.name.split('.')[0]}", wanted)


def _load_ontology(path: Path):
    try:
        import pronto
    except ImportError as error:
        raise SynonymError(
            f"{path}: reading an ontology needs pronto, and {error.name} is missing: pip install 'mosaic-ner[ontologies]'"
        ) from error
    remedy = "download the file again, or convert it to OBO 1.4 (https://robot.obolibrary.org, `robot convert`)"
    try:
        with open(path, "rb") as handle, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # A handle, because pronto would look for a path that isn't there on the network; imports would be fetched too.
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


def _term_synonyms(ontology, term, path: Path) -> Iterable:
    """A term's synonyms. Slims use synonym types that their header doesn't declare, which pronto refuses (its issues 219
    and 229; the type of an acronym in the Disease Ontology's): they are declared here."""
    import pronto

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
    """The synonyms of the wanted texts from every source given; the training documents always are one.

    `counts` gains a counter per source; for the rest see `from_training_documents`, `from_umls` and `from_obo`.

    Raises:
        SynonymError: a source can't be read.
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


def coverage(synonyms: Synonyms, corpora: Mapping[str, Mapping[str, Iterable[Document]]]) -> dict:
    """Syn_cov, as in Table 1 of the joint information bottleneck: the share of gold *mentions* with at least one synonym.

    Every occurrence counts, as in the paper (its #Ent. are all gold entities, not the distinct ones); a mention of several
    sources counts once in the total. Shares are 0..1, None where there is no mention.

    Args:
        corpora: corpus → split → documents.

    Returns:
        JSON-ready: corpus → split → {"documents", "mentions": count, "types": {type: row}, **row}, where a row is
        {"mentions", "covered": {source or "total": count}, "syn_cov": {source or "total": share}}.
    """
    report: dict[str, dict] = {}
    for corpus, splits in corpora.items():
        for split, documents in splits.items():
            mentions: Counter[str] = Counter()
            covered: dict[str, Counter[str]] = {}
            number = 0
            for document in documents:
                number += 1
                for mention in document.mentions:
                    mentions[mention.type] += 1
                    sources = synonyms.sources_of(document.surface(mention))
                    covered.setdefault(mention.type, Counter()).update([*sources, TOTAL] if sources else ())
            total = sum(covered.values(), Counter())
            report.setdefault(corpus, {})[split] = {
                "documents": number,
                **_row(mentions.total(), total, synonyms.sources),
                "types": {t: _row(mentions[t], covered[t], synonyms.sources) for t in sorted(mentions)},
            }
    return report


def _row(mentions: int, covered: Counter[str], sources: Iterable[str]) -> dict:
    keys = (*sources, TOTAL)
    return {
        "mentions": mentions,
        "covered": {key: covered[key] for key in keys},
        "syn_cov": {key: covered[key] / mentions if mentions else None for key in keys},
    }


def coverage_table(report: dict) -> str:
    """A report of `coverage` as an aligned table; a split of several types has a row for each beside that for all."""
    lines: list[tuple[str, ...]] = []
    for corpus, splits in report.items():
        for split, figures in splits.items():
            rows = {ALL_TYPES: figures, **(figures["types"] if len(figures["types"]) > 1 else {})}
            for type, row in rows.items():
                shares = ("–" if share is None else f"{share:.2%}" for share in row["syn_cov"].values())
                documents = f"{figures['documents']:,}" if type == ALL_TYPES else ""
                lines.append((corpus, split, type, documents, f"{row['mentions']:,}", *shares))
            keys = figures["syn_cov"]
    if not lines:
        return "no mentions\n"
    lines.insert(0, ("corpus", "split", "type", "documents", "mentions", *(f"Syn_cov {key}" for key in keys)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        "  ".join(c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in aligned) + "\n"


def _read_corpora(names: Iterable[str], data_dir: str) -> dict[str, dict[str, list[Document]]]:
    """Corpus → split → documents, of the splits whose files are there."""
    read: dict[str, dict[str, list[Document]]] = {}
    for name in names:
        corpus = get_corpus(name)
        found = {split: file.find(data_dir) for split, file in corpus.files.items()}
        read[name] = {s: list(read_split(corpus, s, f[0], format=f[1])) for s, f in found.items() if f is not None}
        if not read[name]:
            files = ", ".join(dict.fromkeys(file.name for file in corpus.files.values()))
            raise CorpusError(
                f"{data_dir}: expected {files} of {corpus.title}, got none; give their folder as --data_dir"
            )
        for split in corpus.splits:
            if split not in read[name]:
                logger.warning("%s: %s has no file of the split %s here", data_dir, name, split)
    return read


def main(arguments: list[str] | None = None) -> int:
    """Prints the coverage of some corpora."""
    parser = argparse.ArgumentParser(description="How many mentions have a synonym, by source (Syn_cov).")
    parser.add_argument("--corpora", nargs="+", required=True, help="names of corpora, e.g. ncbi_disease bc5cdr")
    parser.add_argument("--data_dir", required=True, help="folder with the corpora's files, or the one above them")
    parser.add_argument("--umls", metavar="MRCONSO.RRF", help="UMLS names, also .gz (your own licensed copy)")
    parser.add_argument("--umls_languages", nargs="+", default=["ENG"], metavar="LAT", help="default: ENG")
    parser.add_argument("--umls_vocabularies", nargs="+", metavar="SAB", help="e.g. MSH SNOMEDCT_US; default: all")
    parser.add_argument(
        "--obo", nargs="+", default=[], metavar="FILE", help="ontologies (needs mosaic-ner[ontologies])"
    )
    parser.add_argument("--obo_scopes", nargs="+", default=["EXACT"], help=f"of {', '.join(SCOPES)}; default: EXACT")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    counts: dict[str, Counter[str]] = {}
    try:
        documents = _read_corpora(options.corpora, options.data_dir)
        training = {name: splits.get("train", []) for name, splits in documents.items()}
        evaluation = {f"{n}/{s}": d for n, splits in documents.items() for s, d in splits.items() if s != "train"}
        remaining, overlap = remove_overlap(training, evaluation)
        synonyms = collect(
            [document for part in remaining.values() for document in part],
            mention_texts(d for splits in documents.values() for part in splits.values() for d in part),
            umls=options.umls,
            obo=options.obo,
            languages=options.umls_languages,
            vocabularies=options.umls_vocabularies,
            scopes=options.obo_scopes,
            counts=counts,
        )
    except (SynonymError, CorpusError) as error:
        parser.error(str(error))
    report = coverage(synonyms, documents)
    if options.json:
        read = {"removed_training_documents": overlap.found, **{source: dict(c) for source, c in counts.items()}}
        sys.stdout.write(json.dumps({"coverage": report, "read": read}, ensure_ascii=False, indent=2) + "\n")
        return 0
    lines = [f"{source}: " + ", ".join(f"{n:,} {what}" for what, n in c.items()) for source, c in counts.items()]
    lines.append(f"{overlap.found:,} training documents are in an evaluation split and gave no synonym")
    sys.stdout.write(coverage_table(report) + "\n" + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
