"""JSON values from a stream, one at a time, with what was read before a break."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator, Iterator
from typing import Any

from .base import Reading
from .report import FormatError
from .streams import BOM, MAX_RECORD, SURROGATES, without_surrogates

# Arrays under these keys hold the records of a collection; they are read one by one.
STREAMED = ("documents", "PubTator3", "data")
_ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile("[\udc80-\udcff]")
_WHITE = re.compile(r"[ \t\n\r]*")
_MAX_WRAPPERS = 6
_RECORD = {"passages", "text", "tokens", "title"}  # keys of a record itself
_DECODER = json.JSONDecoder()
_PAIR = r'"[A-Za-z_]{1,40}"\s*:\s*(?:"[^"]*"|\{[^{}]*\}|[^\s,{}\[\]"]+)\s*,\s*'
_COLLECTION = re.compile(r"\s*\[?\s*\{\s*(?:" + _PAIR + r')*"(documents|PubTator3)"\s*:')


def looks_like_a_collection(text: str) -> bool:
    """Whether the beginning of a file is that of a BioC collection."""
    return bool(_COLLECTION.match(text[:10_000]))


def first_line_is_a_value(text: str) -> bool:
    """Whether the first line that isn't blank is JSON by itself."""
    line = text.lstrip().splitlines()[0]
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return len(line) > 1000 and line == text.lstrip()  # longer than what was looked at
    return True


def parses_across_lines(text: str) -> bool:
    """Whether the text begins with a JSON value that goes over a line's end."""
    text = text.lstrip()
    try:
        _, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return "\n" in text[:end] or "\r" in text[:end]


def parse_line(line: str, reading: Reading, number: int):
    """The JSON value of a line, surrogates replaced.

    Raises:
        FormatError: it is none.
    """
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        remedy = "write one complete JSON object a line"
        raise reading.error("a JSON object", f"{error.msg} at column {error.colno}", remedy, line=number) from error
    except ValueError as error:  # numbers of thousands of digits
        raise reading.error("a JSON object", f"{error!s:.80}", "correct the line", line=number) from error
    if _ESCAPED.search(line):
        value = cleaned(value, reading, number)
    return value


def cleaned(value, reading: Reading, line: int | None):
    """The value with halves of surrogate pairs replaced in all of its texts, counted with line and document."""
    id = str(value["id"]) if isinstance(value, dict) and "id" in value else None

    def clean(item):
        if isinstance(item, str):
            text, count = SURROGATES.subn("\ufffd", item)
            if count:
                reading.note("lone_surrogate", line=line, document=id, count=count)
            return text
        if isinstance(item, list):
            return [clean(part) for part in item]
        return {clean(key): clean(part) for key, part in item.items()} if isinstance(item, dict) else item

    return clean(value)


