"""The room plan: who may import whom, and habits that a program can check, read from the sources with `ast`."""

from __future__ import annotations

import ast
import csv
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "mosaic_ner"
ROOMS = ("modeling", "data_builders", "hub")
FOLDERS = (*ROOMS, "tests", "benchmarks")

# Files of modeling/ that stay at home: training and the command line. Every other file there ships to the Hub.
NOT_SHIPPED = {
    "__init__",
    "adapters",
    "arguments",
    "collator",
    "dataset",
    "encoders",
    "families",
    "integrity",
    "memory",
    "metrics",
    "prediction",
    "sampler",
    "schemes",
    "search",
    "search_space",
    "trainer",
    "word_vectors",
}
# Files of other rooms that ship, each by itself: the server imports it from the published folder under a name of its own.
SHIPPED_ALONE = {"hub/handler.py"}
# What a machine with a published model has.
SHIPPED_THIRD_PARTY = {"torch", "transformers"}
# What each room may import from the package.
ALLOWED = {
    "modeling": {"modeling"},
    "data_builders": {"data_builders", "modeling.document", "modeling.label_space"},
    "hub": {"hub", "modeling"},
}
# A command that reads corpora by name, to measure models on them or to publish them, needs both rooms; no other does.
COMMANDS = {f"hub/{name}.py": {"data_builders"} for name in ("generation", "publish_data", "export")}
# The demo page reads and writes visitors' files.
COMMANDS |= {"hub/space/files.py": {"data_builders.formats"}}
MAX_LINES, MAX_LINES_RUN_NER = 600, 200
FAMILIES = ("aioner", "span_cvae", "spancvae", "sruner", "sru_ner", "joint_ib", "jointib")


def room_of(path: Path, root: Path) -> str:
    """The top folder of a source file; "" for run_ner.py."""
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""


def is_shipped(path: Path, root: Path) -> bool:
    alone = path.relative_to(root).as_posix() in SHIPPED_ALONE
    return alone or (room_of(path, root) == "modeling" and path.stem not in NOT_SHIPPED)


def target(module: str) -> str:
    """`mosaic_ner.modeling.crf` → `modeling.crf`; a `modeling` path without the package stays as it is."""
    return module.removeprefix(PACKAGE).lstrip(".")


def allowed(module: str, rooms: set[str]) -> bool:
    """Whether `modeling.crf` is one of the rooms or inside one."""
    return any(module == room or module.startswith(room + ".") for room in rooms)


def import_faults(path: Path, root: Path = ROOT) -> list[str]:
    """Every import of a source file that the room plan forbids, as `file:line: what and why`."""
    room, shipped = room_of(path, root), is_shipped(path, root)
    rooms = ALLOWED.get(room, set()) | COMMANDS.get(path.relative_to(root).as_posix(), set())
    faults = []

    def fault(node: ast.AST, reason: str) -> None:
        faults.append(f"{path.relative_to(root)}:{node.lineno}: {ast.unparse(node)}: {reason}")

    def check_absolute(node: ast.AST, module: str, names: list[str]) -> None:
        top = module.split(".")[0]
        if top == "run_ner":
            if room != "tests":
                fault(node, "only tests import run_ner")
        elif top == PACKAGE and shipped:
            fault(
                node,
                "shipped files know their siblings by `from .x import y` only: the package is not on users' machines",
            )
        elif top == PACKAGE and room in ALLOWED:
            # `from mosaic_ner.modeling import document` names the file after the import.
            modules = [target(module)]
            if modules[0] in ("", *ROOMS):
                modules = [f"{modules[0]}.{name}".lstrip(".") for name in names] or modules
            for imported in modules:
                if not allowed(imported, rooms):
                    fault(node, f"{room} may import {', '.join(sorted(rooms))} only")
        elif top in ROOMS and room in ALLOWED:
            fault(node, f"import {PACKAGE}.{top}, not the folder")
        elif shipped and top not in SHIPPED_THIRD_PARTY and top not in sys.stdlib_module_names:
            fault(node, f"shipped files import only {', '.join(sorted(SHIPPED_THIRD_PARTY))} and the standard library")

    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                check_absolute(node, name.name, [])
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            check_absolute(node, node.module, [name.name for name in node.names])
        elif isinstance(node, ast.ImportFrom):
            if shipped and room != "modeling":
                fault(node, "a file that ships alone has no siblings")
            elif node.level > 1:
                fault(node, "no `..`: rooms are imported by their full name")
            elif room == "modeling" and node.module is None:
                fault(node, "the loader of remote code does not see `from . import x`: write `from .x import y`")
            elif room == "modeling" and "." in node.module:
                fault(node, "the loader of remote code does not see `.a.b`: modeling is flat")
            elif shipped and node.module in NOT_SHIPPED:
                fault(node, f"{node.module}.py does not ship")
    return faults


