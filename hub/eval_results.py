"""Evaluation results as the Hub's benchmarks collect them: YAML files under .eval_results/ of a model's repository.

A benchmark is a dataset of the Hub whose owner registered it, with an eval.yaml that names its tasks. Which of them a corpus
is, only a user can say; so no file is written unless one is named. https://huggingface.co/docs/hub/eval-results
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.constants import EVAL_RESULTS_FOLDER
from mosaic_ner.training.results import Results

from .staging import PublishError

_NAMED = re.compile(r"(?P<corpus>[^=]+)=(?P<dataset>[\w.-]+/[\w.-]+):(?P<task>[\w.-]+)")


def write_eval_results(folder: Path, results: Results, named: tuple[str, ...], repo_id: str) -> None:
    """Writes a file for each benchmark, with the model's F1 in percent.

    Args:
        folder: of the model.
        named: `CORPUS=OWNER/DATASET:TASK` each.
        repo_id: of the model, whose card is the source of the figure.
    Raises:
        PublishError: one is not of this form, or of a corpus without test figures.
    """
    entries: dict[str, list[EvalResultEntry]] = {}
    for text in named:
        match = _NAMED.fullmatch(text)
        if match is None:
            raise PublishError(f"--benchmarks: expected CORPUS=OWNER/DATASET:TASK, got {text!r}")
        if match["corpus"] not in results.test:
            raise PublishError(
                f"--benchmarks: {match['corpus']!r} has no test figures in results.json, which has "
                f"{', '.join(results.test) or 'none'}; name one of them, or evaluate the model on it"
            )
        entry = EvalResultEntry(
            dataset_id=match["dataset"],
            task_id=match["task"],
            value=round(100 * results.test[match["corpus"]]["overall"]["f1"], 2),
            source_url=f"https://huggingface.co/{repo_id}",
            source_name="Model card",
            notes="micro-averaged F1 in percent, exact match in characters, of the types that the corpus annotates",
        )
        entries.setdefault(match["dataset"].replace("/", "__"), []).append(entry)
    for name, own in entries.items():
        path = folder / EVAL_RESULTS_FOLDER / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        content = yaml.safe_dump(eval_result_entries_to_yaml(own), sort_keys=False, allow_unicode=True, width=1000)
        path.write_text(content, encoding="utf-8")
