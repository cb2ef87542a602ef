"""`pipeline("token-classification", model=…, trust_remote_code=True)` for whole documents. Ships to the Hub."""

from __future__ import annotations

from transformers import Pipeline

from .inference import MentionPredictor


class NERPipeline(Pipeline):
    """Takes a text of any length, or a list of texts, and returns its mentions in characters.

    Each mention is `{"entity_group", "start", "end", "word", "score"}` with `text[start:end] == word`; nested mentions come
    one after the other. Nothing is truncated.

    Call arguments:
        corpus: answer under this training corpus's guideline (for AIONER: its task tags).
        tasks: names of the tasks to run instead of the model's default ones.
        threshold: leave out mentions with a lower score (0..1).
        window_batch_size: windows that go through the model at once.
    """

    def _sanitize_parameters(self, corpus=None, tasks=None, threshold=None, window_batch_size=None, **kwargs):
        unknown = set(kwargs) - {"aggregation_strategy", "stride", "ignore_labels"}  # the stock pipeline's; no use here
        if unknown:
            raise ValueError(
                f"unknown argument {sorted(unknown)}; expected corpus, tasks, threshold or window_batch_size"
            )
        run = {"corpus": corpus, "tasks": tasks, "window_batch_size": window_batch_size}
        return (
            {},
            {k: v for k, v in run.items() if v is not None},
            {} if threshold is None else {"threshold": threshold},
        )

    def preprocess(self, inputs):
        if not isinstance(inputs, str):
            raise ValueError(f"expected a text (str) or a list of texts, got {type(inputs).__name__}")
        return {"text": inputs}

    def _forward(self, model_inputs, corpus=None, tasks=None, window_batch_size=16):
        if corpus is not None:
            self.model.config.labels.native_types(corpus)  # an unknown corpus is an error, not the default guideline
        predictor = MentionPredictor(self.model, self.tokenizer, window_batch_size)
        text = model_inputs["text"]  # with the pipeline's batch_size above 1, a list of texts
        texts = [text] if isinstance(text, str) else text
        mentions = predictor(texts, tasks or self.model.tasks_for(corpus))
        return {"text": text, "mentions": mentions[0] if isinstance(text, str) else mentions}

    def postprocess(self, model_outputs, threshold=0.0):
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
            if m.score >= threshold
        ]
