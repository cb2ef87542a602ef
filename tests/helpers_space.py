"""What the tests of the demo page share: models, small files, reading its HTML back, and a Space in a process of its own."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path

from mosaic_ner.hub.stock import export_stock

TEXT = "The velosis of breast cells in 𝔪ice 🐭 needs olaparin. Мыши и مرض too."
NASTY = "A <script>window.hacked = 1</script> & <img src=x onerror='window.hacked=1'> ${window.hacked = 1} {{velosis}} `gene`."

PUBTATOR = """1|t|The velosis of breast cells.
1|a|Mice with velosis 🐭 were given olaparin & <b>water</b>.
1\t4\t11\tvelosis\tOld\tX1

2|t|Nothing new.
2|a|No gene at all, as before.

"""
BIOC_JSON = (
    '{"source": "", "date": "", "key": "", "infons": {}, "documents": [{"id": "7", "infons": {}, "passages": [{"offset": 0, '
    '"infons": {"type": "title"}, "text": "The velosis of breast cells.", "sentences": [], "annotations": [], "relations": '
    '[]}], "annotations": [], "relations": []}]}'
)
BIOC_XML = (
    '<?xml version="1.0" encoding="UTF-8"?><collection><source/><date/><key/><document><id>7</id><passage><infon key="type">'
    "title</infon><offset>0</offset><text>The velosis of breast cells.</text></passage></document></collection>"
)

# Serves the Space in the current folder with the models of MOSAIC_MODELS, asks it as its visitors' programs would, and writes
# what it answers and which files the package's modules come from.
SPACE = """
import json, sys
sys.meta_path = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", "") + getattr(f, "__name__", "")]
sys.path_hooks = [h for h in sys.path_hooks if "editable" not in repr(h)]
sys.path.insert(0, ".")
import app
from gradio_client import Client, handle_file

models = app.named_models([])
page = app.build_page(models)
_, url, _ = app.serve(page, prevent_thread_lock=True, quiet=True)
client = Client(url, verbose=False)
html = client.predict(sys.argv[1], app.Taggers(models).labels[0], "", 0.0, api_name="/find_mentions")
files = [m.__file__ for n, m in sys.modules.items() if n.startswith("mosaic_ner.") and getattr(m, "__file__", None)]
page.close(verbose=False)
sys.stdout.write("RESULT" + json.dumps({"html": html, "models": models, "files": files}))
"""


def save_models(top: Path, flat: Path, build_bundle, bert_dir: Path) -> dict[str, str]:
    """Name → folder of untrained models that find mentions everywhere, and of a broken one.

    Args:
        flat: the folder of a tagger. Beside a copy of it: a nested family, a stock class.
    """
    shutil.copytree(flat, top / "flat")
    build_bundle(family="sruner", lively=True).save(top / "nested")
    bundle = build_bundle(encoder=str(bert_dir), classifier="softmax", lively=True)
    export_stock(bundle.model, bundle.tokenizer, top / "stock")
    (top / "broken").mkdir()
    (top / "broken" / "config.json").write_text('{"model_type": "nothing"}', encoding="utf-8")
    return {name: str(top / name) for name in ("flat", "nested", "stock", "broken")}


class Boxes(HTMLParser):
    """The text and the boxes of marked text; raises AssertionError where tags don't nest."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.text, self.boxes, self.tags = "", [], []
        self._open: list[tuple[str, dict]] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self._open.append((tag, values | {"begin": len(self.text), "depth": sum(t == "mark" for t, _ in self._open)}))

    def handle_endtag(self, tag):
        opened, values = self._open.pop()
        assert opened == tag
        if tag == "mark":
            self.boxes.append(values | {"finish": len(self.text)})

    def handle_data(self, data):
        self.text += data

    def mentions(self) -> dict[tuple[int, int, str], list[tuple[int, int]]]:
        """(start, end, type) → the places of its pieces, in order."""
        found: dict = {}
        for box in sorted(self.boxes, key=lambda b: b["begin"]):
            key = (int(box["data-start"]), int(box["data-end"]), box["data-type"])
            found.setdefault(key, []).append((box["begin"], box["finish"]))
        return found


def body(html: str) -> Boxes:
    """The first marked text of a result."""
    return Boxes(html[html.index('<div class="mn-text') :].partition("</div>")[0] + "</div>")
