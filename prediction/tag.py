"""The mentions of a text, a file or a folder, with a trained model.

mosaic-ner tag "Severe velosis in mice is reduced by nirlazole."
mosaic-ner tag abstracts.pubtator --types Disease Gene --output annotated.bioc.xml
zcat texts.jsonl.gz | mosaic-ner tag - --format jsonl > annotated.jsonl

INPUT is a text, a file or folder of any format, or - for what comes through a pipe. Mentions are a table in a terminal and JSON
lines in a pipe; --output writes any format that its ending tells, and --html one page to look at. Annotations of the input are
not read. A record that can't be read is left out, listed at the end, and makes exit code 3.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

from mosaic_ner.data_builders.console import check_output, log_progress, one_message
from mosaic_ner.data_builders.options import FORMATS, ArgumentError
from mosaic_ner.modeling.document import Document, Mention, replace_halves

from . import highlight
from .options import PRECISIONS

logger = logging.getLogger(__name__)

STDIN = "-"
_WIDEST = 60  # characters of a mention in a table


class Tagged(list):
    """The mentions of a text, in reading order: `text[mention.start : mention.end]` is a mention's text.

    `print` shows a table, and a notebook the text with its mentions marked.

    Args:
        types: in the order of their colours; default: those of the mentions.
    """

    def __init__(self, text: str, mentions: Iterable[Mention], types: Sequence[str] = ()):
        super().__init__(mentions)
        self.text = text
        self.types = tuple(types) or tuple(sorted({m.type for m in self}))

    def __str__(self) -> str:
        return table(self.text, self)

    def _repr_html_(self) -> str:
        return highlight.fragment(highlight.result(self.text, self, self.types))


def tag(
    text: str | Sequence[str],
    model: str | None = None,
    *,
    corpus: str | None = None,
    types: Sequence[str] = (),
    threshold: float = 0.0,
    precision: str = "float32",
) -> Tagged | list[Tagged]:
    """The mentions of a text of any length, or of each of several.

    Args:
        text: one, or a list.
        model: a folder or a Hub id; default: the model that comes with the package. It stays in memory for the next call.
        corpus: answer under this training corpus's guideline.
        types: leave out mentions of other types.
        threshold: leave out mentions with a lower score (0..1).
        precision: of the encoder, one of `options.PRECISIONS`.
    Raises:
        UserError: there is no such model, or it doesn't know the corpus or a type.
    """
    texts = [text] if isinstance(text, str) else list(text)
    documents = [Document(str(n), "user", replace_halves(t, "a text")) for n, t in enumerate(texts, 1)]
    tagger = _tagger(model, corpus, tuple(types), threshold, precision)
    stream = itertools.chain.from_iterable(tagger.stream(documents))
    found = [Tagged(document.text, document.mentions, tagger.told) for document in stream]
    return found[0] if isinstance(text, str) else found


@lru_cache(maxsize=4)
def _predictor(model: str | None, precision: str):
    """The model named, or the default one, kept for the next call of a session."""
    from transformers.utils.logging import disable_progress_bar

    from .precision import load_predictor

    disable_progress_bar()
    return load_predictor(model, precision)


def _tagger(model: str | None, corpus: str | None, types: Sequence[str], threshold: float, precision: str):
    from .tagger import Tagger, tasks_of

    predictor = _predictor(model, precision)
    return Tagger(predictor, tasks_of(predictor.model, corpus), types, threshold)


def table(text: str, mentions: Iterable[Mention]) -> str:
    """Mentions as lines with columns, the first of them their names."""
    rows = [("mention", "type", "start", "end", "score")]
    for m in mentions:
        found = " ".join(text[m.start : m.end].split())
        found = found if len(found) <= _WIDEST else found[: _WIDEST - 1] + "…"
        rows.append((found, m.type, str(m.start), str(m.end), "" if m.score is None else f"{m.score:.4f}"))
    if len(rows) == 1:
        return "no mentions"
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), *map(str.rjust, row[2:], widths[2:])])
        for row in rows
    )


def read_input(given: str, format: str | None, report, stack: ExitStack) -> Iterator[Document]:
    """The documents of what a user gives: a text, a file, a folder, or `-` for standard input.

    Args:
        report: takes what can't be read (a `ReadReport`).
        stack: keeps the copy of standard input until all is read.
    Raises:
        ArgumentError: a text that must have been meant as a file. FormatError: the file can't be read.
    """
    from mosaic_ner.data_builders.formats import format_of_name, read_documents
    from mosaic_ner.data_builders.formats.detect import format_of_content

    if given == STDIN:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "stdin"
        with path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        found = format_of_content(path)
        format = format or (found if found not in (None, "brat") else "text")
        given = str(path)
    elif not os.path.exists(given):
        if not given.strip():
            raise ArgumentError("the text is empty; expected a text, a file, a folder or -")
        if len(given.split()) == 1 and ("/" in given or format_of_name(given) is not None):
            raise ArgumentError(f"{given}: no such file or folder")
        if "\n" not in given and format_of_name(given) is not None:
            raise ArgumentError(f"{given!r}: no such file; if it is a text, end it with a full stop")
        if format:
            raise ArgumentError(f"--format {format} has no effect on a text; {given[:40]!r} is no file or folder")
        return iter([Document("text", "user", replace_halves(given, "the text"))])
    reading = {"policy": "lenient", "gold": False, "skip_bad": True, "keep_source": True}
    return read_documents(given, format, report=report, **reading)


def main(argv: list[str] | None = None) -> int:
    """Command line entry; returns 3 if records are missing in what was written."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner tag",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("input", nargs="?", help="a text, a file, a folder, or - for standard input")
    add_question(parser)
    parser.add_argument("--format", choices=FORMATS, help="of the input; default: what its content or ending says")
    parser.add_argument("--output", type=Path, help="file to write; its ending (before .gz) tells the format")
    parser.add_argument("--html", type=Path, help="page to write, in one file: the texts with their mentions marked")
    options = parser.parse_args(argv)
    log_progress()
    with one_message("tag"), ExitStack() as stack:
        gc.disable()  # nothing that the imports make is garbage; looking for some would take a sixth of the start's time
        stack.callback(gc.enable)
        return _run(options, stack)