class JsonStream:
    """The records of a JSON file: its value, the elements of its array, or those of the arrays named in `STREAMED`.

    `collections` says whether such an array was met, `around` what is before and after the `documents` of one.

    Raises:
        FormatError: where the file breaks, after the records before.
    """

    def __init__(self, handle, reading: Reading):
        self._handle, self._reading = without_surrogates(handle, reading), reading
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._text, self._at, self._ended, self._lines, self._nested = "", 0, False, 1, False
        self.collections, self.around = False, None
        if self._handle.peek(len(BOM)).startswith(BOM):
            self._handle.read(len(BOM))
            reading.note("bom")

    def __iter__(self) -> Iterator:
        while self._peek():
            yield from self._walk(0, top=True)
            if self._peek() == ",":  # objects parted by commas
                self._at += 1

    def _more(self, size: int = 1 << 16) -> bool:
        if self._ended:
            return False
        raw = self._handle.read1(size)  # of a file that breaks, all that comes before
        self._ended = not raw
        self._lines += self._text.count("\n", 0, self._at)
        self._text, self._at = self._text[self._at :] + self._decode(raw, not raw), 0
        return bool(raw)

    def _peek(self) -> str:
        """The next character that isn't white space, "" at the end."""
        while True:
            self._at = _WHITE.match(self._text, self._at).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _error(self, what: str) -> FormatError:
        column = self._at - self._text.rfind("\n", 0, self._at)
        place = f"line {self._lines + self._text.count(chr(10), 0, self._at)}, column {column}"
        if _ESCAPES.search(self._text, self._at, self._at + 20):
            remedy = "convert the file, for example: iconv -f WINDOWS-1252 -t UTF-8 (if it is WINDOWS-1252, which is a guess)"
            return self._reading.error("UTF-8", f"other bytes at {place}", remedy)
        return self._reading.error("valid JSON", f"{what} at {place}", "correct the file; JSON lines end in .jsonl")

    def _expect(self, characters: str) -> str:
        found = self._peek()
        if not found or found not in characters:
            raise self._error(f"{found!r}" if found else "the end of the file")
        self._at += 1
        return found

    def _value(self):
        """The next value, however large."""
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                incomplete = error.pos >= len(self._text) - 16 or error.msg.startswith("Unterminated")
                if incomplete and self._grow():
                    continue
                self._at = min(error.pos, len(self._text))
                raise self._error(error.msg) from error
            except (RecursionError, ValueError) as error:
                raise self._error(f"too deep a nesting, or a number of too many digits ({error!s:.60})") from error
            if end < len(self._text) or not isinstance(value, (int, float)) or not self._grow():
                break
        segment, self._at = self._text[self._at : end], end
        if not segment.isascii() and _ESCAPES.search(segment):
            return _NotUtf8(value if isinstance(value, dict) else {})
        return cleaned(value, self._reading, None) if _ESCAPED.search(segment) else value

    def _grow(self) -> bool:
        size = len(self._text) - self._at
        if size > MAX_RECORD:
            raise self._error(f"a record of more than {MAX_RECORD} characters")
        return self._more(max(1 << 16, size))

    def _walk(self, depth: int, top: bool = False) -> Iterator:
        """The records in the next value: itself, unless it is a list or a collection."""
        first = self._peek()
        if depth > _MAX_WRAPPERS or first not in ("[", "{"):
            yield self._value()
        elif first == "[" and top:
            yield from self._elements(depth)
        elif first == "[":
            yield self._value()
        else:
            node = yield from self._object(depth)
            if node is not None:
                yield node

    def _elements(self, depth: int) -> Iterator:
        self._expect("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield from self._walk(depth + 1)
            if self._expect(",]") == "]":
                return

    def _object(self, depth: int) -> Generator[Any, None, dict | None]:
        """Yields the records of the collections in the next object; returns the object, None where it held some."""
        self._expect("{")
        node, streamed, broken, after = {}, False, False, None
        if self._peek() == "}":
            self._at += 1
            return node
        while True:
            if self._peek() != '"':
                raise self._error(f"{self._peek()!r}, not a key in quotes")
            key = self._value()
            broken |= not_utf8(key)
            self._expect(":")
            first, wrapper = self._peek(), depth <= _MAX_WRAPPERS and not node.keys() & _RECORD
            if first == "[" and key in STREAMED and wrapper and (depth < 2 or key != "data"):
                self.collections |= not self._nested
                streamed = True
                if key == "documents":
                    self.around = dict(node), (after := {})
                yield from self._elements(depth + 1)
            elif first == "{" and wrapper and key not in ("infons", "mentions"):
                self._nested, outer = True, self._nested
                inner = yield from self._object(depth + 1)
                self._nested = outer
                if inner is None or "passages" in inner:
                    streamed = True
                    if inner is not None:
                        yield inner
                else:
                    (node if after is None else after)[str(key)] = inner
            else:
                value = self._value()
                broken |= not_utf8(value)
                (node if after is None else after)[str(key)] = value
            if self._expect(",}") == "}":
                break
        return None if streamed else _NotUtf8(node) if broken else node


class _NotUtf8(dict):
    """A record whose text is not UTF-8, as far as it could be read."""


def not_utf8(value) -> bool:
    """Whether a record's bytes were no UTF-8."""
    return isinstance(value, _NotUtf8)
