"""The figures of generation.py: BLEU-2 and exact matches, drawn examples, and the report as Markdown."""

from __future__ import annotations

import random
import re

from mosaic_ner.data_builders.markdown import markdown_table
from mosaic_ner.modeling.windowing import CAUSES

from .decoders import Generated, Key, Words
from .markdown import decimals

SHOWN = 15
"""Words of an example that the table shows."""

HEADER = """# What the decoders generate

From the gold mentions of the {split} documents, each in its context, greedily from the mean of its latent. BLEU-2 is
sacrebleu's, over all mentions of a corpus, divided by 100 to be 0 to 1 as in the paper: words and pairs of words are counted
over the whole corpus (a mention of one word has no pair), without smoothing and without effective order, with their case; a
word that the vocabulary lacks is an error. *Untrained*: the same decoder before training (seed {seed}), on the same encoder.
*Exact*: the share of mentions generated word for word. A mention of several types counts once. Written by
`mosaic-ner generation`.
"""
SYNONYMS = """## Synonyms

Only mentions with a known synonym ({sources}) are scored, against all of them.
"""
EXAMPLES = """## Examples

Drawn by the seed: first where {difference}, then where not. They are texts of the corpora, under the corpora's licences.
"""


# ---- scores


def score(generated: list[Words], references: list[list[Words]]) -> dict:
    """BLEU-2 of generated names against one or more references each, over all of them together, by sacrebleu.

    N-grams are counted over all names: a name of one word adds a word and no pair. There is no smoothing: it changes a score
    only where no pair is right, or no name has two words. Then BLEU-2 is 0. There is no effective order, which is for single
    sentences. Words are compared with their case.

    Returns:
        `bleu2`, `exact_match` (the share that equals a reference), `precisions` (words, pairs) and `brevity_penalty`, all 0..1
        (as the paper's BLEU; sacrebleu's are percentages); `scored`; `one_word` (names whose references all are one word);
        `signature` (sacrebleu's). With nothing to score, `bleu2` and `exact_match` are None.
    """
    from sacrebleu.metrics import BLEU

    count = {"scored": len(generated), "one_word": sum(max(map(len, names)) == 1 for names in references)}
    if not generated:
        return {"bleu2": None, "exact_match": None} | count
    bleu = BLEU(max_ngram_order=2, tokenize="none", smooth_method="none", effective_order=False, force=True)
    most = max(map(len, references))
    streams = [[" ".join(names[i]) if i < len(names) else None for names in references] for i in range(most)]
    result = bleu.corpus_score([" ".join(words) for words in generated], streams)
    exact = sum(words in names for words, names in zip(generated, references, strict=True))
    return {
        "bleu2": result.score / 100,
        "exact_match": exact / len(generated),
        "precisions": [p / 100 for p in result.precisions],
        "brevity_penalty": result.bp,
        "signature": str(bleu.get_signature()),
    } | count


def measure(gold: dict[Key, Words], generated: dict[Key, Generated], synonyms: dict[Key, list[Words]] | None) -> dict:
    """The figures of one model on one corpus, JSON-ready.

    Args:
        gold: all gold spans. generated: from those in the model's grid.
        synonyms: the names that count as right synonyms of a span; spans without any aren't there. None: not looked up.
    Returns:
        `reconstruction` and `synonyms`, each as `score`, with the score of untrained decoders as `untrained`. `synonyms` is
        None where the model generates none or no span has a known one.
    """
    names = [[gold[key]] for key in generated]
    out: dict = {"reconstruction": score([g.span for g in generated.values()], names), "synonyms": None}
    out["reconstruction"]["untrained"] = score([g.untrained for g in generated.values()], names)
    known = [key for key in generated if synonyms and key in synonyms and generated[key].synonym is not None]
    if known:
        names = [synonyms[key] for key in known]
        out["synonyms"] = score([generated[k].synonym for k in known], names)
        out["synonyms"]["untrained"] = score([generated[k].untrained_synonym for k in known], names)
    return out


