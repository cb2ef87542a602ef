"""What the tests of stock exports share: a tagger, its export by the command, and their comparison on texts."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from mosaic_ner.hub import export
from mosaic_ner.hub.export_check import compare, parts_of
from mosaic_ner.hub.stock import StockPredictor, TokenByToken
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.windowing import Windower


def softmax_tagger(build_bundle, bert_dir: Path):
    """A lively softmax tagger on BERT: tasks ALL, Gene, Disease, Chemical, one softmax over the labels of all."""
    return build_bundle(encoder=str(bert_dir), classifier="softmax", lively=True)


def export_stock_model(model: Path, folder: Path, corpus: str, *more: str) -> str:
    """Runs the command, which compares on a corpus; what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        export.main([str(model), "--format", "stock", "--output", str(folder), "--compare", corpus, *more])
    return printed.getvalue()


def differences(bundle, folder, texts, task) -> dict:
    """The comparison on texts, each cut into the model's windows, and read token by token."""
    config = bundle.model.config
    windower = Windower(bundle.tokenizer, config.max_tokens, config.num_special_tokens)
    parts = [p for i, text in enumerate(texts) for p in parts_of(Document(str(i), "x", text), windower)]
    predictor = TokenByToken(bundle.model, bundle.tokenizer)
    return compare(lambda texts: predictor(texts, [config.task(task)]), StockPredictor(folder), parts)
