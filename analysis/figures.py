"""Figures of a span model: its labels' prior vectors, its embeddings of gold mentions, and F1 against the CVAE's weight
(Oi and Miwa 2025, Figures 3, 4 and 2). Needs matplotlib and scikit-learn: `pip install 'mosaic-ner[figures]'`.

A run draws the first two with `--write_figures true`. The third needs several runs:

python -m mosaic_ner.analysis.figures outputs/alpha_0 outputs/alpha_1e-4 … --output outputs/alpha.png
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import random
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from mosaic_ner.data_builders.console import log_progress
from mosaic_ner.modeling.batching import pad_batch
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor, Request
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.windowing import Span, Window, align
from mosaic_ner.training.arguments import ModelArguments
from mosaic_ner.training.results import write_json
from torch import Tensor

logger = logging.getLogger(__name__)

SENTENCES, MENTIONS, FEWEST = 300, 300, 5
"""Sentences per corpus, mentions drawn per corpus and type, and the fewest points that are worth a figure."""

# Okabe and Ito's colours, which the colour-blind tell apart; yellow, weak on white, comes last. Black is for negatives.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442")
GREY, BLACK = "#999999", "#000000"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h")
_AREAS = {"*": 2.0, "P": 1.3, "X": 1.3, "<": 1.2, ">": 1.2, "^": 1.2, "v": 1.2}  # so that all look the same size
DPI = 150
Splits = dict[str, list[Document]]
Reader = Callable[[dict[str, Tensor], Tensor, Tensor, Tensor], Tensor]


class FigureError(ValueError):
    """Figures that can't be drawn: a missing package, a model without embeddings, a folder that is no run."""


class Point(NamedTuple):
    """A gold mention with its embedding; `type` is the shared type, None without a counterpart; `vector` (d,) float32."""

    document: Document
    mention: Mention
    type: str | None
    vector: Tensor


def check(model) -> None:
    """Whether `draw` will work for this model, to be called before anything is trained.

    Raises:
        FigureError: a package is missing, or the family has no embeddings of spans.
    """
    require_packages()
    if not model.has_span_embeddings:
        raise FigureError(
            f"--write_figures: a model of type {model.config.model_type!r} has no embeddings of spans to draw; leave the "
            "option out, or train one of the span families"
        )


def require_packages() -> None:
    """Raises FigureError where matplotlib or scikit-learn is missing."""
    try:
        import matplotlib  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError as error:
        raise FigureError(
            f"figures need matplotlib and scikit-learn, and {error.name} is missing: pip install 'mosaic-ner[figures]'"
        ) from error


def draw(
    folder: Path, predictor: MentionPredictor, space: LabelSpace, validation: Splits, test: Splits, seed: int
) -> list[Path]:
    """Writes `prior_vectors.png` (where the model still has its prior vectors), `span_embeddings.png` and
    `span_embeddings_<Type>.png` for each shared type into the folder, and what latents.py has where the family has latent
    spaces.

    Args:
        predictor: of the trained model. space: the run's label space.
        validation, test: corpus → documents with gold mentions under native types. Corpora whose guideline is the model's
            default are drawn from validation, the others from test, each from the other split where it has only that.
        seed: draws sentences and mentions, and starts t-SNE.
    Returns:
        the files written.
    """
    from .latents import draw_run  # not at the top, because it imports this module

    check(predictor.model)
    files = []
    labels = predictor.model.config.labels
    types = styles(dict.fromkeys([*labels.shared_types, *space.shared_types]), COLOURS)
    markers = styles(dict.fromkeys([*labels.corpora, *validation, *test]), MARKERS)
    vectors = predictor.model.prior_vectors()
    if vectors is None:
        logger.info("no %s: the model has no prior vectors (no CVAE, or saved for inference only)", "prior_vectors.png")
    else:
        files.append(_prior_figure(folder / "prior_vectors.png", vectors, labels, types, markers, seed))
    default = predictor.model.config.default_tasks
    splits = {}
    for corpus in dict.fromkeys([*validation, *test]):
        order = (("validation", validation), ("test", test))
        splits[corpus] = next((n, s[corpus]) for n, s in (order if corpus in default else order[::-1]) if corpus in s)
    points = embed_mentions(predictor, space, {c: documents for c, (_, documents) in splits.items()}, seed)
    kept = subsample(points, seed)
    titles = {corpus: f"{corpus} ({split})" for corpus, (split, _) in splits.items()}
    if len(splits) > 1 or any(p.type for p in points):
        files.append(_overall_figure(folder / "span_embeddings.png", points, kept, titles, types, markers, seed))
    else:
        logger.info("no %s: one corpus without shared types, so nothing to tell points by", "span_embeddings.png")
    for name in space.shared_types:
        path = folder / ("span_embeddings_" + re.sub(r"[^-.\w]+", "_", name) + ".png")
        files.append(_type_figure(path, name, points, kept, titles, markers, seed))
    if predictor.model.has_latents:
        files += draw_run(folder, predictor, space, {"validation": validation, "test": test}, seed)
    return [f for f in files if f is not None]


