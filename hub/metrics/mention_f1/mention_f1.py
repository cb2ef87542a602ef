"""Exact-match precision, recall and F1 of mentions in characters, as an `evaluate` module that stands alone."""

from operator import index

import datasets
import evaluate

_DESCRIPTION = """\
Micro- and macro-averaged precision, recall and F1 of mentions: a prediction is right if the reference has the same
(document, start, end, type). Both sides are sets: a mention given twice counts once. Mentions may nest and overlap. Types that
a corpus doesn't annotate can be left out on both sides, for all documents (`types`) or for each (configuration "partial").
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: for each document, a list of `{"start": int, "end": int, "type": str}`; characters, half-open. Other keys are
        not read; "entity_group" may stand for "type", as pipelines write it.
    references: the same of the gold mentions, with the same documents in the same order.
    annotated_types: in the configuration "partial" only: for each document, the list of the types that its corpus annotates;
        mentions of other types are ignored in that document, on both sides.
    types: for `compute` in the default configuration: the types that are scored, in all documents; others are ignored on both
        sides. Default: those of the references, so predictions of types that occur in no reference are ignored.
Returns:
    precision, recall, f1: floats (0..1), micro-averaged; 0 where there is nothing to divide by.
    support, predicted: numbers of gold and predicted mentions.
    macro_precision, macro_recall, macro_f1: unweighted means over the types with a gold or a predicted mention.
    per_type: type → precision, recall, f1, support, predicted.
    ignored_predictions, ignored_references: numbers of mentions (as sets) left out for their types.
Raises:
    ValueError: not such mentions, or not the same number of documents.
Examples:
    >>> metric = evaluate.load("mention_f1")
    >>> gold = [[{"start": 13, "end": 17, "type": "Gene"}, {"start": 24, "end": 32, "type": "Disease"}]]
    >>> found = [[{"start": 13, "end": 17, "type": "Gene"}, {"start": 24, "end": 29, "type": "Disease"}]]
    >>> metric.compute(predictions=found, references=gold)["f1"]
    0.5
"""

_CITATION = """\
@software{mosaic_ner,
  title = {mosaic-ner: biomedical named entity recognition learnt from many corpora that disagree},
  author = {{mosaic-ner developers}}
}
"""

PARTIAL = "partial"
_MENTIONS = {"start": datasets.Value("int64"), "end": datasets.Value("int64"), "type": datasets.Value("string")}


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class MentionF1(evaluate.Metric):
    """See the module's description and inputs."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in ("default", PARTIAL):
            raise ValueError(f"no configuration {self.config_name!r} of mention_f1; expected 'default' or {PARTIAL!r}")
        columns = {"predictions": datasets.List(_MENTIONS), "references": datasets.List(_MENTIONS)}
        if self.config_name == PARTIAL:
            columns["annotated_types"] = datasets.List(datasets.Value("string"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(columns),
        )

    # The base class copies these methods for each object, so they name it instead of using super().
    def add_batch(self, *, predictions=None, references=None, **columns):
        """Adds some documents; errors as `compute`."""
        given = {"predictions": predictions, "references": references, **columns}
        lists = {name: _as_list(name, column) for name, column in given.items()}
        if len({len(column) for column in lists.values()}) > 1:
            sizes = ", ".join(f"{len(column)} {name}" for name, column in lists.items())
            raise ValueError(f"expected one list per document in every column, got {sizes}")
        checked = {name: [_checked(name, n, d) for n, d in enumerate(column)] for name, column in lists.items()}
        evaluate.Metric.add_batch(self, **checked)

    def add(self, *, prediction=None, reference=None, **columns):
        """Adds one document; errors as `compute`."""
        given = {name: [value] for name, value in columns.items()}
        self.add_batch(predictions=[prediction], references=[reference], **given)

    def _compute(self, predictions, references, annotated_types=None, types=None) -> dict:
        if self.config_name == PARTIAL and types is not None:
            raise ValueError(f"'types' is for the default configuration; {PARTIAL!r} has annotated_types per document")
        if self.config_name != PARTIAL and annotated_types is not None:
            raise ValueError(f"annotated_types per document needs the configuration: evaluate.load(…, {PARTIAL!r})")
        if isinstance(types, str):
            raise ValueError(f"types: expected a list of types, got the string {types!r}")
        if annotated_types is None:
            types = {m["type"] for mentions in references for m in mentions} if types is None else set(types)
            annotated_types = [types] * len(references)
        counts = {name: [0, 0, 0] for own in annotated_types for name in own} | {
            name: [0, 0, 0] for name in types or ()
        }
        ignored = [0, 0]
        for found, gold, own in zip(predictions, references, annotated_types, strict=True):
            scored = set(own)
            have, want = ({(m["start"], m["end"], m["type"]) for m in side} for side in (found, gold))
            for column, keys in enumerate((want & have, have, want)):
                for _, _, name in keys:
                    if name in scored:
                        counts[name][column] += 1
            for side, keys in enumerate((have, want)):
                ignored[side] += sum(name not in scored for _, _, name in keys)
        rows = {name: _row(*counts[name]) for name in sorted(counts)}
        seen = [row for row in rows.values() if row["support"] or row["predicted"]]
        result = _row(*(sum(count[i] for count in counts.values()) for i in range(3)))
        for name in ("precision", "recall", "f1"):
            result[f"macro_{name}"] = sum(row[name] for row in seen) / len(seen) if seen else 0.0
        return result | {"per_type": rows, "ignored_predictions": ignored[0], "ignored_references": ignored[1]}


def _row(correct: int, predicted: int, support: int) -> dict:
    precision = correct / predicted if predicted else 0.0
    recall = correct / support if support else 0.0
    total = precision + recall
    f1 = 2 * precision * recall / total if total else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "support": support, "predicted": predicted}


def _as_list(name: str, column) -> list:
    if column is None or isinstance(column, (str, bytes, dict)) or not hasattr(column, "__iter__"):
        raise ValueError(f"{name}: expected a list with one list per document, got {type(column).__name__}")
    return list(column)


def _checked(name: str, number: int, document) -> list:
    """A document's mentions, or its types, as the table stores them."""
    where = f"{name}[{number}]"
    if not isinstance(document, (list, tuple)):
        raise ValueError(f"{where}: expected a list, one per document, got {type(document).__name__}")
    if name == "annotated_types":
        for value in document:
            if not isinstance(value, str):
                raise ValueError(f"{where}: expected the names of types, got {value!r}")
        return list(document)
    return [_mention(f"{where}[{n}]", mention) for n, mention in enumerate(document)]


def _mention(where: str, mention) -> dict:
    expected = '{"start": int, "end": int, "type": str}'
    if not isinstance(mention, dict):
        raise ValueError(f"{where}: expected {expected}, got {type(mention).__name__}")
    kind = mention.get("type", mention.get("entity_group"))
    if not isinstance(kind, str):
        raise ValueError(f"{where}: expected {expected}, got {mention!r}")
    try:
        start, end = index(mention["start"]), index(mention["end"])
    except (KeyError, TypeError):
        raise ValueError(f"{where}: expected {expected}, got {mention!r}") from None
    if not 0 <= start < end:
        raise ValueError(f"{where}: expected 0 <= start < end (characters, half-open), got [{start}, {end})")
    return {"start": start, "end": end, "type": kind}
