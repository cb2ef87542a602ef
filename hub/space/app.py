"""The demo page: mentions of a text or a file, nested ones included, under the guidelines of several corpora, of two models.

mosaic-ner space MODEL …                  shows it on this computer
mosaic-ner space MODEL … --build FOLDER   writes the folder of a Space instead, to be pushed to the Hub

A MODEL is a folder or a Hub id: one of the families, or a stock token classification model. Without any, those of the
environment variable MOSAIC_MODELS (with commas between them) are taken, those under `models:` in the README.md beside this
file, or the model that comes with the package. Their own code is run: name only models that you trust. Needs gradio: `pip
install 'mosaic-ner[space]'`.

Visitors' texts are not logged; the link to a text holds it behind its #, which browsers don't send. Their files are in a
temporary folder for 15 to 20 minutes, and no longer than the page runs.
The same as `mosaic-ner space`, and in the folder of a Space as `python app.py`.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import

try:
    import gradio as gr
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the demo page needs gradio: pip install 'mosaic-ner[space]'", name="gradio") from error
from huggingface_hub import metadata_load
from mosaic_ner.hub.space.actions import MOST_GUIDELINES, Actions, Limits, on_page
from mosaic_ner.hub.space.build import SHEET, build_space
from mosaic_ner.hub.space.links import read_link, write_link
from mosaic_ner.hub.space.taggers import UNKNOWN_ORIGIN, SpaceError, Taggers
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.prediction import highlight

HERE = Path(__file__).resolve().parent
STYLES = (highlight.SHEET, SHEET)
SWEEP, AGE = 300, 900
"""Seconds between two clearings of files, and the age at which they go."""

EXAMPLES = [
    "Expression of the mouse p53 gene in HeLa cells is induced by doxorubicin, a drug against breast cancer and acute myeloid "
    "leukemia.",
    "In mice fed a high-fat diet, metformin lowered blood glucose and activated AMP-activated protein kinase in liver cells.",
    "Activation of the human interleukin-2 gene promoter in Jurkat T cells needs NF-kappa B and the p65 subunit.",
]
INTRODUCTION = """<div class="mn-head"><h1>mosaic-ner</h1><p>Biomedical named entity recognition. Nested and overlapping
mentions are shown, nothing is truncated, offsets are characters of your text.</p></div>"""
WAITING = highlight.note("The mentions will appear here.")


# ---- the page


def build_page(models: list[str], limits: Limits | None = None) -> gr.Blocks:
    """The page; `serve` shows it.

    Args:
        models: folders or Hub ids. Their code is run. They are loaded when first asked for.
        limits: what a visitor may give.
    Raises:
        SpaceError: no model, or one that is neither a folder nor a possible Hub id.
    """
    limits = limits or Limits()
    actions = Actions(Taggers(models), limits)
    # One at a time: models share the processor, and a visitor's file must not wait in memory with others.
    one = {"concurrency_id": "model", "concurrency_limit": 1}
    with gr.Blocks(title="mosaic-ner", analytics_enabled=False, delete_cache=(SWEEP, AGE)) as page:
        gr.HTML(INTRODUCTION)
        with gr.Tab("Text", id="text"), gr.Row():
            with gr.Column(scale=5, min_width=320):
                text = _text(limits, lines=6)
                with gr.Row():
                    clear = gr.Button("Clear", elem_id="clear", scale=1, min_width=80, size="md")
                    link = gr.Button("Copy link", elem_id="link", scale=1, min_width=80, size="md")
                    find = gr.Button(
                        "Find mentions", variant="primary", elem_id="find", scale=2, min_width=80, size="md"
                    )
                model, guideline, threshold = settings = _settings(actions)
                gr.Examples(EXAMPLES, text, label="Examples", cache_examples=False, api_visibility="private")
            with gr.Column(scale=7, min_width=320):
                found = gr.HTML(WAITING, elem_id="found")
            gr.on(
                [find.click, text.submit],
                on_page(actions.find),
                [text, *settings],
                found,
                api_name="find_mentions",
                **one,
            )
            clear.click(lambda: ("", WAITING), None, [text, found], api_visibility="private")
            link.click(None, [text, *settings], None, js=write_link("text"), api_visibility="private")
        with gr.Tab("Guidelines", id="guidelines"):
            with gr.Row():
                with gr.Column(scale=5, min_width=320):
                    disputed = _text(limits, lines=6)
                    with gr.Row():
                        link = gr.Button("Copy link", elem_id="link_guidelines", scale=1, min_width=80, size="md")
                        ask = gr.Button("Answer under each", variant="primary", elem_id="ask", scale=2, size="md")
                with gr.Column(scale=7, min_width=320):
                    with gr.Group():
                        asked = _model(actions, "Model", actions.taggers.labels[0])
                        chosen = gr.Dropdown(
                            [],
                            multiselect=True,
                            max_choices=MOST_GUIDELINES,
                            allow_custom_value=True,  # of a link, before the list is there; `Tagger.mentions` checks it
                            label=f"As annotated in (2 to {MOST_GUIDELINES})",
                            elem_id="chosen",
                        )
                        least = _threshold()
                    gr.Examples(EXAMPLES, disputed, label="Examples", cache_examples=False, api_visibility="private")
            answers = gr.HTML(
                highlight.note("What each guideline makes of the text will appear here."), elem_id="answers"
            )
            several = [disputed, asked, chosen, least]
            gr.on(
                [ask.click, disputed.submit],
                on_page(actions.guidelines),
                several,
                answers,
                api_name="guidelines",
                **one,
            )
            link.click(None, several, None, js=write_link("guidelines"), api_visibility="private")
        # First what the link says, then the lists, which depend on the model, then the answer.
        linked = [text, *settings, *several]
        opened = page.load(None, linked, linked, js=read_link(actions.taggers.labels), api_visibility="private")
        quiet = {"api_visibility": "private", "show_progress": "hidden", **one}

        def offer_several(name: str, chosen: list[str]) -> gr.Dropdown:
            choices = [(title, value) for title, value in _choices(actions, name) if value != UNKNOWN_ORIGIN]
            known = [value for _, value in choices]
            kept = [value for value in chosen or () if value in known] or known[:MOST_GUIDELINES]
            return gr.Dropdown(choices=choices, value=kept)

        def answer(action: Callable[..., str]) -> Callable:
            # Without a text what is shown stays: a visitor may have asked for something in the meantime.
            return lambda text, *rest: on_page(action)(text, *rest) if text else gr.skip()

        offered = _keep_offering(actions, opened, model, guideline, one)
        offered.then(answer(actions.find), [text, *settings], found, **quiet)
        asked.change(offer_several, [asked, chosen], chosen, **quiet)
        offered = opened.then(offer_several, [asked, chosen], chosen, **quiet)
        offered.then(answer(actions.guidelines), several, answers, **quiet)
        with gr.Tab("File", id="file"), gr.Row():
            with gr.Column(scale=5, min_width=320):
                settings = _settings(actions)
                _keep_offering(actions, opened, *settings[:2], one)
                label = (
                    f"PubTator, BioC, PubMed XML, JATS, JSON lines, IOB or plain text, at most {limits.megabytes:g} MB"
                )
                file = gr.File(label=label, elem_id="upload", height=140)
                annotate = gr.Button("Annotate", variant="primary", elem_id="annotate", size="md")
                gr.HTML(
                    highlight.note(
                        f"Files are removed after {AGE // 60} to {(AGE + SWEEP) // 60} minutes. Mentions that the file has are "
                        "replaced."
                    )
                )
            with gr.Column(scale=7, min_width=320):
                download = gr.DownloadButton("Download the annotated file", visible=False, elem_id="download")
                report = gr.HTML(highlight.note("What was found will appear here."), elem_id="report")

            def annotate_upload(file, model, guideline, threshold, progress=gr.Progress()):  # noqa: B008 (gradio's way)
                # Inside gradio's own folder, so that it makes no copy and clears the file away with the others.
                folder = Path(tempfile.mkdtemp(dir=_made(Path(download.GRADIO_CACHE))))
                try:
                    html, path = actions.annotate(
                        file,
                        folder,
                        model,
                        guideline,
                        threshold,
                        lambda done, total: progress((done, total), unit="documents"),
                    )
                except UserError as error:
                    return highlight.alert(str(error)), gr.DownloadButton(visible=False, value=None)
                finally:
                    _remove_if_empty(folder)
                return html, gr.DownloadButton(value=path, visible=True)

            annotate.click(annotate_upload, [file, *settings], [report, download], api_name="annotate_file", **one)
        with gr.Tab("Compare", id="compare"):
            with gr.Row():
                with gr.Column(scale=5, min_width=320):
                    text = _text(limits, lines=6)
                    threshold = _threshold()
                    compare = gr.Button("Compare", variant="primary", elem_id="compare", size="md")
                with gr.Column(scale=7, min_width=320):
                    labels = actions.taggers.labels
                    first = _choose(actions, "Model A", labels[0])
                    second = _choose(actions, "Model B", labels[min(1, len(labels) - 1)])
                    for pair in (first, second):
                        _keep_offering(actions, opened, *pair, one)
                    gr.Examples(EXAMPLES, text, label="Examples", cache_examples=False, api_visibility="private")
            both = gr.HTML(
                highlight.note("Which mentions both find, or only one of them, will appear here."), elem_id="compared"
            )
            inputs = [text, *first, *second, threshold]
            compare.click(on_page(actions.compare), inputs, both, api_name="compare", **one)
    return page


def _text(limits: Limits, lines: int) -> gr.Textbox:
    # No max_length: browsers would cut a longer text without a word.
    return gr.Textbox(
        label=f"Text, at most {limits.characters:,} characters",
        placeholder="Any language; one sentence or a whole article",
        lines=lines,
        max_lines=14,
        elem_classes="mn-input",
    )


def _threshold() -> gr.Slider:
    return gr.Slider(0, 1, 0, step=0.01, label="Least score", elem_classes="mn-threshold")


def _settings(actions: Actions) -> list:
    """Model, guideline and threshold."""
    with gr.Group():
        return [*_choose(actions, "Model", actions.taggers.labels[0]), _threshold()]


def _model(actions: Actions, label: str, value: str) -> gr.Dropdown:
    return gr.Dropdown(actions.taggers.labels, value=value, label=label, min_width=200, elem_classes="mn-model")


def _choose(actions: Actions, label: str, value: str) -> list:
    """A model, and a guideline of its own; `_keep_offering` keeps them in step."""
    with gr.Row():
        guideline = {
            "choices": [("Text of unknown origin", UNKNOWN_ORIGIN)],
            "value": UNKNOWN_ORIGIN,
            "allow_custom_value": True,  # for programs, which never get the list; `Tagger.mentions` checks it
            "label": "Annotation guideline",
        }
        model = _model(actions, label, value)
        return [model, gr.Dropdown(**guideline, min_width=200, elem_classes="mn-guideline")]


def _choices(actions: Actions, name: str) -> list[tuple[str, str]]:
    """(title, value) of a model's guidelines; a model that can't be loaded is told, and has one."""
    try:
        return actions.taggers.get(name).guidelines
    except SpaceError as error:
        gr.Warning(highlight.escape(str(error)))
        return [("Text of unknown origin", UNKNOWN_ORIGIN)]


def _keep_offering(actions: Actions, opened, model: gr.Dropdown, guideline: gr.Dropdown, one: dict):
    """Offers a model's guidelines when the page is open and whenever another model is chosen. Two events, as one would pass
    over a change that comes while the page still loads."""

    def offer(name: str, chosen: str) -> gr.Dropdown:
        choices = _choices(actions, name)
        known = [value for _, value in choices]
        return gr.Dropdown(choices=choices, value=chosen if chosen in known else UNKNOWN_ORIGIN)

    how = {"api_visibility": "private", "show_progress": "hidden", **one}
    model.change(offer, [model, guideline], guideline, **how)
    return opened.then(offer, [model, guideline], guideline, **how)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def serve(page: gr.Blocks, limits: Limits | None = None, **options):
    """Shows the page; options as for `Blocks.launch`. It asks nothing of other servers: neither fonts nor statistics."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    theme = gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=fonts, font_mono=mono)
    limits = limits or Limits()
    return page.launch(
        theme=theme,
        css_paths=STYLES,
        footer_links=[],
        max_file_size=max(limits.bytes, 1),
        enable_monitoring=False,
        ssr_mode=False,
        share=False,
        **options,
    )


