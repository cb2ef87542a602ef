"""What the tests of hyperparameter searches share: a small run, a way to write a search file."""

from __future__ import annotations

from pathlib import Path

import yaml

SMALL = [
    "--corpora", "demo_gene", "--max_train_documents", '{"demo_gene": 60}', "--num_train_epochs", "2",
    "--per_device_train_batch_size", "2", "--report_to", "none",
]  # fmt: skip


def written(folder: Path, **content) -> Path:
    """A search file."""
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
