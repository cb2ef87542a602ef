"""The figures that a run with `--write_figures true` draws of its model: the labels' prior vectors and the embeddings of gold
mentions (Oi and Miwa 2025, Figures 3 and 4), and those of latents.py where the family has latent spaces. Needs matplotlib and
scikit-learn: `pip install 'mosaic-ner[figures]'`.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path

import torch
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelSpace
from torch import Tensor

from .embeddings import Point, Splits, caption, embed_mentions, subsample
from .latents import draw_run
from .plots import (
    BLACK,
    COLOURS,
    GREY,
    MARKERS,
    FigureError,
    counted,
    legend,
    name_points,
    places_of,
    require_packages,
    save,
    scatter,
    styles,
    titled_axes,
)

logger = logging.getLogger(__name__)


def check(model) -> None:
    """Whether `draw` will work for this model. To be called before anything is trained.

    Raises:
        ExtraError: a package is missing. FigureError: the family has no embeddings of spans.
    """
    require_packages()
    if not model.has_span_embeddings:
        raise FigureError(
            f"--write_figures: a model of type {model.config.model_type!r} has no embeddings of spans to draw; leave the "
            "option out, or train one of the span families"
        )


def draw(
    folder: Path, predictor: MentionPredictor, space: LabelSpace, validation: Splits, test: Splits, seed: int
) -> list[Path]:
    """Writes the figures into the folder: `prior_vectors.png` (where the model has prior vectors), `span_embeddings.png`,
    `span_embeddings_<Type>.png` for each shared type, and those of `latents.draw_run` where the family has latent spaces.

    Args:
        predictor: of the trained model. space: the run's label space.
        validation, test: corpus → documents with gold mentions under native types. Corpora whose guideline is the model's
            default are drawn from validation, the others from test. A corpus with one split is drawn from that.
        seed: draws sentences and mentions, and starts t-SNE.
    Returns:
        the files written.
    """
    check(predictor.model)
    files = []
    labels, default = predictor.model.config.labels, predictor.model.config.default_tasks
    types = styles(dict.fromkeys([*labels.shared_types, *space.shared_types]), COLOURS)
    markers = styles(dict.fromkeys([*labels.corpora, *validation, *test]), MARKERS)
    vectors = predictor.model.prior_vectors()
    if vectors is None:
        logger.info("no %s: the model has no prior vectors (no CVAE, or saved for inference only)", "prior_vectors.png")
    else:
        files.append(_prior_figure(folder / "prior_vectors.png", vectors, labels, types, markers, seed))
    documents, titles = {}, {}
    for corpus in dict.fromkeys([*validation, *test]):
        from_validation = corpus in validation and (corpus in default or corpus not in test)
        documents[corpus] = (validation if from_validation else test)[corpus]
        titles[corpus] = f"{corpus} ({'validation' if from_validation else 'test'})"
    points = embed_mentions(predictor, space, documents, seed)
    kept = subsample(points, seed)
    if len(documents) > 1 or any(p.type for p in points):
        files.append(_overall_figure(folder / "span_embeddings.png", points, kept, titles, types, markers, seed))
    else:
        logger.info("no %s: one corpus without shared types, so all points would look alike", "span_embeddings.png")
    for name in space.shared_types:
        path = folder / ("span_embeddings_" + re.sub(r"[^-.\w]+", "_", name) + ".png")
        own, own_kept = ([p for p in part if p.type == name] for part in (points, kept))
        files.append(_type_figure(path, name, own, own_kept, titles, markers, seed))
    if predictor.model.has_latents:
        files += draw_run(folder, predictor, space, {"validation": validation, "test": test}, seed)
    return [f for f in files if f is not None]


def _prior_figure(path: Path, vectors: Tensor, space: LabelSpace, types: dict, markers: dict, seed: int) -> Path | None:
    """Figure 3: a point per label."""
    # About as many labels share a type. With a lower perplexity, the labels of a type fall apart.
    places = places_of(path.name, vectors.detach(), seed, perplexity=10.0)
    if places is None:
        return None
    names, drawn = [], []
    for corpus, native in space.labels:
        negative = native not in space.native_types(corpus)
        shared = None if negative else space.shared(corpus, native)
        names.append(f"{corpus}:{'negative' if negative else native}")
        drawn.append(BLACK if negative else types.get(shared, GREY))
    figure, axes = titled_axes(12, 8.5, "Prior distribution vectors of the labels (t-SNE)")
    scatter(axes, places, drawn, [markers[corpus] for corpus, _ in space.labels], 45)
    rows = [(name, types[name], "o") for name in space.shared_types]
    rows += [("no counterpart", GREY, "o")] if GREY in drawn else []
    legend(figure, "shared type", [*rows, ("negative", BLACK, "o")], "upper")
    legend(figure, "corpus", [(name, GREY, markers[name]) for name in space.corpora], "lower")
    name_points(figure, axes, places, names)
    return save(figure, path)


def _places(path: Path, points: list[Point], seed: int):
    return places_of(path.name, torch.stack([p.vector for p in points]) if points else torch.empty(0, 1), seed)


def _overall_figure(
    path: Path, points: list[Point], kept: list[Point], titles: dict[str, str], types: dict, markers: dict, seed: int
) -> Path | None:
    """Figure 4 for all types: colours tell types, markers corpora."""
    places = _places(path, kept, seed)
    if places is None:
        return None
    figure, axes = titled_axes(11, 7.5, "Embeddings of gold mentions (t-SNE)", caption(seed))
    drawn = [types.get(p.type, GREY) for p in kept]
    scatter(axes, places, drawn, [markers[p.document.corpus] for p in kept], 16)
    total, shown = (Counter(p.type for p in part) for part in (points, kept))
    rows = [(counted(name, shown[name], total[name]), colour, "o") for name, colour in types.items() if total[name]]
    if total[None]:
        rows.append((counted("no counterpart", shown[None], total[None]), GREY, "o"))
    legend(figure, "shared type", rows, "upper")
    total, shown = (Counter(p.document.corpus for p in part) for part in (points, kept))
    rows = [(counted(title, shown[c], total[c]), GREY, markers[c]) for c, title in titles.items() if total[c]]
    legend(figure, "corpus", rows, "lower")
    return save(figure, path)


def _type_figure(
    path: Path, name: str, points: list[Point], kept: list[Point], titles: dict[str, str], markers: dict, seed: int
) -> Path | None:
    """Figure 4 for one type: colours and markers tell corpora."""
    places = _places(path, kept, seed)
    if places is None:
        return None
    figure, axes = titled_axes(9.5, 6.5, f"{name}: embeddings of gold mentions (t-SNE)", caption(seed))
    total, shown = (Counter(p.document.corpus for p in part) for part in (points, kept))
    colours = styles([c for c in titles if total[c]], COLOURS)
    corpora = [p.document.corpus for p in kept]
    scatter(axes, places, [colours[c] for c in corpora], [markers[c] for c in corpora], 20)
    rows = [(counted(titles[c], shown[c], total[c]), colour, markers[c]) for c, colour in colours.items()]
    legend(figure, "corpus", rows, "upper")
    return save(figure, path)