# ---- command line


def named_models(argv: list[str]) -> list[str]:
    """The models of the command line, else those of MOSAIC_MODELS, else those of the README.md beside this file, else the one
    that comes with the package."""
    variable = [name.strip() for name in os.environ.get("MOSAIC_MODELS", "").split(",") if name.strip()]
    card = HERE / "README.md"
    listed = list((metadata_load(card) or {}).get("models") or [] if card.exists() else [])
    if not (argv or variable or listed):
        from mosaic_ner.prediction.options import default_model  # not in the folder of a Space, which names its models

        return [default_model()]
    return argv or variable or listed


def main(argv: list[str] | None = None) -> None:
    """Command line: shows the page until it is interrupted, or writes a Space."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner space", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="folders or Hub ids; --build takes Hub ids only")
    parser.add_argument("--build", type=Path, metavar="FOLDER", help="write the folder of a Space instead")
    parser.add_argument("--host", help="address to listen on (default: this computer only; on Spaces, all)")
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860 on)")
    parser.add_argument(
        "--max_characters", type=int, default=Limits.characters, help="of a text (default: %(default)s)"
    )
    parser.add_argument(
        "--max_megabytes", type=float, default=Limits.megabytes, help="of a file (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    for name in ("max_characters", "max_megabytes"):
        if not 0 < getattr(options, name) < math.inf:
            parser.error(f"--{name} is {getattr(options, name)}; expected more than 0")
    if options.port is not None and not 0 <= options.port < 1 << 16:
        parser.error(f"--port is {options.port}; expected 0 to 65535")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    limits = Limits(options.max_characters, options.max_megabytes)
    try:
        models = named_models(options.models)
        if options.build:
            folder = build_space(options.build, models)
            sys.stdout.write(f"written to {folder}: push it with `hf upload --repo-type space OWNER/NAME {folder}`\n")
            return
        with tempfile.TemporaryDirectory(prefix="mosaic-ner-") as folder:
            os.environ["GRADIO_TEMP_DIR"] = folder
            serve(build_page(models, limits), limits, server_name=options.host, server_port=options.port)
    except (UserError, OSError) as error:  # the latter: a folder that can't be written, a port that is taken
        sys.stderr.write(f"space: error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
