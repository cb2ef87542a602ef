"""The commands beside training, by name: `mosaic-ner publish …`. Each is a module of this folder, imported when asked for."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "publish": "a trained model as the folder that goes to the Hub; --upload sends it",
    "verify": "whether a folder is what it says, before anything in it runs",
    "export": "a model for programs without this package",
    "publish_data": "the corpora as a dataset of the Hub",
    "card": "model cards from results.json",
    "table": "several runs in one table",
    "compare": "runs against runs, with significance",
    "figures": "t-SNE of spans, the curve of α",
    "latents": "the spaces of the joint information bottleneck",
    "generation": "what its decoders generate",
}


def run_command(argv: list[str]) -> bool:
    """Runs the command that the first argument names; False where it names none.

    For --help, writes what commands there are.
    """
    if argv[:1] and argv[0] in COMMANDS:
        import_module(f"{__package__}.{argv[0]}").main(argv[1:])
        return True
    if argv[:1] in (["-h"], ["--help"], ["--help_all"]):
        rows = "".join(f"  mosaic-ner {name:<13}{what}\n" for name, what in COMMANDS.items())
        sys.stdout.write(
            f"commands (each has its own --help):\n{rows}  mosaic-ner [recipe.yaml]: training, as follows\n\n"
        )
    return False
