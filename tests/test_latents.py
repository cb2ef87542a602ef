"""Latent spaces of the joint information bottleneck: the right vectors, scores, what runs write, runs side by side, errors."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
import warnings
from collections import Counter
from dataclasses import replace

import pytest
import torch
from helpers_run import QUICK, fails, run
from mosaic_ner.analysis import embeddings, latents, plots
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE
from mosaic_ner.modeling.document import Document
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelSpace
from PIL import Image

FILES = {latents.FIGURE, latents.SCORES, latents.TABLE}
SMALL = {"family": "joint_ib", "hidden_size": 12, "latent_size": 8, "max_span_width": 4, "gamma": 0.1}
RUN = ["--corpora", "demo", *QUICK, "--write_figures", "--seed", "7"]
RUN += ["--validation_corpora", "demo_all", "--test_corpora", "demo_all", "demo_chem"]


@pytest.fixture(scope="module")
def ib(build_bundle, demo_corpora):
    return build_bundle(documents=demo_corpora["demo_all"]["train"][:6], lively=True, **SMALL)


@pytest.fixture(scope="module")
def predictor(ib):
    return MentionPredictor(ib.model, ib.tokenizer, batch_size=8)


@pytest.fixture(scope="module")
def few(demo_corpora):
    return {corpus: demo_corpora[corpus]["test"][:6] for corpus in ("demo_all", "demo_chem")}


@pytest.fixture(scope="module", autouse=True)
def quick_tsne():
    """Two dimensions at once: t-SNE itself is scikit-learn's to test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "project", lambda vectors, seed, perplexity=30.0: vectors[:, :2].detach().numpy())
        yield


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run's folder with its figures. For reading only."""
    folder = tmp_path_factory.mktemp("latents") / "all"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "SENTENCES", 40)
        run(*RUN, "--family", "joint_ib", "--latent_size", "8", "--output_dir", folder)
    return folder


def scores_of(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def shows_something(path) -> bool:
    """Whether a PNG has a figure's size and more colours than its axes and text."""
    with Image.open(path) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
        return min(image.size) >= 600 and sum(max(c) - min(c) > 60 for _, c in colours) > 10


def refused(capsys, *argv) -> str:
    """The one message that a wrong command line ends with."""
    with pytest.raises(SystemExit) as stop:
        latents.main([str(a) for a in argv])
    assert stop.value.code == 2
    written = capsys.readouterr().err
    assert written.count("latents: error: ") == 1
    return written


# ---- vectors and scores


def test_latents_are_those_that_training_and_classification_see(predictor, few):
    """μ₃ from the grid, s and μ₁ from tokens and layers, each mention alone in its sentence's batch."""
    model, seen = predictor.model, {}
    names = ("s", "z3", "z1")

    def read(inputs, rows, first, last):
        found = model.latents(**inputs, rows=rows, first=first, last=last)
        assert tuple(found) == names
        hidden = model.encoder(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
        grid = model.span_embeddings(**inputs)
        for n, (row, a, b) in enumerate(zip(rows.tolist(), first.tolist(), last.tolist(), strict=True)):
            tokens = hidden[row, inputs["unit_starts"][row, a] : inputs["unit_ends"][row, b] + 1]
            s = torch.cat([tokens[0], tokens.mean(0), tokens[-1]])
            wanted = (s, grid[row, a, b - a], model.generator.mean(s))
            for name, vector in zip(names, wanted, strict=True):
                torch.testing.assert_close(found[name][n], vector, atol=1e-4, rtol=1e-4)
            seen[b - a] = seen.get(b - a, 0) + 1
        return found["z3"]

    points = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, 0, read)
    assert sum(seen.values()) == len(points) > 20
    assert len(seen) > 1  # not only spans of one unit
    plain = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, 0)
    for point, other in zip(points, plain, strict=True):
        torch.testing.assert_close(point.vector, other.vector, atol=1e-4, rtol=1e-4)


