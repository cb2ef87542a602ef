"""The pictures of the demo page and of `tag --html` in the documentation: three widths, light and dark.

    python docs/screenshots.py [MODEL …] [--output FOLDER] [--whole]

Without MODEL, the model in the box; the last one is asked for its guidelines. Needs Chromium, playwright and Pillow. A picture
is one shot of a page or several side by side. --whole writes every page in every width and colour instead, each as long as it
is, to look for what is wrong.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from mosaic_ner.hub.space import app
from mosaic_ner.prediction.tag import main as tag
from PIL import Image
from playwright.sync_api import Page, sync_playwright

TEXT = (
    "Loss of BRCA1 made MCF-7 cells sensitive to olaparib, while HeLa cells grew on. In Brca1-deficient mice, olaparib and "
    "carboplatin slowed breast cancer and prolonged survival; two of eleven animals had anaemia. The variant p.Cys61Gly "
    "behaved as a null allele. Patients with ovarian cancer who carried c.68_69delAG responded best."
)
WIDTHS = {"desktop": (1280, 900), "tablet": (820, 900), "phone": (390, 900)}
COLOURS = ("light", "dark")
PAGES = {"text": "#found", "guidelines": "#answers", "html": ".mn-page"}
"""Page → where the answer is."""
PICTURES = {
    "demo_page": [("text", "desktop", "light")],
    "demo_guidelines": [("guidelines", "desktop", "dark")],
    "demo_narrow": [("guidelines", "tablet", "light"), ("text", "phone", "dark")],
    "tag_html": [("html", "tablet", "light"), ("html", "phone", "dark")],
}
EDGE, PALETTE = 16, 96
"""Pixels between shots; colours of a picture, so that it is small."""


def shoot(page: Page, address: str, what: str, whole: bool) -> Image.Image:
    """A page once its answer is there, from its top, or from the answer where it is far below."""
    page.goto(address)
    page.locator(f"{PAGES[what]} .mn-table").wait_for()
    page.wait_for_timeout(500)  # menus and lists fade in
    top = page.locator(PAGES[what]).bounding_box()["y"]
    if top > page.viewport_size["height"] / 2:
        page.evaluate(f"scrollTo(0, {top})")
    return Image.open(io.BytesIO(page.screenshot(full_page=whole))).convert("RGB")


def beside(shots: list[Image.Image]) -> Image.Image:
    """Several shots as one picture."""
    width = sum(shot.width for shot in shots) + EDGE * (len(shots) - 1)
    picture, left = Image.new("RGB", (width, max(shot.height for shot in shots)), "#94a3b8"), 0
    for shot in shots:
        picture.paste(shot, (left, 0))
        left += shot.width + EDGE
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="default: this folder")
    parser.add_argument("--whole", action="store_true")
    options = parser.parse_args()
    pictures = PICTURES
    if options.whole:
        pictures = {"_".join(shot): [shot] for shot in itertools.product(PAGES, WIDTHS, COLOURS)}
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.environ["GRADIO_TEMP_DIR"] = folder
        models = app.named_models(options.models)
        tag([TEXT, "--model", models[0], "--html", f"{folder}/tag.html"])
        served = app.build_page(models)
        _, url, _ = app.serve(served, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
        labels = app.Taggers(models).labels
        asked = {"text": labels[0], "guidelines": labels[-1]}
        addresses = {w: f"{url}#{urlencode({'tab': w, 'text': TEXT, 'model': m})}" for w, m in asked.items()}
        addresses["html"] = f"file://{folder}/tag.html"
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, wanted in pictures.items():
            shots = []
            for what, width, colour in wanted:
                size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
                page = browser.new_page(viewport=size, color_scheme=colour)
                page.set_default_timeout(120_000)
                shots.append(shoot(page, addresses[what], what, options.whole))
                wide = page.evaluate("document.documentElement.scrollWidth")
                print(name, what, width, colour, shots[-1].size, "scrolls sideways" if wide > size["width"] else "")
                page.close()
            picture = beside(shots).quantize(PALETTE, dither=Image.Dither.NONE)
            picture.save(options.output / f"{name}.png", optimize=True)
        browser.close()
        served.close(verbose=False)


if __name__ == "__main__":
    main()
