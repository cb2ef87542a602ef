"""Files as bytes, lines and text: gzip with a limit, UTF-8 with what is no UTF-8 named, the three line ends."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from .base import Reading
from .report import FormatError

BOM = b"\xef\xbb\xbf"
SURROGATES = re.compile("[\ud800-\udfff]")
_PAIRS = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# A real text shrinks to a fifth; a file of this size that shrank by more than this was made to fill the memory.
MAX_RATIO, UNCHECKED_BYTES = 200, 1 << 26
# A line, or a JSON record, that is longer is damage.
MAX_RECORD = 1 << 28


class Undecodable(str):
    """A line that is not UTF-8, with what is wrong with it; the characters that can't be read are replaced."""

    error: FormatError


class GzipBomb(OSError):
    """A packed file that grows without measure."""


class _Unpacked(io.RawIOBase):
    """A gzip file, unpacked as it is read, up to `MAX_RATIO` times its size."""

    def __init__(self, path):
        self._beneath = open(path, "rb")  # noqa: SIM115 (closed in close)
        self._packed, self._count = gzip.GzipFile(fileobj=self._beneath), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._packed.read1(len(buffer))  # of a file that is cut, what comes before the cut
        count = len(data)
        buffer[:count] = data
        self._count += count
        if self._count > UNCHECKED_BYTES and self._count > MAX_RATIO * self._beneath.tell():
            raise GzipBomb(f"more than {MAX_RATIO} times its size unpacked")
        return count

    def close(self) -> None:
        if not self.closed:
            self._packed.close()
            self._beneath.close()
        super().close()


def is_packed(path) -> bool:
    """Whether the file is gzip by its first bytes, whatever its name."""
    with open(path, "rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


def open_binary(path) -> io.BufferedReader:
    """A file for reading, gzip unpacked on the fly (by its content, or by its name where the content is none)."""
    if str(path).lower().endswith(".gz") or is_packed(path):
        return io.BufferedReader(_Unpacked(path), 1 << 16)
    return open(path, "rb")


class _Raw(io.RawIOBase):
    """A readable that is not buffered (or not a file) made fit for the standard library's readers."""

    def __init__(self, read: Callable[[int], bytes]):
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def buffered(handle) -> io.BufferedIOBase:
    """The handle, or one around it that has `peek` and lines."""
    return handle if isinstance(handle, io.BufferedReader) else io.BufferedReader(_Raw(handle.read))


# UTF-8's bytes of a surrogate, and XML's references to one
_BYTES = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_REFERENCE = re.compile(rb"&#(?:[xX]0*([dD][89a-fA-F][0-9a-fA-F]{2})|0*(5[5-7][0-9]{3}));")
_PAIR_OF_BYTES = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
_PAIR_OF_REFERENCES = re.compile(_REFERENCE.pattern + _REFERENCE.pattern)
_BEGUN, _BEGUN_XML = re.compile(b"\xed"), re.compile(b"[\xed&]")
_BEFORE = re.compile(rb"(?:\xed[\xa0-\xbf][\x80-\xbf]|" + _REFERENCE.pattern + rb")\Z")
_TAIL = 40  # bytes in which a surrogate may begin that a piece cuts


def without_surrogates(handle, reading: Reading, *, xml: bool = False) -> io.BufferedReader:
    """The bytes with pairs of surrogates put together and single ones replaced by U+FFFD, counted.

    Args:
        xml: references such as `&#xD83D;` as well.
    """
    source, kept = buffered(handle).read1, b""

    def number(first: bytes | None, second: bytes | None) -> int:
        return int(first, 16) if first else int(second)

    def joined(match: re.Match) -> bytes:
        high, low = number(match[1], match[2]), number(match[3], match[4])
        if 0xD800 <= high < 0xDC00 <= low < 0xE000:
            return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00).encode()
        return match[0]

    def single(match: re.Match) -> bytes:
        if match.re is _REFERENCE and not 0xD800 <= number(match[1], match[2]) < 0xE000:
            return match[0]
        reading.note("lone_surrogate")
        return "\ufffd".encode()

    def cleaned(data: bytes) -> bytes:
        if b"\xed" in data:
            data = _PAIR_OF_BYTES.sub(lambda match: _combined(match[0].decode("utf-8", "surrogatepass")).encode(), data)
            data = _BYTES.sub(single, data)
        if xml and b"&#" in data:
            data = _REFERENCE.sub(single, _PAIR_OF_REFERENCES.sub(joined, data))
        return data

    def read(size: int) -> bytes:
        nonlocal kept
        while True:
            new = source(size)
            data = kept + new
            begun = _BEGUN_XML if xml else _BEGUN
            cut = match.start() if new and (match := begun.search(data, max(len(data) - _TAIL, 0))) else len(data)
            while cut < len(data) and (match := _BEFORE.search(data, max(cut - _TAIL, 0), cut)):
                cut = match.start()  # the first half of a pair
            data, kept = cleaned(data[:cut]), data[cut:]
            if data or not new:
                return data

    return io.BufferedReader(_Raw(_sized(read)), 1 << 16)


