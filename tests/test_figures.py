"""Figures: the right spans under the right corpus, counts, determinism, images that show something, the α table."""

from __future__ import annotations

import json
import random
import runpy
import statistics
import sys
import warnings
from collections import Counter
from dataclasses import replace

import pytest
import torch
from helpers_run import QUICK, fails, results, run
from mosaic_ner.analysis import embeddings, figures, plots, run_figures
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.windowing import Windower
from PIL import Image

PRIOR, OVERALL = "prior_vectors.png", "span_embeddings.png"
PER_TYPE = [f"span_embeddings_{name}.png" for name in DEMO_LABEL_SPACE.shared_types]
RUN = ["--corpora", "demo", *QUICK, "--bridge", "demo_all", "--write_figures"]


@pytest.fixture(scope="module")
def span_bundle(build_bundle):
    return build_bundle(family="span_cvae", bridge=["demo_all"], lively=True)


@pytest.fixture(scope="module")
def predictor(span_bundle):
    return MentionPredictor(span_bundle.model, span_bundle.tokenizer, batch_size=8)


@pytest.fixture(scope="module")
def few(demo_corpora):
    """Six test documents of each corpus, those with a type without counterpart first."""

    def rank(document):
        return all(DEMO_LABEL_SPACE.shared(document.corpus, m.type) for m in document.mentions)

    return {corpus: sorted(splits["test"], key=rank)[:6] for corpus, splits in demo_corpora.items()}


@pytest.fixture
def quick_tsne(monkeypatch):
    """Two dimensions at once: t-SNE itself is scikit-learn's to test."""
    monkeypatch.setattr(plots, "project", lambda vectors, seed, perplexity=30.0: vectors[:, :2].detach().numpy())


def shows_something(path) -> bool:
    """Whether a PNG has a figure's size and more colours than its axes and text."""
    with Image.open(path) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
        return min(image.size) >= 600 and sum(max(c) - min(c) > 60 for _, c in colours) > 10


def key(point):
    return (*point.document.key, *point.mention.key)


# ---- embeddings


def test_the_embeddings_are_those_of_the_spans_alone_in_their_sentences(predictor, few):
    """Eq. 1, layer by layer, from the tokens at the mention's own characters, one sentence at a time."""
    model, config = predictor.model, predictor.model.config
    windower = Windower(predictor.windower.tokenizer, config.max_tokens, config.num_special_tokens, packing="single")
    points = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, seed=0)
    assert {p.document.corpus for p in points} == set(few)
    widths = Counter()
    for point in random.Random(0).sample(points, 60):
        (windows,) = windower([point.document.text])
        window = next(w for w in windows if w.owns(point.mention))
        tokens = [
            i for i, (s, e) in enumerate(window.offsets) if s < point.mention.end and point.mention.start < e and s < e
        ]
        units = model.features(window, config.task(point.document.corpus))["unit_starts"]
        prefix = config.task(point.document.corpus).prefix_ids
        ids = torch.tensor([[*prefix, *window.input_ids, *config.sep_ids]])
        first, last = len(prefix) + tokens[0], len(prefix) + tokens[-1]
        width = sum(first <= u <= last for u in units) - 1
        with torch.inference_mode():
            hidden = model.encoder(input_ids=ids).last_hidden_state[0]
            span = model.span
            layers = torch.cat([span.start.weight, span.end.weight, span.width.weight], 1)
            wanted = layers @ torch.cat([hidden[first], hidden[last], span.widths.weight[width]]) + span.start.bias
        torch.testing.assert_close(point.vector, wanted, atol=2e-4, rtol=1e-3)
        widths[width] += 1
    assert len(widths) > 1  # not only mentions of one unit


