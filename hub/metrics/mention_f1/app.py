"""The metric's Space: two boxes of JSON, the scores. (`evaluate`'s own widget has only flat columns.)"""

import json
from pathlib import Path

import evaluate
import gradio as gr

FOLDER = Path(__file__).parent
GOLD = [[{"start": 13, "end": 17, "type": "Gene"}, {"start": 24, "end": 32, "type": "Disease"}]]
FOUND = [[{"start": 13, "end": 17, "type": "Gene"}, {"start": 24, "end": 29, "type": "Disease"}]]

metric = evaluate.load(str(FOLDER / "mention_f1.py"))


def score(predictions: str, references: str) -> dict:
    """The scores of two JSON lists, with a list of mentions per document; gradio shows the message of a wrong input."""
    try:
        return metric.compute(predictions=json.loads(predictions), references=json.loads(references))
    except ValueError as error:  # JSON's errors are among them
        raise gr.Error(str(error)) from error


demo = gr.Interface(
    score,
    [
        gr.Code(json.dumps(FOUND, indent=1), language="json", label="predictions"),
        gr.Code(json.dumps(GOLD, indent=1), language="json", label="references"),
    ],
    gr.JSON(label="scores"),
    title="mention_f1",
    description=metric.description,
    article=(FOLDER / "README.md").read_text(encoding="utf-8").split("---", 2)[2],
    flagging_mode="never",
)

if __name__ == "__main__":
    demo.launch()
