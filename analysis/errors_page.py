"""The errors of one run, or of two side by side, as a page."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mosaic_ner.data_builders.markdown import markdown_table
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.prediction.highlight import count, escape, grid, page
from mosaic_ner.training.relaxed import UNSEEN, Seen

from .differences import BOTH, BOUNDARY, KINDS, MISSED, SPURIOUS, TYPE, Difference, differences
from .markdown import percent
from .snippets import answers, bar, key, number, sentence_of, words

COLOURS = {BOUNDARY: "#56B4E9", TYPE: "#CC79A7", BOTH: "#D55E00", MISSED: "#0072B2", SPURIOUS: "#E69F00"}
FOUND = "#009E73"
COLUMNS = ("gold", "predicted", "found", "F1", *KINDS)
LONGEST = 4
"""Words of a mention from which on lengths are not told apart."""
SEEN, NEW_MENTION, NEW_WORD = "seen", "new mention", "new word"
_WORD = re.compile(r"[^\W_]+")

ABOUT = """Gold mentions that were not found exactly, and predictions that are no gold mention. A gold mention and a prediction
are one error if their characters are the same under another type (type), or if they overlap under one type (boundary) or under
two (type and boundary); each is in one pair at most. A gold mention without such a prediction is missed, a prediction without a
gold mention is spurious. Seen: the text of the mention is a mention of the training documents. New mention: it is not, but they
contain all of its words. New word: one of its words is not in them."""

SCRIPT = """
const menus = [...document.querySelectorAll('.mn-filters select')];
const cards = [...document.querySelectorAll('.mn-card')];
const shown = document.getElementById('mn-shown');
function choose() {
  const asked = menus.filter(menu => menu.value);
  let left = 0;
  for (const card of cards) {
    const fits = tag => asked.every(menu => tag.dataset[menu.name] === menu.value);
    card.hidden = ![...card.querySelectorAll('.mn-tag')].some(fits);
    left += !card.hidden;
  }
  shown.textContent = left;
}
menus.forEach(menu => menu.addEventListener('change', choose));
choose();
"""


@dataclass
class Answered:
    """What a run says of the documents on which it was measured.

    Args:
        name: of the run. gold, predicted: the same documents, in the types of the score.
        seen: what training held; None: not known.
        notes: what there is to say of the run, as readable lines.
    """

    name: str
    gold: list[Document]
    predicted: list[Document]
    seen: Seen | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Error:
    """A difference between gold and predicted mentions.

    Args:
        document: with the gold mentions. difference: `one` is gold, `other` predicted.
        seen: one of `SEEN`, `NEW_MENTION` and `NEW_WORD`, of the gold mention or else of the prediction; "" if not known.
        who: which of two runs makes it: "A", "B" or "both"; "" of one run.
    """

    document: Document
    difference: Difference
    seen: str
    who: str = ""

    @property
    def mention(self) -> Mention:
        """The gold one, or else the predicted."""
        return self.difference.mentions[0]


def novelty(seen: Seen | None, text: str) -> str:
    """What training held of a mention's text."""
    if seen is None:
        return ""
    return NEW_WORD if seen.unseen(UNSEEN[1], text) else NEW_MENTION if seen.unseen(UNSEEN[0], text) else SEEN


def length_of(text: str) -> str:
    """How many words a mention has, `LONGEST` or more as one."""
    words = max(1, len(_WORD.findall(text)))
    return f"{LONGEST} or more words" if words >= LONGEST else f"{words} word" + "s" * (words > 1)


def errors_of(run: Answered) -> list[Error]:
    """The errors of a run, in the order of the documents."""
    found = []
    for gold, predicted in zip(run.gold, run.predicted, strict=True):
        for difference in differences(gold.mentions, predicted.mentions):
            text = gold.surface(difference.mentions[0])
            found.append(Error(gold, difference, novelty(run.seen, text)))
    return found


def html(runs: list[Answered], split: str = "test") -> str:
    """The page of one run or two.

    Raises:
        UserError: the runs were measured on other documents.
    """
    letters, found = _compared(runs)
    body = [f"<p>{escape(_size(runs[0], split))}</p><p>{ABOUT}</p>"]
    for letter, run in _named(runs):
        name = f"{letter}: {run.name}" if letter else run.name
        body.append(f"<p><b>{escape(name)}</b>: {escape('; '.join(run.notes))}</p>" if run.notes else "")
    if len(runs) > 1:
        rows = [[words(name), *map(number, counts)] for name, counts in _between(found)]
        body.append(f"<h2>A and B</h2>{grid(['', 'Both', 'Only A', 'Only B'], rows)}")
    colours = key([("found", FOUND), *COLOURS.items()])
    header = ["", "", *(name.capitalize() for name in COLUMNS)]
    for title, rows in _tables(runs, letters, found):
        shown = [[words(r.name), (bar(r.parts, r.name), "mn-wide"), *map(number, r.cells)] for r in rows]
        body.append(f"<h2>{escape(title)}</h2>{colours}{grid(header, shown)}")
    body.append(_cards(runs, letters, found))
    return page(_title(runs), "".join(body))


