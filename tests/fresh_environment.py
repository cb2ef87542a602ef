"""Published models where nothing but torch, transformers and safetensors is installed: a program, not a test module.

python tests/fresh_environment.py prepare FOLDER                 where mosaic_ner is installed, with its test extra
python -I tests/fresh_environment.py check FOLDER [PUBLISHED …]  by the Python of the other environment

`prepare` writes a published folder of a small, untrained but talkative model of each family, and expected.json: texts,
and the mentions and scores that its own process finds. `check` finds them again by AutoModel,
AutoModelForTokenClassification, pipeline and EndpointHandler, and prints a row per family; it fails on any mention more
or less and on scores that differ. PUBLISHED are further published folders, of which nothing is known but that the four
ways have to agree.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FAMILIES = ("aioner", "span_cvae", "sruner", "joint_ib")
ABSENT = {"mosaic-ner": "mosaic_ner"} | {n: n for n in ("datasets", "accelerate", "evaluate", "seqeval", "scipy")}
"""Distributions that a user of a published model need not have, and what they are imported as."""
TAKEN = {"mosaic_ner", "run_ner"}
"""Modules that must not have been imported in the end."""
TOLERANCE = 1e-4
"""Largest difference between scores."""
ROUNDING = 5e-5
"""What the pipeline and the handler add to it: they tell four digits."""
WORDS = 3000
EXPECTED = "expected.json"

SENTENCES = [
    "Loss of the BRCA2 gene was seen in 12 of 40 patients with pancreatic cancer.",
    "Cisplatin (75 mg/m2) caused hearing loss, nausea and acute kidney injury in children.",
    "We measured IL-6, TNF-alpha and C-reactive protein in the serum of diabetic mice.",
    "The p.Val600Glu variant of BRAF predicts a response to vemurafenib, e.g. in melanoma.",
    "Human T cells were grown with 5-fluorouracil/leucovorin; NF-kappaB fell within 24 h.",
    "Does aspirin lower the risk of stroke? In rats with hypertension it did not.",
]
SHORT = [
    SENTENCES[0],
    " ".join(SENTENCES[1:4]),
    "",
    "  \n\t",
    "x",
    "\u200b",
    "𝔤𝔢𝔫𝔢 β-catenin, naïve CD4⁺ T‑cells; Sjögren’s syndrome\u00a0(干燥综合征) — µ-opioid e\u0301tude 🧬\u200d🔬 in 3′-UTR.",
    "İL-2 ﬁbrosis ẞ ǅ \u202eRTL\u202c مرض السكري \ufeffBRCA1\r\nline two\r\n\r\nline four",
]


class CheckError(Exception):
    """What is not as it has to be."""


def the_texts() -> list[str]:
    """Short ones, empty ones, unusual Unicode, and one of `WORDS` words."""
    words = []
    while len(words) < WORDS:
        number = len(words)
        words += SENTENCES[number % len(SENTENCES)].replace("the ", f"the {number} ", 1).split(" ")
    return [*SHORT, " ".join(words[:WORDS])]


# ---- where the package is


def prepare(folder: Path) -> None:
    """Writes FOLDER/<family>/ and FOLDER/expected.json; what the other environment lacks is imported here only."""
    import torch
    import transformers
    from conftest import enliven, options_of
    from helpers_sruner import calm
    from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE, load_demo_corpora
    from mosaic_ner.hub.publish import write_model
    from mosaic_ner.modeling.inference import MentionPredictor
    from mosaic_ner.prediction.integrity import check_folder, write_checksums
    from mosaic_ner.training.bundle import TrainingData, build

    transformers.logging.disable_progress_bar()
    train = {corpus: [] for corpus in DEMO_LABEL_SPACE.corpora} | {"demo_all": load_demo_corpora()["demo_all"]["train"]}
    size = {"encoder": "scratch", "scratch_layers": 1, "scratch_hidden_size": 32, "max_tokens": 64}
    texts, found = the_texts(), {}
    for family in FAMILIES:
        torch.manual_seed(0)
        bundle = build(*options_of(family, **size), TrainingData(DEMO_LABEL_SPACE, train))
        enliven(bundle.model)
        if family == "sruner":  # exact, or another build's rounding could turn one of thousands of actions into another
            calm(bundle.model)
            bundle.model.double()
        if family == "joint_ib":  # or nearly every span would be a mention
            with torch.no_grad():
                bundle.model.classifier.bias.sub_(6)
        predictor = MentionPredictor(bundle.model, bundle.tokenizer)
        found[family] = [[[m.start, m.end, m.type, m.score] for m in predictor([text])[0]] for text in texts]
        write_model(bundle.model, bundle.tokenizer, folder / family)
        write_checksums(folder / family)
        check_folder(folder / family, strict=True)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    content = {"versions": versions, "texts": texts, "mentions": found}
    (folder / EXPECTED).write_text(json.dumps(content), encoding="utf-8")
    counts = ", ".join(f"{family} {sum(map(len, rows))}" for family, rows in found.items())
    sys.stdout.write(f"{folder}: {len(texts)} texts; mentions: {counts}\n")


# ---- where it is not


def check_environment() -> None:
    """That nothing is installed which a user need not have.

    Raises:
        CheckError: something is.
    """
    there = []
    for distribution, module in ABSENT.items():
        try:
            there.append(f"{distribution} {version(distribution)}")
        except PackageNotFoundError:
            if importlib.util.find_spec(module) is not None:
                there.append(module)
    if there:
        raise CheckError(
            f"{', '.join(there)}: expected not to be installed; run `check` in a virtual environment that got "
            "`pip install torch transformers safetensors` only"
        )


def ways(folder: Path) -> dict[str, Callable[[str], list]]:
    """Each way to find mentions with a published folder: a function text → [start, end, type, score] per mention."""
    from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer, logging, pipeline
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    logging.disable_progress_bar()
    named = str(folder)
    predictor_class = get_class_from_dynamic_module("inference.MentionPredictor", named)

    def by_model(auto) -> Callable[[str], list]:
        model = auto.from_pretrained(named, trust_remote_code=True)
        predictor = predictor_class(model, AutoTokenizer.from_pretrained(named, trust_remote_code=True))
        return lambda text: [[m.start, m.end, m.type, m.score] for m in predictor([text])[0]]

    def plain(text: str, rows: list[dict]) -> list:
        for row in rows:
            if text[row["start"] : row["end"]] != row["word"]:
                raise CheckError(f"{folder.name}: {row} is not what the text has there")
        return [[row["start"], row["end"], row["entity_group"], row["score"]] for row in rows]

    spec = importlib.util.spec_from_file_location("handler", folder / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    endpoint = module.EndpointHandler(named)
    piped = pipeline("token-classification", model=named, trust_remote_code=True)
    return {
        "AutoModel": by_model(AutoModel),
        "AutoModelForTokenClassification": by_model(AutoModelForTokenClassification),
        "pipeline": lambda text: plain(text, piped(text)),
        # Through JSON, as over HTTP.
        "EndpointHandler": lambda text: plain(text, json.loads(json.dumps(endpoint({"inputs": text})))),
    }


def difference(got: list, expected: list, where: str, tolerance: float = TOLERANCE) -> float:
    """The largest difference between the scores of the same mentions; 0 for none.

    Args:
        got, expected: [start, end, type, score] per mention, in any order.
        where: begins the messages.
    Raises:
        CheckError: a mention is missing, is too much or comes twice, or a score differs by more than `tolerance`.
    """
    found, wanted = {tuple(m[:3]): m[3] for m in got}, {tuple(m[:3]): m[3] for m in expected}
    if len(found) != len(got):
        raise CheckError(f"{where}: {len(got) - len(found)} mentions come twice")
    if missing := sorted(wanted.keys() - found.keys()):
        raise CheckError(f"{where}: {len(missing)} of {len(wanted)} mentions are missing, the first {missing[0]}")
    if extra := sorted(found.keys() - wanted.keys()):
        raise CheckError(f"{where}: {len(extra)} mentions too many, the first {extra[0]}")
    differences = {key: abs(found[key] - wanted[key]) for key in wanted}
    for key, value in differences.items():
        if not value <= tolerance:  # NaN, too
            raise CheckError(f"{where}: {key} has score {found[key]}, expected {wanted[key]} (±{tolerance})")
    return max(differences.values(), default=0.0)


def check_folder(folder: Path, texts: list[str], expected: list[list] | None) -> tuple[int, dict[str, float]]:
    """How many mentions a published folder finds, and per way the largest difference of a score.

    Args:
        expected: the mentions of each text; None: what the first way finds.
    Raises:
        CheckError: a difference.
    """
    largest = {}
    for way, find in ways(folder).items():
        got = [find(text) for text in texts]
        expected = got if expected is None else expected
        tolerance = TOLERANCE + (ROUNDING if way in ("pipeline", "EndpointHandler") else 0.0)
        pairs = zip(got, expected, strict=True)
        largest[way] = max(
            difference(a, b, f"{folder.name}, {way}, text {n}", tolerance) for n, (a, b) in enumerate(pairs)
        )
    return sum(map(len, expected)), largest


def check(folder: Path, published: list[Path]) -> None:
    """Prints a row per family and published folder.

    Raises:
        CheckError: the first thing that is not as it has to be.
    """
    check_environment()
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        content = json.loads((folder / EXPECTED).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckError(f"{folder}: expected a folder that `prepare` wrote, but there is no {EXPECTED}") from error
    for path in published:
        if not (path / "handler.py").is_file():
            raise CheckError(f"{path}: expected a published folder, but there is no handler.py")
    texts = content["texts"]
    todo = [(folder / family, content["mentions"][family]) for family in FAMILIES]
    sys.stdout.write(f"expected: {content['versions']}; here: { ({n: version(n) for n in content['versions']}) }\n")
    sys.stdout.write("family, mentions, largest difference of a score by way\n")
    for path, expected in [*todo, *((path, None) for path in published)]:
        mentions, largest = check_folder(path, texts, expected)
        if mentions == 0:
            raise CheckError(f"{path.name}: no mentions in any text, so nothing is shown")
        row = [f"{path.name:<12}", f"{mentions:>6}", *(f"{way} {value:.1e}" for way, value in largest.items())]
        sys.stdout.write("  ".join(row) + "\n")
        sys.stdout.flush()
    modules = {name.partition(".")[0] for name in sys.modules}
    if taken := sorted(TAKEN & modules):
        raise CheckError(f"{', '.join(taken)} was imported")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("prepare", "write models and what they find"), ("check", "find it again, without the package")):
        command = commands.add_parser(name, help=text)
        command.add_argument("folder", type=Path, metavar="FOLDER", help="of the models and expected.json")
    command.add_argument("published", type=Path, nargs="*", metavar="PUBLISHED", help="further published folders")
    options = parser.parse_args(argv)
    if options.command == "prepare":
        prepare(options.folder)
        return
    try:
        check(options.folder, options.published)
    except CheckError as error:
        sys.stderr.write(f"fresh_environment: error: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
