"""Generation: the right spans reach the decoders, what can't is counted, BLEU is what it should be, the command's report."""

from __future__ import annotations

import json
import math
import random
import sys
from collections import Counter
from dataclasses import replace

import pytest
import torch
from mosaic_ner.analysis import decoders, generation, generation_report
from mosaic_ner.analysis.decoders import Generated, generate, gold_spans
from mosaic_ner.analysis.generation_report import draw_examples, measure, score
from mosaic_ner.data_builders.options import DataOptions
from mosaic_ner.data_builders.run_data import load_run_data
from mosaic_ner.modeling.document import Document, Mention
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.words import END, PAD, UNKNOWN, words_of

SMALL = {"family": "joint_ib", "hidden_size": 12, "latent_size": 24, "max_span_width": 6, "gamma": 0.1}


@pytest.fixture(autouse=True)
def no_long_rambling(monkeypatch):
    """Untrained decoders don't end."""
    monkeypatch.setattr(decoders, "LONGEST", 10)


@pytest.fixture(scope="module")
def documents(demo_corpora):
    """A handful; their mentions are the decoder's vocabulary."""
    return demo_corpora["demo_all"]["train"][:5]


@pytest.fixture(scope="module")
def build(build_bundle, documents):
    """Function: options → an untrained bundle."""

    def make(**options):
        texts = sorted({d.surface(m).lower() for d in documents for m in d.mentions})
        synonyms = options.pop("synonyms", {text: (f"the {text}",) for text in texts})
        return build_bundle(documents=documents, synonyms=synonyms, **(SMALL | options))

    return make


