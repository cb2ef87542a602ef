"""Options of prediction. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mosaic_ner.data_builders.options import ArgumentError, Options, option

IN_THE_BOX = Path(__file__).resolve().parents[1] / "model_cards" / "mosaic-ner-mini"
"""The model that comes with the package."""

PRECISIONS = ("auto", "float32", "bfloat16", "float16", "int8")


def default_model() -> str:
    """The folder of the model that a command uses when none is named.

    Raises:
        ArgumentError: this installation has no such folder.
    """
    if not (IN_THE_BOX / "model.safetensors").is_file():
        raise ArgumentError(f"no model is named, and the package's own isn't at {IN_THE_BOX}; name a model")
    return str(IN_THE_BOX)


@dataclass
class PredictionOptions(Options):
    """Prediction."""

    do_predict: bool = option(
        False, "annotate --predict_input with --model_name_or_path, write --predict_output", published=False
    )
    predict_input: str | None = option(None, "file or folder to annotate", exists=True, published=False)
    predict_output: str | None = option(
        None,
        "file to write (its ending, before .gz, tells the format), or a folder: of brat files, or of the input folder's names",
        published=False,
    )
    keep_mentions: bool = option(False, "add the predicted mentions to those of --predict_input", published=False)
    predict_corpus: str | None = option(None, "annotate under this corpus's guideline")
    predict_chunk: int = option(64, "documents read and predicted together", least=1, published=False)
    resume: bool = option(False, "continue an interrupted --do_predict", published=False)
    precision: str = option(
        "float32",
        "of the encoder when it predicts: float32, bfloat16, float16, int8 or auto (see docs/precision.md)",
        choices=PRECISIONS,
    )

    def check(self) -> None:
        super().check()
        places = self.predict_input, self.predict_output
        if all(places) and Path(places[0]).resolve() == Path(places[1]).resolve():
            raise ArgumentError(f"--predict_output is the input {places[0]!r}; name another file")