def draw_examples(
    gold: dict[Key, Words], generated: dict[str, dict[Key, Generated]], count: int, seed: str
) -> list[dict]:
    """Distinct names (the first mention of each). Half are names on which the models differ, half on which they agree. Where
    one kind lacks names, the other fills up. A single model is compared with the name itself.

    Args:
        generated: model → what it generates; only spans in the grids of all models are drawn.
        seed: draws them.
    Returns:
        `{"span", "differ", "models": {model: {"span", "synonym"}}}`, those that differ first, each kind in reading order.
    """
    first: dict[tuple[str, ...], Key] = {}
    for key, words in gold.items():
        if all(key in own for own in generated.values()):
            first.setdefault(tuple(words), key)
    groups: dict[bool, list[Key]] = {True: [], False: []}
    for words, key in first.items():
        texts = {tuple(own[key].span) for own in generated.values()} | ({words} if len(generated) == 1 else set())
        groups[len(texts) > 1].append(key)
    differ = min(len(groups[True]), max((count + 1) // 2, count - len(groups[False])))
    sizes = {True: differ, False: min(len(groups[False]), count - differ)}
    draw = random.Random(seed)
    return [
        {
            "span": " ".join(gold[key]),
            "differ": group,
            "models": {name: _example(own[key]) for name, own in generated.items()},
        }
        for group, keys in groups.items()
        for key in sorted(draw.sample(keys, sizes[group]))
    ]


def _example(generated: Generated) -> dict:
    synonym = None if generated.synonym is None else " ".join(generated.synonym)
    return {"span": " ".join(generated.span), "synonym": synonym}


# ---- tables


def tables(report: dict) -> str:
    """A report (see `generation.analyse`) as Markdown."""
    settings, models = report["settings"], [*report["models"]]
    parts = [HEADER.format(**settings), "## Reconstruction of spans (Table 7)\n"]
    parts += [_score_table(report, "reconstruction", models), *_losses(report)]
    scored = [n for n in models if any(r["models"][n]["synonyms"] for r in report["corpora"].values())]
    if scored:
        sources = ", ".join(settings["synonyms"])
        parts += [SYNONYMS.format(sources=sources), _score_table(report, "synonyms", scored)]
    examples = {corpus: own["examples"] for corpus, own in report["corpora"].items() if own["examples"]}
    if examples:
        many = "the models differ" if len(models) > 1 else "the reconstruction differs from the span"
        parts.append(EXAMPLES.format(difference=many))
    generating = [name for name in models if report["models"][name]["generate_synonyms"]]
    header = ["Original span", *models, *(f"{name}: synonym" for name in generating)]
    for corpus, drawn in examples.items():
        rows = []
        for row in drawn:
            own = row["models"]
            texts = [row["span"], *(own[n]["span"] for n in models), *(own[n]["synonym"] for n in generating)]
            rows.append([_cell(text) for text in texts])
        parts += [f"### {corpus}\n", markdown_table(header, rows) + "\n"]
    return "\n".join(parts)


def _score_table(report: dict, what: str, models: list[str]) -> str:
    columns = (": BLEU-2", ", untrained", ", exact", ", scored")
    header = ["corpus", *(f"{name}{column}" for name in models for column in columns)]
    rows = []
    for corpus, own in report["corpora"].items():
        row = [corpus]
        for name in models:
            got = own["models"][name][what]
            values = (got["bleu2"], got["untrained"]["bleu2"], got["exact_match"]) if got else (None, None, None)
            row += [decimals(value, 4) for value in values]
            row.append(f"{got['scored'] if got else 0} of {own['mentions']}")
        rows.append(row)
    return markdown_table(header, rows) + "\n"


def _losses(report: dict) -> list[str]:
    """Which mentions are not scored, a line per corpus and model, then an empty one."""
    lines = []
    for corpus, own in report["corpora"].items():
        for name, row in own["models"].items():
            causes = ", ".join(f"{count} {CAUSES[cause]}" for cause, count in row["lost"].items())
            if causes:
                lines.append(f"- {corpus}, {name}: not in the model's grid and not scored: {causes}")
    return [*lines, ""] if lines else []


def _cell(text: str) -> str:
    """Words as a cell of a Markdown table, at most `SHOWN` of them."""
    words = text.split()
    short = [*words[:SHOWN], "…"] if len(words) > SHOWN else words
    return re.sub(r"([\\|`<])", r"\\\1", " ".join(short)) or "*nothing*"
