"""A saved model on a machine that has only torch and transformers: another process, another folder, no mosaic_ner."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers_run import shell
from mosaic_ner.modeling import families
from mosaic_ner.modeling.inference import MentionPredictor

HEAD = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mosaic_ner", "run_ner", "seqeval"):
            raise ImportError(f"{name} is not on this machine")

sys.meta_path.insert(0, Blocker())
try:
    import mosaic_ner
    raise SystemExit("mosaic_ner can be imported")
except ImportError:
    pass
import torch
torch.set_num_threads(1)
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline
"""

PROGRAM = """
folder, again, source = sys.argv[1:]
texts = json.load(open(source))
out = {}

def error_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None

out["without_trust"] = error_of(lambda: AutoModel.from_pretrained(folder, trust_remote_code=False))
out["pipeline_without_trust"] = error_of(lambda: pipeline("token-classification", model=folder, trust_remote_code=False))

def look(folder):
    seen = {}
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    seen["config"] = [type(config).__name__, type(config).__module__.split(".")[0], config.labels.shared_types]
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    seen["ids"] = tokenizer("BRCA1 causes velosis.")["input_ids"]
    logits = []
    for auto in (AutoModel, AutoModelForTokenClassification):
        model = auto.from_pretrained(folder, trust_remote_code=True).eval()
        with torch.inference_mode():
            logits.append(model(**tokenizer("BRCA1 causes velosis.", return_tensors="pt")).logits)
    seen["logits"] = logits[0].double().sum().item()
    seen["same_logits"] = torch.equal(*logits)
    seen["class"] = [type(model).__name__, type(model).__module__.split(".")[0]]
    for task in ("token-classification", "ner"):
        ner = pipeline(task, model=folder, trust_remote_code=True)
        seen[task] = ner(texts)
    seen["type"] = type(ner).__name__
    return seen, model, tokenizer, ner

out["first"], model, tokenizer, ner = look(folder)
out["alone"] = [ner(text) for text in texts]
out["batched"] = pipeline("ner", model=folder, trust_remote_code=True, batch_size=4)(texts)
out["called_batched"] = ner(texts, batch_size=2)
out["window_batches"] = ner(texts, window_batch_size=3)
out["generator"] = list(ner(t for t in texts))
out["threshold"] = ner(texts, threshold=0.6)
out["high"] = ner(texts[0], threshold=1.1)
out["corpus"] = ner(texts, corpus="demo_gene")
out["tasks"] = ner(texts, tasks=["Gene"])
out["unknown_argument"] = error_of(lambda: ner(texts, treshold=0.5))
out["unknown_corpus"] = error_of(lambda: ner(texts, corpus="demo_gen"))
out["unknown_task"] = error_of(lambda: ner(texts, tasks=["Gen"]))
out["no_text"] = error_of(lambda: ner(7))
out["empty"] = [ner(""), ner("  ")]
model.save_pretrained(again)
tokenizer.save_pretrained(again)
out["again"] = look(again)[0]
"""

TAIL = """
assert not any(name.split(".")[0] == "mosaic_ner" for name in sys.modules)
print("RESULT" + json.dumps(out))
"""


@pytest.fixture(scope="module")
def texts(demo_corpora):
    demo = [d.text for d in demo_corpora["demo_all"]["test"][:6]]
    long = " ".join(" ".join(d.text for d in demo_corpora["demo_all"]["train"]).split(" ")[:3000])
    return [demo[0], long, *demo[1:], "𝔤𝔢𝔫𝔢 " + demo[2], "x"]


@pytest.fixture(scope="module")
def here(trained_dir, texts):
    """What this process, which has the package, finds: per text the pipeline's rows."""
    predictor = MentionPredictor(*families.load(str(trained_dir)))

    def rows(tasks=None):
        return [
            [
                {"entity_group": m.type, "score": round(m.score, 4), "word": t[m.start : m.end], "start": m.start, "end": m.end}
                for m in predictor([t], tasks)[0]
            ]
            for t in texts
        ]  # fmt: skip

    return rows


