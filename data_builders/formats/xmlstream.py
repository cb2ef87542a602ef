"""XML as a stream of records, and what an element's text is. Used by every reader of XML.

Entities and DTDs are never fetched, and the limits of the parser (nesting, expansion, size of a text) hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.entities import html5

from lxml import etree

from .base import Reading
from .streams import buffered, without_surrogates

MAX_ENTITY = 100  # characters that an entity of a file's own may stand for
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*encoding\s*=\s*["']([^"'>]+)""")
_PROLOG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?[^>]*\?>\s*|<!--(?:[^-]|-[^-])*-->\s*)*(?=<[A-Za-z])")


def records(handle, reading: Reading, tags: tuple[str, ...], roots: tuple[str, ...], expected: str) -> Iterator:
    """The elements of these names, one at a time; each is freed once the next is asked for.

    Args:
        tags: as `lxml.etree.iterparse` takes them.
        roots: names, without namespace, of what a file may begin with.
        expected: the root that a wrong one is compared with in messages.
    Raises:
        FormatError: another root, or not well-formed.
    """
    remedy = f"give a file of {expected}, or name the format"
    context = etree.iterparse(
        _prepared(handle, reading),
        events=("end",),
        tag=tags,
        resolve_entities=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        number = 0
        for number, (_, element) in enumerate(context, 1):
            if number == 1:
                root = name_of(element.getroottree().getroot())
                if root not in roots:
                    raise reading.error(expected, f"<{root}>", remedy)
            yield element
            for node in (element, *element.iterancestors()):
                while node.getparent() is not None and node.getprevious() is not None:
                    del node.getparent()[0]
    except etree.XMLSyntaxError as error:
        remedy = "correct the file; if it is not XML, name its format"
        # The error's own log has those of files read before.
        first = next((entry for entry in context.error_log if entry.level >= etree.ErrorLevels.FATAL), None)
        got, line = ("an empty file", None) if first is None else (first.message, first.line)
        raise reading.error("well-formed XML", got.encode("utf-8", "replace").decode(), remedy, line=line) from error
    if not number and name_of(context.root) not in roots:
        raise reading.error(expected, f"<{name_of(context.root)}>", remedy)


class _Prefixed:
    """A stream with a few bytes before it; of one that breaks, all that comes before the break."""

    def __init__(self, first: bytes, rest):
        self._first, self._rest = first, rest

    def read(self, size: int) -> bytes:
        first, self._first = self._first, b""
        return first or self._rest.read1(size)


def _prepared(handle, reading: Reading):
    """The stream without surrogates, and with a document type where it has none: then an entity that isn't declared is no
    end of everything. The type's file is never fetched."""
    stream = buffered(handle)
    declared = _ENCODING.match(stream.peek(200)[:200])
    if declared and declared[1].lower() not in (b"utf-8", b"utf8"):
        return _Prefixed(b"", stream)
    stream = without_surrogates(stream, reading, xml=True)
    head = _PROLOG.match(stream.peek(1 << 12))
    if head is None:
        return _Prefixed(b"", stream)
    return _Prefixed(stream.read(head.end()) + b'<!DOCTYPE collection SYSTEM "BioC.dtd">', stream)


def name_of(element) -> str:
    """The element's name without its namespace; "" for a reference to an entity."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def child_of(element, *tags: str):
    """The first child with one of these tags, None where there is none."""
    return next(element.iterchildren(*tags), None)


def entity(reference, reading: Reading) -> str:
    """What an entity stands for: by the file's own declaration, or by its name in HTML.

    Raises:
        FormatError: it stands for markup, other entities or too much, or isn't declared.
    """
    declared = reference.getroottree().docinfo.internalDTD
    own = {entity.name: entity.content for entity in declared.entities()} if declared is not None else {}
    content = own.get(reference.name, html5.get(f"{reference.name};"))
    if content is None or (reference.name in own and (len(content) > MAX_ENTITY or re.search("[&<%]", content))):
        what = (
            "which is not declared here" if content is None else "which stands for markup, other entities or too much"
        )
        remedy = "write its character in the file"
        raise reading.error(
            "characters", f"the entity &{reference.name};, {what}", remedy, line=reference.getparent().sourceline
        )
    return content
