"""Label Studio's JSON: tasks with pre-annotations out, its export with annotations in.

A task's `data` holds the text and, under the keys of JSON lines, what else a document has; its regions are mentions. Label
Studio counts code points (versions before October 2021: UTF-16 code units). Regions may nest and overlap.

Which of a task's versions is read: the annotation that is its ground truth, else every annotation that wasn't cancelled, each
as a document of its own (told apart by `index` and the infon `annotator`), else the first prediction. A task without any says
nothing about its text: its `annotated_types` are empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from xml.sax.saxutils import quoteattr

from mosaic_ner.modeling.document import Document

from .base import Reading
from .jsonl import RECORD, own_record
from .jsonl_write import encoded, record_of
from .jsontext import JsonStream
from .report import ReadReport

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442", "#6e6e6e")  # Okabe and Ito 2008
_VERSIONS = r'"(?:annotations|predictions|completions)"\s*:\s*\['
_TASK = re.compile(r'\s*\[?\s*\{(?=.*?"data"\s*:\s*\{)(?=.*?' + _VERSIONS + ")", re.DOTALL)
_MODEL = "mosaic-ner"


def looks_like_tasks(text: str) -> bool:
    """Whether the beginning of a file is that of Label Studio's tasks. (Inside JSON's texts quotation marks are escaped.)"""
    return bool(_TASK.match(text))


class _Tasks(JsonStream):
    """The elements of the file's array, or its values one after the other, each whole."""

    def _walk(self, depth: int, top: bool = False) -> Iterator:
        if top and self._peek() == "[":
            yield from self._elements(depth)
        else:
            yield self._value()


def read_label_studio(handle, reading: Reading) -> Iterator[Document]:
    """The documents of tasks, one task in memory at a time."""
    yield from reading.records(_builders(handle, reading))


def _builders(handle, reading: Reading) -> Iterator[Callable[[], Document]]:
    for number, task in enumerate(_Tasks(handle, reading), 1):
        versions = _versions(task) if isinstance(task, dict) else []
        for place in range(max(len(versions), 1)):
            yield partial(_document, task, versions, place, reading, number)


def _versions(task: dict) -> list[dict]:
    """The annotations that are read, or the prediction."""
    live = [version for version in _all(task, "annotations", "completions") if not version.get("was_cancelled")]
    return [v for v in live if v.get("ground_truth")][:1] or live or _all(task, "predictions")[:1]


def _all(task: dict, *keys: str) -> list[dict]:
    lists = [found for key in keys if isinstance(found := task.get(key), list)]  # another kind is `_document`'s error
    return [version for found in lists for version in found if isinstance(version, dict)]


def _document(task, versions: list[dict], place: int, reading: Reading, number: int) -> Document:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        got = f"keys {', '.join(map(str, task)) or 'none'}" if isinstance(task, dict) else f"{task!r:.80}"
        remedy = "export the project as JSON (not JSON-MIN or CSV)"
        raise reading.error("a task with its 'data'", got[:200], remedy, document=f"task {number}")
    id = next((value for key in ("id", "inner_id") if (value := task.get(key)) is not None), None)
    record = _data(task["data"], reading, f"task {number}" if id is None else f"task {id}")
    if "id" not in record and isinstance(id, (str, int)) and not isinstance(id, bool):
        record["id"] = str(id)
    where = str(record.get("id", f"task {number}"))
    for key in ("annotations", "completions", "predictions"):
        found = task.get(key)
        if found is not None and not (isinstance(found, list) and all(isinstance(item, dict) for item in found)):
            raise reading.error(f"{key!r} as a list of objects", f"{found!r:.80}", "export again", document=where)
    record.pop("mentions", None)
    if not reading.gold:
        return own_record(record, reading, None, number)
    human = _all(task, "annotations", "completions")
    if place == 0:
        _count(versions, len(human), len(_all(task, "predictions")), reading, where)
    if not versions:
        return own_record(record | {"annotated_types": []}, reading, None, number)
    if len(versions) > 1:
        record["index"] = record.get("index", 0) + place
        who = versions[place].get("completed_by")
        who = who.get("id") if isinstance(who, dict) else who
        infons = record.get("infons", [])
        pairs = list(infons.items()) if isinstance(infons, dict) else list(infons)
        record["infons"] = [*pairs, ["annotator", str(place if who is None else who)]]
    record["mentions"] = list(_mentions(versions[place], record["text"], reading, where))
    return own_record(record, reading, None, number)


def _count(versions: list[dict], human: int, predictions: int, reading: Reading, where: str) -> None:
    """What of a task isn't read, or not as one document."""
    if not versions:
        reading.note("not_annotated", document=where)
    elif not human or all("model_version" in version and "completed_by" not in version for version in versions):
        reading.note("prediction_read", document=where)
    if len(versions) > 1:
        reading.note("several_annotators", f"{len(versions)} annotations", document=where)
    if others := human + predictions - len(versions):
        reading.note("other_version", document=where, count=others)