def test_a_batch_without_gold_spans_can_be_trained_on(ib, demo_corpora):
    documents = [Document(d.id, d.corpus, d.text) for d in demo_corpora["demo_all"]["train"][:2]]
    features = ib.features.build(documents).features
    assert not any(f["span_cells"] for f in features)
    output = ib.model(**ib.collator(features[:2]))
    assert output.loss_terms["span_words"].item() == 0
    assert output.loss_terms["bce"].item() > 0


def test_the_silhouette_is_high_where_types_are_apart_and_undefined_for_one():
    generator = torch.Generator().manual_seed(0)
    types = ["Gene", "Disease"] * 30
    noise = torch.randn(60, 5, generator=generator)
    apart = noise + torch.tensor([[20.0], [-20.0]]).repeat(30, 1)
    assert latents.silhouette(apart, types) > 0.8
    assert abs(latents.silhouette(noise, types)) < 0.1
    assert latents.silhouette(apart, ["Gene"] * 60) is None
    assert latents.silhouette(apart, [str(i) for i in range(60)]) is None


def test_points_are_drawn_by_the_seed_and_scored_on_the_vectors(predictor, few, monkeypatch):
    everything = latents.embed(predictor, DEMO_LABEL_SPACE, "test", few, 0)
    assert set(everything.corpora) == set(few)
    assert {"Gene", "Chemical"} <= set(everything.types)
    assert (
        list(everything.total["types"])[:2] == [t for t in DEMO_LABEL_SPACE.shared_types if t in everything.types][:2]
    )
    assert {name: space.size for name, space in everything.spaces.items()} == {"s": 96, "z3": 8, "z1": 8}
    points = embeddings.embed_mentions(predictor, DEMO_LABEL_SPACE, few, 0)
    wanted = latents.silhouette(torch.stack([p.vector for p in points]), [p.type or p.mention.type for p in points])
    assert everything.spaces["z3"].silhouette == pytest.approx(wanted, abs=1e-3)
    monkeypatch.setattr(latents, "POINTS", 30)
    first, again, other = (latents.embed(predictor, DEMO_LABEL_SPACE, "test", few, seed) for seed in (1, 1, 2))
    assert len(first.types) == 30
    assert first == again
    assert first.spaces["s"].places != other.spaces["s"].places
    assert first.mentions == everything.mentions == len(points)


def test_types_without_a_shared_one_are_the_corpus_s_own(predictor, few):
    own = {name: None for name in DEMO_LABEL_SPACE.native_types("demo_chem")}
    space = LabelSpace({"demo_chem": own})
    cloud = latents.embed(predictor, space, "test", {"demo_chem": few["demo_chem"]}, 0)
    assert set(cloud.types) == {m.type for d in few["demo_chem"] for m in d.mentions}


def test_every_type_has_its_colour_and_identical_vectors_make_no_panel(ib, predictor, few, tmp_path, monkeypatch):
    assert len(set(plots.PALETTE)) == 21
    assert not set(plots.PALETTE) & {plots.GREY, plots.BLACK}

    def vectors(self, rows, **inputs):
        return {"s": torch.ones(len(rows), 3), "z3": torch.randn(len(rows), 4)}

    monkeypatch.setattr(type(ib.model), "latents", vectors)
    cloud = latents.embed(predictor, DEMO_LABEL_SPACE, "test", few, 0)
    assert cloud.spaces["s"].places == []
    assert cloud.spaces["z3"].places
    latents.write_clouds(tmp_path, {"test": cloud})
    assert latents.read_cloud(tmp_path, "test") == cloud
    assert shows_something(latents.draw_clouds(tmp_path / "x.png", {"one": cloud, "two": cloud}))