def embed_mentions(
    predictor: MentionPredictor, space: LabelSpace, splits: Splits, seed: int, read: Reader | None = None
) -> list[Point]:
    """Embeddings of the gold mentions in up to `SENTENCES` sentences of each corpus, drawn from those with a mention.

    Each sentence goes through the model alone, under its corpus's own guideline or else the default one. Mentions that are
    no span of the model's grid (see the coverage report) are left out and counted in the log.

    Args:
        read: the model's inputs by name and (N,) int64 rows, first and last units of spans → (N, d) float vectors; default:
            the cells of `span_embeddings`.
    """
    windower = replace(predictor.windower, packing="single")
    points = []
    for corpus, documents in splits.items():
        sentences: list[tuple[Document, Window, list[Mention]]] = []
        for document, windows in zip(documents, windower([d.text for d in documents]), strict=True):
            for window in windows:
                own = list({m.key: m for m in document.mentions if window.owns(m)}.values())
                if own:
                    sentences.append((document, window, own))
        if len(sentences) > SENTENCES:
            chosen = sorted(random.Random(f"{seed} {corpus}").sample(range(len(sentences)), SENTENCES))
            sentences = [sentences[i] for i in chosen]
        task = predictor.model.tasks_for(corpus)[0]
        requests = [Request(w, task, predictor.model.features(w, task)) for _, w, _ in sentences]
        pairs = [align(window, mentions) for _, window, mentions in sentences]
        vectors = _span_vectors(predictor, requests, [[span for span, _ in own] for own in pairs], read)
        own = [
            Point(sentence[0], mention, space.shared(corpus, mention.type), vector)
            for sentence, found, row in zip(sentences, pairs, vectors, strict=True)
            for (_, mention), vector in zip(found, row, strict=True)
            if vector is not None
        ]
        total = sum(len(mentions) for _, _, mentions in sentences)
        logger.info(
            "figures: %s: %d sentences, %d of their %d mentions are in the model's span grid",
            *(corpus, len(sentences), len(own), total),
        )
        points += own
    return points


@torch.inference_mode()
def _span_vectors(
    predictor: MentionPredictor, requests: list[Request], spans: list[list[Span]], read: Reader | None
) -> list[list]:
    """For each request's spans their (d,) float32 embeddings on the CPU, None where the grid hasn't got the span."""
    model = predictor.model
    training = model.training
    model.eval()
    out: list[list] = [[None] * len(own) for own in spans]
    for numbers in predictor.batches(requests):
        batch = pad_batch([requests[i].features for i in numbers], predictor.pad_token_id)
        cells, owners = [], []
        for row, number in enumerate(numbers):
            features = requests[number].features
            starts = {token: unit for unit, token in enumerate(features["unit_starts"])}
            ends = {token: unit for unit, token in enumerate(features["unit_ends"])}
            before = _tokens_before(model.config, requests[number].task)
            for place, span in enumerate(spans[number]):
                first, last = starts.get(before + span.start), ends.get(before + span.end - 1)
                if first is not None and last is not None and last - first < model.config.max_span_width:
                    cells.append((row, first, last))
                    owners.append((number, place))
        if not cells:
            continue
        names = ("input_ids", "attention_mask", "unit_starts", "unit_ends")
        inputs = {name: batch[name].to(model.device) for name in names}
        rows, first, last = torch.tensor(cells, device=model.device).unbind(1)
        vectors = (
            read(inputs, rows, first, last) if read else model.span_embeddings(**inputs)[rows, first, last - first]
        )
        for (number, place), vector in zip(owners, vectors.float().cpu(), strict=True):
            out[number][place] = vector
    model.train(training)
    return out


