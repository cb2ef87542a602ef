"""What the study completed_labels_base would take on a GPU, from one counted training step of each encoder with random weights.

    python benchmarks/estimate.py --page docs/completed_labels.md

Operations are counted by `torch.utils.flop_counter` over forward and backward pass of a batch of the study's shape, in bfloat16
under autocast, attention as separate products. Memory is 16 bytes a parameter (weights, gradients, and Adam's two moments, in
float32), and the bytes that this step keeps for its backward pass.

    hours = seeds · (updates · F + windows · f / batch) / rate / 3600

F are the operations of an update, f those of its forward pass, `windows` those that a teacher answers for. The study's own
evaluations, and the time in which a GPU waits, aren't counted.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from mosaic_ner.analysis.study import Study
from mosaic_ner.data_builders.markdown import between, markdown_table, wrapped
from mosaic_ner.modeling.configuration_aioner import AIONERConfig
from mosaic_ner.modeling.modeling_aioner import AIONERForTokenClassification
from mosaic_ner.prediction.options import IN_THE_BOX
from mosaic_ner.training.arguments import as_argv, parse
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig

STUDY = "completed_labels_base"
VOCABULARIES = {"microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract": 30522, "michiyasunaga/BioLinkBERT-base": 28895}
"""Words of each encoder's vocabulary. All else is BERT's base size, BertConfig's default."""
WINDOWS = 5481 // 3 * 4
"""Of the completed corpora: 5,481 updates were three epochs of batches of 4 (results/completed_labels), MiniLM's tokens."""
RATES = (10, 50)
"""TFLOP/s."""


def step(encoder: BertConfig, batch: int, length: int) -> dict[str, int]:
    """Counts a training step of AIONER with the labels of the model in the box.

    Args:
        encoder: its config. batch, length: windows, and tokens of each.
    Returns:
        `forward` and `update`, operations; `parameters`; `kept`, bytes that the forward pass keeps for the backward pass.
    """
    config = AIONERConfig.from_pretrained(IN_THE_BOX)
    config.encoder_config = copy.deepcopy(encoder)
    config.encoder_config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = AIONERForTokenClassification(config).train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}
    alive = []  # so that no storage is freed, and its place taken by another

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    shape = (batch, length)
    inputs = {
        "input_ids": torch.randint(encoder.vocab_size, shape),
        "attention_mask": torch.ones(shape, dtype=torch.long),
        "labels": torch.randint(config.num_labels, shape),
    }
    saved = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with FlopCounterMode(display=False) as counter:
        with saved, torch.autocast("cpu", torch.bfloat16):
            loss = model(**inputs).loss
        forward = counter.get_total_flops()
        loss.backward()
    return {
        "forward": forward,
        "update": counter.get_total_flops(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "kept": sum(kept.values()),
    }


def hours(counted: dict[str, int], updates: int, windows: int, batch: int, rate: float) -> float:
    """Of one run (see above), at a rate in TFLOP/s."""
    return (updates * counted["update"] + windows * counted["forward"] / batch) / (rate * 1e12) / 3600


def table(study: Study) -> str:
    """A row per cell and one for all, in Markdown."""
    counted: dict[str, dict[str, int]] = {}
    rows, total = [], [0.0] * len(RATES)
    for cell, options in study.cells.items():
        given = study.common | {name: value for name, value in options.items() if name not in ("recipe", "seeds")}
        found = parse([options["recipe"], *as_argv(given)])
        encoder, batch = found.model.encoder, found.train.per_device_train_batch_size
        if encoder not in counted:
            counted[encoder] = step(BertConfig(vocab_size=VOCABULARIES[encoder]), batch, found.model.max_tokens)
        one, seeds, updates = counted[encoder], len(study.seeds_of(cell)), found.trainer["max_steps"]
        windows = WINDOWS if found.completion.complete_with else 0
        each = [seeds * hours(one, updates, windows, batch, rate) for rate in RATES]
        total = [a + b for a, b in zip(total, each, strict=True)]
        memory = (16 * one["parameters"] + one["kept"]) / 1e9
        rows.append(
            [cell, seeds, f"{updates:,}", f"{one['update'] / 1e12:.2f}", *(f"{h:.2f}" for h in each), f"{memory:.1f}"]
        )
    header = ["cell", "seeds", "updates", "10¹² operations an update", *(f"hours at {r} TFLOP/s" for r in RATES), "GB"]
    return markdown_table(header, [*rows, ["all", "", "", "", *(f"{h:.2f}" for h in total), ""]])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="Markdown file with the marks <!-- estimate -->; default: print")
    options = parser.parse_args(argv)
    text = wrapped(table(Study.read(STUDY)))
    if options.page:
        page = between(options.page.read_text(encoding="utf-8"), "estimate", text)
        options.page.write_text(page, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
