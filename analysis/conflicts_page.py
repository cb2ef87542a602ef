"""How corpora disagree, as a page and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mosaic_ner.data_builders.markdown import markdown_table
from mosaic_ner.modeling.document import normalise_name
from mosaic_ner.prediction.highlight import count, escape, grid, page

from .agreement import Agreement, Case, Finding, Habit, border_extras, findings
from .differences import BOTH, BOUNDARY, MISSED, SPURIOUS, TYPE
from .markdown import decimals
from .snippets import answers, bar, key, number, sentence_of, words

SHOWN, EXAMPLES, FEWEST = 12, 3, 2
"""Rows of a table, examples of a row, and the fewest cases of a row."""
HABITS, SPREAD = 24, 0.2
"""Habits shown, and the least difference between two corpora's shares that is worth it."""
MEASURES = {"exact": None, "±1 character": "near", "type": "type", "partial": "partial", "boundary": "boundary"}
PARTS = (
    ("both, exactly", "#009E73"),
    ("both, other borders", "#56B4E9"),
    ("other type", "#CC79A7"),
    ("only the first", "#0072B2"),
    ("only the second", "#E69F00"),
)
DOTS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#F0E442", "#8C6BB1", "#A6761D",
)  # fmt: skip

ABOUT = """Where two corpora have the same text, their mentions are compared over the types that both annotate in it, under the
names that they share. F1 of the second corpus against the first, in percent: *exact*, the same characters and type; *±1
character*, the type, and ends at most one character apart; *type*, the type, and overlapping; *partial*, overlapping, for half
a match unless the characters are the same, under any type; *boundary*, the same characters, under any type. Every mention is
matched by one at most."""


@dataclass(frozen=True)
class Conflicts:
    """What the page is about.

    Args:
        corpora: in order.
        agreements: of corpora that share texts. habits: at the borders of mentions, of all texts.
        model: whose answers `answered` compares, on how many documents of which corpus; "" for none.
        answered: agreements of the model's answers under the guidelines of two corpora.
    """

    corpora: tuple[str, ...]
    agreements: list[Agreement]
    habits: list[Habit]
    model: str = ""
    answered: tuple[Agreement, ...] = ()


# ---- Markdown


def markdown(conflicts: Conflicts) -> str:
    """The tables and findings; of texts, only those of mentions are quoted."""
    parts = [ABOUT, _agreement_table(conflicts.agreements)]
    parts += [
        "\n".join(f"- {a.names[0]} and {a.names[1]}: {line}." for a in conflicts.agreements for line in a.left_out)
    ]
    found = findings(conflicts.agreements)
    if found:
        parts += ["### What one marks and the other doesn't", FOUND]
        parts += ["\n".join(f"{n}. {finding_text(f)}" for n, f in enumerate(found, 1))]
    extras = [(a, e) for a in conflicts.agreements for e in border_extras(a) if len(e.cases) >= FEWEST]
    if extras:
        extras.sort(key=lambda row: -len(row[1].cases))
        rows = [[" – ".join(a.names), e.type, e.corpus, e.side, f"`{e.text}`", len(e.cases)] for a, e in extras[:SHOWN]]
        parts += ["### Borders in the same texts", EXTRAS, markdown_table(EXTRA_HEADER, rows)]
    chosen = _chosen(conflicts.habits)
    if chosen:
        own = [c for c in conflicts.corpora if any(c in h.counts for h in chosen)]
        rows = [[h.type, _word(h), *(_share(h, corpus) for corpus in own)] for h in chosen]
        parts += ["### Borders in all texts", HABIT, markdown_table(["type", "word", *own], rows)]
    if conflicts.answered:
        parts += [f"### The answers of {conflicts.model}", ANSWERED, _agreement_table(conflicts.answered)]
        rows = [(a, *row) for a in conflicts.answered for row in _frequent(a)]
        rows.sort(key=lambda row: -abs(row[2][0] - row[2][1]))
        cells = [[" – ".join(a.names), name, f"*{text}*", *counts] for a, (name, text), counts in rows[:SHOWN]]
        parts += [FREQUENT, markdown_table(["corpora", "type", "text", "first", "second"], cells)] if cells else []
    return "\n\n".join(part for part in parts if part)


FOUND = """In the same documents: texts that one corpus marks at least twice and the other never under the type; and mentions
where the other marks something of a type that the first doesn't annotate. How many mentions in brackets."""
EXTRAS = (
    """Where both mark an overlapping mention of the type, one takes in more: before or after what the other marks."""
)
EXTRA_HEADER = ["corpora", "type", "takes in", "where", "what", "mentions"]
HABIT = """Of the mentions that have the word at their border or right beside it, the share that takes it in, in percent, and
their number. All documents count, shared or not. A type in angle brackets is any word that a corpus here often marks so."""
NOTHING_SHARED = "No two of the corpora share a text."
FREQUENT = "The most frequent disagreements: how many mentions of the text there are under either guideline."
ANSWERED = """The same documents under each corpus's guideline, as the model has learnt it."""


