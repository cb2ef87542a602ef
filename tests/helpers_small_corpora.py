"""Small files of every corpus, in its published format, under its published name, with all its types; the words are ours."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from mosaic_ner.data_builders.corpora import CORPORA, get_corpus

DOCUMENTS = {"train": 10, "validation": 4, "test": 4}
SENTENCES = {"train": 20, "validation": 20, "test": 6}
FILLERS = ("The effect of {} on {} was measured twice", "We saw {} in {} after a week", "Neither {} nor {} had changed")
SYLLABLES = ("bra", "cel", "dor", "fim", "gul", "hep", "lun", "mor", "nix", "pol", "rus", "tav", "vel", "zan")
SHARED_ID = "10491763"
"""A test document of BioRED that is a training document of BC5CDR, too, with the same text."""


@dataclass(frozen=True)
class Text:
    """Title and the rest, and (start, end, type, identifier) in characters of `title + " " + body`."""

    title: str
    body: str
    mentions: tuple[tuple[int, int, str, str], ...]


def names_of(corpus: str, kind: str) -> list[tuple[str, str]]:
    """(name, identifier) of a type: four things with two names each, one of them of two words. Alike types have them too."""
    draw = Random(kind)
    words = ["".join(draw.choices(SYLLABLES, k=3)) for _ in range(8)]
    return [(words[i] if i % 2 else f"{words[i]} {kind[:3].lower()}", f"{kind[:2].upper()}:{i // 2}") for i in range(8)]


def sentences(corpus: str, draw: Random, number: int) -> list[tuple[str, list[tuple[int, int, str, str]]]]:
    """Sentences with two mentions each; together they have every type of the corpus as evenly as their number allows."""
    types = get_corpus(corpus).types
    made, turn = [], draw.randrange(len(types))
    for _ in range(number):
        kinds = [types[turn % len(types)], types[(turn + 1) % len(types)]]
        turn += 2
        chosen = [(*draw.choice(names_of(corpus, kind)), kind) for kind in kinds]
        text, mentions = "", []
        for piece, thing in zip(draw.choice(FILLERS).split("{}"), [*chosen, None], strict=True):
            text += piece
            if thing:
                name, identifier, kind = thing
                mentions.append((len(text), len(text) + len(name), kind, identifier))
                text += name
        made.append((text + ".", mentions))
    return made


def text_of(corpus: str, draw: Random) -> Text:
    """A title and two or more sentences, in one line each."""
    parts = sentences(corpus, draw, 1 + max(2, len(get_corpus(corpus).types) // 2))
    text, mentions = "", []
    for sentence, found in parts:
        begin = len(text) + bool(text)
        text = f"{text} {sentence}" if text else sentence
        mentions += [(begin + start, begin + end, kind, identifier) for start, end, kind, identifier in found]
    title = len(parts[0][0])
    return Text(text[:title], text[title + 1 :], tuple(mentions))


def article_ids(corpus: str) -> dict[str, list[str]]:
    """Split → ids as the corpus has them; no two are of one article, but for passages of NLM-Chem."""
    fresh = count(1 + 100 * list(CORPORA).index(corpus))
    ids = {split: [str(9_000_000 + next(fresh)) for _ in range(n)] for split, n in DOCUMENTS.items()}
    if get_corpus(corpus).validation_ids:
        ids["validation"] = sorted(get_corpus(corpus).validation_ids)[: DOCUMENTS["validation"]]
    for part in CORPORA.values():  # of one type, with development sets among these training documents
        if part.of == corpus:
            ids["train"] = [
                *ids["train"][: DOCUMENTS["train"]],
                *sorted(part.validation_ids)[: DOCUMENTS["validation"]],
            ]
    if corpus == "biored":
        ids["test"][0] = SHARED_ID
    if corpus == "bc5cdr":
        ids["train"][0] = SHARED_ID
    if corpus == "bioid":
        ids = {split: [f"{name}1001" for name in part] for split, part in ids.items()}
    if corpus == "nlm_chem":
        ids = {split: [part[i // 2] for i in range(len(part))] for split, part in ids.items()}
    return ids


def pubtator(corpus: str, split: str) -> str:
    """PubTator: title, abstract, a line for each mention, with its identifier; a blank line ends a record."""
    records = []
    for number, name in enumerate(article_ids(corpus)[split]):
        shared = name == SHARED_ID
        text = text_of("bc5cdr" if shared else corpus, Random(name if shared else f"{corpus}/{split}/{number}"))
        whole = f"{text.title} {text.body}"
        lines = [f"{name}|t|{text.title}", f"{name}|a|{text.body}"]
        lines += [f"{name}\t{a}\t{b}\t{whole[a:b]}\t{kind}\t{identifier}" for a, b, kind, identifier in text.mentions]
        records.append("\n".join(lines) + "\n")
    return "\n".join(records)


def words_of(sentence: str) -> list[str]:
    """Words, and the full stop on its own."""
    return f"{sentence[:-1]} .".split()


def tokens(text: str, mentions) -> list[tuple[int, int, str]]:
    """(first word, word after the last, type) of a sentence's mentions."""
    return [(len(text[:start].split()), len(text[:end].split()), kind) for start, end, kind, _ in mentions]