def teach(bundle, documents, steps=70):
    """Overfits the decoder of spans, noiselessly and without the encoder."""
    model, gold = bundle.model.eval(), gold_spans(documents)
    numbers = {word: UNKNOWN + 1 + i for i, word in enumerate(model.config.vocabulary)}
    requests, keys, _ = decoders.span_requests(predictor_of(bundle), "demo_all", documents)
    batch = bundle.collator([r.features for r in requests])
    names = ("input_ids", "attention_mask", "unit_starts", "unit_ends", "cells")
    with torch.no_grad():
        spans = model.span_vectors(**{name: batch[name] for name in names})
    rows = [[*(numbers[word] for word in gold[key]), END] for own in keys for key in own]
    words = torch.tensor([row + [PAD] * (max(map(len, rows)) - len(row)) for row in rows])
    optimizer = torch.optim.Adam(model.generator.parameters(), 2e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        error, _ = model.generator.loss(spans, words)
        (error / len(rows)).backward()
        optimizer.step()


def predictor_of(bundle, batch_size=16) -> MentionPredictor:
    return MentionPredictor(bundle.model, bundle.tokenizer, batch_size)


@pytest.fixture(scope="module")
def taught(build, documents):
    bundle = build()
    teach(bundle, documents)
    return bundle


@pytest.fixture(scope="module")
def folders(taught, build, tmp_path_factory):
    """Two models: one with synonyms, whose decoder of spans is taught, and an untrained one without."""
    folder = tmp_path_factory.mktemp("models")
    taught.save(folder / "all")
    build(synonyms={}).save(folder / "reco")
    return folder


def fails(capsys, *argv) -> str:
    """The one message that a wrong command line ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        generation.main([str(a) for a in argv])
    assert stop.value.code == 2
    written = capsys.readouterr().err
    assert written.count("error: ") == 1
    return written[written.index("error: ") :]


# ---- generation


def test_a_taught_decoder_reconstructs_names_and_an_untrained_one_does_not(taught, documents):
    gold = gold_spans(documents)
    generated, lost = generate(predictor_of(taught), "demo_all", documents, seed=1)
    assert len(generated) + lost.total() == len(gold) > 20
    figures = measure(gold, generated, None)["reconstruction"]
    assert figures["bleu2"] > 0.95
    assert figures["exact_match"] > 0.9
    assert 0 < figures["one_word"] < figures["scored"] == len(generated)
    assert figures["untrained"]["bleu2"] < 0.02
    assert figures["untrained"]["exact_match"] < 0.05


def test_each_span_is_generated_from_its_own_tokens(build, documents):
    """One window at a time, s from the tokens at the mention's characters (eq. 1), words chosen in a loop."""
    bundle = build()
    bundle.model.double().eval()
    model, predictor = bundle.model, predictor_of(bundle)
    with torch.no_grad():  # so that contexts and spans matter
        for parameter in model.generator.parameters():
            parameter.mul_(6)
    generated, _ = generate(predictor, "demo_all", documents, seed=1)
    before = len(model.config.cls_ids)
    texts = set()
    for number, start, end in random.Random(0).sample([*generated], 25):
        (windows,) = predictor.windower([documents[number].text])
        window = next(w for w in windows if w.owns(Mention(start, end, "")))
        tokens = [before + i for i, (s, e) in enumerate(window.offsets) if s < end and start < e and s < e]
        with torch.inference_mode():
            ids = torch.tensor([[*model.config.cls_ids, *window.input_ids, *model.config.sep_ids]])
            own = model.encoder(input_ids=ids).last_hidden_state[0, tokens]
            span = torch.cat([own[0], own.mean(0), own[-1]])
            for kind, decoder in (("span", "reconstruction"), ("synonym", "synonyms")):
                decoder, vectors = getattr(model.generator, decoder), model.generator.words.weight
                latent = model.generator.mean(span)
                state = torch.tanh(decoder.state(latent)).view(1, 1, -1)
                state, word, words = (state, torch.zeros_like(state)), 1, []
                while word != END and len(words) < decoders.LONGEST:
                    hidden, state = decoder.lstm(torch.cat([vectors[word], latent]).view(1, 1, -1), state)
                    scores = decoder.output(hidden.flatten())
                    scores[:2] = -torch.inf
                    word = int(scores.argmax())
                    known = model.config.vocabulary[word - UNKNOWN - 1] if word > UNKNOWN else "[UNK]"
                    words += [known] if word != END else []
                assert getattr(generated[number, start, end], kind) == words
                texts.add(tuple(words))
    assert len(texts) > 5


def test_the_batch_size_changes_nothing(taught, documents):
    results = [generate(predictor_of(taught, size), "demo_all", documents, seed=1) for size in (1, 3, 64)]
    assert results[0] == results[1] == results[2]


def test_generating_leaves_the_model_and_the_random_numbers_as_they_were(taught, documents):
    model = taught.model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    first = generate(predictor_of(taught), "demo_all", documents, seed=1)[0]
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    other = generate(predictor_of(taught), "demo_all", documents, seed=2)[0]
    assert [g.span for g in first.values()] == [g.span for g in other.values()]
    assert [g.untrained for g in first.values()] != [g.untrained for g in other.values()]
    model.eval()


def test_mentions_that_cannot_be_represented_are_counted(build, taught):
    text = "severe hepatic velosis and TOV"
    types = (Mention(7, 22, "Disease"), Mention(7, 22, "Gene"))  # of one span
    document = Document("1", "demo_all", text, (Mention(0, 22, "Disease"), *types, Mention(16, 20, "Gene")))
    gold = gold_spans([document])
    assert [*gold.values()] == [["severe", "hepatic", "velosis"], ["hepatic", "velosis"], ["elos"]]
    generated, lost = generate(predictor_of(taught), "demo_all", [document], seed=1)
    assert [*generated] == [(0, 0, 22), (0, 7, 22)]
    assert lost.total() == 1
    assert set(lost) <= {"token_boundary", "unit_boundary"}
    generated, lost = generate(predictor_of(build(max_span_width=2)), "demo_all", [document], seed=1)
    assert [*generated] == [(0, 7, 22)]
    assert lost["too_wide"] == 1
    assert generate(predictor_of(taught), "demo_all", [Document("2", "demo_all", "Nothing.")], 1) == ({}, Counter())


def test_a_model_without_synonyms_generates_none(build, documents):
    bundle = build(synonyms={})
    generated, _ = generate(predictor_of(bundle), "demo_all", documents, seed=1)
    assert {(g.synonym, g.untrained_synonym) for g in generated.values()} == {(None, None)}
    known = {key: [["x"]] for key in generated}
    assert measure(gold_spans(documents), generated, known)["synonyms"] is None


# ---- figures


def test_bleu_counts_words_and_pairs_over_all_names():
    names = [[["a", "b", "d"]], [["e"]]]
    result = score([["a", "b", "c"], ["e"]], names)
    assert result["bleu2"] == pytest.approx(math.sqrt(3 / 4 * 1 / 2))
    assert result["precisions"] == pytest.approx([3 / 4, 1 / 2])
    assert (result["exact_match"], result["scored"], result["one_word"]) == (0.5, 2, 1)
    short = score([["a", "b"], ["e"]], names)
    assert short["bleu2"] == pytest.approx(math.exp(1 - 4 / 3)) == pytest.approx(short["brevity_penalty"])
    assert "smooth:none" in result["signature"]
    assert "eff:no" in result["signature"]


def test_bleu_tells_case_and_unknown_words_and_does_not_smooth():
    assert score([["IL", "-", "2"]], [[["IL", "-", "2"]]])["bleu2"] == pytest.approx(1)
    assert score([["il", "-", "2"]], [[["IL", "-", "2"]]])["precisions"] == pytest.approx([2 / 3, 1 / 2])
    assert score([["b", "a"]], [[["a", "b"]]])["bleu2"] == 0  # all words, no pair
    assert score([[decoders.UNKNOWN_WORD, "x"]], [[words_of("[UNK] x")]])["precisions"][1] == 0
    assert score([[]], [[["a"]]])["bleu2"] == 0
    assert score([["a"]], [[["a"]]])["bleu2"] == 0  # there is no pair at all
    assert score([], [])["bleu2"] is None


def test_synonyms_are_compared_with_all_that_are_known_and_only_there():
    gold = {(0, 0, 3): ["TP"], (0, 5, 8): ["x"]}
    generated = {key: Generated(words, [], ["p", "53"], ["q"]) for key, words in gold.items()}
    known = {(0, 0, 3): [["tumor", "protein"], ["p", "53"]]}
    figures = measure(gold, generated, known)["synonyms"]
    assert (figures["bleu2"], figures["exact_match"], figures["scored"]) == (pytest.approx(1), 1, 1)
    assert figures["untrained"]["bleu2"] == 0
    assert measure(gold, generated, None)["synonyms"] is None
    assert measure(gold, generated, {})["synonyms"] is None


def test_examples_are_distinct_and_of_both_kinds():
    gold = {(0, i, i + 1): [f"name{i // 2}"] for i in range(80)}  # each name twice
    one = {key: Generated(words, []) for key, words in gold.items()}
    two = {key: Generated(w if int(w[0][4:]) % 4 else ["other"], []) for key, w in gold.items() if key[1] < 60}
    rows = draw_examples(gold, {"one": one, "two": two}, 6, "0")
    assert [row["differ"] for row in rows] == [True] * 3 + [False] * 3
    assert len({row["span"] for row in rows}) == 6
    for row in rows:
        assert row["differ"] == (row["models"]["two"]["span"] == "other")
        assert int(row["span"][4:]) < 30  # others aren't in the second model's grid
    assert rows == draw_examples(gold, {"one": one, "two": two}, 6, "0")
    assert rows != draw_examples(gold, {"one": one, "two": two}, 6, "1")
    # What one kind lacks, the other makes up for.
    assert [r["differ"] for r in draw_examples(gold, {"one": one, "two": two}, 20, "0")].count(True) == 8
    assert [r["differ"] for r in draw_examples(gold, {"one": one}, 4, "0")] == [False] * 4
    wrong = {key: Generated(["other"], []) for key in gold}
    assert [r["differ"] for r in draw_examples(gold, {"one": wrong}, 4, "0")] == [True] * 4
    assert draw_examples(gold, {"one": one}, 0, "0") == []


# ---- the command


def test_the_command_writes_figures_and_tables(folders, capsys, tmp_path):
    argv = [folders / "reco", folders / "all", "--corpora", "demo_all", "demo_gene", "--synonyms", "corpora"]
    argv = [str(a) for a in [*argv, "--examples", 4, "--output", tmp_path / "a" / "b"]]
    generation.main(argv)
    printed = capsys.readouterr().out
    text = (tmp_path / "a" / "b" / "generation.md").read_text(encoding="utf-8")
    written = (tmp_path / "a" / "b" / "generation.json").read_text(encoding="utf-8")
    assert text == printed
    for folder in (str(tmp_path), str(folders)):
        assert folder not in text + written
    report = json.loads(written)
    assert [*report["models"]] == ["reco", "all"]
    assert [*report["corpora"]] == ["demo_all", "demo_gene"]
    assert report["settings"]["split"] == "validation"
    assert "sacrebleu" in report["versions"]
    for own in report["corpora"].values():
        assert own["mentions"] > own["mentions_with_synonyms"] > 0
        for name, row in own["models"].items():
            assert row["represented"] + sum(row["lost"].values()) == own["mentions"]
            assert row["reconstruction"]["scored"] == row["represented"]
            assert 0 < row["unknown_words"] < 1  # validation texts have names that training has not
            assert f"{row['reconstruction']['bleu2']:.4f}" in text
            assert (row["synonyms"] is not None) == (name == "all")
        assert len(own["examples"]) == 4
        for row in own["examples"]:
            assert row["models"]["reco"]["synonym"] is None
            assert isinstance(row["models"]["all"]["synonym"], str)
    taught, untaught = (report["corpora"]["demo_all"]["models"][n]["reconstruction"] for n in ("all", "reco"))
    assert taught["bleu2"] > 0.05 > untaught["bleu2"]  # of words known from training
    assert "| Original span | reco | all | all: synonym |" in text
    generation.main(argv[:-2])
    assert capsys.readouterr().out == printed


def test_one_model_on_test_documents_without_synonyms(folders, capsys, tmp_path):
    generation.main([str(folders / "all"), "--corpora", "demo_gene", "--split", "test", "--output", str(tmp_path)])
    report = json.loads((tmp_path / "generation.json").read_text(encoding="utf-8"))
    assert report["corpora"]["demo_gene"]["mentions_with_synonyms"] is None
    assert report["corpora"]["demo_gene"]["models"]["all"]["synonyms"] is None
    text = capsys.readouterr().out
    assert "## Synonyms" not in text
    assert "the reconstruction differs from the span" in text
    assert "test documents" in text


def test_what_a_run_held_out_is_found_again(folders, tmp_path, capsys):
    """As in the recipes for corpora without a validation split: the same share and seed, the same documents."""
    texts = [f"Hepatic velosis number {i} in mice, as told by the ward {i} alone." for i in range(10)]
    for name, part in (("TrainDev", range(8)), ("Test", range(8, 10))):
        records = [f"{i}|t|{texts[i]}\n{i}|a|\n{i}\t0\t15\t{texts[i][:15]}\tModifier\tD1\n" for i in part]
        (tmp_path / f"NCBIdisease_{name}.PubTator").write_text("\n".join(records), encoding="utf-8")
    argv = [folders / "reco", "--corpora", "ncbi_disease", "--data_dir", tmp_path, "--cache_dir", tmp_path / "cache"]
    assert "ncbi_disease has no validation split" in fails(capsys, *argv)
    generation.main([str(a) for a in [*argv, "--validation_fraction", 0.25, "--seed", 7, "--output", tmp_path]])
    report = json.loads((tmp_path / "generation.json").read_text(encoding="utf-8"))
    options = DataOptions(corpora=["ncbi_disease"], data_dir=str(tmp_path), validation_fraction=0.25)
    held = load_run_data(replace(options, cache_dir=str(tmp_path / "cache")), seed=7).validation["ncbi_disease"]
    assert report["corpora"]["ncbi_disease"]["documents"] == len(held) == 2
    assert str(tmp_path) not in json.dumps(report)
    assert "nothing is held out of ncbi_disease" in fails(capsys, *argv, "--validation_fraction", 0.01)
    assert "is for --split validation" in fails(capsys, *argv, "--validation_fraction", 0.1, "--split", "test")
    assert "expected a share" in fails(capsys, *argv, "--validation_fraction", 2)


def test_folders_of_one_name_are_told_apart(tmp_path):
    for parent in ("one", "two"):
        (tmp_path / parent / "run").mkdir(parents=True)
    assert [*generation._names([str(tmp_path / p / "run") for p in ("one", "two")])] == ["run", "run (2)"]
    assert [*generation._names(["somebody/model"])] == ["somebody/model"]


def test_cells_cannot_break_the_table():
    assert generation_report._cell(r"a | b <i> \ `") == r"a \| b \<i> \\ \`"
    assert generation_report._cell("") == "*nothing*"
    assert generation_report._cell("a " * 40).endswith(" a …")


def test_wrong_command_lines_end_with_one_message(
    folders, saved_model_dir, taught, build, capsys, tmp_path, monkeypatch
):
    model, corpora = folders / "all", ("--corpora", "demo_gene")
    message = fails(capsys, saved_model_dir, *corpora)
    assert "holds a 'mosaic_aioner' model, which has no decoders" in message
    taught.save(tmp_path / "small", inference_only=True)
    assert "was saved for inference only, without its decoders" in fails(capsys, tmp_path / "small", *corpora)
    build(gamma=0.0).save(tmp_path / "plain")
    assert "trained without the generative losses" in fails(capsys, tmp_path / "plain", *corpora)
    assert "MODEL: '/nowhere' is neither a folder" in fails(capsys, "/nowhere", *corpora)
    assert "unknown corpus 'demo_gen'" in fails(capsys, model, "--corpora", "demo_gen")
    missing = fails(capsys, model, "--corpora", "mtl_ncbi_disease", "--data_dir", tmp_path)
    assert "NCBI-disease_devel.tsv is not in" in missing
    assert "'x.txt' is no source" in fails(capsys, model, *corpora, "--synonyms", "x.txt")
    assert "x.obo: expected an OBO file" in fails(capsys, model, *corpora, "--synonyms", "x.obo")
    assert "--examples is -1" in fails(capsys, model, *corpora, "--examples", -1)
    (tmp_path / "file").write_text("")
    assert "can't be made a folder" in fails(capsys, model, *corpora, "--output", tmp_path / "file")
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    assert "pip install 'mosaic-ner[analysis]'" in fails(capsys, model, *corpora)
