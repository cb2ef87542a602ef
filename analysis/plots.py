"""What the figures have in common: colours, markers, t-SNE, legends, the PNG and the command line that writes it.

Needs matplotlib and scikit-learn: `pip install 'mosaic-ner[figures]'`. They are imported where they are used.
"""

from __future__ import annotations

import logging
import math
import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mosaic_ner.data_builders.console import log_progress, one_message
from mosaic_ner.data_builders.extras import require
from mosaic_ner.modeling.label_space import UserError
from torch import Tensor

logger = logging.getLogger(__name__)

FEWEST = 5
"""The fewest points that are worth a figure."""
DPI = 150


def _mixed(colour: str, other: int, share: float) -> str:
    """A colour with a share of a grey, 0 (black) to 255 (white)."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part * (1 - share) + other * share):02X}" for part in parts)


# Okabe and Ito's colours, which colour-blind readers tell apart. Yellow is weak on white, so it comes last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442")
# For more types: the same colours darker, then lighter. All readers see lightness.
PALETTE = (*COLOURS, *(_mixed(c, 0, 0.5) for c in COLOURS), *(_mixed(c, 255, 0.55) for c in COLOURS))
GREY, BLACK = "#999999", "#000000"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h")
_AREAS = {"*": 2.0, "P": 1.3, "X": 1.3, "<": 1.2, ">": 1.2, "^": 1.2, "v": 1.2}
"""Factors of a marker's area with which all markers look equally large."""


class FigureError(UserError):
    """A figure that can't be drawn: a model without embeddings, a folder without points, a wrong file name."""


def require_packages() -> None:
    """Imports what drawing needs.

    Raises:
        ExtraError: matplotlib or scikit-learn is missing.
    """
    require("figures", "drawing a figure", "matplotlib", "sklearn")


def styles(names: Iterable[str], known: tuple[str, ...]) -> dict[str, str]:
    """A colour or a marker for each name. They repeat where there are more names."""
    return {name: known[i % len(known)] for i, name in enumerate(names)}


# ---- t-SNE


def project(vectors: Tensor, seed: int, perplexity: float = 30.0):
    """t-SNE (van der Maaten and Hinton 2008) to two dimensions. It starts from the principal components.

    Args:
        vectors: (N, d) float, at least `FEWEST` rows that aren't all the same.
        perplexity: about how many neighbours count; at most a third of the rows.
    Returns:
        (N, 2) float32 array.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    points = vectors.float().cpu().numpy()
    start = PCA(2, svd_solver="randomized", random_state=seed).fit_transform(points)
    # Rows at equal distances from all others start in one place. The noise parts them. The scale is scikit-learn's own.
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(seed)).numpy()
    start = (start / start[:, 0].std() + 0.01 * noise) * 1e-4
    perplexity = min(perplexity, (len(points) - 1) / 3)
    # Barnes-Hut considers only the nearest rows, and drops some of equally near ones.
    method = "exact" if len(points) <= 200 else "barnes_hut"
    tsne = TSNE(init=start.astype("float32"), perplexity=perplexity, random_state=seed, method=method)
    return tsne.fit_transform(points)


def places_of(name: str, vectors: Tensor, seed: int, perplexity: float = 30.0):
    """`project`, or None (logged with the figure's name) for fewer than `FEWEST` rows or identical ones."""
    if len(vectors) < FEWEST or bool((vectors == vectors[0]).all()):
        logger.info("no %s: %d points, at least %d different ones are needed", name, len(vectors), FEWEST)
        return None
    return project(vectors, seed, perplexity)


# ---- drawing


def canvas(width: float, height: float):
    """An empty figure; width and height in inches."""
    require_packages()
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def titled_axes(width: float, height: float, title: str, caption: str = ""):
    """(figure, axes) with a title above and a caption below."""
    figure = canvas(width, height)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(caption, fontsize=8, loc="left")
    return figure, axes


def scatter(axes, places, colours: list[str], markers: list[str], size: float) -> None:
    """Draws points in a shuffled order. Otherwise the group drawn last would hide the others."""
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
    """A legend right of the axes, with rows of (text, colour, marker); place: "upper" or "lower"."""
    from matplotlib.lines import Line2D

    style = {"linestyle": "", "markersize": 6, "markeredgecolor": "none"}
    handles = [Line2D([], [], color=colour, marker=marker, label=text, **style) for text, colour, marker in rows]
    look = {"fontsize": 8, "title_fontsize": 8, "alignment": "left", "frameon": False}
    figure.legend(handles=handles, title=title, loc=f"outside right {place}", **look)


def counted(name: str, shown: int, total: int) -> str:
    """`Gene: 300 of 812`, or `Gene: 300` where all are shown."""
    return f"{name}: {shown}" + (f" of {total}" if shown < total else "")


def name_points(figure, axes, places, names: list[str]) -> None:
    """Writes each name at the nearest free place beside its point. A line joins a name that is farther away.

    Ends the figure's automatic layout, because names are placed in its pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # computes the layout
    figure.set_layout_engine("none")
    renderer = FigureCanvasAgg(figure).get_renderer()
    point = DPI / 72
    inside = axes.get_window_extent(renderer)
    pixels = axes.transData.transform(places)
    taken = [Bbox.from_bounds(x - 4 * point, y - 4 * point, 8 * point, 8 * point) for x, y in pixels]
    circle = [math.tau * i / 16 for i in range(16)]
    for (x, y), name in zip(pixels, names, strict=True):
        # A name goes away from the points around its own.
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
        where = {"xytext": middle, "textcoords": "offset points", "ha": "center", "va": "center", "zorder": 4}
        at = axes.transData.inverted().transform((x, y))
        axes.annotate(name, at, fontsize=7, arrowprops=line, **where)


# ---- the PNG


def save(figure, path: Path) -> Path:
    """Writes the PNG, and makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


@contextmanager
def png_command(command: str, output: Path) -> Iterator[None]:
    """The frame of a command line that draws `output`: checks its name first, and prints it when it is written.

    A user's mistake ends the command with one message and exit code 2.
    """
    log_progress()
    with one_message(command):
        if output.suffix != ".png":
            raise FigureError(f"--output is {str(output)!r}; expected a name that ends in .png")
        yield
    sys.stdout.write(f"{output}\n")
