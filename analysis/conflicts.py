"""How corpora disagree: on texts that they share, at the borders of mentions, and in a model's answers under each guideline.

mosaic-ner conflicts biored bc5cdr nlm_gene tmvar3 --data_dir D --output conflicts.html
mosaic-ner conflicts biored bc5cdr --data_dir D --page docs/conflicts.md
mosaic-ner conflicts mine.jsonl biored --data_dir D --output conflicts.html
mosaic-ner conflicts biored s800 linnaeus --data_dir D --output conflicts.html --model outputs/multi

A file or folder of your own is a corpus, too: its types are compared with shared types of the same name. --output writes a page
to look at, --page the tables between the marks `<!-- conflicts -->` and `<!-- /conflicts -->` of a Markdown file; without both
the tables are printed. Corpora share texts by article id or normalised text. --model compares its answers to the same documents
under the guideline of each corpus that it knows; these corpora need not share a text.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from mosaic_ner.data_builders.console import check_output, log_progress, one_message
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE, load_demo_corpora
from mosaic_ner.data_builders.formats import ReadReport, read_documents
from mosaic_ner.data_builders.mapping import load_label_mapping
from mosaic_ner.data_builders.markdown import between, wrapped
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.label_space import LabelSpace, UserError, nearest

from .agreement import Agreement, Answer, agree, agreement_of_corpora, habits
from .conflicts_page import Conflicts, html, markdown

logger = logging.getLogger(__name__)


class ConflictError(UserError):
    """Corpora that can't be compared."""


def read_corpora(names: list[str], data_dir: str | None, scheme: str) -> tuple[dict[str, dict], LabelSpace]:
    """Corpus → split → documents, and the types that they share.

    Args:
        names: of corpora, or files and folders of the user's, each a corpus that is called as it is, without its ending.
    Raises:
        ConflictError: fewer than two corpora, an unknown one, or two of one name.
    """
    from mosaic_ner.data_builders.builder import load_corpus

    space = load_label_mapping(scheme=scheme)
    space = LabelSpace(space.corpora | DEMO_LABEL_SPACE.corpora)
    own = {n: Path(n).name.partition(".")[0] for n in names if n not in space.corpora and Path(n).exists()}
    for name in names:
        if name not in (*space.corpora, *own):
            raise ConflictError(f"{name!r} is neither a corpus nor a file{nearest(name, space.corpora)}")
    titles = [own.get(name, name) for name in dict.fromkeys(names)]
    if len(set(titles)) < len(titles):
        raise ConflictError(f"two corpora are called {Counter(titles).most_common(1)[0][0]!r}; rename a file")
    if len(titles) < 2:
        raise ConflictError("expected at least two corpora, whose annotations can be compared; name another one")
    demo = load_demo_corpora() if set(names) & set(DEMO_LABEL_SPACE.corpora) else {}
    corpora = {}
    for name, called in zip(dict.fromkeys(names), titles, strict=True):
        if name in own:
            report = ReadReport()
            read = read_documents(name, policy="lenient", report=report)
            documents = [replace(document, corpus=called) for document in read]  # a file may say another name
            types = {t for d in documents for t in (*(m.type for m in d.mentions), *(d.annotated_types or ()))}
            if report.counts:
                logger.info("%s: %s", name, report.summary())
            if not types:
                raise ConflictError(f"{name} holds no mention; expected annotated documents")
            corpora[called] = {"all": documents}
            space = LabelSpace(space.corpora | {called: {t: t for t in sorted(types)}})
        else:
            corpora[called] = demo[name] if name in demo else load_corpus(name, data_dir=data_dir)
    return corpora, space.restricted_to(corpora)


def agreement_of_model(
    model: str, documents: list[Document], corpora: list[str], batch_size: int = 16
) -> tuple[Agreement, ...]:
    """A model's answers to the same documents under the guidelines of each two corpora, where they aren't one question.

    Args:
        model: folder or Hub id. documents: their own mentions are not read. corpora: those that it doesn't know are left out.
    Raises:
        ConflictError: it knows fewer than two of the corpora, or asks one question for all.
    """
    from mosaic_ner.modeling.inference import MentionPredictor
    from mosaic_ner.prediction.loading import load

    predictor = MentionPredictor(*load(model), batch_size)
    network = predictor.model
    space, asked, found = network.config.labels, {}, {}
    known = [corpus for corpus in corpora if network.knows(corpus)]
    for corpus in known:
        tasks = tuple(network.tasks_for(corpus))
        if tasks not in asked:
            asked[tasks] = predictor(documents, list(tasks))
        found[corpus] = tasks
    pairs = [(a, b) for a, b in combinations(known, 2) if found[a] != found[b]]
    if not pairs:
        raise ConflictError(
            f"{model} has no two guidelines for {', '.join(corpora)}: it knows {', '.join(space.corpora) or 'no corpus'}; "
            "expected a model that was trained on at least two of these corpora and tells their guidelines apart"
        )

    def answered(corpus: str) -> list[Answer]:
        types = frozenset(space.shared_types_of(corpus))
        rows = zip(documents, asked[found[corpus]], strict=True)
        return [Answer(replace(d.with_mentions(m), corpus=corpus), types) for d, m in rows]

    compared = (((a, b), [*zip(answered(a), answered(b), strict=True)]) for a, b in pairs)
    return tuple(agree(names, sides) for names, sides in compared if sides[0][0].types & sides[0][1].types)


def main(argv: list[str] | None = None) -> None:
    """Command line: writes the page, the tables, or prints them."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner conflicts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpora", nargs="+", help="names or files, in the order in which they are compared")
    parser.add_argument("--data_dir", help="folder with the corpora's files; without it they are downloaded")
    parser.add_argument("--mapping", default="shared", help="column of the label mapping (default: shared)")
    parser.add_argument("--output", type=Path, help="page to write (HTML, one file)")
    parser.add_argument("--page", type=Path, help="Markdown file with the marks; gets the tables")
    parser.add_argument("--model", help="folder or Hub id: compare its answers under the guidelines, too")
    parser.add_argument(
        "--documents",
        type=int,
        help="with --model: so many of the first corpus's last split (default: 100)",
    )
    options = parser.parse_args(argv)
    log_progress()
    with one_message("conflicts"):
        check_output(options.output, page=options.page, mark="conflicts", inputs=options.corpora)
        if options.documents is not None and (not options.model or options.documents < 1):
            raise ConflictError(f"--documents {options.documents}: expected a number of at least 1, beside --model")
        corpora, space = read_corpora(options.corpora, options.data_dir, options.mapping)
        whole = {name: [d for part in splits.values() for d in part] for name, splits in corpora.items()}
        answered: tuple[Agreement, ...] = ()
        if options.model:
            last = [*next(iter(corpora.values())).values()][-1]
            answered = agreement_of_model(options.model, last[: options.documents or 100], list(corpora))
        name = Path(options.model).name if options.model else ""
        found = Conflicts(tuple(corpora), agreement_of_corpora(whole, space), habits(whole, space), name, answered)
        tables = wrapped(markdown(found))
        if options.output:
            options.output.write_text(html(found), encoding="utf-8")
        if options.page:
            text = options.page.read_text(encoding="utf-8")
            options.page.write_text(between(text, "conflicts", tables), encoding="utf-8")
        if not (options.output or options.page):
            sys.stdout.write(tables + "\n")


if __name__ == "__main__":
    main()