def _tokens_before(config, task: str | None) -> int:
    """Special tokens before a window's own."""
    return len(config.cls_ids if task is None else config.tasks[config.task_index(task)]["prefix_ids"])


def subsample(points: list[Point], seed: int) -> list[Point]:
    """At most `MENTIONS` of each corpus and type, in their order."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, point in enumerate(points):
        groups.setdefault((point.document.corpus, point.type or ""), []).append(number)
    kept = []
    for (corpus, name), numbers in groups.items():
        few = len(numbers) <= MENTIONS
        kept += numbers if few else random.Random(f"{seed} {corpus} {name}").sample(numbers, MENTIONS)
    return [points[i] for i in sorted(kept)]


def project(vectors: Tensor, seed: int, perplexity: float = 30.0):
    """t-SNE (van der Maaten and Hinton 2008) to two dimensions, started from the principal components.

    Args:
        vectors: (N, d) float, at least `FEWEST` rows that aren't all the same.
        perplexity: neighbours that count; with few rows a third of them.
    Returns:
        (N, 2) float32 array.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    points = vectors.float().cpu().numpy()
    start = PCA(2, svd_solver="randomized", random_state=seed).fit_transform(points)
    # Labels that stand alike to all others begin in one place, and would stay there without a little noise. The scale is
    # that of scikit-learn's own start.
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(seed)).numpy()
    start = (start / start[:, 0].std() + 0.01 * noise) * 1e-4
    perplexity = min(perplexity, (len(points) - 1) / 3)
    # The approximation looks at the nearest rows only, and drops some of equally near ones.
    method = "exact" if len(points) <= 200 else "barnes_hut"
    tsne = TSNE(init=start.astype("float32"), perplexity=perplexity, random_state=seed, method=method)
    return tsne.fit_transform(points)


def places_of(path: Path, vectors: Tensor, seed: int, perplexity: float = 30.0):
    """`project`, or None where there is too little to draw."""
    if len(vectors) < FEWEST or bool((vectors == vectors[0]).all()):
        logger.info("no %s: %d points, at least %d different ones are needed", path.name, len(vectors), FEWEST)
        return None
    return project(vectors, seed, perplexity)


# ---- drawing


def canvas(width: float, height: float):
    """An empty figure, of a size in inches."""
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def _axes(width: float, height: float, title: str, caption: str = ""):
    figure = canvas(width, height)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(caption, fontsize=8, loc="left")
    return figure, axes


def scatter(axes, places, colours: list[str], markers: list[str], size: float) -> None:
    """Points in a mixed order, so that no group hides another by being drawn last."""
    order = list(range(len(places)))
    random.Random(0).shuffle(order)
    layers = 20
    for layer in range(layers):
        part = order[layer::layers]
        for marker in dict.fromkeys(markers[i] for i in part):
            own = [i for i in part if markers[i] == marker]
            style = {"marker": marker, "s": size * _AREAS.get(marker, 1), "zorder": 2 + layer / layers}
            colour = [colours[i] for i in own]
            axes.scatter(*places[own].T, color=colour, alpha=0.85, linewidths=0.3, edgecolors="white", **style)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.06)


def legend(figure, title: str, rows: list[tuple[str, str, str]], place: str) -> None:
    """A legend right of the axes, of (text, colour, marker)."""
    from matplotlib.lines import Line2D

    style = {"linestyle": "", "markersize": 6, "markeredgecolor": "none"}
    handles = [Line2D([], [], color=colour, marker=marker, label=text, **style) for text, colour, marker in rows]
    look = {"fontsize": 8, "title_fontsize": 8, "alignment": "left", "frameon": False}
    figure.legend(handles=handles, title=title, loc=f"outside right {place}", **look)


def save(figure, path: Path) -> Path:
    """Writes the PNG."""
    figure.savefig(path)
    return path


