"""What the tests of adapters share: bundles with adapters, a T5 with untied embeddings, comparisons of models."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import torch
from mosaic_ner.modeling.inference import MentionPredictor
from torch import nn
from transformers import T5Config, T5Model

LORA = {"lora_rank": 4, "dropout": 0.0}


@contextmanager
def one_thread():
    """Several threads add up in an order that differs from call to call, and these tests are about equal bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def untied(t5_dir, folder):
    """As T5 1.1 and Flan-T5: input and output embeddings are said to be different ones. In bfloat16."""
    shutil.copytree(t5_dir, folder, dirs_exist_ok=True)
    config = T5Config.from_pretrained(t5_dir)
    config.tie_word_embeddings = False
    torch.manual_seed(1)
    model = T5Model(config).to(torch.bfloat16)
    with torch.no_grad():  # as those have it: several tables of the same values
        model.encoder.embed_tokens.weight.copy_(model.shared.weight)
        model.decoder.embed_tokens.weight.copy_(model.shared.weight)
    model.save_pretrained(folder)
    return folder


def adapted(build_bundle, encoder, stirred=True, **options):
    """A bundle whose adapters do something."""
    bundle = build_bundle(encoder=str(encoder), **(LORA | options))
    for module in bundle.model.modules():  # BERT's own dropout
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if stirred and bundle.adapters:
        stir(bundle.model)
    return bundle


def stir(model) -> None:
    """As if it had been trained: adapters, new tokens and head depart from where they began."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                scale = 0.3 if name.startswith("encoder.") else 0.4
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def batch_of(bundle, demo_corpora, count: int = 4):
    features = bundle.features.build(demo_corpora["demo_all"]["train"][:2])
    return bundle.collator([features[i] for i in range(count)])


def logits_of(model, batch):
    model.eval()
    with torch.no_grad():
        return model(**batch).logits


def mentions_of(model, tokenizer, texts):
    return [[m.key for m in row] for row in MentionPredictor(model, tokenizer)(texts)]


def difference(got, wanted) -> float:
    """Largest difference as a share of the largest value; where one is infinite, both are."""
    finite = wanted.isfinite()
    assert torch.equal(finite, got.isfinite())
    return ((got - wanted)[finite].abs().max() / wanted[finite].abs().max()).item()


def snapshot(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}