def test_no_text_lies_on_another(predictor, few, tmp_path, monkeypatch):
    """With a long name of a run, many types, and a model without its generator."""
    cloud = latents.embed(predictor, DEMO_LABEL_SPACE, "test", few, 0)
    kinds = [f"A long name of a type {i}" for i in range(24)]
    types = [kinds[i % 24] for i in range(len(cloud.types))]
    cloud = replace(cloud, types=types, total=cloud.total | {"types": dict(Counter(types))})
    less = replace(cloud, spaces={name: space for name, space in cloud.spaces.items() if name != "z1"})
    drawn = []
    monkeypatch.setattr(latents, "save", lambda figure, path: drawn.append(figure))
    latents.draw_clouds(tmp_path / "x.png", {"a_rather_long_name_of_a_run_" * 3: cloud, "less": less})
    (figure,) = drawn
    figure.draw_without_rendering()
    inside = figure.bbox
    panels = [axes.get_window_extent() for axes in figure.axes]
    texts = [figure._supxlabel, *(t for axes in figure.axes for t in (axes.yaxis.label, axes._left_title))]
    boxes = [t.get_window_extent() for t in texts if t.get_text()]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    for i, box in enumerate(boxes):
        assert inside.x0 <= box.x0 < box.x1 <= inside.x1
        assert inside.y0 <= box.y0 < box.y1 <= inside.y1
        assert not any(box.overlaps(other) for other in [*boxes[:i], *panels])
    words = {t.get_text() for axes in figure.axes for t in axes.texts}
    assert words == {"saved or trained without the generator"}


# ---- runs


def test_a_run_writes_its_spaces_and_so_does_measuring_its_model(run_dir, tmp_path):
    assert {p.name for p in run_dir.iterdir()} >= {*FILES, "span_embeddings.png", "span_embeddings_Gene.png"}
    assert not (run_dir / "prior_vectors.png").exists()
    assert shows_something(run_dir / latents.FIGURE)
    scores = scores_of(run_dir / latents.SCORES)
    assert list(scores) == ["validation", "test"]
    for split, own in scores.items():
        assert own["seed"] == 7
        assert {n: s["size"] for n, s in own["spaces"].items()} == {"s": 96, "z3": 8, "z1": 8}
        assert all(-1 <= s["silhouette"] <= 1 for s in own["spaces"].values())
        assert set(own["corpora"]) == {"demo_all"} | ({"demo_chem"} if split == "test" else set())
        for group in ("corpora", "types"):
            assert sum(c["points"] for c in own[group].values()) == own["points"]
            assert sum(c["mentions"] for c in own[group].values()) == own["mentions"]
        assert len(latents.read_cloud(run_dir, split).types) == own["points"]
    measure = ["--model_name_or_path", run_dir, "--corpora", "demo_gene", "--report_to", "none", "--write_figures"]
    run(*measure, "--output_dir", tmp_path / "again")
    found = scores_of(tmp_path / "again" / latents.SCORES)
    assert set(found["test"]["corpora"]) == {"demo_gene"}
    assert found["test"]["spaces"]["z3"]["silhouette"] is None  # one type


@pytest.mark.parametrize(("compressed", "spaces"), [(True, {"s", "z3"}), (False, {"s"})])
def test_a_model_without_its_generator_has_no_z1_and_the_baseline_no_z3(
    build_bundle, few, tmp_path, compressed, spaces
):
    bundle = build_bundle(**(SMALL | {"gamma": 0.0, "compressed": compressed}))
    predictor = MentionPredictor(bundle.model, bundle.tokenizer)
    found = latents.draw_run(tmp_path, predictor, DEMO_LABEL_SPACE, {"validation": {}, "test": few}, 0)
    assert {f.name for f in found} == {p.name for p in tmp_path.iterdir()} == FILES
    assert set(scores_of(tmp_path / latents.SCORES)["test"]["spaces"]) == spaces


