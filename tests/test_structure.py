"""The house: which room imports which, what ships, and habits that a program can check, read from the sources with `ast`."""

from __future__ import annotations

import ast
import csv
import re
import sys
from pathlib import Path

import pytest
import yaml
from transformers.dynamic_module_utils import get_relative_import_files

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "mosaic_ner"
ROOMS = ("modeling", "data_builders", "prediction", "training", "analysis", "hub")
"""From left to right: a room imports itself and those before it."""
OTHERS = ("tests", "benchmarks")
# What a machine with a published model has.
SHIPPED_THIRD_PARTY = {"torch", "transformers"}
# What the readers of corpora know of a model: nothing.
DOCUMENTS_ONLY = {"modeling.document", "modeling.label_space"}
ALONE = "modeling/handler.py"
"""Imported by an endpoint's server from the published folder, under a name of its own."""
MAX_LINES, MAX_LINES_RUN_NER = 450, 200
FAMILIES = ("aioner", "span_cvae", "spancvae", "sruner", "sru_ner", "joint_ib", "jointib")


def module_of(path: Path, root: Path) -> str:
    """`modeling.crf`, `data_builders.formats` for a package's __init__.py, `run_ner`."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imports(path: Path, root: Path) -> list[tuple[ast.stmt, str, bool]]:
    """(node, full name of the module without the package, whether it was named relatively) of each import, those inside
    functions included. A name imported from a package counts as a module where there is a file of that name."""
    found = []
    module = module_of(path, root)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node, name.name, False) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [base])]
                )
            inside = base.removeprefix(PACKAGE).lstrip(".")
            for name in node.names:
                file = root / inside.replace(".", "/") / name.name
                whole = file.with_suffix(".py").exists() or file.is_dir() or inside in ("", *ROOMS)
                found.append((node, f"{base}.{name.name}" if whole else base, bool(node.level)))
    return list(dict.fromkeys(found))


def import_faults(path: Path, root: Path = ROOT) -> list[str]:
    """Every import of a source file that the rule forbids, as `file:line: what and why`."""
    room, ships = room_of(module_of(path, root)), path.relative_to(root).parts[0] == "modeling"
    faults = []

    def fault(node: ast.stmt, reason: str) -> None:
        faults.append(f"{path.relative_to(root)}:{node.lineno}: {ast.unparse(node)}: {reason}")

    for node, name, relative in imports(path, root):
        inside = name.removeprefix(PACKAGE).lstrip(".") if relative or name.split(".")[0] == PACKAGE else None
        if inside is None:
            top = name.split(".")[0]
            if top == "run_ner":
                if room != "tests":
                    fault(node, "only tests import run_ner")
            elif top in ROOMS and room in ROOMS:
                fault(node, f"import {PACKAGE}.{top}, not the folder")
            elif ships and top not in SHIPPED_THIRD_PARTY and top not in sys.stdlib_module_names:
                fault(
                    node, f"shipped files import {', '.join(sorted(SHIPPED_THIRD_PARTY))} and the standard library only"
                )
        elif relative and node.level > 1:
            fault(node, "no `..`: rooms are imported by their full name")
        elif ships and not relative:
            fault(node, "shipped files know their siblings by `from .x import y` only: elsewhere there is no package")
        elif ships and path.relative_to(root).as_posix() == ALONE:
            fault(node, "a file that ships alone has no siblings")
        elif ships and (node.module is None or "." in node.module):
            fault(node, "the loader of remote code sees neither `from . import x` nor `.a.b`: write `from .x import y`")
        elif room == "data_builders" and room_of(inside) == "modeling" and inside not in DOCUMENTS_ONLY:
            fault(node, f"{room} takes {', '.join(sorted(DOCUMENTS_ONLY))} only")
        elif room in ROOMS and ROOMS.index(room_of(inside)) > ROOMS.index(room):
            fault(node, f"{room_of(inside)} is right of {room}")
    return faults


def circles(files: list[Path], root: Path = ROOT) -> list[str]:
    """Modules of one room that import each other, in a round."""
    graph = {}
    for path in files:
        module = module_of(path, root)
        own = {n.removeprefix(PACKAGE).lstrip(".") for _, n, _ in imports(path, root)}
        graph[module] = {name for name in own if room_of(name) == room_of(module) and name != module}
    found, done = [], set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            found.append(" -> ".join([*way[way.index(module) :], module]))
        elif module not in done:
            for name in sorted(graph.get(module, ())):
                visit(name, (*way, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
    return found


def unshipped(root: Path = ROOT) -> tuple[set[str], set[str]]:
    """Files of modeling/ that don't go with a model, and files that would go but aren't there."""
    folder = root / "modeling"
    reached = {ALONE.rpartition("/")[2], "__init__.py"}
    for entry in [*folder.glob("modeling_*.py"), folder / "pipeline_ner.py"]:
        reached |= {entry.name} | {Path(name).name for name in get_relative_import_files(str(entry))}
    there = {path.name for path in folder.glob("*") if path.suffix == ".py" or path.is_dir()} - {"__pycache__"}
    return there - reached, reached - there


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
        if called and room_of(module_of(path, root)) in ROOMS:
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
    files = [path for folder in (*ROOMS, *OTHERS) for path in sorted((ROOT / folder).rglob("*.py"))]
    return [*files, ROOT / "run_ner.py"]


def by_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


SOURCES = sources()
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


@pytest.mark.parametrize("path", SOURCES, ids=by_name)
def test_imports_run_leftwards(path):
    assert import_faults(path) == []


@pytest.mark.parametrize("path", SOURCES, ids=by_name)
def test_hygiene(path):
    assert hygiene_faults(path) == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_circle_within_a_room(room):
    assert circles(sorted((ROOT / room).rglob("*.py"))) == []


def test_modeling_is_what_ships():
    assert unshipped() == (set(), set())


@pytest.mark.parametrize("path", sorted((ROOT / "modeling").glob("*.py")), ids=by_name)
def test_shipped_files_parse_on_the_oldest_python(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


def test_run_ner_names_no_corpus_and_no_family():
    assert name_faults((ROOT / "run_ner.py").read_text(encoding="utf-8"), {*corpus_names(), *FAMILIES}) == []


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
    ("modeling/handler.py", "from .document import Document"),
    ("modeling/handler.py", "from mosaic_ner.modeling.inference import MentionPredictor"),
    ("data_builders/formats/bioc.py", "from mosaic_ner.modeling.windowing import Window"),
    ("data_builders/mapping.py", "from mosaic_ner.modeling import windowing"),
    ("data_builders/mapping.py", "from mosaic_ner import modeling"),
    ("data_builders/mapping.py", "import mosaic_ner.hub.card"),
    ("data_builders/mapping.py", "from ..modeling.document import Document"),
    ("data_builders/mapping.py", "from mosaic_ner.prediction.loading import load"),
    ("data_builders/mapping.py", "from run_ner import main"),
    ("prediction/annotate.py", "from mosaic_ner.training.families import build"),
    ("prediction/annotate.py", "def f():\n    from mosaic_ner.training import families"),
    ("training/trainer.py", "from mosaic_ner.hub.card import write_card"),
    ("training/trainer.py", "from mosaic_ner.analysis import figures"),
    ("training/trainer.py", "from mosaic_ner import hub"),
    ("training/trainer.py", "import run_ner"),
    ("analysis/table.py", "from mosaic_ner.hub.card import write_card"),
    ("hub/card.py", "from data_builders.corpora import CORPORA"),
    ("benchmarks/throughput.py", "from run_ner import main"),
]
PERMITTED_IMPORTS = [
    ("modeling/crf.py", "from __future__ import annotations\nimport math\nimport torch.nn as nn"),
    ("modeling/crf.py", "from transformers.utils import ModelOutput\nfrom .document import Mention"),
    ("modeling/handler.py", "import json\nfrom transformers import pipeline"),
    ("data_builders/formats/bioc.py", "from mosaic_ner.modeling.document import Document\nimport bioc"),
    (
        "data_builders/formats/bioc.py",
        "from mosaic_ner.modeling import document, label_space\nfrom .base import Reading",
    ),
    ("data_builders/mapping.py", "from mosaic_ner.data_builders.demo import SIZES\nfrom .overlap import OverlapReport"),
    ("prediction/annotate.py", "from mosaic_ner.data_builders.formats import read_documents"),
    ("training/trainer.py", "import seqeval\nfrom accelerate import PartialState\nfrom .metrics import score"),
    ("training/trainer.py", "from mosaic_ner.modeling.document import Document\nfrom . import metrics"),
    ("analysis/table.py", "from mosaic_ner.training.results import Results"),
    ("hub/card.py", "from mosaic_ner.data_builders.corpora import CORPORA\nfrom .staging import staged"),
    ("tests/test_run.py", "import run_ner\nfrom mosaic_ner.hub.card import write_card"),
    ("run_ner.py", "from mosaic_ner.data_builders.formats import read_documents\nimport yaml"),
]
FORBIDDEN_HABITS = [
    ("hub/card.py", "try:\n    f()\nexcept:\n    pass"),
    ("hub/card.py", "try:\n    f()\nexcept Exception:\n    pass"),
    ("hub/card.py", "try:\n    f()\nexcept (KeyError, BaseException) as e:\n    pass"),
    ("modeling/crf.py", "print('loss')"),
    ("analysis/table.py", "def f():\n    print('read')"),
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


@pytest.mark.parametrize("late", ["from .b import f", "def g():\n    from .b import f", "from . import b"])
def test_checker_catches_circles(tmp_path, late):
    files = [written(tmp_path, "training/b.py", "from .c import g"), written(tmp_path, "training/c.py", late)]
    assert circles(files, tmp_path) == ["training.b -> training.c -> training.b"]
    assert circles([files[0], written(tmp_path, "training/c.py", "import json")], tmp_path) == []


def test_checker_catches_what_does_not_ship(tmp_path):
    written(tmp_path, "modeling/__init__.py", "")
    written(tmp_path, "modeling/handler.py", "import json")
    written(tmp_path, "modeling/pipeline_ner.py", "from .document import Document")
    written(tmp_path, "modeling/modeling_new.py", "from .spans import f")
    written(tmp_path, "modeling/document.py", "")
    written(tmp_path, "modeling/spans.py", "")
    assert unshipped(tmp_path) == (set(), set())
    written(tmp_path, "modeling/trainer.py", "from .document import Document")
    assert unshipped(tmp_path) == ({"trainer.py"}, set())
    (tmp_path / "modeling" / "handler.py").unlink()
    assert unshipped(tmp_path) == ({"trainer.py"}, {"handler.py"})


def test_checker_catches_names_in_any_spelling():
    source = "from x import AIONERConfig\ncorpus = 'bc5cdr'\nother = 'NCBI disease'"
    assert name_faults(source, {"aioner", "bc5cdr", "ncbi_disease", "biored"}) == ["aioner", "bc5cdr", "ncbi_disease"]