def markdown(runs: list[Answered], split: str = "test") -> str:
    """The tables of the page, without any text.

    Raises:
        UserError: the runs were measured on other documents.
    """
    letters, found = _compared(runs)
    parts = [f"{_title(runs)}: {_size(runs[0], split)}"]
    parts[0] += "".join(
        f" {letter} {run.name}: {'; '.join(run.notes)}.".replace("  ", " ") for letter, run in _named(runs)
    )
    if len(runs) > 1:
        rows = [[name, *counts] for name, counts in _between(found)]
        parts.append(markdown_table(["", "both", "only A", "only B"], rows))
    for title, rows in _tables(runs, letters, found):
        parts.append(markdown_table([title.lower(), *COLUMNS], [[r.name, *r.cells] for r in rows]))
    return "\n\n".join(parts)


def _named(runs: list[Answered]) -> list[tuple[str, Answered]]:
    return [*zip("AB" if len(runs) > 1 else [""], runs, strict=True)]


def _title(runs: list[Answered]) -> str:
    return "Errors of " + " and ".join(run.name for run in runs)


def _compared(runs: list[Answered]) -> tuple[Sequence[str], list[list[Error]]]:
    """What each run is called, and its errors."""
    first, found = runs[0], [errors_of(run) for run in runs]
    if len(runs) == 1:
        return [""], found
    for run in runs[1:]:
        if [(d.key, d.text, d.mentions) for d in run.gold] != [(d.key, d.text, d.mentions) for d in first.gold]:
            raise UserError(
                f"{first.name} and {run.name} were not measured on the same documents and types, so that their errors can't "
                "stand side by side; name a corpus of both with --corpus"
            )
    return "AB", _told_apart(*found)


def _tables(runs: list[Answered], letters: Sequence[str], found: list[list[Error]]) -> list[tuple[str, list[Row]]]:
    """(heading, rows) of every table."""
    out = [("By type", _rows(runs, letters, found, lambda document, m: m.type))]
    if len({d.corpus for d in runs[0].gold}) > 1:
        out.append(("By corpus", _rows(runs, letters, found, lambda document, m: document.corpus)))
    out.append(("By length", _rows(runs, letters, found, lambda document, m: length_of(document.surface(m)))))
    if all(run.seen for run in runs):
        same = all(run.seen == runs[0].seen for run in runs)
        apart = [([run], [letter], [own]) for run, letter, own in zip(runs, letters, found, strict=True)]
        for some, their, errors in [(runs, letters, found)] if same else apart:
            seen, title = some[0].seen, "By what training held" + ("" if same else f" for {their[0]}")
            out.append((title, _rows(some, their, errors, lambda d, m, seen=seen: novelty(seen, d.surface(m)))))
    return out


def _size(run: Answered, split: str) -> str:
    mentions = sum(len(d.mentions) for d in run.gold)
    corpora = ", ".join(dict.fromkeys(d.corpus for d in run.gold))
    return f"{count(len(run.gold), 'document')} of {corpora} ({split}), {count(mentions, 'gold mention')}."


def _told_apart(ours: list[Error], theirs: list[Error]) -> list[list[Error]]:
    """The errors of two runs with who makes them: the same gold mention isn't found, or the same prediction is spurious."""

    def places(errors: list[Error]) -> set:
        return {(e.document.key, e.difference.kind == SPURIOUS, e.mention.key) for e in errors}

    known, out = [places(ours), places(theirs)], []
    for letter, errors, other in (("A", ours, known[1]), ("B", theirs, known[0])):
        part = []
        for error in errors:
            place = (error.document.key, error.difference.kind == SPURIOUS, error.mention.key)
            part.append(Error(error.document, error.difference, error.seen, "both" if place in other else letter))
        out.append(part)
    return out


def _between(found: list[list[Error]]) -> list[tuple[str, list[int]]]:
    """How many gold mentions and predictions both runs get wrong, only A, and only B."""
    rows = []
    for name, spurious in (("gold mentions not found", False), ("spurious predictions", True)):
        counts = [Counter(e.who for e in part if (e.difference.kind == SPURIOUS) == spurious) for part in found]
        rows.append((name, [counts[0]["both"], counts[0]["A"], counts[1]["B"]]))
    return rows