def hygiene_faults(path: Path, root: Path = ROOT) -> list[str]:
    """Catch-alls, prints in libraries, and files too long to read in one sitting."""
    source = path.read_text(encoding="utf-8")
    faults = []
    for node in ast.walk(ast.parse(source)):
        where = f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            for kind in caught:
                if kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")):
                    faults.append(f"{where}: catches everything; name the errors")
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if called and room_of(path, root) in ("modeling", "data_builders"):
            faults.append(f"{where}: print in a library; use logging")
    lines = len(source.splitlines())
    longest = MAX_LINES_RUN_NER if path.name == "run_ner.py" else MAX_LINES
    if lines > longest:
        faults.append(f"{path.relative_to(root)}: {lines} lines, at most {longest} expected")
    return faults


def corpus_names() -> set[str]:
    """The corpora that a recipe can name: those of the mapping table and the generated ones."""
    names = {"demo_all", "demo_gene", "demo_disease", "demo_chem"}
    table = ROOT / "data_builders" / "label_mapping.tsv"
    if table.exists():
        with table.open(encoding="utf-8", newline="") as file:
            names |= {row["corpus"] for row in csv.DictReader(file, delimiter="\t")}
    return names


def name_faults(source: str, names) -> list[str]:
    """The corpus and family names in a source, any spelling (`AIONERConfig` counts for aioner)."""
    squeezed = re.sub(r"[^a-z0-9]", "", source.lower())
    return sorted(name for name in names if re.sub(r"[^a-z0-9]", "", name.lower()) in squeezed)


def sources() -> list[Path]:
    """Every Python file of the repository's folders, and run_ner.py."""
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return files + [path for path in [ROOT / "run_ner.py"] if path.exists()]


def by_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


SOURCES = sources()
SHIPPED = [path for path in SOURCES if is_shipped(path, ROOT)]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def test_there_is_something_to_check():
    assert {"document.py", "label_space.py"} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SOURCES, ids=by_name)
def test_imports_follow_the_room_plan(path):
    assert import_faults(path) == []


@pytest.mark.parametrize("path", SOURCES, ids=by_name)
def test_hygiene(path):
    assert hygiene_faults(path) == []