def before_types(types: list[str]) -> str:
    """What an error without input says where --types has taken the input, too."""
    return f"; name it before --types, which has taken {types[-1][:40]!r}" if types else ""


def add_question(parser: argparse.ArgumentParser) -> None:
    """Adds the options of what a model is asked for."""
    parser.add_argument("--model", help="a folder or a Hub id; default: the model that comes with the package")
    parser.add_argument("--corpus", help="answer under this training corpus's guideline")
    parser.add_argument("--types", nargs="+", default=[], metavar="TYPE", help="leave out mentions of other types")
    parser.add_argument("--threshold", type=float, default=0.0, help="leave out mentions with a lower score (0 to 1)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="of the encoder, see docs/precision.md"
    )


def _run(options: argparse.Namespace, stack: ExitStack) -> int:
    from mosaic_ner.data_builders.formats import ReadReport, format_to_write, write_documents
    from mosaic_ner.data_builders.formats.writing import FOLDERS

    from .annotate import tell_bad

    if options.input is None:
        raise ArgumentError("no input: expected a text, a file, a folder or -" + before_types(options.types))
    files = [options.output] if options.output and format_to_write(options.output) not in FOLDERS else []
    check_output(options.html, *files, inputs=[options.input])
    report = ReadReport()
    documents = read_input(options.input, options.format, report, stack)
    tagger = _tagger(options.model, options.corpus, options.types, options.threshold, options.precision)
    gc.enable()
    tagged = itertools.chain.from_iterable(tagger.stream(documents))
    if options.html:
        tagged = list(tagged)
        options.html.write_text(tagged_page(tagged, tagger.told), encoding="utf-8")
    if options.output:
        written = write_documents(tagged, options.output, skip_bad=True)
        logger.info("%s: %s", options.output, written.summary())
        return 3 if tell_bad(report, written) else 0
    if not options.html:
        _show(tagged)
    return 3 if tell_bad(report) else 0


def tagged_page(documents: Sequence[Document], types: Sequence[str]) -> str:
    """One page with every document, its mentions marked and listed.

    Args:
        types: the order of the types' colours.
    """
    parts = []
    for document in documents:
        name = f"<h2>{highlight.escape(document.id)}</h2>" if len(documents) > 1 else ""
        parts.append(name + highlight.result(document.text, document.mentions, types))
    found = highlight.count(sum(len(d.mentions) for d in documents), "mention")
    return highlight.page(f"{found} in {highlight.count(len(documents), 'document')}", "".join(parts))


def _show(documents: Iterable[Document]) -> None:
    """Tables in a terminal, JSON lines in a pipe."""
    from mosaic_ner.data_builders.formats import DocumentWriter

    out = sys.stdout
    try:
        if not out.isatty():
            with DocumentWriter(out.buffer, "jsonl") as writer:  # UTF-8, whatever the terminal's encoding is
                for document in documents:
                    writer.write(document)
            return
        out.reconfigure(errors="replace")
        for number, document in enumerate(documents):
            heading = f"{document.id}\n" if document.id != "text" else ""
            out.write("\n" * bool(number) + heading + table(document.text, document.mentions) + "\n")
        out.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


if __name__ == "__main__":
    sys.exit(main())
