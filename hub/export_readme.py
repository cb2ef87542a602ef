"""The README.md of an export, generated from what was exported and compared.

Of a stock export of a run, card.py makes the README.md, with parts from here.
"""

from __future__ import annotations

from huggingface_hub import ModelCardData

from .export_check import as_table
from .stride import stride_for

_STOCK = """
# {name}: {task}

`{class}` for biomedical named entity recognition ({types}), exported by mosaic-ner from its AIONER tagger. It runs no
code from the Hub.

```python
from transformers import pipeline

ner = pipeline("token-classification", model="{name}", aggregation_strategy="simple")
ner("BRCA1 mutations raise the risk of breast cancer.")
```
"""

_LIMIT = """\
- **The stock pipeline truncates silently**: of a text it reads the first {model_max_length} tokens, special ones included,
  and returns nothing for the rest. Give `stride={stride}` to read all of a longer text in stretches that share so many
  tokens, or use the original model, which reads texts of any length."""
_CONTEXT = """\
- The model was trained on windows of up to {max_tokens} tokens, and the original cuts longer texts into such; the
  pipeline reads more at once, and may find other mentions there."""
_SAME = """\
- With `aggregation_strategy="simple"` the pipeline finds what the original's labels say token by token in texts of up to {fits}
  tokens; `first`, `average` and `max` change labels. It may begin or end a mention inside a word or number; the original
  doesn't."""
_EMISSIONS = """\
- The original has a CRF, which chooses the labels of a text together, and may make answers agree over a document. The export
  has the label scores alone: it finds other mentions, and its scores aren't calibrated.
- With `aggregation_strategy="simple"`, as the widget has it, words fall into pieces. `first`, `average` and `max` read whole
  words; `--compare` has the F1 of each."""
_OTHER = """\
- `aggregation_strategy="simple"` is the one that the export is meant for; `first`, `average` and `max` change labels.
- Where several tokens share a character, as byte-level tokenizers have it beyond ASCII, the pipeline may tell a mention twice
  or an empty one; with SentencePiece's, a mention may begin at the space before it."""
_NOTES = """\
- Offsets (`start`, `end`) are those of the text; `word` is put together from tokens and may differ from it.
- The task's tags are in the tokenizer's template: give the text alone. Tags or `[SEP]` written in the text are read as text.
- Several labels may be named `O`: labels that the task doesn't look for."""
_OTHERS = "- The original also answers by the tasks {other_tasks}, which this export does not."


def readme(facts: dict, report: dict | None) -> str:
    """README.md with its metadata.

    Args:
        facts: what `export_stock` returns, and the model's `name`.
        report: the comparison; None where there is none.
    """
    data = ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="token-classification",
        tags=["biomedical", "named-entity-recognition", "mosaic-ner"],
    )
    agrees = report is not None and not report["compared"]["differences"]
    text = _stock(facts, agrees)
    parts = [f"---\n{data.to_yaml()}\n---", text.strip(), ""]
    if report is not None:
        parts += [*comparison(report), "", *readings(counts(report)), ""]
    return "\n".join(parts)


def fits(facts: dict) -> int:
    """Tokens, special ones included, of the longest text that a stock export and its original both read whole."""
    return min(facts["max_tokens"], facts["model_max_length"] or facts["max_tokens"])


def stock_notes(facts: dict, agrees: bool) -> str:
    """What a user of a stock export has to know, as a Markdown list.

    Args:
        facts: what `export_stock` returns.
        agrees: whether it may be said that both find the same in texts that both read whole.
    """
    longest = facts["model_max_length"]
    values = {**facts, "other_tasks": ", ".join(facts["other_tasks"]), "fits": fits(facts)}
    values["stride"] = stride_for(longest) if longest else None
    notes = [_LIMIT] * bool(longest) + [_CONTEXT] * (longest is None or longest > facts["max_tokens"])
    joined = _EMISSIONS if facts.get("emissions") else _SAME if agrees else _OTHER
    notes += [joined, _NOTES] + [_OTHERS] * bool(facts["other_tasks"])
    return "\n".join(notes).format(**values)


def counts(report: dict) -> dict:
    """A comparison without its lists: documents that were cut or truncated are counted, and no mention is named."""

    def count(part: dict) -> dict:
        numbers = {name: value for name, value in part.items() if name != "examples"}
        return {name: len(value) if isinstance(value, list) else value for name, value in numbers.items()}

    settings = {name: report[name] for name in ("corpus", "split", "documents")}
    settings |= {"in_parts": len(report["in_parts"])} if "in_parts" in report else {}
    settings |= {name: report[name] for name in ("max_tokens", "model_max_length", "stride") if name in report}
    settings |= {"scores": report["scores"]} if report.get("scores") else {}
    ways = [name for name in ("compared", "units", "whole_text", "with_stride") if name in report]
    return settings | {name: report[name] and count(report[name]) for name in ways}


def comparison(report: dict) -> list[str]:
    """The section with the table of a comparison, or of its `counts`, in lines."""
    corpus = f"the {report['documents']} {report['split']} documents of {report['corpus']}"
    return ["## Compared with the original", "", f"Mentions on {corpus} (see comparison.json):", "", as_table(report)]


def readings(counted: dict) -> list[str]:
    """What the table of a comparison doesn't say, from its `counts`, a line each."""
    lines = []
    gap = counted["compared"]["largest_score_difference"]
    if gap is not None:
        lines.append(f"- Scores of the same mentions differ by {gap:.2g} at most.")
    if scores := counted.get("scores"):
        found = [
            f"{name} {100 * row['f1']:.2f} (P {100 * row['precision']:.2f}, R {100 * row['recall']:.2f})"
            for name, row in scores.items()
        ]
        lines.append(f"- F1 on whole documents, exact match: {'; '.join(found)}.")
    if white := counted["compared"]["white_space"]:
        lines.append(f"- {white} pairs of mentions differ in white space at their borders only.")
    if "units" in counted:
        lines.append(
            f"- The original's mentions begin and end with units of the text, the pipeline's with any token: "
            f"{counted['units']['differences']} differ."
        )
    if "whole_text" in counted:
        whole = counted["whole_text"]
        lines.append(
            f"- {counted['in_parts']} documents were compared in parts, cut at sentence ends: each part fits the model's "
            f"windows ({counted['max_tokens']} tokens) and the pipeline ({counted['model_max_length']} tokens)."
        )
        lines.append(
            f"- Given whole, {whole['truncated']} documents are truncated by the stock pipeline: "
            f"{whole['unread_characters']} characters, with {whole['unread_mentions']} mentions of the original, aren't read."
        )
    return lines


def _stock(facts: dict, agrees: bool) -> str:
    head = _STOCK.format(**facts | {"types": ", ".join(facts["types"])})
    return f"{head}\n{stock_notes(facts, agrees)}"