def _data(data: dict, reading: Reading, where: str) -> dict:
    """The keys of a task's data that a document has a place for, `text` among them."""
    kept = {}
    for key, value in data.items():
        kinds = RECORD[key][0] if key in RECORD else ()
        if key in RECORD and isinstance(value, kinds) and not isinstance(value, bool):
            kept[key] = value
    if "text" not in kept:
        texts = [key for key, value in data.items() if isinstance(value, str)]
        if len(texts) != 1:
            got = f"texts under {', '.join(texts) or 'no key'}"
            remedy = "call the key of the text 'text' in the project's data"
            raise reading.error("'text' in a task's data, or one text", f"{got:.200}", remedy, document=where)
        kept["text"] = data[texts[0]]
        kept.pop(texts[0], None) if texts[0] != "text" else None
        data = {key: value for key, value in data.items() if key != texts[0]}
    for key in data.keys() - kept.keys():
        reading.note("key_not_kept", str(key), document=where)
    return kept


def _mentions(version: dict, text: str, reading: Reading, where: str) -> Iterator[dict]:
    """The mentions among a version's regions, as JSON lines have them; the other regions are counted."""
    regions = version.get("result") or []
    if not isinstance(regions, list) or not all(isinstance(region, dict) for region in regions):
        raise reading.error("'result' as a list of regions", f"{regions!r:.80}", "export again", document=where)
    for region in regions:
        kind, value = region.get("type"), region.get("value")
        if kind == "relation":
            reading.note("relation", document=where)
            continue
        if kind != "labels" or not isinstance(value, dict) or not value.keys() >= {"start", "end"}:
            reading.note("region_not_kept", f"{kind!r:.80}", document=where)
            continue
        labels = value.get("labels") or []
        if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
            raise reading.error("'labels' as a list of names", f"{labels!r:.80}", "export again", document=where)
        if not labels:
            reading.report.mentions += 1
            reading.fault("no_type", "a label of a region", "none", document=where)
        surface, score, meta = value.get("text"), region.get("score"), region.get("meta")
        notes = meta.get("text") if isinstance(meta, dict) else None
        notes = [notes] if isinstance(notes, str) else notes if isinstance(notes, list) else []
        mention = {"start": value["start"], "end": value["end"]}
        if isinstance(surface, str):
            # the editor writes a line's end as two characters
            mention["text"] = surface.replace("\\n", "\n") if "\\n" in surface and "\\n" not in text else surface
        if isinstance(score, (int, float)) and not isinstance(score, bool):
            mention["score"] = score
        mention["identifiers"] = [note for note in notes if isinstance(note, str) and note]
        yield from (mention | {"type": label} for label in labels)


def label_studio_record(document: Document, report: ReadReport, number: int) -> str:
    """A task with the mentions as its prediction, preceded by the comma that separates it from the `number` before it.

    A prediction's score is the lowest of its mentions': tasks sorted by it begin with the least sure.
    """
    data = record_of(document, report)
    scores = [mention["score"] for mention in data["mentions"] if "score" in mention]
    regions = [_region(document.text, mention, n) for n, mention in enumerate(data.pop("mentions"), 1)]
    prediction = {"model_version": _MODEL, "result": regions} | ({"score": min(scores)} if scores else {})
    return (",\n" if number else "") + encoded({"data": data, "predictions": [prediction]})


def _region(text: str, mention: dict, number: int) -> dict:
    place = {"start": mention["start"], "end": mention["end"], "text": text[mention["start"] : mention["end"]]}
    region = {"id": f"m{number}", "from_name": "label", "to_name": "text", "type": "labels"}
    region["value"] = place | {"labels": [mention["type"]]}
    if "score" in mention:
        region["score"] = mention["score"]
    if "identifiers" in mention:
        region["meta"] = {"text": mention["identifiers"]}
    return region


def label_studio_header(collection, report: ReadReport) -> str:
    """What stands before the tasks."""
    return "[\n"


def label_studio_footer(collection, report: ReadReport) -> str:
    """What stands behind the tasks."""
    return "\n]\n"


def types_of(handle, reading: Reading) -> list[str]:
    """The types of a file's mentions, and those that its documents say are annotated, by name."""
    found = set()
    for task in _Tasks(handle, reading):
        found.update(task["data"].get("annotated_types", ()))
        for version in _all(task, "predictions"):
            found.update(label for region in version["result"] for label in region["value"]["labels"])
    return sorted(found)


def labelling_config(types: Iterable[str]) -> str:
    """The labelling interface that a project needs for the tasks, as its settings take it."""
    labels = "".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(COLOURS[n % len(COLOURS)])}/>\n"
        for n, name in enumerate(types)
    )
    return (
        f'<View>\n  <Labels name="label" toName="text">\n{labels}  </Labels>\n'
        '  <Text name="text" value="$text" granularity="symbol"/>\n</View>\n'
    )