@dataclass(frozen=True)
class Row:
    """A row of a table: numbers of mentions, and of errors by kind. Of a pair, the gold mention says the row."""

    name: str
    gold: int
    predicted: int
    found: int
    kinds: Counter

    @property
    def cells(self) -> list:
        """Of `COLUMNS`."""
        total = self.gold + self.predicted
        f1 = percent(2 * self.found / total if total else None)
        return [self.gold, self.predicted, self.found, f1, *(self.kinds[kind] for kind in KINDS)]

    @property
    def parts(self) -> list[tuple[str, int, str]]:
        """Of its bar."""
        return [("found", self.found, FOUND), *((kind, self.kinds[kind], COLOURS[kind]) for kind in KINDS)]


def _rows(runs, letters: Sequence[str], found, of: Callable[[Document, Mention], str]) -> list[Row]:
    """Errors by what a mention is, a row for each of these and each run."""
    sizes = [[Counter(), Counter(), Counter()] for _ in runs]
    for run, counts in zip(runs, sizes, strict=True):
        for wanted, got in zip(run.gold, run.predicted, strict=True):
            gold, said = ({m.key: of(wanted, m) for m in d.mentions} for d in (wanted, got))
            both = {key: gold[key] for key in gold.keys() & said.keys()}
            for tally, groups in zip(counts, (gold, said, both), strict=True):
                tally.update(groups.values())
    kinds: list[dict[str, Counter]] = [defaultdict(Counter) for _ in runs]
    for errors, own in zip(found, kinds, strict=True):
        for error in errors:
            own[of(error.document, error.mention)][error.difference.kind] += 1
    groups = sorted({group for counts in sizes for tally in counts for group in tally})
    return [
        Row(f"{group} {letter}".strip(), *(tally[group] for tally in counts), own[group])
        for group in groups
        for letter, counts, own in zip(letters, sizes, kinds, strict=True)
    ]


def _cards(runs: list[Answered], letters, found: list[list[Error]]) -> str:
    """Every error in its sentence, with menus that choose."""
    documents = [{d.key: d for d in run.predicted} for run in runs]
    order = {d.key: number for number, d in enumerate(runs[0].gold)}
    cards: dict[tuple, list[tuple[str, Error]]] = defaultdict(list)
    for letter, errors in zip(letters, found, strict=True):
        for error in errors:
            place = sentence_of(error.document.text, error.difference.stretch)
            cards[order[error.document.key], place].append((letter, error))
    types = sorted({m.type for run in runs for part in (run.gold, run.predicted) for d in part for m in d.mentions})
    shown = []
    for (position, place), errors in sorted(cards.items(), key=lambda row: row[0]):
        gold = runs[0].gold[position]
        wrong = {m.key for _, e in errors for m in (e.difference.one,) if m}
        sides = [("gold", gold.mentions, wrong)]
        for letter, own in zip(letters, documents, strict=True):
            said = {e.difference.other.key for who, e in errors if who == letter and e.difference.other}
            sides.append((f"{letter} predicted".strip() if letter else "predicted", own[gold.key].mentions, said))
        tags = "".join(_tag(letter, error) for letter, error in errors)
        where = f"{gold.corpus} {gold.id}, characters {place[0]} to {place[1]}"
        text = answers(gold.text, place, sides, types)
        shown.append(f'<article class="mn-card"><p>{escape(where)} {tags}</p>{text}</article>')
    menus = "".join(_menu(name, [getattr(_of(e), name) for part in found for e in part]) for name in MENUS)
    menus += f'<span><b id="mn-shown">{len(shown):,}</b> sentences</span>'
    head = f'<h2>Every error</h2><div class="mn-filters">{menus}</div>'
    return f"{head}{''.join(shown)}<script>{SCRIPT}</script>"


MENUS = {"kind": "cause", "type": "type", "corpus": "corpus", "length": "length", "seen": "training", "who": "run"}


@dataclass(frozen=True)
class _Facts:
    kind: str
    type: str
    corpus: str
    length: str
    seen: str
    who: str


def _of(error: Error) -> _Facts:
    text = error.document.surface(error.mention)
    who = {"A": "only A", "B": "only B"}.get(error.who, error.who)
    return _Facts(error.difference.kind, error.mention.type, error.document.corpus, length_of(text), error.seen, who)


def _tag(letter: str, error: Error) -> str:
    facts = _of(error)
    data = " ".join(f'data-{name}="{escape(getattr(facts, name))}"' for name in MENUS)
    said = f"{letter} {facts.kind}: {error.document.surface(error.mention)}".strip()
    colour = COLOURS[facts.kind]
    return f'<span class="mn-tag" style="border-color:{colour}" {data}>{escape(said)}</span>'


def _menu(name: str, values: list[str]) -> str:
    """A menu to choose by; none where there is nothing to choose."""
    known = Counter(values)
    if len(known) < 2:
        return ""
    options = "".join(f'<option value="{escape(v)}">{escape(v)} ({n:,})</option>' for v, n in known.most_common())
    return f'<label>{MENUS[name]} <select name="{name}"><option value="">all</option>{options}</select></label>'
