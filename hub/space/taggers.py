"""The models of the demo page: loaded when first asked for, with their own code, and asked for mentions."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from textwrap import shorten

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from mosaic_ner.hub.stride import stride_for
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.label_space import UserError
from transformers import TokenClassificationPipeline, pipeline

logger = logging.getLogger(__name__)

UNKNOWN_ORIGIN = ""
"""The guideline for a text of no corpus."""
CORPUS, TASK = "corpus:", "task:"
"""Begin the other guidelines."""
LOADING_ERRORS = (OSError, ValueError, LookupError, AttributeError, TypeError, ImportError, RuntimeError)
"""What a model that can't be reached, is damaged, or has code of another version, can end with."""


class SpaceError(UserError):
    """What a visitor or the operator has to put right; the message is for them."""


class Tagger:
    """One model: either one of the families, with their pipeline, or a stock token classification model.

    Args:
        name: a folder or a Hub id, named by the operator: its code is run.
    Raises:
        one of LOADING_ERRORS: it can't be loaded.
    """

    def __init__(self, name: str):
        self.name = name
        self._pipeline = pipeline("token-classification", model=name, trust_remote_code=True)
        self._lock = threading.Lock()  # a fast tokenizer can't be used by two threads at once
        self.is_stock = isinstance(self._pipeline, TokenClassificationPipeline)
        if self.is_stock:
            self._read_stock()
        else:
            self._read_family()

    def _read_family(self) -> None:
        model = self._pipeline.model
        space = model.config.labels
        known = [corpus for corpus in space.corpora if model.knows(corpus)]
        own = [native for corpus in space.corpora for native in space.native_types(corpus)]
        own = [t for t in own if all(t not in types or types[t] is None for types in space.corpora.values())]
        self.types: list[str] = [*dict.fromkeys([*space.shared_types, *own])]
        tasks = [task.name for task in model.config.tasks]
        others = [name for name in tasks if name not in space.corpora and [name] != list(model.config.default_tasks)]
        self._tasks = {CORPUS + corpus: tuple(model.tasks_for(corpus)) for corpus in known}
        self.guidelines: list[tuple[str, str]] = [("Text of unknown origin", UNKNOWN_ORIGIN)]
        self._annotated = {CORPUS + c: frozenset(space.shared_types_of(c) or space.native_types(c)) for c in known}
        for corpus in known:
            types = ", ".join(space.shared_types_of(corpus) or space.native_types(corpus))
            self.guidelines.append((f"Corpus {corpus} ({shorten(types, 60, placeholder=' …')})", CORPUS + corpus))
        self.guidelines += [(f"Task {name}", TASK + name) for name in others]

    def _read_stock(self) -> None:
        config, tokenizer = self._pipeline.model.config, self._pipeline.tokenizer
        labels = [str(label) for label in config.id2label.values()]
        # "O" is no type, nor is what begins like O-Gene; a label without B- or I- is the name of its type.
        tagged = [label for label in labels if label != "O" and not label.startswith("O-")]
        self.types = [*dict.fromkeys(label[2:] if label[:2] in ("B-", "I-") else label for label in tagged)]
        if not self.types or any(re.fullmatch(r"LABEL_\d+", label) for label in labels):
            raise ValueError(f"labels without a meaning: {', '.join(labels[:5])}; set id2label in its config.json")
        self.guidelines = [("The model's own", UNKNOWN_ORIGIN)]
        self._annotated, self._tasks = {}, {}
        # The pipeline cuts off what the tokenizer calls too long, or reads it whole where it says nothing: windows need a size.
        positions = config.to_dict().get("max_position_embeddings", 512)
        if tokenizer.model_max_length > positions:
            tokenizer.model_max_length = positions - 2  # RoBERTa leaves two of its positions unused
        self._stock = {
            "aggregation_strategy": "simple",
            "stride": stride_for(tokenizer.model_max_length),
            "ignore_labels": [label for label in labels if label not in tagged],  # it would report any but "O"
        }

    def mentions(
        self, document: str | Document, guideline: str = UNKNOWN_ORIGIN, threshold: float = 0.0
    ) -> list[Mention]:
        """The mentions of a text of any length, in reading order.

        Args:
            document: a text, or a document, whose passages no mention crosses.
            guideline: the value of one of `guidelines`.
            threshold: the least score, 0..1.
        Raises:
            SpaceError: an unknown guideline.
        """
        known = [value for _, value in self.guidelines]
        if guideline not in known:
            raise SpaceError(f"The model {self.label} has no guideline {guideline!r}. Choose one from the list.")
        document = Document("", "", document) if isinstance(document, str) else document
        text = document.text
        if not text.strip():
            return []
        with self._lock:
            if self.is_stock:
                rows = [row for row in self._stock_rows(document) if row["score"] >= threshold]
                # Tokens of nothing but white space, which byte-level tokenizers have.
                rows = [row for row in rows if text[row["start"] : row["end"]].strip()]
            else:
                how = {"corpus": guideline.removeprefix(CORPUS)} if guideline.startswith(CORPUS) else {}
                how |= {"tasks": [guideline.removeprefix(TASK)]} if guideline.startswith(TASK) else {}
                passages = [[passage.start, passage.end] for passage in document.passages]
                rows = self._pipeline({"text": text, "passages": passages}, threshold=threshold, **how)
        return [
            Mention(int(row["start"]), int(row["end"]), row["entity_group"], score=float(row["score"])) for row in rows
        ]

    def _stock_rows(self, document: Document) -> list[dict]:
        """What the stock pipeline finds, passage by passage."""
        text = document.text
        return [
            row | {"start": start + row["start"], "end": start + row["end"]}
            for start, end in pairwise([0, *document.borders, len(text)])
            if text[start:end].strip()
            for row in self._pipeline(text[start:end], **self._stock)
        ]

    @property
    def label(self) -> str:
        """How the page calls it."""
        return label_of(self.name)

    def annotated(self, guideline: str) -> frozenset[str]:
        """The types that are annotated under a guideline; all, where it is no corpus's."""
        return self._annotated.get(guideline, frozenset(self.types))

    def alike(self, guidelines: Sequence[str]) -> list[list[str]]:
        """Those of the guidelines, as titles, that the model can't tell apart: groups of two or more."""
        groups: dict[tuple, list[str]] = {}
        for how in guidelines:
            question = self._tasks.get(how, how), self.annotated(how)
            groups.setdefault(question, []).append(self.title(how))
        return [titles for titles in groups.values() if len(titles) > 1]

    def title(self, guideline: str) -> str:
        """The guideline, for a heading."""
        return "unknown origin" if guideline == UNKNOWN_ORIGIN else guideline.partition(":")[2]

    def describe(self, guideline: str) -> str:
        """The model and the guideline, for a heading."""
        if guideline == UNKNOWN_ORIGIN:
            return self.label
        return f"{self.label}, {guideline.replace(':', ' ', 1)}"