def test_every_mention_of_the_grid_is_there_once_with_its_shared_type(predictor, span_bundle, few):
    points = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, seed=0)
    assert len({key(p) for p in points}) == len(points)
    for corpus, documents in few.items():
        gold = {(*d.key, *m.key): DEMO_LABEL_SPACE.shared(corpus, m.type) for d in documents for m in d.mentions}
        found = {key(p): p.type for p in points if p.document.corpus == corpus}
        assert found.items() <= gold.items()
        assert len(found) > 0.9 * len(gold)
    assert None in {p.type for p in points}  # demo_chem's OTHER has no counterpart


def test_sentences_and_mentions_are_drawn_by_the_seed_alone(predictor, few, monkeypatch, caplog):
    everything = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, seed=0)
    monkeypatch.setattr(embeddings, "SENTENCES", 8)
    with caplog.at_level("INFO"):
        first = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, seed=1)
    assert all(f"{corpus}: 8 sentences, " in caplog.text for corpus in few)
    again = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, seed=1)
    other = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, seed=2)
    assert [key(p) for p in first] == [key(p) for p in again] != [key(p) for p in other]
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(first, again, strict=True))
    assert {key(p) for p in first} < {key(p) for p in everything}
    monkeypatch.setattr(embeddings, "MENTIONS", 3)
    kept = embeddings.subsample(everything, 1)
    assert [key(p) for p in kept] == [key(p) for p in embeddings.subsample(everything, 1)]
    assert [key(p) for p in kept] != [key(p) for p in embeddings.subsample(everything, 2)]
    total = Counter((p.document.corpus, p.type) for p in everything)
    assert Counter((p.document.corpus, p.type) for p in kept) == {g: min(3, n) for g, n in total.items()}


def test_mentions_wider_than_the_grid_are_left_out(build_bundle, few):
    bundle = build_bundle(family="span_cvae", max_span_width=1)
    points = embeddings.embed_mentions(MentionPredictor(bundle.model, bundle.tokenizer), DEMO_LABEL_SPACE, few, seed=0)
    assert points
    assert all(" " not in p.document.surface(p.mention) for p in points)


def test_training_mode_is_left_as_it_was(predictor, few):
    predictor.model.train()
    try:
        points = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, seed=0)
        assert predictor.model.training
    finally:
        predictor.model.eval()
    same = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, seed=0)
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(points, same, strict=True))


