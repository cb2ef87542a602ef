"""Training a few parameters of a big encoder: low-rank adapters (LoRA, through peft) on frozen weights, which may be in 4 or
8 bits (through bitsandbytes). Both libraries come with the extra `peft`; nothing saved for prediction needs them."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path

import torch
from accelerate import PartialState
from mosaic_ner.data_builders.extras import require
from mosaic_ner.modeling.configuration_ner import NERConfig
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedTokenizerFast
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging
from transformers.utils.peft_utils import find_adapter_config_file

from .encoders import EncoderParts, pretrained_parts
from .model_classes import ModelError

logger = logging.getLogger(__name__)

CONFIG, WEIGHTS, HEAD = "adapter_config.json", "adapter_model.safetensors", "head.safetensors"
_NAME = "default"  # what peft calls the only adapter


def loading_options(quantization: str | None) -> dict:
    """What `from_pretrained` must be told to load an encoder in 4 bits (NF4) or 8 bits (LLM.int8()).

    Raises:
        ExtraError: bitsandbytes is missing.
    """
    if quantization is None:
        return {}
    require("peft", f"--quantization {quantization}", "bitsandbytes")
    device = PartialState().device
    if quantization == "4bit":
        compute = torch.bfloat16 if device.type == "cuda" else torch.float32
        config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)
    else:
        config = BitsAndBytesConfig(load_in_8bit=True)
    return {"quantization_config": config, "device_map": {"": device}}


def load_parts(name_or_path: str, quantization: str | None, trust_remote_code: bool | None = None) -> EncoderParts:
    """`pretrained_parts`, with the weights of the linear layers in few bits if asked for."""
    parts = pretrained_parts(name_or_path, loading_options(quantization), trust_remote_code)
    if quantization == "4bit":
        for module in parts.encoder.modules():
            if isinstance(module, require("peft", "--quantization 4bit", "bitsandbytes").nn.Linear4bit):
                # On some processors an evaluation would repack the weights for bfloat16 arithmetic, in a layout that
                # neither passes gradients in the next epoch nor can be read as 4-bit values when merging.
                module.support_avx512bf16_for_cpu = False
    return parts


def unquantized(config):
    """A copy of an encoder's config that says nothing of the number of bits its weights were loaded in."""
    config = copy.deepcopy(config)
    vars(config).pop("quantization_config", None)
    return config


def input_embedding(encoder) -> str:
    """The path of the embedding that the forward pass reads: T5 has it under two names and reads the inner one."""
    weight = encoder.get_input_embeddings().weight
    modules = encoder.named_modules(remove_duplicate=False)
    names = [n for n, m in modules if isinstance(m, nn.Embedding) and m.weight is weight]
    return max(names, key=lambda name: name.count("."))