def label_of(name: str) -> str:
    """A Hub id, or the last part of a folder: pages don't show where the operator keeps models."""
    return os.path.basename(os.path.abspath(name)) if Path(name).is_dir() else name


class Taggers:
    """The models that the operator named, each loaded when it is first asked for. No other is ever loaded.

    Args:
        names: folders or Hub ids.
    Raises:
        SpaceError: no name, one twice, or one that is neither a folder nor a possible Hub id.
    """

    def __init__(self, names: list[str]):
        if not names:
            raise SpaceError(
                "expected at least one model (a Hub id or a folder), got none; name it on the command line, in the "
                "environment variable MOSAIC_MODELS (with commas between several) or under models: in README.md"
            )
        self.names: dict[str, str] = {}
        for name in names:
            check_name(name)
            label = label_of(name)
            if label in self.names:
                raise SpaceError(f"two models are called {label!r}; give each once, and folders different names")
            self.names[label] = name
        self._loaded: dict[str, Tagger] = {}
        self._lock = threading.Lock()

    @property
    def labels(self) -> list[str]:
        """What the page calls the models."""
        return list(self.names)

    def get(self, label: str) -> Tagger:
        """The model that the page calls so.

        Raises:
            SpaceError: there is none, or it can't be loaded.
        """
        if label not in self.names:
            raise SpaceError(f"There is no model {label!r} here. This page has {', '.join(self.names)}.")
        with self._lock:
            if label not in self._loaded:
                try:
                    self._loaded[label] = Tagger(self.names[label])
                except LOADING_ERRORS as error:
                    logger.error("%s can't be loaded: %s", self.names[label], error)
                    raise SpaceError(
                        f"The model {label} can't be loaded; the reason is in the log of this page. Choose another."
                    ) from error
            return self._loaded[label]


def check_name(name: str) -> None:
    """
    Raises:
        SpaceError: neither a folder nor a possible Hub id.
    """
    if Path(name).is_dir():
        return
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise SpaceError(
            f"expected a folder or a Hub id (owner/name), got {name!r}, which is neither; check the spelling"
        ) from error