def iob(corpus: str, split: str) -> str:
    """IOB: a word and its tag a line, a blank line after each sentence; CoNLL-2003 also has articles and other columns."""
    conll = corpus == "conll2003"
    lines = []
    for number, (text, mentions) in enumerate(sentences(corpus, Random(f"{corpus}/{split}"), SENTENCES[split])):
        if conll and number % 2 == 0:
            lines += ["-DOCSTART- -X- -X- O", ""]
        words = words_of(text)
        tags = ["O"] * len(words)
        for first, last, kind in tokens(text, mentions):
            tags[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
        form = "{} NN B-NP {}" if conll else "{}\t{}"
        lines += [form.format(*row) for row in zip(words, tags, strict=True)] + [""]
    return "\n".join(lines) + "\n"


def genia(corpus: str, split: str) -> str:
    """GENIA as JSON lines, two sentences an article; every other sentence has a mention around two others."""
    lines = []
    begin = {"train": 0, "validation": 1000, "test": 2000}[split]
    for number, (text, mentions) in enumerate(sentences(corpus, Random(f"{corpus}/{split}"), SENTENCES[split])):
        found = tokens(text, mentions)
        if number % 2:
            found.append((min(f for f, _, _ in found), max(b for _, b, _ in found), get_corpus(corpus).types[0]))
        article, words = f"MEDLINE:{9_000_000 + begin + number // 2}", words_of(text)
        row = {"tokens": words, "doc_id": article, "sent_id": f"{article}-{number % 2}"}
        row["entity_mentions"] = [
            {"start": a, "end": b, "entity_type": kind, "text": " ".join(words[a:b])} for a, b, kind in found
        ]
        lines.append(json.dumps(row))
    return "\n".join(lines) + "\n"


def scai(corpus: str, split: str) -> str:
    """SCAI: `###` and an id, then a word, its offsets, its mention and a bar with its tag a line."""
    lines = []
    for number, name in enumerate(article_ids(corpus)[split]):
        lines.append(f"###\t{name}")
        begin = 0
        for text, mentions in sentences(corpus, Random(f"{corpus}/{split}/{number}"), 3):
            found = tokens(text, mentions)
            for i, word in enumerate(words_of(text)):
                tag = next((("B-" if i == a else "I-") + kind for a, b, kind in found if a <= i < b), "O")
                surface = next((" ".join(words_of(text)[a:b]) for a, b, _ in found if a == i), "")
                lines.append(f"{word}\t{begin}\t{begin + len(word)}\t{surface}\t|{tag}")
                begin += len(word) + 1
            lines.append("")
    return "\n".join(lines) + "\n"


MAKERS = {"scai": scai, "pubtator": pubtator, "iob2": iob, "genia_jsonl": genia}


def write_corpora(folder: Path) -> Path:
    """Writes the files of all corpora into a folder, as `--data_dir` takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, corpus in CORPORA.items():
        if corpus.of:
            continue
        files: dict[str, str] = {}
        for split, source in corpus.files.items():  # some have all splits in one file, and lists of ids beside it
            files[source.name] = "\n".join(filter(None, [files.get(source.name), MAKERS[source.format](name, split)]))
            if source.ids:
                files[source.ids] = "\n".join(dict.fromkeys(article_ids(name)[split])) + "\n"
        for file, text in files.items():
            data = text.encode()
            (folder / file).write_bytes(gzip.compress(data) if file.endswith(".gz") else data)
    return folder
