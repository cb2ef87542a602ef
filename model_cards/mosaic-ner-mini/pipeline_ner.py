"""`pipeline("token-classification", model=…, trust_remote_code=True)` for whole documents. Ships to the Hub."""

from __future__ import annotations

from transformers import Pipeline

from .configuration_ner import Task
from .document import Document, Passage, replace_halves
from .inference import MentionPredictor
from .label_space import LabelError
from .precision import set_precision

TEXTS_AT_ONCE = 32
"""Texts of a list whose windows are batched together, unless `batch_size` says otherwise."""


def _probability(value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"threshold is {value!r}; expected a number, from 0 to 1")
    return float(value)


def _passage(place, length: int) -> tuple[int, int]:
    if not (isinstance(place, (list, tuple)) and [type(at) for at in place] == [int, int]):
        raise ValueError(f"passages has {place!r}; expected [start, end], in characters of the text")
    if not 0 <= place[0] <= place[1] <= length:
        raise ValueError(f"passages has {list(place)}, outside the text of {length} characters")
    return tuple(place)


class NERPipeline(Pipeline):
    """Takes a text of any length, or a list of texts, and returns its mentions in characters.

    A text may be `{"text": …, "passages": [[start, end], …]}`; no mention crosses the border of a passage.

    Each mention is `{"entity_group", "start", "end", "word", "score"}` with `text[start:end] == word`; nested mentions come
    one after the other. Nothing is truncated. Halves of surrogate pairs are read as U+FFFD, with a warning.

    Call arguments:
        corpus: answer under this training corpus's guideline (for AIONER: its task tags).
        tasks: names of the tasks to run instead of the model's default ones.
        types: "native" for the corpus's own types, with `corpus` or `tasks`; default: shared types.
        threshold: leave out mentions with a lower score (0..1).
        ignore_labels: types whose mentions are left out.
        window_batch_size: windows that go through the model at once.

    Args:
        precision: the encoder's, one of `precision.PRECISIONS`; what the model was saved or loaded in has no say.
    """

    def __init__(self, *args, precision: str = "float32", **kwargs):
        super().__init__(*args, **kwargs)
        set_precision(self.model, precision)

    def _sanitize_parameters(
        self, corpus=None, tasks=None, types=None, threshold=None, window_batch_size=None, **kwargs
    ):
        ignored = kwargs.pop("ignore_labels", None) or ()
        unknown = set(kwargs) - {"aggregation_strategy", "stride"}  # the stock pipeline's; no use here
        if unknown:
            raise ValueError(
                f"unknown argument {sorted(unknown)}; expected corpus, tasks, types, threshold, ignore_labels or "
                "window_batch_size"
            )
        run = {"corpus": corpus, "tasks": tasks, "types": types, "window_batch_size": window_batch_size}
        return (
            {},
            {k: v for k, v in run.items() if v is not None},
            ({} if threshold is None else {"threshold": _probability(threshold)}) | {"ignore_labels": tuple(ignored)},
        )

    def __call__(self, inputs, *args, **kwargs):
        """The mentions of a text, or of each text of a list, whose windows share batches."""
        if isinstance(inputs, list):
            if not inputs:
                return []
            kwargs.setdefault("batch_size", min(len(inputs), TEXTS_AT_ONCE))
        return super().__call__(inputs, *args, **kwargs)

    def preprocess(self, inputs):
        passages = ()
        if isinstance(inputs, dict) and {"text"} <= inputs.keys() <= {"text", "passages"}:
            inputs, passages = inputs["text"], inputs.get("passages") or ()
        if not isinstance(inputs, str):
            raise ValueError(
                f"expected a text (str), a text and its passages (dict) or a list of them, got {type(inputs).__name__}"
            )
        passages = tuple(Passage(*_passage(place, len(inputs))) for place in passages)
        return {"text": replace_halves(inputs, "a text of the pipeline"), "passages": passages}

    def _forward(self, model_inputs, corpus=None, tasks=None, types=None, window_batch_size=16):
        chosen = self._tasks(corpus, tasks, types)
        predictor = MentionPredictor(self.model, self.tokenizer, window_batch_size)
        text, passages = model_inputs["text"], model_inputs["passages"]  # with a batch_size above 1, lists of them
        pairs = [(text, passages)] if isinstance(text, str) else zip(text, passages, strict=True)
        mentions = predictor([Document("", "", content, passages=own) for content, own in pairs], chosen)
        return {"text": text, "mentions": mentions[0] if isinstance(text, str) else mentions}

    def _tasks(self, corpus: str | None, tasks: list[str] | None, types: str | None) -> list[Task]:
        if corpus is not None:
            self.model.config.labels.native_types(corpus)  # an unknown corpus is an error, not the default guideline
        if tasks:
            return self.model.tasks_named(tasks, types)
        if types not in (None, "shared", "native"):
            raise LabelError(f"types is {types!r}; expected 'shared' or 'native'")
        if types != "native":
            return self.model.tasks_for(corpus)
        if corpus is None:
            raise LabelError("types is 'native'; expected a corpus or tasks with it, whose own types are told")
        if not self.model.knows_native_types(corpus):
            raise LabelError(f"this model tells shared types only for corpus {corpus!r}; leave out types='native'")
        return self.model.tasks_for(corpus, "native")

    def postprocess(self, model_outputs, threshold=0.0, ignore_labels=()):
        text = model_outputs["text"]
        return [
            {
                "entity_group": m.type,
                "score": round(m.score, 4),
                "word": text[m.start : m.end],
                "start": m.start,
                "end": m.end,
            }
            for m in model_outputs["mentions"]
            if m.score >= threshold and m.type not in ignore_labels
        ]