def styles(names, known: tuple[str, ...]) -> dict[str, str]:
    """A colour or a marker for each name; they come again where there are more names."""
    return {name: known[i % len(known)] for i, name in enumerate(names)}


def _prior_figure(path: Path, vectors: Tensor, space: LabelSpace, types: dict, markers: dict, seed: int) -> Path | None:
    """Figure 3: a point per label."""
    places = places_of(
        path, vectors.detach(), seed, 10.0
    )  # about as many as share a type; with fewer, types fall apart
    if places is None:
        return None
    names, drawn = [], []
    for corpus, native in space.labels:
        negative = native not in space.native_types(corpus)
        shared = None if negative else space.shared(corpus, native)
        names.append(f"{corpus}:{'negative' if negative else native}")
        drawn.append(BLACK if negative else types.get(shared, GREY))
    figure, axes = _axes(12, 8.5, "Prior distribution vectors of the labels (t-SNE)")
    scatter(axes, places, drawn, [markers[corpus] for corpus, _ in space.labels], 45)
    rows = [(name, types[name], "o") for name in space.shared_types]
    rows += [("no counterpart", GREY, "o")] if GREY in drawn else []
    legend(figure, "shared type", [*rows, ("negative", BLACK, "o")], "upper")
    legend(figure, "corpus", [(name, GREY, markers[name]) for name in space.corpora], "lower")
    figure.draw_without_rendering()  # so that the layout is final
    figure.set_layout_engine("none")
    _name_points(axes, places, names)
    return save(figure, path)


def _overall_figure(
    path: Path, points, kept, titles: dict[str, str], types: dict, markers: dict, seed: int
) -> Path | None:
    """Figure 4 for all types: colours tell types, markers corpora."""
    places = places_of(path, torch.stack([p.vector for p in kept]) if kept else torch.empty(0, 1), seed)
    if places is None:
        return None
    figure, axes = _axes(11, 7.5, "Embeddings of gold mentions (t-SNE)", caption(seed))
    drawn = [types.get(p.type, GREY) for p in kept]
    scatter(axes, places, drawn, [markers[p.document.corpus] for p in kept], 16)
    total, shown = Counter(p.type for p in points), Counter(p.type for p in kept)
    rows = [(counted(name, shown[name], total[name]), colour, "o") for name, colour in types.items() if total[name]]
    if total[None]:
        rows.append((counted("no counterpart", shown[None], total[None]), GREY, "o"))
    legend(figure, "shared type", rows, "upper")
    total, shown = (Counter(p.document.corpus for p in part) for part in (points, kept))
    rows = [(counted(title, shown[c], total[c]), GREY, markers[c]) for c, title in titles.items() if total[c]]
    legend(figure, "corpus", rows, "lower")
    return save(figure, path)


def _type_figure(path: Path, name: str, points, kept, titles: dict[str, str], markers: dict, seed: int) -> Path | None:
    """Figure 4 for one type: colours and markers tell corpora."""
    kept = [p for p in kept if p.type == name]
    places = places_of(path, torch.stack([p.vector for p in kept]) if kept else torch.empty(0, 1), seed)
    if places is None:
        return None
    total = Counter(p.document.corpus for p in points if p.type == name)
    shown = Counter(p.document.corpus for p in kept)
    colours = styles([c for c in titles if total[c]], COLOURS)
    figure, axes = _axes(9.5, 6.5, f"{name}: embeddings of gold mentions (t-SNE)", caption(seed))
    corpora = [p.document.corpus for p in kept]
    scatter(axes, places, [colours[c] for c in corpora], [markers[c] for c in corpora], 20)
    rows = [(counted(titles[c], shown[c], total[c]), colour, markers[c]) for c, colour in colours.items()]
    legend(figure, "corpus", rows, "upper")
    return save(figure, path)


def caption(seed: int | str) -> str:
    """What was drawn."""
    return (
        f"mentions of up to {SENTENCES} sentences with a mention per corpus, at most {MENTIONS} per corpus and type, drawn "
        f"with seed {seed}"
    )


def counted(name: str, shown: int, total: int) -> str:
    """`Gene: 300 of 812`."""
    return f"{name}: {shown}" + (f" of {total}" if shown < total else "")


