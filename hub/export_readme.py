"""The README.md of an export, generated from what was exported and compared."""

from __future__ import annotations

from huggingface_hub import ModelCardData

from .card import markdown_table
from .export_check import as_table, stride_for

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
_NOTES = """\
- With `aggregation_strategy="simple"` the pipeline finds what the original finds in texts of up to {max_tokens} tokens;
  `first`, `average` and `max` change labels.
- Offsets (`start`, `end`) are those of the text; `word` is put together from tokens and may differ from it.
- The task's tags are in the tokenizer's template: give the text alone. Tags or `[SEP]` written in the text are read as text.
- Several labels may be named `O`: labels that the task doesn't look for."""
_OTHERS = "- The original also answers by the tasks {other_tasks}, which this export does not."

_ONNX = """
# {name}: ONNX

The scores of a `{family}` model as a graph (opset {opset}), exported by mosaic-ner. Search and decoding are outside
the graph:

```python
from mosaic_ner.hub.onnx_export import load_onnx
from mosaic_ner.modeling.inference import MentionPredictor

predict = MentionPredictor(*load_onnx("{name}"))
predict(["BRCA1 mutations raise the risk of breast cancer."])  # whole documents, mentions in characters
```

{inputs}

Output: `logits`, float32. On made-up batches they differ from PyTorch's by {largest_difference:.1e} at most.
"""

_SHAPES = {
    "input_ids": ("(batch, sequence)", "tokens with the task's special tokens around them"),
    "attention_mask": ("(batch, sequence)", "1 on tokens, 0 on padding"),
    "unit_starts": ("(batch, units)", "first token of each unit, -1 pads"),
    "unit_ends": ("(batch, units)", "last token of each unit, -1 pads"),
    "corpus_ids": ("(batch,)", "number of the task in config.json"),
    "task_ids": ("(batch,)", "number of the task in config.json"),
}


def readme(form: str, facts: dict, report: dict | None) -> str:
    """README.md with its metadata.

    Args:
        form: "stock" or "onnx".
        facts: what `export_stock` or `export_onnx` returns, and the model's `name`.
        report: the comparison; None where there is none.
    """
    stock = form == "stock"
    tags = ["biomedical", "named-entity-recognition", "mosaic-ner", *([] if stock else ["onnx"])]
    data = ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="transformers" if stock else "onnx",
        pipeline_tag="token-classification",
        tags=tags,
    )
    text = _stock(facts) if stock else _onnx(facts)
    parts = [f"---\n{data.to_yaml()}\n---", text.strip(), ""]
    if report is not None:
        corpus = f"the {report['documents']} {report['split']} documents of {report['corpus']}"
        parts += [
            "## Compared with the original",
            "",
            f"Mentions on {corpus} (see comparison.json):",
            "",
            as_table(report),
            "",
        ]
    return "\n".join(parts)


def _stock(facts: dict) -> str:
    longest = facts["model_max_length"]
    values = facts | {name: ", ".join(facts[name]) for name in ("types", "other_tasks")}
    values["stride"] = stride_for(longest) if longest else None
    notes = [_LIMIT] * bool(longest) + [_CONTEXT] * (longest is None or longest > facts["max_tokens"])
    notes += [_NOTES] + [_OTHERS] * bool(facts["other_tasks"])
    return "\n".join([_STOCK, *notes]).format(**values)


def _onnx(facts: dict) -> str:
    rows = [[f"`{name}`", "int64", *_SHAPES[name]] for name in facts["inputs"]]
    return _ONNX.format(**facts | {"inputs": markdown_table(["input", "type", "shape", "what"], rows)})
