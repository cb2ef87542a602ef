"""What the demo page's buttons do: plain functions, from settings to HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

from mosaic_ner.hub.space.files import annotate_file, size_of
from mosaic_ner.hub.space.guidelines import side_by_side
from mosaic_ner.hub.space.taggers import SpaceError, Taggers
from mosaic_ner.modeling.document import replace_halves
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.prediction import highlight

MOST_GUIDELINES = 4
"""That are shown side by side."""


@dataclass(frozen=True)
class Limits:
    """What a visitor may give.

    Args:
        characters: of a text. megabytes: of a file (10⁶ bytes each).
    """

    characters: int = 20_000
    megabytes: float = 1.0

    @property
    def bytes(self) -> int:
        return int(self.megabytes * 1_000_000)

    def check_text(self, text: str | None) -> str:
        """
        Raises:
            SpaceError: no text, or too long a text.
        """
        text = text or ""
        if not text.strip():
            raise SpaceError("The text is empty. Type or paste one, or choose an example.")
        if len(text) > self.characters:
            raise SpaceError(
                f"The text has {len(text):,} characters; at most {self.characters:,} fit here. Shorten it, or give a file."
            )
        return replace_halves(text, "a text of the page")


class Actions:
    """What the page does, without the page.

    Args:
        taggers: the models. limits: what a visitor may give.
    """

    def __init__(self, taggers: Taggers, limits: Limits):
        self.taggers = taggers
        self.limits = limits

    def find(self, text: str, model: str, guideline: str, threshold: float) -> str:
        """A text's mentions, as HTML."""
        text = self.limits.check_text(text)
        tagger = self.taggers.get(model)
        return highlight.result(text, tagger.mentions(text, guideline, threshold), tagger.types)

    def compare(
        self, text: str, model_a: str, guideline_a: str, model_b: str, guideline_b: str, threshold: float
    ) -> str:
        """What two models, or one under two guidelines, find in a text, as HTML."""
        text = self.limits.check_text(text)
        a, b = self.taggers.get(model_a), self.taggers.get(model_b)
        found = [tagger.mentions(text, how, threshold) for tagger, how in ((a, guideline_a), (b, guideline_b))]
        types = list(dict.fromkeys([*a.types, *b.types]))
        return highlight.comparison(text, *found, types, [a.describe(guideline_a), b.describe(guideline_b)])

    def guidelines(self, text: str, model: str, guidelines: list[str], threshold: float) -> str:
        """What a model finds in a text under each of several guidelines, as HTML."""
        text = self.limits.check_text(text)
        tagger = self.taggers.get(model)
        guidelines = guidelines or []
        if not 2 <= len(guidelines) <= MOST_GUIDELINES:
            raise SpaceError(f"{len(guidelines)} guidelines are chosen. Choose 2 to {MOST_GUIDELINES}.")
        answers = [
            (tagger.title(how), tagger.annotated(how), tagger.mentions(text, how, threshold)) for how in guidelines
        ]
        notes = [
            highlight.note(f"This model can't tell apart {', '.join(titles)}: it was taught one guideline for them.")
            for titles in tagger.alike(guidelines)
        ]
        return "".join(notes) + side_by_side(text, answers, tagger.types)

    def annotate(
        self, file: str | None, folder: Path, model: str, guideline: str, threshold: float, progress=None
    ) -> tuple[str, Path]:
        """A file, annotated: what was found, as HTML, and the file to download.

        Args:
            file: the uploaded file. folder: gets the annotated one.
        """
        path = self._checked(file)
        tagger = self.taggers.get(model)
        done = annotate_file(
            path,
            folder,
            lambda document: tagger.mentions(document, guideline, threshold),
            progress or (lambda done, total: None),
        )
        found = [m for d in done.documents for m in d.mentions]
        first, documents = done.documents[0], highlight.count(len(done.documents), "document")
        parts = [f'<p class="mn-summary"><b>{highlight.count(len(found), "mention")}</b> in {documents}</p>']
        parts += [*map(highlight.note, done.remarks), highlight.types_table(found, tagger.types)]
        if len(first.text) <= self.limits.characters:
            title = f"Document {first.id}" + (", the first" if len(done.documents) > 1 else "")
            parts.append(f'<h4 class="mn-first">{highlight.escape(title)}</h4>')
            parts.append(highlight.mark(first.text, first.mentions, tagger.types))
        else:
            parts.append(highlight.note(f"The first document is not shown: it has {len(first.text):,} characters."))
        return f'<section class="mn-result">{"".join(parts)}</section>', done.path

    def _checked(self, file: str | None) -> Path:
        if file is None:
            raise SpaceError(
                "There is no file. Choose one: PubTator, BioC, PubMed XML, JATS, JSON lines, IOB, plain text."
            )
        path = Path(file)
        try:
            size = max(path.stat().st_size, size_of(path, self.limits.bytes))
        except FileNotFoundError as error:
            raise SpaceError("The file has been removed in the meantime. Choose it again.") from error
        if size > self.limits.bytes:
            raise SpaceError(
                f"{path.name} has {size / 1e6:.1f} MB; at most {self.limits.megabytes:g} MB fit here. Split it, or use "
                "mosaic-ner --do_predict on a computer of your own."
            )
        return path


def on_page(action: Callable[..., str]) -> Callable[..., str]:
    """The action; a visitor's mistake is told where the result would be."""

    @wraps(action)
    def told(*args, **kwargs):
        try:
            return action(*args, **kwargs)
        except UserError as error:
            return highlight.alert(str(error))

    return told