def _name_points(axes, places, names: list[str]) -> None:
    """Writes each name at the nearest free place beside its point, with a line to it where that is not next to it.

    The axes' limits and the layout must be final.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    renderer = FigureCanvasAgg(axes.figure).get_renderer()
    point = DPI / 72
    inside = axes.get_window_extent(renderer)
    pixels = axes.transData.transform(places)
    taken = [Bbox.from_bounds(x - 4 * point, y - 4 * point, 8 * point, 8 * point) for x, y in pixels]
    circle = [math.tau * i / 16 for i in range(16)]
    for (x, y), name in zip(pixels, names, strict=True):
        # Names point away from the points around.
        near = [math.exp(-(((x - a) ** 2 + (y - b) ** 2) / (60 * point) ** 2)) for a, b in pixels]
        middle = [sum(w * p[i] for w, p in zip(near, pixels, strict=True)) / sum(near) for i in range(2)]
        away = math.atan2(y - middle[1], x - middle[0])
        angles = sorted(circle, key=lambda angle: -math.cos(angle - away))
        text = axes.annotate(name, (x, y), xycoords="figure pixels", fontsize=7, zorder=4)
        size = text.get_window_extent(renderer)
        text.remove()
        best = None
        for far in (5, 9, 14, 20, 28, 38, 50):
            for angle in angles:
                left = x + math.cos(angle) * (far * point + size.width / 2) - size.width / 2
                low = y + math.sin(angle) * (far * point + size.height / 2) - size.height / 2
                box = Bbox.from_bounds(left, low, size.width, size.height)
                outside = not (inside.x0 < box.x0 and box.x1 < inside.x1 and inside.y0 < box.y0 and box.y1 < inside.y1)
                faults = 10 * outside + sum(box.overlaps(other) for other in taken)
                if best is None or faults < best[0]:
                    best = faults, far, box
            if best[0] == 0:
                break
        _, far, box = best
        taken.append(box)
        middle = ((box.x0 + box.x1) / 2 - x) / point, ((box.y0 + box.y1) / 2 - y) / point
        line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3} if far > 5 else None
        axes.annotate(
            name,
            axes.transData.inverted().transform((x, y)),
            xytext=middle,
            textcoords="offset points",
            fontsize=7,
            ha="center",
            va="center",
            arrowprops=line,
            zorder=4,
        )


# ---- F1 against α


def read_run(folder: Path) -> dict:
    """`{"alpha", "seed", "f1", "corpora", "settings"}` of a run: its best F1 (0..1) on the development documents of the
    corpora, over all its evaluations.

    Raises:
        FigureError: not the folder of a finished run of the family with a CVAE, or never evaluated on development documents.
    """
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FigureError(f"{folder} is not the folder of a finished run: no results.json") from error
    except json.JSONDecodeError as error:
        raise FigureError(f"{folder / 'results.json'} is not valid JSON: {error}") from error
    settings = results.get("settings", {})
    if settings.get("family") != "span_cvae":
        raise FigureError(
            f"{folder} is a run of family {settings.get('family')!r}; expected 'span_cvae', which has an α"
        )
    history = results.get("history")
    if not history:
        raise FigureError(
            f"{folder} has no development figures: a run has them that trained with --eval_strategy epoch or steps"
        )
    best = max(history, key=lambda row: row["eval_f1"])
    corpora = [m[1] for key in best if (m := re.fullmatch(r"eval_(.+)_f1", key))]
    # A run's settings hold what departs from the defaults.
    alpha = float(settings.get("alpha", ModelArguments.alpha))
    return {"alpha": alpha, "seed": settings["seed"], "f1": best["eval_f1"], "corpora": corpora, "settings": settings}


def alpha_table(folders: list[Path]) -> dict:
    """What the runs scored on the development documents, by α.

    Returns:
        `{"corpora", "rows": [{"alpha", "mean", "sd", "seeds": {seed: f1}}]}`, rows by rising α; sd None for one seed.
    Raises:
        FigureError: two runs of the same α and seed, different development corpora, or what `read_run` raises.
    """
    runs = {folder: read_run(folder) for folder in folders}
    seeds: dict[float, dict[str, float]] = {}
    known: dict[tuple, Path] = {}
    for folder, run in runs.items():
        first = next(iter(runs.values()))
        if run["corpora"] != first["corpora"]:
            raise FigureError(
                f"{folder} was developed on {', '.join(run['corpora'])}, the runs before it on {', '.join(first['corpora'])}"
            )
        twin = known.setdefault((run["alpha"], run["seed"]), folder)
        if twin != folder:
            raise FigureError(
                f"{twin} and {folder} have the same α ({run['alpha']:g}) and the same seed ({run['seed']})"
            )
        seeds.setdefault(run["alpha"], {})[str(run["seed"])] = run["f1"]
        differ = sorted(
            key
            for key in {*run["settings"], *first["settings"]} - {"alpha", "seed"}
            if run["settings"].get(key) != first["settings"].get(key)
        )
        if differ:
            logger.warning("%s differs from the first run in more than α: %s", folder, ", ".join(differ))
    rows = []
    for alpha, scores in sorted(seeds.items()):
        spread = statistics.stdev(scores.values()) if len(scores) > 1 else None
        rows.append({"alpha": alpha, "mean": statistics.fmean(scores.values()), "sd": spread, "seeds": scores})
    return {"corpora": first["corpora"], "rows": rows}


def draw_alpha(table: dict, path: Path) -> None:
    """Figure 2 from `alpha_table`'s table, as a PNG and, with the same name, as JSON."""
    require_packages()
    rows = table["rows"]
    numbers = sorted({len(row["seeds"]) for row in rows})
    many = f"{numbers[0]} seeds" if len(numbers) == 1 else f"(n): {numbers[0]} to {numbers[-1]} seeds"
    note = "one seed" if numbers == [1] else f"{many}; bars: standard deviation, crosses: single seeds"
    corpora = ", ".join(table["corpora"])
    title = (
        f"F1 on the development documents of {corpora}" if len(corpora) < 60 else "Mean F1 on the development documents"
    )
    figure, axes = _axes(6.5, 4.5, title)
    ticks = range(len(rows))
    means = [100 * row["mean"] for row in rows]
    bars = [100 * (math.nan if row["sd"] is None else row["sd"]) for row in rows]
    axes.errorbar(ticks, means, bars, fmt="o-", color=COLOURS[0], capsize=4, zorder=3)
    for tick, row in zip(ticks, rows, strict=True):
        if row["alpha"] == 0:
            axes.axhline(100 * row["mean"], color=COLOURS[1], linestyle="--", linewidth=1, label="α = 0 (no CVAE)")
            axes.plot([tick], [100 * row["mean"]], "o", color=COLOURS[1], zorder=4)
            axes.legend(fontsize=8, frameon=False, loc="best")
        if len(row["seeds"]) > 1:
            axes.plot([tick] * len(row["seeds"]), [100 * f for f in row["seeds"].values()], "x", color=GREY, zorder=2)
    names = [_short(row["alpha"]) for row in rows]
    if len(numbers) > 1:
        names = [f"{name}\n({len(row['seeds'])})" for name, row in zip(names, rows, strict=True)]
    axes.set_xticks(ticks, names)
    axes.margins(x=0.08, y=0.12)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_xlabel(f"α, the weight of the CVAE's loss\n{note}", fontsize=9)
    axes.set_ylabel("F1 (%), best evaluation of a run", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)
    write_json(path.with_suffix(".json"), table)


def _short(alpha: float) -> str:
    """0, 1e-4, 2.5e-3."""
    digits, exponent = f"{alpha:e}".split("e")
    return f"{float(digits):g}e{int(exponent)}" if alpha else "0"


def main(argv: list[str] | None = None) -> None:
    """Command line: the α curve of some runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="output folders: one or more seeds for each α")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write; a JSON table goes beside it")
    options = parser.parse_args(argv)
    log_progress()
    try:
        if options.output.suffix != ".png":
            raise FigureError(f"--output is {str(options.output)!r}; expected a name that ends in .png")
        draw_alpha(alpha_table(options.runs), options.output)
    except FigureError as error:
        sys.stderr.write(f"figures: error: {error}\n")
        sys.exit(2)
    sys.stdout.write(f"{options.output}\n")


if __name__ == "__main__":
    main()