def test_tsne_follows_the_seed_and_parts_labels_that_stand_alike():
    vectors = torch.eye(12)
    first, again, other = (plots.project(vectors, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert torch.pdist(torch.from_numpy(first)).min() > 1e-3


# ---- images


def test_draw_takes_validation_for_the_default_corpus_and_test_for_the_others(
    predictor, demo_corpora, few, tmp_path, monkeypatch, quick_tsne
):
    asked, named = {}, {}
    embed, overall = run_figures.embed_mentions, run_figures._overall_figure

    def spy(predictor, space, splits, seed):
        asked.update(splits)
        return embed(predictor, space, splits, seed)

    def name_spy(path, points, kept, titles, *rest):
        named.update(titles)
        return overall(path, points, kept, titles, *rest)

    monkeypatch.setattr(run_figures, "embed_mentions", spy)
    monkeypatch.setattr(run_figures, "_overall_figure", name_spy)
    validation = {c: demo_corpora[c]["validation"][:6] for c in ("demo_all", "demo_gene", "demo_chem")}
    test = {c: few[c] for c in ("demo_all", "demo_gene", "demo_disease")}
    files = run_figures.draw(tmp_path, predictor, DEMO_LABEL_SPACE, validation, test, 1)
    assert asked["demo_all"] is validation["demo_all"]
    assert asked["demo_gene"] is test["demo_gene"]
    assert asked["demo_disease"] is test["demo_disease"]
    assert asked["demo_chem"] is validation["demo_chem"]
    assert named["demo_all"] == "demo_all (validation)"
    assert named["demo_disease"] == "demo_disease (test)"
    assert (
        sorted(f.name for f in files)
        == sorted(p.name for p in tmp_path.iterdir())
        == sorted([PRIOR, OVERALL, *PER_TYPE])
    )
    assert all(shows_something(f) for f in files)


def test_too_few_points_make_no_figure(predictor, demo_corpora, tmp_path, caplog, quick_tsne):
    document = demo_corpora["demo_gene"]["test"][0]
    one = replace(document, mentions=document.mentions[:1])
    with caplog.at_level("INFO"):
        files = run_figures.draw(tmp_path, predictor, DEMO_LABEL_SPACE, {}, {"demo_gene": [one]}, 1)
    assert [f.name for f in files] == [PRIOR]
    assert f"no {OVERALL}: 1 points" in caplog.text


def test_without_the_cvae_there_are_no_prior_vectors(build_bundle, few, tmp_path, caplog, quick_tsne):
    bundle = build_bundle(family="span_cvae", alpha=0.0)
    assert bundle.model.prior_vectors() is None
    with caplog.at_level("INFO"):
        predictor, test = MentionPredictor(bundle.model, bundle.tokenizer), {"demo_gene": few["demo_gene"]}
        files = run_figures.draw(tmp_path, predictor, DEMO_LABEL_SPACE, {}, test, 1)
    assert PRIOR not in {f.name for f in files}
    assert f"no {PRIOR}" in caplog.text


def test_names_beside_crowded_points_do_not_overlap():
    figure, axes = plots.titled_axes(8, 6, "crowd")
    places = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)).numpy()
    plots.scatter(axes, places, ["#000000"] * 30, ["o"] * 30, 20)
    plots.name_points(figure, axes, places, [f"corpus:Type{i}" for i in range(30)])
    figure.draw_without_rendering()
    inside, boxes = axes.get_window_extent(), []
    for text in axes.texts:
        text.arrow_patch = None  # a name's own extent, without the line to its point
        boxes.append(text.get_window_extent().shrunk(0.98, 0.9))
    assert len(boxes) == 30
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


# ---- runs


def test_a_run_draws_and_so_does_measuring_its_model(tmp_path, quick_tsne):
    run(*RUN, "--family", "span_cvae", "--output_dir", tmp_path / "run")
    for name in (PRIOR, OVERALL, *PER_TYPE):
        assert shows_something(tmp_path / "run" / name)
    assert "write_figures" not in results(tmp_path / "run")["settings"]
    measure = ["--model_name_or_path", tmp_path / "run", "--corpora", "demo_gene", "--report_to", "none"]
    run(*measure, "--write_figures", "true", "--output_dir", tmp_path / "again")
    found = {p.name for p in (tmp_path / "again").glob("*.png")}
    assert found == {PRIOR, OVERALL, "span_embeddings_Gene.png"}
    assert (tmp_path / "again" / PRIOR).read_bytes() == (tmp_path / "run" / PRIOR).read_bytes()