def _agreement_table(agreements: Sequence[Agreement]) -> str:
    if not agreements:
        return NOTHING_SHARED
    header = ["corpora", "type", "texts", "first", "second", *MEASURES]
    rows = [[" – ".join(a.names), name, a.texts, *_figures(a, name)] for a in agreements for name in a.types]
    return markdown_table(header, rows)


def _figures(agreement: Agreement, name: str) -> list:
    row = agreement.scores["per_type"][name]
    scores = [agreement.scores if m is None else agreement.scores["relaxed"][m] for m in MEASURES.values()]
    return [row["support"], row["predicted"], *(decimals(100 * score["per_type"][name]["f1"], 1) for score in scores)]


def title_of(finding: Finding) -> str:
    """A finding in one sentence."""
    said = f"{finding.by} marks {len(finding.cases)} mentions of {finding.type}"
    return said + (
        f" where {finding.against} has {finding.inside}" if finding.inside else f" that {finding.against} never does"
    )


def extent_of(finding: Finding) -> str:
    """In how many texts its mentions are, and how many of them lie inside longer ones."""
    said = f"in {count(finding.texts, 'text')}"
    return said + (f", {finding.within} inside a longer {finding.inside}" if finding.inside else "")


def finding_text(finding: Finding) -> str:
    """A finding in Markdown, with its most frequent texts."""
    shown = ", ".join(f"*{text}* ({n})" for text, n in finding.surfaces.most_common(8))
    more = len(finding.surfaces) - 8
    return f"**{title_of(finding)}**, {extent_of(finding)}: {shown}" + (
        f" and {count(more, 'other text')}." if more > 0 else "."
    )


def _chosen(found: Sequence[Habit]) -> list[Habit]:
    return [habit for habit in found if habit.spread >= SPREAD][:HABITS]


def _word(habit: Habit) -> str:
    return f"`{habit.word}` …" if habit.side == "before" else f"… `{habit.word}`"


def _share(habit: Habit, corpus: str) -> str:
    return f"{100 * habit.share(corpus):.0f} ({sum(habit.counts[corpus])})" if corpus in habit.counts else ""


# ---- the page


def html(conflicts: Conflicts) -> str:
    """One page, without anything from outside."""
    types = list(dict.fromkeys(t for a in [*conflicts.agreements, *conflicts.answered] for t in a.types))
    found = findings(conflicts.agreements)
    body = [
        f"<p>{escape(', '.join(conflicts.corpora))}. {_plain(ABOUT)}</p>",
        _overview(conflicts.agreements),
        _findings(found, types) if found else "",
        _habits(conflicts),
        *(_pair(agreement, types) for agreement in conflicts.agreements),
    ]
    if conflicts.answered:
        title = f"<h2>The answers of {escape(conflicts.model)}</h2><p>{ANSWERED}</p>"
        body += [title, _overview(conflicts.answered), *(_pair(a, types) for a in conflicts.answered)]
    return page("How the corpora disagree", "".join(body))


def _plain(text: str) -> str:
    return escape(text.replace("*", ""))


def _overview(agreements: Sequence[Agreement]) -> str:
    if not agreements:
        return f"<p>{NOTHING_SHARED}</p>"
    rows = []
    for a in agreements:
        for name in a.types:
            parts = [(part, n, colour) for (part, colour), n in zip(PARTS, _parts(a, name), strict=True)]
            cells = [
                words(" – ".join(a.names)),
                words(name),
                (bar(parts, f"{a.names} {name}"), "mn-wide"),
                number(a.texts),
            ]
            rows.append([*cells, *map(number, _figures(a, name))])
    header = ["Corpora", "Type", "Mentions of either", "Texts", "First", "Second", *MEASURES]
    return f"<h2>Agreement</h2>{key(PARTS)}{grid(header, rows)}"


def _parts(agreement: Agreement, name: str) -> list[int]:
    """How many mentions there are of each of `PARTS`; a pair counts once, under the one's type."""
    kinds = [(BOUNDARY,), (TYPE, BOTH), (MISSED,), (SPURIOUS,)]
    found = [sum(len(agreement.of(kind, name)) for kind in own) for own in kinds]
    row = agreement.scores["per_type"][name]
    return [round(row["recall"] * row["support"]), *found]


def _findings(found: list[Finding], types: list[str]) -> str:
    parts = [f"<h2>What one marks and the other doesn't</h2><p>{_plain(FOUND)}</p>"]
    for finding in found:
        rows = [[(escape(text), "mn-surface"), number(n)] for text, n in finding.surfaces.most_common(SHOWN)]
        title = escape(f"{title_of(finding)}, {extent_of(finding)}")
        parts.append(f"<h3>{title}</h3>{grid(['Text', 'Mentions'], rows)}{_examples(finding, types)}")
    return "".join(parts)


def _varied(finding: Finding) -> list[Case]:
    """A case of each text, the most frequent texts first."""
    first: dict[str, Case] = {}
    for case in finding.cases:
        first.setdefault(normalise_name(case.text), case)
    return [first[normalise_name(text)] for text, _ in finding.surfaces.most_common()]