def test_too_few_mentions_make_no_file(predictor, few, tmp_path, caplog):
    document = few["demo_all"][0]
    one = replace(document, mentions=document.mentions[:4])
    with caplog.at_level("INFO"):
        assert latents.draw_run(tmp_path, predictor, DEMO_LABEL_SPACE, {"test": {"demo_all": [one]}}, 0) == []
    assert "no latents of the test documents: 4 points, at least 5 are needed" in caplog.text
    assert not list(tmp_path.iterdir())


def test_missing_corpus_files_and_packages_are_errors_of_the_run(run_dir, tmp_path, capsys, monkeypatch):
    argv = ["--model_name_or_path", run_dir, "--write_figures", "--report_to", "none", "--output_dir", tmp_path / "x"]
    message = fails(capsys, "--corpora", "biored", "--data_dir", tmp_path, *argv)
    assert str(tmp_path) in message
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert "needs sklearn: pip install" in fails(capsys, "--corpora", "demo_gene", *argv)


# ---- the command


def test_runs_side_by_side(run_dir, tmp_path, capsys):
    other = shutil.copytree(run_dir, tmp_path / "only_vae")
    output = tmp_path / "deep" / "both.png"
    latents.main([str(run_dir), str(other), "--split", "test", "--output", str(output)])
    written = capsys.readouterr().out
    table = scores_of(output.with_suffix(".json"))
    own = scores_of(run_dir / latents.SCORES)["test"]
    assert table == {"split": "test", "runs": {"all": own, "only_vae": own}}
    for name in ("all", "only_vae"):
        silhouette = own["spaces"]["z3"]["silhouette"]
        assert f"{name}: test, {own['points']} mentions: silhouette by type s " in written
        assert f"z3 {silhouette:.2f}" in written
    assert shows_something(output)
    with Image.open(output) as two, Image.open(run_dir / latents.FIGURE) as one:
        assert two.height > 1.5 * one.height


def test_runs_of_other_mentions_are_named(run_dir, tmp_path, caplog):
    other = shutil.copytree(run_dir, tmp_path / "other")
    scores = scores_of(other / latents.SCORES)
    scores["test"]["seed"] = 8
    (other / latents.SCORES).write_text(json.dumps(scores), encoding="utf-8")
    latents.compare([run_dir, other], "test", tmp_path / "x.png")
    assert "all and other show different mentions" in caplog.text


def test_the_command_refuses_what_it_cannot_draw(run_dir, saved_model_dir, tmp_path, capsys, monkeypatch):
    argv = ["--output", tmp_path / "x.png"]
    assert "no such folder" in refused(capsys, tmp_path / "nowhere", *argv)
    (tmp_path / "bare").mkdir()
    assert "has no latents.json" in refused(capsys, run_dir, tmp_path / "bare", *argv)
    message = refused(capsys, saved_model_dir, *argv)
    assert "holds a 'mosaic_aioner' model, which has no latent spaces; expected 'mosaic_joint_ib'" in message
    assert "is named twice" in refused(capsys, run_dir, run_dir, *argv)
    assert "ends in .png" in refused(capsys, run_dir, "--output", tmp_path / "x.pdf")
    broken = shutil.copytree(run_dir, tmp_path / "broken")
    scores = scores_of(broken / latents.SCORES)
    (broken / latents.SCORES).write_text(json.dumps({"test": scores["test"]}), encoding="utf-8")
    assert "no latents of validation documents, but of test" in refused(capsys, broken, *argv)
    (broken / latents.SCORES).write_text("{", encoding="utf-8")
    assert "aren't what a run writes" in refused(capsys, broken, *argv)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "needs matplotlib: pip install" in refused(capsys, run_dir, *argv)
    assert not list(tmp_path.glob("x.*"))


def test_it_is_a_command(run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["latents", str(run_dir), "--output", str(tmp_path / "x.png")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it is imported already
        runpy.run_module("mosaic_ner.analysis.latents", run_name="__main__")
    assert shows_something(tmp_path / "x.png")