class Adapters:
    """The low-rank adapters on a model's encoder, in training: what is trained, saved and merged.

    Args:
        model: its encoder is wrapped here, and all of the encoder's own weights are frozen.
        tokenizer: saved beside the adapter.
        config: peft's `LoraConfig`.
        base: how the saved adapter calls the encoder without it.
        quantization: "4bit", "8bit" or None, as the encoder was loaded.

    Raises:
        ExtraError: peft is missing.
        ModelError: the encoder has none of the target modules.
    """

    def __init__(self, model, tokenizer, config, base: str, quantization: str | None):
        self.peft = require("peft", "--lora_rank", "peft")
        self.model, self.tokenizer, self.base, self.quantization = model, tokenizer, base, quantization
        self.folder: str | Path | None = None
        """Where `finish` has saved the adapter."""
        try:
            model.encoder = self.peft.get_peft_model(model.encoder, config)
        except ValueError as error:
            raise ModelError(f"--lora_targets: {error}") from error
        self._check_rows()

    @classmethod
    def create(cls, model, parts: EncoderParts, options) -> Adapters:
        """Fresh adapters, which change nothing yet, and the rows of the family's own tokens in training.

        Args:
            model, parts: the model and what its encoder came with.
            options: those that say how adapters are made (`ModelOptions` of training/arguments.py).
        """
        peft = require("peft", "--lora_rank", "peft")
        mapping = peft.utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
        targets = options.lora_targets or mapping.get(parts.encoder.config.model_type, "all-linear")
        config = peft.LoraConfig(
            r=options.lora_rank,
            lora_alpha=options.lora_alpha or options.lora_rank,
            lora_dropout=options.lora_dropout,
            target_modules="all-linear" if targets == ["all-linear"] else targets,
            trainable_token_indices={input_embedding(parts.encoder): parts.tag_ids} if parts.tag_ids else None,
        )
        base, local = options.encoder, Path(options.encoder).is_dir()
        if local and options.encoder_name:
            base = options.encoder_name
        elif local:
            logger.warning(
                "the saved adapter will name its encoder by the folder %s; give --encoder_name if it is to be published",
                base,
            )
        adapters = cls(model, parts.tokenizer, config, base, options.quantization)
        logger.info(adapters.summary())
        return adapters

    @property
    def _plain(self):
        """The encoder inside peft's wrapper."""
        return self.model.encoder.get_base_model()

    def _layers(self) -> dict:
        """Path in the encoder → the linear layers with an adapter."""
        kind = self.peft.tuners.lora.LoraLayer
        return {name: m for name, m in self._plain.named_modules() if isinstance(m, kind)}

    def _rows(self) -> dict[str, tuple[list[int], nn.Parameter]]:
        """Path in the encoder → numbers (N) and embeddings (N, H) of the tokens in training."""
        kind = self.peft.utils.TrainableTokensWrapper
        found = {name: m.token_adapter for name, m in self._plain.named_modules() if isinstance(m, kind)}
        return {n: (m.token_indices[_NAME], m.trainable_tokens_delta[_NAME]) for n, m in found.items()}

    def _check_rows(self) -> None:
        """A row that the forward pass does not read would never learn, without a word."""
        was = self.model.training
        self.model.eval()
        for ids, rows in self._rows().values():
            device = rows.device
            inputs = {"input_ids": torch.tensor([ids], device=device)}
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            with torch.enable_grad():
                hidden = self.model.encoder(**inputs, return_dict=True).last_hidden_state
                gradient = torch.autograd.grad(hidden.float().sum(), rows, allow_unused=True)[0]
            if gradient is None:
                raise ModelError(
                    f"cannot train new tokens of a frozen {type(self._plain).__name__}: it does not read its input "
                    "embedding where peft looks for it; leave out --lora_rank"
                )
        self.model.train(was)

    def summary(self) -> str:
        """What is trained, in one line."""
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        inside = sum(p.numel() for p in self.model.encoder.parameters() if p.requires_grad)
        rows = sum(len(ids) for ids, _ in self._rows().values())
        return (
            f"adapters on {len(self._layers())} layers and {rows} new tokens: {inside:,} parameters trained in the encoder, "
            f"{trained - inside:,} outside"
        )

    def _head(self) -> dict[str, torch.Tensor]:
        return {k: v for k, v in self.model.state_dict().items() if not k.startswith("encoder.")}

    def _adapter(self) -> dict[str, torch.Tensor]:
        return self.peft.get_peft_model_state_dict(self.model.encoder, save_embedding_layers=False)

    def save(self, folder: str | Path) -> None:
        """Writes what was trained and what it takes to load it again, not the encoder's own weights.

        `adapter_model.safetensors` and `adapter_config.json` are peft's; `head.safetensors` has everything outside the
        encoder; config.json is the model's, with the encoder's quantization.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, tensors in ((WEIGHTS, self._adapter()), (HEAD, self._head())):
            tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
            save_file(tensors, folder / name, metadata={"format": "pt"})
        adapter = copy.deepcopy(self.model.encoder.peft_config[_NAME])
        adapter.base_model_name_or_path = self.base
        adapter.inference_mode = True
        adapter.target_modules = sorted(adapter.target_modules)  # peft keeps a set: no two files would be alike
        kind = type(self._plain)
        adapter.auto_mapping = {"base_model_class": kind.__name__, "parent_library": kind.__module__}
        adapter.save_pretrained(folder)
        self.save_config(folder)
        self.tokenizer.save_pretrained(folder)

    def save_config(self, folder: str | Path) -> None:
        """Writes the config alone: that of an adapter that is saved, whose scores are calibrated after the merge."""
        config = copy.deepcopy(self.model.config)
        for name in ("auto_map", "custom_pipelines"):  # the code is not beside these weights
            vars(config).pop(name, None)
        config.quantization = self.quantization
        config.save_pretrained(folder)

    def load(self, folder: str | Path) -> None:
        """Takes over what `save` wrote.

        Raises:
            ModelError: the folder holds other parameters than this model has.
        """
        stored, head = load_file(Path(folder) / WEIGHTS), load_file(Path(folder) / HEAD)
        for name, got, own in ((WEIGHTS, stored, self._adapter()), (HEAD, head, self._head())):
            shapes = [{k: tuple(v.shape) for k, v in tensors.items()} for tensors in (got, own)]
            wrong = sorted(k for k in {**shapes[0], **shapes[1]} if shapes[0].get(k) != shapes[1].get(k))
            if wrong:
                first = wrong[0]
                raise ModelError(
                    f"{Path(folder) / name} does not fit this model: {len(wrong)} parameters differ, the first is {first}, "
                    f"of shape {shapes[0].get(first)} there and {shapes[1].get(first)} here"
                )
        self.peft.set_peft_model_state_dict(self.model.encoder, stored)
        self.model.load_state_dict(head, strict=False)  # the encoder's part is what peft has just loaded

    @torch.no_grad()
    def merge(self) -> None:
        """Makes an ordinary model of it, in place: float weights with the adapters and the new tokens in them.

        Quantised weights are dequantised, not quantised again: the adapters were trained beside exactly those values.
        """
        deltas = {name: layer.get_delta_weight(_NAME) for name, layer in self._layers().items()}
        rows = self._rows()
        encoder = self.model.encoder.unload()
        if self.quantization:
            verbosity = transformers_logging.get_verbosity()
            transformers_logging.set_verbosity_error()  # it warns that it does what it was asked to do
            try:
                encoder = encoder.dequantize(dtype=torch.float32)
            finally:
                transformers_logging.set_verbosity(verbosity)
        for name, delta in deltas.items():
            weight = encoder.get_submodule(name).weight
            weight += delta.to(weight)
        for name, (ids, values) in rows.items():
            weight = encoder.get_submodule(name).weight
            weight[ids] = values.to(weight)
        encoder.requires_grad_(True)
        encoder.train(self.model.training)
        self.model.encoder = encoder

    def finish(self, folder: str | Path | None) -> None:
        """Saves the adapter (but for None) and merges it: what is scored afterwards is what is saved as the model."""
        if folder is not None:
            self.save(folder)
            self.folder = folder
        self.merge()


def is_adapter(name_or_path: str) -> bool:
    """Whether a folder or Hub id holds an adapter, not a model."""
    return find_adapter_config_file(name_or_path) is not None


def load_merged(name_or_path: str, config: NERConfig, kind: type, encoder: str | None = None):
    """A model of which only adapter and head were saved.

    Args:
        name_or_path: a folder, or Hub id, that `Adapters.save` wrote.
        config: its config.
        kind: the class of the model.
        encoder: the encoder without the adapter; default: the one that the adapter names.
    Returns:
        The model, merged, and its tokenizer.
    Raises:
        ModelError: the encoder can't be had, or it is another one.
    """
    folder = Path(cached_file(name_or_path, CONFIG)).parent
    for name in (WEIGHTS, HEAD):
        cached_file(name_or_path, name)  # from the Hub: into the same folder
    named = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    base = encoder or named
    if base == "scratch":  # what --encoder takes in training
        raise ModelError(f"{name_or_path} is an adapter on the encoder {named!r}; --encoder scratch can't stand for it")
    if base != named:
        logger.info("the adapter in %s was trained on the encoder %s; it is put on %s", name_or_path, named, base)
    quantization = vars(config).pop("quantization", None)
    try:
        # Who loads an adapter hasn't chosen the encoder that it names: no code of that one, and no question about it.
        parts = load_parts(base, quantization, **({} if encoder else {"trust_remote_code": False}))
    except ValueError as error:  # ModelError is one; transformers raises others where code is not trusted
        raise ModelError(
            f"{name_or_path} is an adapter on the encoder {named!r}; if that is no longer there under this name, say with "
            f"--encoder where it is ({error})"
        ) from error
    if config.encoder_config.vocab_size > parts.encoder.config.vocab_size:
        parts.encoder.resize_token_embeddings(config.encoder_config.vocab_size, mean_resizing=False)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(name_or_path)
    model = kind(config)
    model.encoder = parts.encoder
    lora = require("peft", name_or_path, "peft").LoraConfig.from_pretrained(folder)
    lora.inference_mode = False
    lora.base_model_name_or_path = None  # else peft warns that the encoder has another name now
    adapters = Adapters(model, tokenizer, lora, named, quantization)
    adapters.load(folder)
    adapters.merge()
    return model.eval(), tokenizer