def elsewhere(place: Path, program: str, texts, *folders) -> dict:
    """What a program finds in a fresh process in another folder, without the package."""
    (place / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    (place / "program.py").write_text(HEAD + program + TAIL, encoding="utf-8")
    work = place / "cwd"
    work.mkdir()
    done = shell(
        [place / "program.py", *folders, place / "texts.json"], work,
        HF_MODULES_CACHE=str(place / "modules"), PYTHONPATH="", MPLCONFIGDIR=str(place),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    before, _, line = done.stdout.rpartition("RESULT")
    assert before == ""  # nothing asks whether to trust the code, nothing chatters
    assert list(work.iterdir()) == []
    return json.loads(line) | {"place": place, "stderr": done.stderr}


@pytest.fixture(scope="module")
def there(trained_dir, texts, tmp_path_factory):
    """What a fresh process in another folder finds, that cannot import the package."""
    place = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(trained_dir, place / "model", ignore=shutil.ignore_patterns("checkpoint-*", "predictions", "runs"))
    return elsewhere(place, PROGRAM, texts, place / "model", place / "again")


def same(got, wanted, tolerance=2e-4):
    """Equal mentions in order; scores equal up to the last printed digit."""
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert [{k: v for k, v in m.items() if k != "score"} for m in a] == [
            {k: v for k, v in m.items() if k != "score"} for m in b
        ]
        assert [m["score"] for m in a] == pytest.approx([m["score"] for m in b], abs=tolerance)


def test_there_is_something_to_compare(here):
    rows = here()
    assert len(rows[1]) > 50
    assert sum(map(len, rows)) > 100


@pytest.mark.parametrize("which", ["first", "again"])
def test_pipelines_find_what_the_training_process_finds(there, here, which):
    same(there[which]["token-classification"], here())
    same(there[which]["ner"], here())
    assert there[which]["token-classification"] == there[which]["ner"]
    assert there[which]["type"] == "NERPipeline"


@pytest.mark.parametrize("which", ["first", "again"])
def test_models_come_from_the_folders_own_code(there, which):
    assert there[which]["class"] == ["AIONERForTokenClassification", "transformers_modules"]
    assert there[which]["config"][:2] == ["AIONERConfig", "transformers_modules"]
    assert there[which]["config"][2] == ["Gene", "Disease", "Chemical", "Species"]
    assert there[which]["same_logits"]
    assert there[which]["logits"] == pytest.approx(there["first"]["logits"])


def test_the_tokenizer_puts_the_task_tags_around_a_text(there, trained_dir):
    model, _ = families.load(str(trained_dir))
    task = next(t for t in model.config.tasks if t["name"] == "ALL")
    for which in ("first", "again"):
        ids = there[which]["ids"]
        assert ids[: len(task["prefix_ids"])] == task["prefix_ids"]
        assert ids[-len(task["suffix_ids"]) :] == task["suffix_ids"]
        assert len(task["prefix_ids"]) == 2


@pytest.mark.parametrize("way", ["alone", "batched", "called_batched", "window_batches", "generator"])
def test_batching_changes_nothing(there, way):
    same(there[way], there["first"]["ner"])


def test_words_are_the_texts_own_characters(there, texts):
    for text, rows in zip(texts, there["first"]["ner"], strict=True):
        assert all(text[m["start"] : m["end"]] == m["word"] for m in rows)


def test_threshold_leaves_out_the_doubtful(there):
    kept = [[m for m in rows if m["score"] >= 0.6] for rows in there["first"]["ner"]]
    assert there["threshold"] == kept
    assert sum(map(len, kept)) < sum(map(len, there["first"]["ner"]))
    assert there["high"] == []


def test_a_corpus_or_tasks_can_be_asked_for(there, here):
    same(there["corpus"], here(["Gene"]))
    same(there["tasks"], here(["Gene"]))
    assert there["corpus"] != there["first"]["ner"]


def test_mistakes_are_told(there):
    assert "treshold" in there["unknown_argument"]
    assert "threshold" in there["unknown_argument"]
    assert "'demo_gen'" in there["unknown_corpus"]
    assert "'demo_gene'" in there["unknown_corpus"]
    assert "'Gen'" in there["unknown_task"]
    assert "expected a text" in there["no_text"]


def test_empty_texts_have_no_mentions(there):
    assert there["empty"] == [[], []]


def test_code_is_not_run_unless_trusted(there):
    assert "trust_remote_code" in there["without_trust"]
    assert "trust_remote_code" in there["pipeline_without_trust"]


def test_a_folder_saved_from_the_loaded_model_is_complete(there, trained_dir):
    again, first = (there["place"] / "again"), Path(trained_dir)
    code = sorted(p.name for p in first.glob("*.py"))
    assert sorted(p.name for p in again.glob("*.py")) == code
    for name in code:
        assert (again / name).read_bytes() == (first / name).read_bytes()
    assert str(there["place"]) not in (again / "config.json").read_text()


# ---- the span families, untrained

SPANS = """
whole, small, again, source = sys.argv[1:]
texts = json.load(open(source))
out = {}

def look(folder):
    model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    with torch.inference_mode():
        logits = model(**tokenizer(texts[0][:100], return_tensors="pt")).logits
    ner = pipeline("ner", model=folder, trust_remote_code=True)
    return model, tokenizer, {
        "class": [type(model).__name__, type(model).__module__.split(".")[0]],
        "cvae": model.cvae is not None,
        "logits": logits.clamp(min=-1e9).flatten().tolist(),
        "default": ner(texts),
        "corpus": ner(texts, corpus="demo_gene"),
        "tasks": ner(texts, tasks=["demo_chem", "demo_disease#native"]),
    }

model, tokenizer, out["whole"] = look(whole)
model.save_pretrained(again, inference_only=True)
tokenizer.save_pretrained(again)
out["small"], out["again"] = look(small)[2], look(again)[2]
"""


@pytest.fixture(scope="module")
def spans(build_bundle):
    return build_bundle(family="span_cvae", lively=True)


@pytest.fixture(scope="module")
def spans_there(spans, texts, tmp_path_factory):
    place = tmp_path_factory.mktemp("elsewhere")
    for name in ("whole", "small"):
        spans.model.save_pretrained(place / name, inference_only=name == "small")
        spans.tokenizer.save_pretrained(place / name)
    return elsewhere(place, SPANS, [*texts[:1], *texts[2:]], place / "whole", place / "small", place / "again")


@pytest.mark.parametrize("which", ["whole", "small", "again"])
def test_span_models_answer_without_the_package_as_with_it(spans, spans_there, texts, which):
    seen, texts = spans_there[which], [*texts[:1], *texts[2:]]
    assert seen["class"] == ["SpanCVAEForNER", "transformers_modules"]
    assert seen["cvae"] == (which == "whole")
    with torch.inference_mode():
        logits = spans.model(**spans.tokenizer(texts[0][:100], return_tensors="pt")).logits.clamp(min=-1e9).flatten()
    torch.testing.assert_close(torch.tensor(seen["logits"]), logits, rtol=1e-4, atol=1e-4)
    predictor = MentionPredictor(spans.model, spans.tokenizer)
    asked = {"default": ["demo_all"], "corpus": ["demo_gene"], "tasks": ["demo_chem", "demo_disease#native"]}
    for way, tasks in asked.items():
        expected = [
            [
                {"entity_group": m.type, "score": m.score, "word": t[m.start : m.end], "start": m.start, "end": m.end}
                for m in predictor([t], tasks)[0]
            ]
            for t in texts
        ]
        assert sum(map(len, expected)) > 20
        same(seen[way], expected)
    types = {row["entity_group"] for rows in seen["tasks"] for row in rows}
    assert types <= {"Chemical", "OTHER", "SpecificDisease", "Modifier"}
    assert len(types) > 2
    assert {p.name for p in (spans_there["place"] / which).glob("*.py")} >= {"spans.py", "modeling_span_cvae.py"}
