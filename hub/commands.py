"""The commands beside training, by name: `mosaic-ner publish …`. Each is a module beside this one, imported when asked for."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "publish": "a trained model as the folder that goes to the Hub; --upload sends it",
    "verify": "whether a folder is what it says, before anything in it runs",
    "export": "a model for programs without this package",
    "space": "the demo page, here or as a folder for the Hub",
    "publish_data": "the corpora as a dataset of the Hub",
    "card": "model cards from results.json",
    "table": "several runs in one table",
    "compare": "runs against runs, with significance",
    "figures": "t-SNE of spans, the curve of α",
    "latents": "the spaces of the joint information bottleneck",
    "generation": "what its decoders generate",
}

MODULES = {"space": "space.app"}
"""Those that aren't called like their command."""


def run_command(argv: list[str]) -> bool:
    """Runs the command that the first argument names; False where it names none.

    For --help, writes what commands there are.
    """
    if argv[:1] and argv[0] in COMMANDS:
        try:
            module = import_module(f"{__package__}.{MODULES.get(argv[0], argv[0])}")
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("mosaic_ner"):
                raise
            sys.stderr.write(f"{argv[0]}: error: {error}\n")
            sys.exit(2)
        module.main(argv[1:])
        return True
    if argv[:1] in (["-h"], ["--help"], ["--help_all"]):
        rows = "".join(f"  mosaic-ner {name:<13}{what}\n" for name, what in COMMANDS.items())
        sys.stdout.write(
            f"commands (each has its own --help):\n{rows}  mosaic-ner [recipe.yaml]: training, as follows\n\n"
        )
    return False
