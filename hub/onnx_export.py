"""The forward pass of a model as an ONNX graph, and a model that runs it: `MentionPredictor` takes it as any other.

The graph ends at the scores. The best labels are found, and spans are read from them, by the families' own code. Needs onnx,
onnxscript and onnxruntime: `pip install 'mosaic-ner[onnx]'`.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from mosaic_ner.data_builders.extras import require
from mosaic_ner.modeling.configuration_aioner import AIONERConfig
from mosaic_ner.modeling.configuration_joint_ib import JointIBConfig
from mosaic_ner.modeling.configuration_ner import NERConfig
from mosaic_ner.modeling.configuration_span_cvae import SpanCVAEConfig
from mosaic_ner.modeling.configuration_sruner import SRUNERConfig
from mosaic_ner.modeling.modeling_ner import NEROutput
from mosaic_ner.prediction.folders import load_config
from mosaic_ner.prediction.model_classes import ModelError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from transformers import AutoModel, PreTrainedTokenizerFast

from .export_check import ExportError
from .stock import longest_input

GRAPH = "model.onnx"
SEARCH = "search.safetensors"
"""The weights that `best_labels` needs and the graph hasn't: a CRF's."""
TOLERANCE = 1e-3
"""Largest difference of logits that is taken for rounding."""
LARGEST = 1_900_000_000
"""Bytes of weights that one ONNX file holds (protobuf ends at 2 GiB); beyond, they are in a file beside it."""

_INPUTS = ("input_ids", "attention_mask", "unit_starts", "unit_ends", "corpus_ids", "task_ids")


def require_onnx() -> None:
    """Raises ExtraError unless all packages that an export needs are installed."""
    require("onnx", "an ONNX export", "onnx", "onnxscript", "onnxruntime")


def graph_inputs(config: NERConfig) -> list[str]:
    """The graph's inputs, in order: those of the model's features that its scores depend on.

    Raises:
        ExportError: no graph can hold the model.
    """
    if isinstance(config, SRUNERConfig):
        raise ExportError(
            "an SRU-NER model chooses one action after another, each step reading the memory that the last one wrote: a loop "
            "over the text, not a graph of fixed steps. Use the model itself (trust_remote_code=True)"
        )
    if not isinstance(config, (AIONERConfig, SpanCVAEConfig, JointIBConfig)):
        raise ExportError(f"a {config.model_type} model has no ONNX export; expected AIONER, span_cvae or joint_ib")
    wanted = {"input_ids", "attention_mask"}
    if not isinstance(config, AIONERConfig):
        wanted |= {"unit_starts", "unit_ends"}
    if isinstance(config, SpanCVAEConfig):
        wanted.add("corpus_ids")
    if isinstance(config, AIONERConfig) and config.restrict_labels:
        wanted.add("task_ids")
    return [name for name in _INPUTS if name in wanted]


class _Scores(nn.Module):
    """The model with positional inputs and the scores as its only output."""

    def __init__(self, model, names: list[str]):
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits


def made_up_batch(config: NERConfig, names: list[str], size: int, tokens: int, units: int) -> dict[str, Tensor]:
    """Inputs of a graph: (size, tokens) random tokens, the last row half as long, units of one token, no padding units."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(size, tokens, dtype=torch.long)
    mask[size - 1, max(units + 1, tokens // 2) :] = 0  # the units lie before it
    row = torch.arange(1, units + 1)
    numbers = torch.arange(size) % max(1, len(config.tasks))
    made = {
        "input_ids": torch.randint(config.encoder_config.vocab_size, (size, tokens), generator=generator),
        "attention_mask": mask,
        "unit_starts": row.repeat(size, 1),
        "unit_ends": row.repeat(size, 1),
        "corpus_ids": numbers,
        "task_ids": numbers,
    }
    return {name: made[name] for name in names}


def export_onnx(model, tokenizer, folder: Path) -> dict:
    """Writes the model's forward pass as `model.onnx`, with config, tokenizer and the weights that `best_labels` needs.

    Args:
        model, tokenizer: as `prediction.loading.load` gives them. Scores are float32, whatever the model's precision.
        folder: an empty folder.
    Returns:
        facts for README.md: `inputs`, `family` (the config's model type), `opset`, `largest_difference` of its logits to
        PyTorch's on made-up batches.
    Raises:
        ExportError: an SRU-NER model, or a graph that computes something else. ExtraError: a missing package.
    """
    names = graph_inputs(model.config)
    require_onnx()
    exact = model if model.dtype == torch.float32 else copy.deepcopy(model).float()
    training = exact.training
    scores = _Scores(exact.cpu().eval(), names)
    batch = made_up_batch(model.config, names, 3, 20, 12)
    size, units = torch.export.Dim("batch"), torch.export.Dim("units")
    tokens = torch.export.Dim("sequence", max=longest_input(exact.encoder))
    shapes = {"input_ids": {0: size, 1: tokens}, "attention_mask": {0: size, 1: tokens}}
    shapes |= {"unit_starts": {0: size, 1: units}, "unit_ends": {0: size, 1: units}}
    shapes |= {"corpus_ids": {0: size}, "task_ids": {0: size}}
    with torch.inference_mode():
        scores(*batch.values())  # tables that the model makes at its first call become constants of the graph
    weight = sum(p.numel() * p.element_size() for p in exact.parameters())
    try:
        with torch.no_grad():
            # strict: tracing alone would take len(tensor) for a constant.
            dims = {"inputs": tuple(shapes[name] for name in names)}
            traced = torch.export.export(scores, tuple(batch.values()), dynamic_shapes=dims, strict=True)
        program = torch.onnx.export(traced, (), input_names=names, output_names=["logits"], dynamo=True, verbose=False)
    except (TorchDynamoException, torch.onnx.OnnxExporterError) as error:
        raise ExportError(
            f"PyTorch {torch.__version__} can't write the encoder {model.config.encoder_config.model_type!r} as a graph: "
            f"{str(error).splitlines()[0]}"
        ) from error
    _name_axes(program.model.graph, [[dim.__name__ for dim in shapes[name].values()] for name in names])
    program.save(str(folder / GRAPH), external_data=weight > LARGEST)
    config = copy.deepcopy(model.config)
    config.inference_only = True
    for name in ("auto_map", "custom_pipelines"):  # the code isn't beside it
        if name in config.__dict__:
            delattr(config, name)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if kept := _label_weights(exact):
        save_file(kept, folder / SEARCH)
    gap = _largest_difference(scores, names, folder / GRAPH, model.config)
    exact.train(training)
    if gap > TOLERANCE:
        raise ExportError(
            f"the graph computes other scores than the model (up to {gap:.3g} apart); {folder} is no export"
        )
    opset = program.model.opset_imports[""]
    return {"family": model.config.model_type, "inputs": names, "opset": opset, "largest_difference": gap}


def _name_axes(graph, inputs: list[list[str]]) -> None:
    """Names the inputs' leading axes, and wherever else these lengths occur; the exporter calls them s0, s1 …"""
    names = {}
    for value, axes in zip(graph.inputs, inputs, strict=True):
        names |= {str(value.shape[axis]): name for axis, name in enumerate(axes)}
    for value in (*graph.inputs, *(out for node in graph for out in node.outputs)):
        for axis, size in enumerate(value.shape or ()):
            if str(size) in names:
                value.shape[axis] = names[str(size)]


def _label_weights(model) -> dict[str, Tensor]:
    """What `best_labels` reads beside the scores."""
    return {name: t.contiguous() for name, t in model.state_dict().items() if name.startswith("crf.")}


@torch.inference_mode()
def _largest_difference(scores: _Scores, names: list[str], graph: Path, config: NERConfig) -> float:
    """Of logits, on batches of other shapes than the traced one."""
    session, gap = _session(graph), 0.0
    for size, tokens, units in ((1, 9, 5), (4, 31, 17)):
        batch = made_up_batch(config, names, size, tokens, units)
        wanted = scores(*batch.values())
        got = torch.from_numpy(session.run(None, {n: v.numpy() for n, v in batch.items()})[0])
        if wanted.shape != got.shape or not torch.equal(wanted.isfinite(), got.isfinite()):
            return float("inf")
        finite = wanted.isfinite()
        gap = max(gap, (wanted[finite] - got[finite]).abs().max().item())
    return gap


def _session(graph: Path):
    needs = ("onnxruntime", "onnxruntime.capi.onnxruntime_pybind11_state")
    onnxruntime, errors = require("onnx", "running a graph", *needs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf) as error:
        raise ExportError(f"{graph} is no graph that onnxruntime can run: {str(error).splitlines()[0]}") from error


class OnnxModel:
    """An exported graph behind the families' interface, for `MentionPredictor`; runs on the CPU, with as many threads as
    PyTorch.

    Args:
        folder: the output of `export_onnx`.
    Raises:
        ExportError: no such output. ExtraError: onnxruntime is missing.
    """

    training = False
    device = torch.device("cpu")

    def __init__(self, folder: Path | str):
        folder = Path(folder)
        if not (folder / GRAPH).is_file():
            raise ExportError(
                f"{folder} has no {GRAPH}; expected the --output of `mosaic-ner export MODEL --format onnx --output FOLDER`"
            )
        try:
            config = load_config(str(folder), "the export")
        except ModelError as error:
            raise ExportError(str(error)) from error
        self.inputs = graph_inputs(config)
        # Its methods are wanted, not its weights.
        with torch.device("meta"):
            shell = AutoModel.from_config(config).eval()
        self._restore(shell, folder / SEARCH)
        self.session = _session(folder / GRAPH)
        got = [given.name for given in self.session.get_inputs()]
        if got != self.inputs:
            raise ExportError(
                f"{folder / GRAPH} takes {', '.join(got)}; its config says {', '.join(self.inputs)}: the files are not of one "
                "export"
            )
        self.config = config
        self.padding, self.features, self.best_labels, self.decode = (
            shell.padding, shell.features, shell.best_labels, shell.decode
        )  # fmt: skip
        self.tasks_for, self.tasks_named, self.default_task = shell.tasks_for, shell.tasks_named, shell.default_task
        self.knows, self.knows_native_types = shell.knows, shell.knows_native_types

    @staticmethod
    def _restore(shell, file: Path) -> None:
        wanted = _label_weights(shell)
        if not wanted:
            return
        try:
            weights = load_file(file)
        except (OSError, SafetensorError) as error:
            raise ExportError(
                f"{file} can't be read ({error}), and the best labels need it: export the model again"
            ) from error
        if {n: t.shape for n, t in weights.items()} != {n: t.shape for n, t in wanted.items()}:
            raise ExportError(f"{file} is not of the model in config.json; export the model again")
        shell.load_state_dict(weights, strict=False, assign=True)

    def eval(self) -> None:
        """Nothing: a graph has one mode."""

    def train(self, mode: bool = True) -> None:
        """Nothing: a graph has one mode."""

    def __call__(self, **batch: Tensor) -> NEROutput:
        """The scores of a batch (see `pad_batch`), as the model's `forward` gives them."""
        logits = self.session.run(None, {name: batch[name].numpy() for name in self.inputs})[0]
        return NEROutput(logits=torch.from_numpy(logits))


def load_onnx(folder: Path | str) -> tuple[OnnxModel, PreTrainedTokenizerFast]:
    """An export and its tokenizer, for `MentionPredictor(model, tokenizer)`.

    Raises:
        ExportError, ExtraError: as for `OnnxModel`, or the tokenizer is missing.
    """
    model = OnnxModel(folder)
    try:
        return model, PreTrainedTokenizerFast.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ExportError(f"{folder} has no tokenizer that can be read ({str(error).splitlines()[0]})") from error