@pytest.mark.parametrize("family", ["aioner", "sruner"])
def test_a_family_without_span_embeddings_is_an_error_before_training(family, tmp_path, capsys):
    argv = ["--family", family, "--output_dir", tmp_path / "run"]
    message = fails(capsys, "--corpora", "demo", *QUICK, "--write_figures", *argv)
    assert "has no embeddings of spans" in message
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.parametrize("package", ["matplotlib", "sklearn"])
def test_a_missing_package_is_an_error_before_training(package, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = fails(capsys, *RUN, "--family", "span_cvae", "--output_dir", tmp_path / "run")
    assert f"needs {package}: pip install 'mosaic-ner[figures]'" in message
    assert not (tmp_path / "run" / "results.json").exists()


# ---- F1 against α


@pytest.fixture
def write_run(tmp_path):
    """Function: name, α (None: the default, which results.json leaves out), seed, F1 of each evaluation → folder."""

    def write(name, alpha, seed, scores, **more):
        folder = tmp_path / name
        folder.mkdir()
        settings = {"family": "span_cvae", "seed": seed} | ({} if alpha is None else {"alpha": alpha}) | more
        history = [{"epoch": i, "eval_biored_f1": f, "eval_f1": f} for i, f in enumerate(scores)]
        (folder / "results.json").write_text(json.dumps({"settings": settings, "history": history}), encoding="utf-8")
        return folder

    return write


def test_the_alpha_table_is_what_the_runs_say(write_run, tmp_path, capsys):
    folders = [
        write_run("default_1", None, 1, [0.5, 0.8, 0.7]),
        write_run("none", 0.0, 1, [0.6, 0.5]),
        write_run("default_2", None, 2, [0.74]),
        write_run("large", 0.01, 1, [0.3]),
    ]
    output = tmp_path / "deep" / "alpha.png"
    figures.main([*map(str, folders), "--output", str(output)])
    assert str(output) in capsys.readouterr().out
    assert shows_something(output)
    assert json.loads(output.with_suffix(".json").read_text(encoding="utf-8")) == {
        "corpora": ["biored"],
        "rows": [
            {"alpha": 0.0, "mean": 0.6, "sd": None, "seeds": {"1": 0.6}},
            {
                "alpha": 1e-4,
                "mean": pytest.approx(0.77),
                "sd": pytest.approx(statistics.stdev([0.8, 0.74])),
                "seeds": {"1": 0.8, "2": 0.74},
            },
            {"alpha": 0.01, "mean": 0.3, "sd": None, "seeds": {"1": 0.3}},
        ],
    }


def test_runs_that_differ_in_more_than_alpha_are_named(write_run, caplog):
    first, second = write_run("a", 0.0, 1, [0.6]), write_run("b", 0.1, 2, [0.6], learning_rate=1.0)
    figures.alpha_table([first, second])
    assert f"{second} differs from the first run in more than α: learning_rate" in caplog.text


def test_the_alpha_curve_refuses_what_it_cannot_read(write_run, tmp_path, capsys):
    good = write_run("good", 0.0, 1, [0.6])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.json").write_text("{", encoding="utf-8")
    other = write_run("other", 0.5, 1, [0.6])
    text = (other / "results.json").read_text(encoding="utf-8")
    (other / "results.json").write_text(text.replace("eval_biored_f1", "eval_bc5cdr_f1"), encoding="utf-8")
    cases = [
        (tmp_path / "nowhere", "not the folder of a finished run: no results.json"),
        (good / "results.json", "not the folder of a finished run: no results.json"),
        (tmp_path / "broken", "expected the results of a run"),
        (write_run("tagger", None, 1, [0.6], family="aioner"), "family 'aioner'; expected 'span_cvae'"),
        (write_run("unmeasured", 0.3, 1, []), "has no development figures"),
        (write_run("twin", 0.0, 1, [0.6]), "have the same α (0) and the same seed (1)"),
        (other, "was developed on bc5cdr, the runs before it on biored"),
    ]
    for folder, expected in cases:
        with pytest.raises(SystemExit) as stop:
            figures.main([str(good), str(folder), "--output", str(tmp_path / "alpha.png")])
        assert stop.value.code == 2
        assert expected in capsys.readouterr().err
    with pytest.raises(SystemExit):
        figures.main([str(good), "--output", str(tmp_path / "alpha.pdf")])
    assert "ends in .png" in capsys.readouterr().err
    assert not list(tmp_path.glob("alpha.*"))


def test_the_alpha_curve_is_a_command(write_run, tmp_path, monkeypatch):
    folder = write_run("run", 0.0, 1, [0.6])
    monkeypatch.setattr(sys, "argv", ["figures", str(folder), "--output", str(tmp_path / "alpha.png")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it is imported already
        runpy.run_module("mosaic_ner.analysis.figures", run_name="__main__")
    assert shows_something(tmp_path / "alpha.png")
