"""Small files, what reading gives, and prediction without a model: a predictor that finds words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mosaic_ner.data_builders.formats import FormatError, ReadReport, read_documents
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.modeling.document import Mention
from mosaic_ner.prediction.annotate import annotate_file
from mosaic_ner.prediction.options import PredictionOptions
from mosaic_ner.prediction.tagger import Tagger

WORDS = {"velosis": "Disease", "nirlazole": "Chemical", "spiran": "Chemical", "mice": "Species"}


class Finder:
    """Finds the words of `WORDS`, in any case; stands where `annotate_file` has a `MentionPredictor`."""

    batch_size = 1

    def __init__(self, words=WORDS):
        self.words = words

    def find(self, text: str) -> list[Mention]:
        found = [(m, kind) for word, kind in self.words.items() for m in re.finditer(word, text, re.IGNORECASE)]
        return sorted(Mention(m.start(), m.end(), kind, score=0.5) for m, kind in found)

    def stream(self, parts, tasks):
        for part in parts:
            yield [self.find(document.text) for document in part]


def predicted(source, target, words=WORDS, *, resume=False, keep_mentions=False, chunk=2, **data) -> int:
    """Annotates a file or folder; returns how many records are missing."""
    options = PredictionOptions(
        predict_input=str(source),
        predict_output=str(target),
        predict_chunk=chunk,
        resume=resume,
        keep_mentions=keep_mentions,
    )
    return annotate_file(Tagger(Finder(words), []), options, str(Path(source).parent / "no-model"), DataOptions(**data))


def file(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path, format=None, **how):
    """(documents, counts)."""
    report = ReadReport()
    return list(read_documents(path, format, report=report, **how)), dict(report.counts)


def surfaces(path, **how) -> list:
    return [[(m.type, d.surface(m)) for m in d.mentions] for d in read(path, **how)[0]]


def failure(path, **how) -> str:
    with pytest.raises(FormatError) as caught:
        list(read_documents(path, **how))
    return str(caught.value)


def collection(*documents) -> str:
    return json.dumps({"source": "", "date": "", "key": "", "infons": {}, "documents": list(documents)})


def passage(text, *spans, offset=0, **more) -> dict:
    found = [
        {"id": str(n), "infons": {"type": "G"}, "text": t, "locations": [{"offset": a, "length": b - a}]}
        for n, (a, b, t) in enumerate(spans)
    ]
    return {"offset": offset, "infons": {}, "text": text, "sentences": [], "annotations": found, "relations": []} | more


XML = "<collection><document><id>1</id><passage><offset>0</offset><text>{}</text></passage></document></collection>"
PUBTATOR = "1|t|Severe velosis.\n1|a|In mice.\n1\t7\t14\tvelosis\tDisease\n\n2|t|Spiran\n2|a|\n"
IOB = "Severe\tO\nvelosis\tB-Disease\n\nIn\tO\nmice\tB-Species\n"
RECORDS = '{"id": "1", "text": "Severe velosis."}\n{"id": "2", "text": "In mice."}\n'
PUBMED = (
    '<?xml version="1.0"?><PubmedArticleSet><PubmedArticle><MedlineCitation><PMID Version="1">1</PMID><Article>'
    "<ArticleTitle>Severe velosis.</ArticleTitle><Abstract><AbstractText>In mice.</AbstractText></Abstract></Article>"
    '</MedlineCitation></PubmedArticle><PubmedArticle><MedlineCitation><PMID Version="2">2</PMID><Article>'
    "<ArticleTitle>Spiran</ArticleTitle></Article></MedlineCitation></PubmedArticle></PubmedArticleSet>"
)
JATS = (
    '<?xml version="1.0"?><article><front><article-meta><article-id pub-id-type="pmc">7</article-id><title-group>'
    "<article-title>Severe velosis</article-title></title-group><abstract><p>In mice.</p></abstract></article-meta></front>"
    "<body><p>Spiran.</p></body></article>"
)