def _sized(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """`read` that never gives more than was asked for."""
    left = b""

    def exactly(size: int) -> bytes:
        nonlocal left
        data = left or read(size)
        left = data[size:]
        return data[:size]

    return exactly


def _combined(text: str) -> str:
    """Pairs of surrogates as the character that they stand for."""
    return _PAIRS.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)


def decode(raw: bytes, reading: Reading, offset: int = 0, line: int | None = None) -> str:
    """UTF-8 bytes as text; `offset` is where in the file they start, in bytes. Encoded surrogates are replaced.

    Raises:
        FormatError: they are not UTF-8; the message names the byte and the likely encoding.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        with contextlib.suppress(UnicodeDecodeError):
            return replaced(_combined(raw.decode("utf-8", "surrogatepass")), reading, line)
        utf16 = offset == 0 and raw[:2] in _UTF16
        source = "UTF-16" if utf16 else "WINDOWS-1252"
        remedy = f"convert the file, for example: iconv -f {source} -t UTF-8 (if it is {source}, which is a guess)"
        got = f"byte 0x{raw[error.start]:02x} at byte offset {offset + error.start}"
        raise reading.error("UTF-8", got, remedy, line=line) from error


def replaced(text: str, reading: Reading, line: int | None = None, document: str | None = None) -> str:
    """The text with each half of a pair of surrogates replaced by U+FFFD, counted; offsets hold."""
    text, count = SURROGATES.subn("\ufffd", text)
    if count:
        reading.note("lone_surrogate", line=line, document=document, count=count)
    return text


def read_lines(handle, reading: Reading, starts: re.Pattern | None = None) -> Iterator[tuple[int, str]]:
    r"""(line number from 1, line without its end), one at a time; \n, \r\n and \r end a line, no other character.

    Args:
        starts: what a line looks like after a lone \r, where the format's texts may hold one; there only such a line ends
            the one before.
    Raises:
        FormatError: a line is not UTF-8; where bad records are skipped, an `Undecodable` stands in its place, unless the
            file is UTF-16 as a whole.
    """
    lines = io.TextIOWrapper(buffered(handle), encoding="latin-1", newline="")
    offset, seen, number = 0, set(), 0
    try:
        for piece in _joined(lines, starts):
            raw, number = piece.encode("latin-1"), number + 1
            start, size = offset, len(raw)
            offset += size
            if number == 1 and raw.startswith(BOM):
                raw, start = raw[len(BOM) :], len(BOM)
                reading.note("bom")
            end = "crlf" if raw.endswith(b"\r\n") else "cr" if raw.endswith(b"\r") else ""
            if end and end not in seen:
                seen.add(end)
                reading.note(end, line=number)
            try:
                if size > MAX_RECORD:
                    raise reading.error(f"lines of at most {MAX_RECORD} bytes", f"{size}", "look for lost line ends")
                line = decode(raw, reading, start, number)
            except FormatError as error:
                if not reading.skip or (number == 1 and raw[:2] in _UTF16) or size > MAX_RECORD:
                    raise
                line = Undecodable(raw.decode("utf-8", "replace").rstrip("\r\n"))
                line.error = error
                yield number, line
            else:
                yield number, line.removesuffix("\n").removesuffix("\r")
    finally:
        with contextlib.suppress(ValueError):  # the handle is closed
            lines.detach()


def _joined(lines: Iterator[str], starts: re.Pattern | None) -> Iterator[str]:
    """The lines, those put together again that a carriage return inside a text parted."""
    if starts is None:
        yield from lines
        return
    waiting: list[str] = []
    for line in lines:
        if waiting and (not waiting[-1].endswith("\r") or starts.match(line)):
            yield "".join(waiting)
            waiting = []
        waiting.append(line)
        if not line.endswith("\r"):
            yield "".join(waiting)
            waiting = []
    if waiting:
        yield "".join(waiting)


def read_text(path: Path, reading: Reading) -> str:
    """A whole text file, a byte order mark stripped, line ends untouched (offsets count them)."""
    with open_binary(path) as handle:
        raw = handle.read(MAX_RECORD + 1)
    if len(raw) > MAX_RECORD:
        raise reading.error(f"a text of at most {MAX_RECORD} bytes", "a longer one", "cut it into documents")
    if raw.startswith(BOM):
        reading.note("bom", document=path.name)
        raw = raw[len(BOM) :]
    if b"\r\n" in raw:
        reading.note("crlf", document=path.name)
    elif b"\r" in raw:
        reading.note("cr", document=path.name)
    return decode(raw, reading)
