"""The commands that pages and recipes tell their readers to type, read from the pages themselves."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LAUNCH = re.compile(
    r"(?:accelerate launch(?: --num_processes \d+)? (?:run_ner\.py|-m run_ner)|python run_ner\.py|mosaic-ner)\s+"
)
RECIPE = re.compile(r"[\w/]+\.yaml")
LOOP = re.compile(r"for (\w+) in (.*); do")
SEARCH = "search.yaml"


@dataclass(frozen=True)
class Documented:
    """A command as a reader types it, without the launcher; `page` says where it stands."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


def commands_of(path: Path, root: Path) -> list[Documented]:
    """Those of a Markdown page, or of the comments of a recipe; each once."""
    text, page = path.read_text(encoding="utf-8"), str(path.relative_to(root))
    if path.suffix == ".yaml":
        found = (line[1:].removeprefix(" Use:").strip() for line in text.splitlines() if line.startswith("#"))
        texts = [without_launcher(line).removesuffix(".") for line in found if LAUNCH.match(line)]
    else:
        texts = list(_of_page(text, abbreviated=page == "recipes/README.md"))
    return [Documented(page, command) for command in dict.fromkeys(texts)]


def without_launcher(text: str) -> str:
    """`accelerate launch run_ner.py X` → `X`; optional parts are taken."""
    return LAUNCH.sub("", text.replace("[", "").replace("]", ""), count=1).strip()


def _of_page(text: str, abbreviated: bool) -> Iterator[str]:
    reader = _Spans(abbreviated)
    for number, part in enumerate(re.split(r"^```.*\n", text, flags=re.MULTILINE)):
        if number % 2:
            yield from _of_fence(part)
            continue
        for block in re.split(r"\n\s*\n|\n(?=[|#])", part):
            yield from reader.read(block.strip())


def _of_fence(text: str) -> Iterator[str]:
    """Lines of a shell: continued ones joined, `&&` parted, loops unrolled."""
    loop: tuple[str, list[str]] | None = None
    for line in text.replace("\\\n", " ").splitlines():
        if begun := LOOP.fullmatch(line.strip()):
            loop = begun[1], begun[2].split()
        elif line.strip() == "done":
            loop = None
        for command in re.split(r"&&", line):
            if LAUNCH.match(command.strip()):
                plain = without_launcher(re.sub(r"\s#.*", "", " ".join(command.split())))
                for value in loop[1] if loop else [""]:
                    yield plain.replace(f"${loop[0]}", value) if loop else plain


class _Spans:
    """Code in running text and tables.

    In recipes/README.md (`abbreviated`) a section's `recipes/x/paper/…` lets a table say `y.yaml --option` for the recipe in
    that folder, a row's `--option` is one of the row's recipe (or of the last one before), and `… --option` goes on with the
    last command.
    """

    def __init__(self, abbreviated: bool):
        self.abbreviated = abbreviated
        self.folders: list[tuple[str, str]] = []  # before and after the recipe's name
        self.recipes: list[str] = []
        self.last = ""

    def read(self, block: str) -> Iterator[str]:
        if block.startswith("#"):
            self.folders = []
        begun = False
        spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", block)]
        for span in _recipe_first(spans):
            abbreviation = re.search(r"^(.*recipes/\S*/)….yaml(.*)|^(.*recipes/\S*/)…$", span)
            if LAUNCH.match(span) and abbreviation:
                before, after, alone = abbreviation.groups()
                self.folders = [*(self.folders if begun else []), (without_launcher(before or alone), after or "")]
                begun = True
            elif LAUNCH.match(span):
                self.last = without_launcher(" ".join(span.replace("…", " ").split()))
                self.recipes = [self.last] if RECIPE.match(self.last) else self.recipes
                yield self.last
            elif self.abbreviated:
                yield from self._abbreviation(span, row=block.startswith("|"))

    def _abbreviation(self, span: str, row: bool) -> Iterator[str]:
        name, _, options = span.partition(" ")
        if RECIPE.fullmatch(name) and Path(name).name != SEARCH:
            folders = self.folders[:1] if "/" in name else self.folders
            self.recipes = [name] if name.startswith("recipes/") else [f"{a}{name}{b}" for a, b in folders]
            if not self.recipes:
                self.recipes = [re.sub(r"\w+\.yaml", name, self.last, count=1)]
            self.last = f"{self.recipes[-1]} {options}".strip()
            yield from (f"{recipe} {options}".strip() for recipe in self.recipes)
        elif span.startswith("… --"):
            yield f"{self.last} {span[2:]}"
        elif span.startswith("--model_name_or_path") and row:
            yield span
        elif span.startswith("--") and row:
            yield from (f"{recipe} {span}" for recipe in self.recipes)


def _recipe_first(spans: list[str]) -> list[str]:
    """A row's spans; options before the row's first recipe come behind it."""
    first = next((i for i, span in enumerate(spans) if not span.startswith("--")), len(spans) - 1)
    return [*spans[first : first + 1], *spans[:first], *spans[first + 1 :]]
