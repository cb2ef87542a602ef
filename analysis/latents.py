"""Gold mentions in the spaces of the joint information bottleneck: the embedding s, the bottleneck z₃, the generator's z₁. They
are drawn by t-SNE and scored by how far types are apart (Nguyen et al. 2023, section 5.4 and Figure 2). Needs matplotlib and
scikit-learn: `pip install 'mosaic-ner[figures]'`.

A run with `--write_figures true` writes `latents.png`, its numbers `latents.json` and its points `latents.tsv`; so does a run
that only measures a model. The command draws several models, a row each, from the folders of such runs:

mosaic-ner latents outputs/all outputs/only_vae --split validation --output latents.png
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import random
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from mosaic_ner.modeling.configuration_joint_ib import JointIBConfig
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.training.results import write_json
from torch import Tensor
from transformers import PreTrainedConfig

from .embeddings import Point, Splits, caption, embed_mentions, subsample
from .markdown import decimals
from .plots import (
    FEWEST,
    GREY,
    MARKERS,
    PALETTE,
    FigureError,
    canvas,
    counted,
    legend,
    places_of,
    png_command,
    save,
    scatter,
    styles,
)

logger = logging.getLogger(__name__)

POINTS = 2000
"""Mentions drawn of a split. More would hide each other in a panel, and t-SNE would be slow."""
SPACES = {"s": "span embeddings s", "z3": "bottleneck z₃", "z1": "generator z₁"}
MISSING = {"z3": "the Baseline doesn't compress", "z1": "saved or trained without the generator"}
SPLITS = ("validation", "test")
SCORES, TABLE, FIGURE = "latents.json", "latents.tsv", "latents.png"


@dataclass
class Space:
    """One space of a model.

    `size`: of its vectors. `silhouette`: see there. `places`: each point's (x, y) by t-SNE; empty where all vectors are equal.
    """

    size: int
    silhouette: float | None
    places: list[tuple[float, float]]


@dataclass
class Cloud:
    """Gold mentions of one split in a model's spaces.

    `corpora`, `types`: one for each point; a type without a shared one keeps the corpus's name. `total`: by "corpora" and by
    "types", how many mentions the points were drawn from. `spaces`: by name, those that the model has.
    """

    split: str
    seed: int
    corpora: list[str]
    types: list[str]
    total: dict[str, dict[str, int]]
    spaces: dict[str, Space]

    @property
    def mentions(self) -> int:
        """How many mentions the points were drawn from."""
        return sum(self.total["types"].values())

    def scores(self) -> dict:
        """Everything but the points, JSON-ready."""
        points = {"corpora": Counter(self.corpora), "types": Counter(self.types)}
        counts = {
            group: {name: {"points": points[group][name], "mentions": n} for name, n in own.items()}
            for group, own in self.total.items()
        }
        spaces = {name: {"size": s.size, "silhouette": s.silhouette} for name, s in self.spaces.items()}
        return {"seed": self.seed, "points": len(self.types), "mentions": self.mentions, "spaces": spaces, **counts}

    def summary(self) -> str:
        """The scores in a line."""
        found = ", ".join(f"{name} {decimals(space.silhouette, 2)}" for name, space in self.spaces.items())
        return f"{self.split}, {len(self.types)} mentions: silhouette by type {found}"


# ---- from a model


def silhouette(vectors: Tensor, types: list[str]) -> float | None:
    """The mean silhouette (-1..1, Rousseeuw 1987) of (N, d) vectors by type, over Euclidean distances. None where it isn't
    defined: for fewer than two types, or as many types as vectors."""
    from sklearn.metrics import silhouette_score

    if not 2 <= len(set(types)) < len(types):
        return None
    return round(float(silhouette_score(vectors.float().numpy(), types)), 4)


def embed(predictor: MentionPredictor, space: LabelSpace, split: str, documents: Splits, seed: int) -> Cloud | None:
    """Gold mentions in the spaces of a model with `latents`, or None where there are fewer than `FEWEST`.

    Args:
        space: the label space of the documents. documents: corpus → documents with gold mentions under native types.
        seed: draws sentences and mentions, and starts t-SNE.
    """
    sizes: dict[str, int] = {}

    def read(inputs: dict[str, Tensor], rows: Tensor, first: Tensor, last: Tensor) -> Tensor:
        found = predictor.model.latents(**inputs, rows=rows, first=first, last=last)
        sizes.update({name: vectors.shape[1] for name, vectors in found.items()})
        return torch.cat(list(found.values()), 1)

    points = embed_mentions(predictor, space, documents, seed, read)
    points = [p._replace(type=p.type or p.mention.type) for p in points]
    kept = subsample(points, seed)
    if len(kept) > POINTS:
        kept = [kept[i] for i in sorted(random.Random(f"{seed} {split}").sample(range(len(kept)), POINTS))]
    if len(kept) < FEWEST:
        logger.info("no latents of the %s documents: %d points, at least %d are needed", split, len(kept), FEWEST)
        return None
    types = [p.type for p in kept]
    spaces = {}
    parts = torch.stack([p.vector for p in kept]).split(list(sizes.values()), 1)
    for (name, size), vectors in zip(sizes.items(), parts, strict=True):
        places = places_of(f"{name} in {FIGURE}", vectors, seed)
        rounded = [] if places is None else [(round(float(x), 2), round(float(y), 2)) for x, y in places]
        spaces[name] = Space(size, silhouette(vectors, types), rounded)
    return Cloud(split, seed, [p.document.corpus for p in kept], types, _totals(points, space), spaces)


def _totals(points: list[Point], space: LabelSpace) -> dict[str, dict[str, int]]:
    """How many mentions there are by corpus and by type, shared types first."""
    corpora, types = Counter(p.document.corpus for p in points), Counter(p.type for p in points)
    names = dict.fromkeys([*space.shared_types, *sorted(types)])
    return {"corpora": dict(corpora), "types": {name: types[name] for name in names if types[name]}}


def draw_run(
    folder: Path, predictor: MentionPredictor, space: LabelSpace, splits: dict[str, Splits], seed: int
) -> list[Path]:
    """Writes the points and scores of a run's documents into its folder, and a figure of the first split with enough mentions.

    Args:
        splits: split → corpus → documents. The others are those of `embed`.
    Returns:
        the files written.
    """
    found = (embed(predictor, space, split, documents, seed) for split, documents in splits.items())
    clouds = {cloud.split: cloud for cloud in found if cloud is not None}
    if not clouds:
        return []
    for cloud in clouds.values():
        logger.info("latents: %s", cloud.summary())
    write_clouds(folder, clouds)
    return [draw_clouds(folder / FIGURE, {"": next(iter(clouds.values()))}), folder / SCORES, folder / TABLE]


# ---- from and to a run's folder


def write_clouds(folder: Path, clouds: dict[str, Cloud]) -> None:
    """Writes the scores as JSON and the points as a table: split, corpus, type and a place in each space."""
    write_json(folder / SCORES, {split: cloud.scores() for split, cloud in clouds.items()})
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["split", "corpus", "type", *(f"{name}_{axis}" for name in SPACES for axis in "xy")])
        for split, cloud in clouds.items():
            for i, (corpus, kind) in enumerate(zip(cloud.corpora, cloud.types, strict=True)):
                spaces = [cloud.spaces.get(name) for name in SPACES]
                places = [space.places[i] if space and space.places else ("", "") for space in spaces]
                writer.writerow([split, corpus, kind, *(value for place in places for value in place)])


def read_cloud(folder: Path, split: str) -> Cloud:
    """Reads what `write_clouds` wrote for a split.

    Raises:
        FigureError: a model of another family, a folder without latents, or without those of the split.
    """
    try:
        scores = json.loads((folder / SCORES).read_text(encoding="utf-8"))
        with (folder / TABLE).open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == split]
        if split not in scores:
            raise FigureError(
                f"{folder} has no latents of {split} documents, but of {', '.join(scores)}: its run had fewer than {FEWEST} "
                f"mentions there. Take --split {next(iter(scores))}, or measure the model on corpora with that split"
            )
        own = scores[split]
        total = {group: {n: c["mentions"] for n, c in own[group].items()} for group in ("corpora", "types")}
        spaces = {
            name: Space(
                known["size"],
                known["silhouette"],
                [(float(row[f"{name}_x"]), float(row[f"{name}_y"])) for row in rows if row[f"{name}_x"]],
            )
            for name, known in own["spaces"].items()
        }
        return Cloud(split, own["seed"], [r["corpus"] for r in rows], [r["type"] for r in rows], total, spaces)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FigureError(_why_none(folder)) from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise FigureError(f"{folder}: {SCORES} and {TABLE} aren't what a run writes: {error!r}") from error


def _why_none(folder: Path) -> str:
    """Why a folder has no latents, and what to do."""
    if not folder.is_dir():
        return f"{folder}: no such folder; expected the output folder of a run"
    wanted, kind = JointIBConfig.model_type, None
    if (folder / "config.json").exists():  # not where a run only measured a model
        kind = PreTrainedConfig.get_config_dict(folder)[0].get("model_type")
    if kind not in (None, wanted):
        return f"{folder} holds a {kind!r} model, which has no latent spaces; expected {wanted!r}"
    return (
        f"{folder} has no {SCORES} with {TABLE}, which a run of family joint_ib with --write_figures true writes where it has "
        f"{FEWEST} mentions or more. For a trained model: run_ner.py --model_name_or_path MODEL --corpora … --data_dir DIR "
        "--write_figures true --output_dir DIR"
    )


# ---- drawing


def draw_clouds(path: Path, clouds: dict[str, Cloud]) -> Path:
    """Draws a row of panels for each named model, a panel for each space. Colours tell types, markers corpora.

    Args:
        clouds: name ("" for none) → mentions, all of the same split.
    Returns:
        the path.
    """
    many, first = list(clouds.values()), next(iter(clouds.values()))
    types = styles(dict.fromkeys(t for c in many for t in c.total["types"]), PALETTE)
    corpora = styles(dict.fromkeys(n for c in many for n in c.total["corpora"]), MARKERS)
    spaces = [name for name in SPACES if any(name in c.spaces for c in many)]
    lines = len(types) + len(corpora) + 5  # of both legends, with their titles and a gap
    figure = canvas(4 * len(spaces) + 2.4, max(3.9 * len(clouds) + 0.6, 0.2 * lines + 0.6))
    grid = figure.subplots(len(clouds), len(spaces), squeeze=False)
    for row, (title, cloud) in zip(grid, clouds.items(), strict=True):
        row[0].set_ylabel(textwrap.fill(title, 45), fontsize=10)
        for axes, name in zip(row, spaces, strict=True):
            _panel(axes, name, cloud, types, corpora)
    for group, own, place in (("types", types, "upper"), ("corpora", corpora, "lower")):
        same = all(c.scores()[group] == first.scores()[group] for c in many)
        counts = first.scores()[group]
        rows = [
            (
                counted(name, counts[name]["points"], counts[name]["mentions"]) if same else name,
                style if group == "types" else GREY,
                style if group == "corpora" else "o",
            )
            for name, style in own.items()
        ]
        title = "type" if group == "types" else f"corpus ({first.split})"
        legend(figure, title, rows, place)
    figure.supxlabel(_caption(many, round(12 * figure.get_figwidth())), fontsize=8, x=0.01, ha="left")
    return save(figure, path)


def _panel(axes, name: str, cloud: Cloud, types: dict[str, str], corpora: dict[str, str]) -> None:
    import numpy as np  # comes with matplotlib

    space = cloud.spaces.get(name)
    axes.set_xticks([])
    axes.set_yticks([])
    if space is None or not space.places:
        axes.set_title(SPACES[name], fontsize=10, loc="left")
        text = MISSING[name] if space is None else "all vectors are the same"
        axes.text(0.5, 0.5, text, fontsize=9, color="#666666", ha="center", va="center", transform=axes.transAxes)
        return
    scored = "" if space.silhouette is None else f", silhouette {decimals(space.silhouette, 2)}"
    axes.set_title(f"{SPACES[name]} ({space.size} dimensions){scored}", fontsize=10, loc="left")
    colours, markers = [types[t] for t in cloud.types], [corpora[c] for c in cloud.corpora]
    scatter(axes, np.array(space.places), colours, markers, 16)


def _caption(clouds: list[Cloud], width: int) -> str:
    """How the mentions were drawn and scored, in lines of at most `width` characters."""
    drawn = sorted({len(c.types) for c in clouds})
    count = f"{drawn[0]}" if len(drawn) == 1 else f"{drawn[0]} to {drawn[-1]}"
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(c.seed for c in clouds))
    lines = [
        f"t-SNE of {count} gold mentions: {caption(seeds)}, at most {POINTS} in all.",
        "Silhouette: by type, over Euclidean distances between the vectors themselves; of z₁ and z₃ the means.",
    ]
    return "\n".join(textwrap.fill(line, width) for line in lines)


# ---- the command


def compare(folders: list[Path], split: str, output: Path) -> dict[str, Cloud]:
    """Draws the figure of some runs, and writes their scores beside it.

    Returns:
        what was drawn, by the folders' names.
    Raises:
        FigureError: a folder named twice, or what `read_cloud` raises. ExtraError: a package is missing.
    """
    if twice := [str(folder) for folder, n in Counter(f.resolve() for f in folders).items() if n > 1]:
        raise FigureError(f"{', '.join(twice)} is named twice")
    unique = len({f.resolve().name for f in folders}) == len(folders)
    clouds = {folder.resolve().name if unique else str(folder): read_cloud(folder, split) for folder in folders}
    first, *others = clouds
    for name in others:
        if (clouds[name].seed, clouds[name].total) != (clouds[first].seed, clouds[first].total):
            logger.warning("%s and %s show different mentions: other corpora, spans or seeds", first, name)
    draw_clouds(output, clouds)
    write_json(output.with_suffix(".json"), {"split": split, "runs": {n: c.scores() for n, c in clouds.items()}})
    return clouds


def main(argv: list[str] | None = None) -> None:
    """Command line: a figure of some runs."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner latents", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="output folders of runs with --write_figures true")
    parser.add_argument("--split", choices=SPLITS, default="validation", help="documents to show (default: validation)")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write; a JSON table goes beside it")
    options = parser.parse_args(argv)
    with png_command("latents", options.output):
        for name, cloud in compare(options.runs, options.split, options.output).items():
            sys.stdout.write(f"{name}: {cloud.summary()}\n")


if __name__ == "__main__":
    main()