@pytest.mark.parametrize("path", SHIPPED, ids=by_name)
def test_shipped_files_parse_on_the_oldest_python(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


def test_run_ner_names_no_corpus_and_no_family():
    path = ROOT / "run_ner.py"
    if not path.exists():
        pytest.skip("run_ner.py is not there")
    assert name_faults(path.read_text(encoding="utf-8"), {*corpus_names(), *FAMILIES}) == []


@pytest.mark.parametrize("path", RECIPES, ids=by_name)
def test_recipes_are_yaml_mappings(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


# The checker itself: each forbidden line must be caught, each permitted one let through.

FORBIDDEN_IMPORTS = [
    ("modeling/crf.py", "import numpy"),
    ("modeling/crf.py", "from datasets import Dataset"),
    ("modeling/crf.py", "def f():\n    import yaml"),
    ("modeling/crf.py", "try:\n    import scipy\nexcept ImportError:\n    pass"),
    ("modeling/crf.py", "from . import document"),
    ("modeling/crf.py", "from .. import hub"),
    ("modeling/crf.py", "from ..modeling.document import Document"),
    ("modeling/crf.py", "from .blocks.crf import CRF"),
    ("modeling/crf.py", "import mosaic_ner.modeling.document"),
    ("modeling/crf.py", "from mosaic_ner.modeling.document import Document"),
    ("modeling/crf.py", "from modeling.document import Document"),
    ("modeling/modeling_new.py", "from .trainer import NERTrainer"),
    ("modeling/pipeline_ner.py", "from .collator import NERCollator"),
    ("modeling/trainer.py", "from mosaic_ner.data_builders.formats import read_documents"),
    ("modeling/trainer.py", "from mosaic_ner.hub.card import write_card"),
    ("modeling/trainer.py", "from mosaic_ner import hub"),
    ("modeling/trainer.py", "from . import document"),
    ("modeling/trainer.py", "import run_ner"),
    ("data_builders/formats.py", "from mosaic_ner.modeling.windowing import Window"),
    ("data_builders/formats.py", "from mosaic_ner.modeling import windowing"),
    ("data_builders/formats.py", "from mosaic_ner import modeling"),
    ("data_builders/formats.py", "import mosaic_ner.hub.card"),
    ("data_builders/formats.py", "from ..modeling.document import Document"),
    ("data_builders/formats.py", "from run_ner import main"),
    ("hub/card.py", "from mosaic_ner.data_builders.corpora import CORPORA"),
    ("hub/card.py", "from data_builders.corpora import CORPORA"),
    ("hub/handler.py", "from mosaic_ner.modeling.inference import MentionPredictor"),
    ("hub/handler.py", "from .results import versions"),
    ("hub/handler.py", "import numpy"),
    ("hub/space/app.py", "from mosaic_ner.data_builders.formats import read_documents"),
    ("hub/space/files.py", "from mosaic_ner.data_builders.corpora import CORPORA"),
    ("benchmarks/throughput.py", "from run_ner import main"),
]
PERMITTED_IMPORTS = [
    ("modeling/crf.py", "from __future__ import annotations\nimport math\nimport torch.nn as nn"),
    ("modeling/crf.py", "from transformers.utils import ModelOutput\nfrom .document import Mention"),
    ("modeling/trainer.py", "import seqeval\nfrom accelerate import PartialState\nfrom .crf import CRF"),
    ("modeling/trainer.py", "from mosaic_ner.modeling.document import Document"),
    ("data_builders/formats.py", "from mosaic_ner.modeling.document import Document\nimport bioc"),
    ("data_builders/formats.py", "from mosaic_ner.modeling import document, label_space"),
    ("data_builders/formats.py", "from mosaic_ner.data_builders.demo import SIZES\nfrom .overlap import OverlapReport"),
    ("hub/card.py", "from mosaic_ner.modeling.metrics import score\nfrom .results import write_json"),
    ("hub/handler.py", "import json\nfrom transformers import pipeline"),
    ("hub/generation.py", "from mosaic_ner.data_builders.run_data import load_run_data"),
    ("hub/space/files.py", "from mosaic_ner.data_builders.formats import read_documents"),
    ("tests/test_run.py", "import run_ner\nfrom mosaic_ner.hub.card import write_card"),
    ("run_ner.py", "from mosaic_ner.data_builders.formats import read_documents\nimport yaml"),
]
FORBIDDEN_HABITS = [
    ("hub/card.py", "try:\n    f()\nexcept:\n    pass"),
    ("hub/card.py", "try:\n    f()\nexcept Exception:\n    pass"),
    ("hub/card.py", "try:\n    f()\nexcept (KeyError, BaseException) as e:\n    pass"),
    ("modeling/crf.py", "print('loss')"),
    ("data_builders/formats.py", "def f():\n    print('read')"),
    ("tests/test_long.py", "x = 1\n" * (MAX_LINES + 1)),
    ("run_ner.py", "x = 1\n" * (MAX_LINES_RUN_NER + 1)),
]


def written(root: Path, name: str, source: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "source"), FORBIDDEN_IMPORTS)
def test_checker_catches_forbidden_imports(tmp_path, name, source):
    assert len(import_faults(written(tmp_path, name, source), tmp_path)) == 1


@pytest.mark.parametrize(("name", "source"), PERMITTED_IMPORTS)
def test_checker_lets_permitted_imports_through(tmp_path, name, source):
    assert import_faults(written(tmp_path, name, source), tmp_path) == []


@pytest.mark.parametrize(("name", "source"), FORBIDDEN_HABITS)
def test_checker_catches_forbidden_habits(tmp_path, name, source):
    assert len(hygiene_faults(written(tmp_path, name, source), tmp_path)) == 1


def test_checker_lets_good_habits_through(tmp_path):
    source = "try:\n    f()\nexcept (KeyError, ValueError):\n    print('a benchmark may')"
    assert hygiene_faults(written(tmp_path, "benchmarks/throughput.py", source), tmp_path) == []


def test_checker_catches_names_in_any_spelling():
    source = "from x import AIONERConfig\ncorpus = 'bc5cdr'\nother = 'NCBI disease'"
    assert name_faults(source, {"aioner", "bc5cdr", "ncbi_disease", "biored"}) == ["aioner", "bc5cdr", "ncbi_disease"]
