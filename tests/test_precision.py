"""The precision of prediction: which, of what, and that a document gives the same mentions alone and in any batch."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from mosaic_ner.data_builders.options import ArgumentError
from mosaic_ner.modeling.inference import MULTIPLE, MentionPredictor
from mosaic_ner.modeling.pipeline_ner import NERPipeline
from mosaic_ner.modeling.precision import best_precision, predicting_in, set_precision
from mosaic_ner.prediction import precision as precisions
from mosaic_ner.prediction.model_classes import ModelError
from mosaic_ner.prediction.precision import OpenVINOEncoder, load_predictor, prepare
from mosaic_ner.training.arguments import parse
from torch import nn
from transformers import pipeline

FAMILIES = {
    "aioner": {},
    "span_cvae": {"family": "span_cvae"},
    "joint_ib": {"family": "joint_ib"},
    "sruner": {"family": "sruner", "trained": ["demo_all"]},
}
NATIVE = {"avx512_bf16": True}


@pytest.fixture(scope="module", params=list(FAMILIES))
def saved(build_bundle, request, tmp_path_factory):
    """A folder with a model of each family."""
    folder = tmp_path_factory.mktemp(request.param)
    build_bundle(lively=True, **FAMILIES[request.param]).save(folder)
    return folder


@pytest.fixture(scope="module")
def predictor_of():
    """Function: a folder, a precision, "PyTorch …" for its own arithmetic → a predictor on the CPU, made once."""

    @cache  # a graph takes its time
    def make(folder, precision: str):
        if not precision.startswith("PyTorch "):
            return load_predictor(str(folder), precision, device="cpu")
        predictor = load_predictor(str(folder), device="cpu")
        set_precision(predictor.model, precision.removeprefix("PyTorch "))
        return predictor

    return make


@pytest.fixture
def texts(demo_texts):
    return [*demo_texts[:2], "", "p53", " ".join(demo_texts[2:5]), demo_texts[5]]


def dtypes(model, own: str) -> set[torch.dtype]:
    """Of the weights whose names begin with `encoder.`, or of all others."""
    return {p.dtype for n, p in model.named_parameters() if n.startswith("encoder.") == (own == "encoder")}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_encoder_is_converted_and_scores_stay_float32(predictor_of, saved, texts, precision):
    predictor, exact = predictor_of(saved, f"PyTorch {precision}"), predictor_of(saved, "float32")
    assert dtypes(predictor.model, "encoder") == {getattr(torch, precision)}
    assert dtypes(predictor.model, "head") == dtypes(exact.model, "encoder") == {torch.float32}
    batch = {k: torch.tensor([v]) for k, v in predictor.requests(texts[:1])[0].features.items()}
    batch = {k: v.bool() if k.endswith("_mask") else v for k, v in batch.items()}
    with torch.inference_mode():
        half, whole = predictor.model.eval()(**batch).logits, exact.model.eval()(**batch).logits
    assert half.dtype == whole.dtype == torch.float32
    if half.shape == whole.shape:  # SRU-NER may take another number of actions
        finite = whole.isfinite()
        assert 0 < (half - whole)[finite].abs().max() < 0.1 * whole[finite].abs().max()


@pytest.mark.parametrize("precision", ["float32", "PyTorch bfloat16", "bfloat16", "int8"])
def test_a_document_gives_the_same_mentions_and_scores_alone_and_in_any_batch(predictor_of, saved, texts, precision):
    predictor = predictor_of(saved, precision)
    predictor.batch_size = 1
    alone = [[(m.key, m.score) for m in predictor([text])[0]] for text in texts]
    assert sum(map(len, alone)) > 20
    for size, order in ((5, range(len(texts) - 1, -1, -1)), (64, range(len(texts)))):
        predictor.batch_size = size
        found = predictor([texts[i] for i in order])
        for i, mentions in zip(order, found, strict=True):
            assert [m.key for m in mentions] == [key for key, _ in alone[i]]
            # Sums over a memory or a chain that is padded may be rounded otherwise; the encoder's are not.
            assert [m.score for m in mentions] == pytest.approx([score for _, score in alone[i]], abs=1e-6)


@pytest.mark.parametrize("precision", ["float32", "PyTorch bfloat16", "bfloat16", "int8"])
def test_the_encoder_gives_a_window_the_same_bits_alone_and_in_a_batch(predictor_of, saved, texts, precision):
    predictor, seen = predictor_of(saved, precision), {}
    predictor.batch_size = 64
    hook = predictor.model.encoder.register_forward_hook(
        lambda _, args, kwargs, out: rows(kwargs, out), with_kwargs=True
    )

    def rows(inputs, out):
        assert inputs["input_ids"].shape[1] % MULTIPLE == 0 or inputs["input_ids"].shape[1] == 64
        for ids, mask, hidden in zip(inputs["input_ids"], inputs["attention_mask"], out.last_hidden_state, strict=True):
            own = hidden[mask.bool()]
            assert seen.setdefault(tuple(ids[mask.bool()].tolist()), own).equal(own)

    predictor(texts)
    windows = len(seen)
    predictor.batch_size = 1
    predictor(texts)
    hook.remove()
    assert len(seen) == windows > 3


def test_a_model_saved_in_half_precision_is_loaded_in_single(build_bundle, predictor_of, tmp_path, texts):
    bundle = build_bundle(lively=True)
    bundle.model.bfloat16()
    bundle.save(tmp_path)
    assert dtypes(load_predictor(str(tmp_path)).model, "encoder") == {torch.float32}
    ner = pipeline("token-classification", model=str(tmp_path), trust_remote_code=True, device="cpu")
    assert dtypes(ner.model, "encoder") == dtypes(ner.model, "head") == {torch.float32}
    half = pipeline(
        "token-classification", model=str(tmp_path), trust_remote_code=True, device="cpu", precision="bfloat16"
    )
    assert (dtypes(half.model, "encoder"), dtypes(half.model, "head")) == ({torch.bfloat16}, {torch.float32})
    expected = predictor_of(tmp_path, "PyTorch bfloat16")(texts)
    assert [[(m["start"], m["end"]) for m in row] for row in half(texts)] == [
        [(m.start, m.end) for m in row] for row in expected
    ]


def test_auto_is_bfloat16_where_the_cpu_has_it(monkeypatch, bundle):
    for capabilities, expected in (({}, "float32"), (NATIVE, "bfloat16"), ({"amx_bf16": True}, "bfloat16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=capabilities: known)
        assert best_precision("cpu") == expected
    assert set_precision(bundle.model, "auto") == "bfloat16"
    assert dtypes(bundle.model, "encoder") == {torch.bfloat16}


def test_an_unknown_precision_is_refused(bundle):
    for make in (
        lambda: set_precision(bundle.model, "int4"),
        lambda: NERPipeline(model=bundle.model, tokenizer=bundle.tokenizer, precision="int4"),
    ):
        with pytest.raises(ValueError, match="precision is 'int4'; expected one of auto, float32"):
            make()


def test_a_model_in_training_keeps_its_weights(bundle, texts):
    before = {name: value.clone() for name, value in bundle.model.state_dict().items()}
    encoder, parameters = bundle.model.encoder, list(bundle.model.parameters())
    half = MentionPredictor(bundle.model, bundle.tokenizer, precision="bfloat16")(texts)
    with predicting_in(bundle.model, "bfloat16"):
        assert dtypes(bundle.model, "encoder") == {torch.bfloat16}
    assert bundle.model.encoder is encoder
    assert all(one is other for one, other in zip(parameters, bundle.model.parameters(), strict=True))
    assert all(value.equal(before[name]) for name, value in bundle.model.state_dict().items())
    set_precision(bundle.model, "bfloat16")
    same = MentionPredictor(bundle.model, bundle.tokenizer)(texts)
    assert [[(m.key, m.score) for m in row] for row in half] == [[(m.key, m.score) for m in row] for row in same]


# ---- OpenVINO


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_openvino_is_near_float32_and_scores_stay_float32(predictor_of, saved, texts, precision):
    exact, predictor = predictor_of(saved, "float32"), predictor_of(saved, precision)
    assert isinstance(predictor.model.encoder, OpenVINOEncoder)
    assert dtypes(predictor.model, "head") == {torch.float32}
    ids = torch.tensor([predictor.requests(texts[:1])[0].features["input_ids"]])
    with torch.inference_mode():
        wanted, got = (p.model.encoder(input_ids=ids, attention_mask=torch.ones_like(ids)) for p in (exact, predictor))
    wanted, got = wanted.last_hidden_state, got.last_hidden_state
    assert got.dtype == torch.float32
    assert 0 < (got - wanted).norm() / wanted.norm() < 0.1


def test_another_graph_than_the_encoder_is_refused(bundle, monkeypatch):
    def spoilt(openvino, graph):
        for node in graph.get_ordered_ops():
            if node.get_type_name() == "MatMul" and node.input_value(1).get_node().get_type_name() == "Constant":
                others = openvino.opset13.constant(1e4 * node.input_value(1).get_node().data)
                node.input(1).replace_source_output(others.output(0))

    monkeypatch.setattr(precisions, "_round_weights", spoilt)
    with pytest.raises(ModelError, match="other hidden states"):
        OpenVINOEncoder(bundle.model.encoder, "int8")


class Unreadable(nn.Module):
    """An encoder whose code no tracer follows."""

    def __init__(self, encoder):
        super().__init__()
        self.own, self.config = encoder, encoder.config

    def forward(self, input_ids, attention_mask, **more):
        if type(input_ids) is torch.Tensor and torch.jit.is_tracing():
            raise NotImplementedError("no graph of this")
        return self.own(input_ids=input_ids, attention_mask=attention_mask, **more)


def test_pytorch_computes_in_bfloat16_what_openvino_cannot_read(bundle, caplog):
    bundle.model.encoder = Unreadable(bundle.model.encoder)
    with pytest.raises(ModelError, match="--precision int8: OpenVINO can't read this encoder"):
        prepare(bundle.model, "int8")
    assert prepare(bundle.model, "bfloat16") == "bfloat16"
    assert dtypes(bundle.model, "encoder") == {torch.bfloat16}
    assert "PyTorch computes in bfloat16" in caplog.text


def test_pytorch_computes_in_bfloat16_without_openvino(bundle, monkeypatch):
    monkeypatch.setattr(precisions, "find_spec", lambda name: None)
    assert prepare(bundle.model, "bfloat16") == "bfloat16"
    assert dtypes(bundle.model, "encoder") == {torch.bfloat16}


@pytest.mark.parametrize(
    ("measured", "there", "expected"),
    [
        (None, True, "float32"),
        (-0.2, True, "int8"),
        (0.3, True, "int8"),
        (-0.31, True, "float32"),
        (0, False, "float32"),
    ],
)
def test_auto_is_int8_only_where_it_was_measured_to_be_safe(bundle, monkeypatch, measured, there, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {})
    monkeypatch.setattr(precisions, "find_spec", lambda name: there or None)
    monkeypatch.setattr(precisions, "OpenVINOEncoder", lambda encoder, precision: nn.Sequential(encoder))
    bundle.model.config.int8_delta_f1 = measured
    assert prepare(bundle.model, "auto") == expected
    assert isinstance(bundle.model.encoder, nn.Sequential) == (expected == "int8")


def test_int8_is_for_trained_models_on_cpus(bundle):
    with pytest.raises(ArgumentError, match="int8 doesn't go with training"):
        parse(["quickstart", "--precision", "int8"])
    assert parse(["quickstart", "--model_name_or_path", "m", "--precision", "int8"]).prediction.precision == "int8"
    with pytest.raises(ArgumentError, match="int8 is for CPUs, and the model is on meta"):
        prepare(bundle.model.to("meta"), "int8")