def _habits(conflicts: Conflicts) -> str:
    chosen = _chosen(conflicts.habits)
    if not chosen:
        return ""
    own = [c for c in conflicts.corpora if any(c in h.counts for h in chosen)]
    colours = {corpus: DOTS[i % len(DOTS)] for i, corpus in enumerate(own)}
    rows = []
    for habit in chosen:
        shown = [c for c in own if c in habit.counts]
        dots = "".join(_dot(habit, c, colours[c]) for c in shown)
        said = "; ".join(f"{c} {_share(habit, c)}" for c in shown)
        rows.append(
            [
                words(habit.type),
                words(_word(habit).replace("`", "")),
                (f'<div class="mn-track">{dots}</div>', "mn-wide"),
                words(said),
            ]
        )
    header = ["Type", "Word", "Left out (left) … taken in (right)", "Taken in, % (mentions)"]
    return f"<h2>Borders in all texts</h2><p>{_plain(HABIT)}</p>{key(colours.items())}{grid(header, rows)}"


def _dot(habit: Habit, corpus: str, colour: str) -> str:
    said = escape(f"{corpus}: {_share(habit, corpus)}")
    return f'<i style="left:{100 * habit.share(corpus):.1f}%;background:{colour}" title="{said}"></i>'


def _pair(agreement: Agreement, types: list[str]) -> str:
    first, second = agreement.names
    parts = [f"<h2>{escape(first)} and {escape(second)}</h2>"]
    texts = f"{count(agreement.texts, 'text')}, {count(len(agreement.cases), 'difference')}."
    parts.append(f"<p>{escape(' '.join([texts, *(line + '.' for line in agreement.left_out)]))}</p>")
    frequent = _frequent(agreement)
    if frequent:
        rows = [[words(n), (escape(t), "mn-surface"), *map(number, counts)] for (n, t), counts in frequent]
        header = ["Type", "Text", f"{escape(first)} marks it", f"{escape(second)} marks it"]
        parts.append(f"<h3>The most frequent disagreements</h3>{grid(header, rows)}")
    extras = [e for e in border_extras(agreement) if len(e.cases) >= FEWEST][:SHOWN]
    if extras:
        rows = [
            [words(e.type), words(e.corpus), words(e.side), (escape(e.text), "mn-surface"), number(len(e.cases))]
            for e in extras
        ]
        table = grid(["Type", "Takes in", "Where", "What", "Mentions"], rows)
        parts.append(f"<h3>Borders</h3><p>{_plain(EXTRAS)}</p>{table}")
    for kind, title in (
        (BOUNDARY, "Other borders"), (TYPE, "Other type"), (BOTH, "Other type and borders"), (MISSED, f"Only {first}"),
        (SPURIOUS, f"Only {second}"),
    ):  # fmt: skip
        for name in agreement.types:
            cases = agreement.of(kind, name)
            if cases:
                shown = "".join(_example(case, agreement.names, types) for case in cases[:SHOWN])
                head = f"{title}: {name}, {count(len(cases), 'mention')}" + (
                    f", the first {SHOWN}" if len(cases) > SHOWN else ""
                )
                parts.append(f"<details><summary>{escape(head)}</summary>{shown}</details>")
    return "".join(parts)


def _frequent(agreement: Agreement) -> list[tuple[tuple[str, str], list[int]]]:
    """(type, text) of unpaired mentions, by how much the numbers of the two corpora differ."""
    asked = {(c.type, normalise_name(c.text)) for c in agreement.cases if c.difference.kind in (MISSED, SPURIOUS)}
    rows = [(name, agreement.surfaces[name]) for name in asked]
    rows = [row for row in rows if abs(row[1][0] - row[1][1]) >= FEWEST]
    return sorted(rows, key=lambda row: (-abs(row[1][0] - row[1][1]), row[0]))[:SHOWN]


def _examples(finding: Finding, types: list[str]) -> str:
    # The case knows its answers in the pair's order; a finding may be of the second corpus.
    turned = finding.cases[0].difference.kind == SPURIOUS
    names = (finding.against, finding.by) if turned else (finding.by, finding.against)
    shown = "".join(_example(case, names, types) for case in _varied(finding)[:EXAMPLES])
    return f"<details open><summary>Examples</summary>{shown}</details>"


def _example(case: Case, names: tuple[str, str], types: list[str]) -> str:
    document, stretch = case.answers[0].document, case.difference.stretch
    stressed = {m.key for m in case.difference.mentions}
    place = sentence_of(document.text, stretch)
    elsewhere = {m.key for a in case.answers for m in a.document.mentions if m.type in case.elsewhere}
    sides = [(n, a.document.mentions, stressed | elsewhere) for n, a in zip(names, case.answers, strict=True)]
    where = f"{case.answers[1].document.id}, characters {stretch[0]} to {stretch[1]}: "
    where += _said(case.difference.kind, names)
    return f'<div class="mn-card"><p>{escape(where)}</p>{answers(document.text, place, sides, types)}</div>'


def _said(where: str, names: tuple[str, str]) -> str:
    return where.replace(MISSED, f"only {names[0]}").replace(SPURIOUS, f"only {names[1]}")
