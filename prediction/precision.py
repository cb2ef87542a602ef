"""A trained model, ready to predict in a precision: what commands that annotate texts begin with.

PyTorch computes in float32, bfloat16 and float16 (modeling/precision.py); OpenVINO, on CPUs, in int8 and, where it is
installed and the CPU has it, in bfloat16.
"""

from __future__ import annotations

import logging
import warnings
from importlib.util import find_spec

import numpy as np
import torch
from mosaic_ner.data_builders.extras import require
from mosaic_ner.data_builders.options import ArgumentError
from mosaic_ner.modeling.inference import MentionPredictor, Shard
from mosaic_ner.modeling.precision import best_precision, set_precision
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from .loading import load
from .model_classes import ModelError
from .options import PRECISIONS

GROUP = 128
"""Neighbouring features of a token that are rounded to int8 with one scale. A scale for all of a batch, which other engines
have, would make a window's mentions depend on its companions."""
LOSS = 0.3
"""Points of F1 that int8 may differ by from float32, measured, for "auto" to choose it."""
WRONG = 0.3
"""Relative difference of hidden states from which on a graph isn't the encoder. Rounding makes 0.1 of MiniLM's."""

logger = logging.getLogger(__name__)


def load_predictor(
    name_or_path: str | None = None,
    precision: str = "float32",
    *,
    encoder: str | None = None,
    device: torch.device | str | None = None,
    batch_size: int = 16,
    shard: Shard | None = None,
) -> MentionPredictor:
    """A trained model as a function of documents; `.model` and `.windower` are the predictor's.

    Args:
        name_or_path, encoder: as for `loading.load`.
        precision: see `PredictionOptions`.
        device: default: the first GPU, or else the CPU.
        batch_size: windows per batch.
        shard: this process's part.
    Raises:
        ModelError, ArgumentError, ExtraError: as for `loading.load` and `prepare`.
    """
    model, tokenizer = load(name_or_path, encoder)
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    prepare(model, precision)
    return MentionPredictor(model, tokenizer, batch_size, shard)


def prepare(model, precision: str = "float32") -> str:
    """Converts a trained model in place, for prediction.

    Args:
        model: on its device.
        precision: see `PredictionOptions`.
    Returns:
        The precision, which "auto" leaves open.
    Raises:
        ArgumentError: an unknown precision, int8 on a GPU. ExtraError: int8 without OpenVINO. ModelError: an encoder that
            OpenVINO can't run in int8.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    chosen = _best(model) if precision == "auto" else precision
    on_cpu = model.device.type == "cpu"
    if chosen == "int8" and not on_cpu:
        raise ArgumentError(f"--precision int8 is for CPUs, and the model is on {model.device.type}; take bfloat16")
    if chosen == "int8":
        model.float().encoder = OpenVINOEncoder(model.encoder, chosen)
    elif chosen == "bfloat16" and on_cpu and _has_openvino() and best_precision("cpu") == chosen:
        try:
            model.float().encoder = OpenVINOEncoder(model.encoder, chosen)
        except ModelError as error:
            logger.warning("%s; PyTorch computes in bfloat16", error)
            set_precision(model, chosen)
    else:
        set_precision(model, chosen)
    if precision == "auto":
        logger.info("precision: %s", chosen)
    return chosen


def _best(model) -> str:
    measured = model.config.int8_delta_f1
    safe = measured is not None and abs(measured) <= LOSS
    if safe and model.device.type == "cpu" and _has_openvino():
        return "int8"
    return best_precision(model.device)


def _has_openvino() -> bool:
    return find_spec("openvino") is not None


class OpenVINOEncoder(nn.Module):
    """An encoder as a graph of OpenVINO, in bfloat16 or with linear layers that multiply int8 by int8.

    int8: weights have a scale per output, activations one per token and `GROUP` features. Embeddings, norms and attention are
    not rounded; attention computes in bfloat16 where the CPU has it. Windows go through one by one, with as many threads as
    PyTorch has.

    Args:
        encoder: of a trained model, float32, on the CPU.
        precision: "bfloat16" or "int8".
    Raises:
        ExtraError: OpenVINO is missing. ModelError: it can't read the encoder, or its graph isn't this encoder's.
    """

    def __init__(self, encoder: nn.Module, precision: str):
        super().__init__()
        needs = ("openvino", "openvino.properties", "openvino.properties.hint")
        openvino, properties, hints = require("openvino", f"--precision {precision}", *needs)
        self.config, self.precision = encoder.config, precision
        ids = torch.ones(2, 16, dtype=torch.long)
        inputs = {"input_ids": ids, "attention_mask": ids.clone()}
        level = logging.root.level
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the tracer, about what is the same for all texts
                graph = openvino.convert_model(_HiddenStates(encoder).eval(), example_input=inputs)
        except RuntimeError as error:  # of the tracer, whatever went wrong in it
            raise ModelError(f"--precision {precision}: OpenVINO can't read this encoder ({error})") from error
        finally:
            logging.root.setLevel(level)  # which it raises to ERROR when it fails
        core = openvino.Core()
        native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings = {
            hints.inference_precision: openvino.Type.bf16 if native else openvino.Type.f32,
            hints.dynamic_quantization_group_size: GROUP if precision == "int8" else 0,
            hints.performance_mode: hints.PerformanceMode.LATENCY,
            properties.inference_num_threads: torch.get_num_threads(),
        }
        if precision == "int8":
            _round_weights(openvino, graph)
        self._run = core.compile_model(graph, "CPU", settings).create_infer_request()
        self._check(encoder)

    @torch.no_grad()
    def _check(self, encoder: nn.Module) -> None:
        """On another shape than the traced one."""
        ids = torch.arange(1, 41).remainder(self.config.vocab_size).unsqueeze(0)
        mask = (torch.arange(40) < 29).long().unsqueeze(0)
        wanted = encoder.eval()(input_ids=ids, attention_mask=mask).last_hidden_state[:, :29]
        gap = (self(ids, mask).last_hidden_state[:, :29] - wanted).norm() / wanted.norm()
        if not gap < WRONG:
            raise ModelError(
                f"--precision {self.precision}: OpenVINO's graph of the encoder {self.config.model_type!r} gives other hidden "
                f"states (relative difference {gap:.2g}, at most {WRONG} expected)"
            )

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **ignored) -> BaseModelOutput:
        """The last hidden states, (B, S, H) float32."""
        rows = zip(input_ids.split(1), attention_mask.split(1), strict=True)
        found = [self._run.infer([ids.numpy(), mask.numpy()])[0].copy() for ids, mask in rows]
        return BaseModelOutput(last_hidden_state=torch.from_numpy(np.concatenate(found)))


class _HiddenStates(nn.Module):
    """The encoder with a tensor for an output."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask, return_dict=True).last_hidden_state


def _round_weights(openvino, graph) -> None:
    """Puts int8 weights and a scale per output in place of the linear layers' weights; what OpenVINO takes for the sign to
    round activations, too."""
    ops = openvino.opset13
    for node in graph.get_ordered_ops():
        weight = node.input_value(1).get_node() if node.get_type_name() == "MatMul" else None
        if weight is None or weight.get_type_name() != "Constant" or not node.get_attributes()["transpose_b"]:
            continue
        exact = weight.data
        scales = np.maximum(np.abs(exact).max(1, keepdims=True), np.finfo(np.float32).tiny) / 127
        rounded = ops.constant(np.rint(exact / scales).astype(np.int8))
        scaled = ops.multiply(ops.convert(rounded, "f32"), ops.constant(scales.astype(np.float32)))
        node.input(1).replace_source_output(scaled.output(0))
