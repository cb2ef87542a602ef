"""Tables and lines in Markdown."""

from __future__ import annotations

import re

from mosaic_ner.modeling.label_space import UserError

WIDTH = 128
"""Characters of a line that is no row of a table."""


def markdown_table(header: list[str], rows: list[list]) -> str:
    """A Markdown table; a `|` in a cell is no border, a line end is a space."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(content) -> str:
    return re.sub(r"(?<!\\)\|", r"\|", " ".join(str(content).splitlines()))


def between(page: str, name: str, text: str) -> str:
    """The page with the text between its marks `<!-- name -->` and `<!-- /name -->`.

    Raises:
        UserError: the page doesn't have each mark once.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    if not page.count(first) == page.count(last) == 1:
        raise UserError(
            f"expected the marks {first} and {last} once each in the page; put them where the text is to stand"
        )
    before, rest = page.split(first)
    return f"{before}{first}\n{text}\n{last}{rest.split(last)[1]}"


def wrapped(text: str) -> str:
    """The text with lines of at most `WIDTH` characters, broken at spaces; rows of tables, code and metadata stay as they are.

    What follows a list's mark is indented by its width. BibTeX is broken, too.
    """
    out: list[str] = []
    fence, metadata = "", False
    for number, line in enumerate(text.split("\n")):
        if number == 0 and line == "---":
            metadata = True
        elif metadata:
            metadata = line != "---"
        elif line.lstrip().startswith("```"):
            fence = "" if fence else line.strip()
        elif not line.startswith("|") and fence in ("", "```bibtex"):
            out += _broken(line)
            continue
        out.append(line)
    return "\n".join(out)


def _broken(line: str) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    marked = line.lstrip().startswith(("- ", "* "))
    following = indent + ("  " if marked or indent else "")
    out = []
    while len(line) > WIDTH:
        cut = line.rfind(" ", len(following) + 2 * marked, WIDTH + 1)
        if cut <= len(following):  # an address alone is longer than a line
            cut = line.find(" ", WIDTH)
        if cut < 0:
            break
        out.append(line[:cut].rstrip())
        line = following + line[cut + 1 :]
    return [*out, line]
