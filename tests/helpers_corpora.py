"""Small files of our own for every corpus, named and written as its distribution does."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from mosaic_ner.data_builders.corpora import Corpus

IDS = {"pmid": "1500{}", "pmcid": "45{}", "medline": "9306{}", "": "{}"}


def write_files(corpus: Corpus, folder: Path) -> None:
    """Small files of our own for every split, as the corpus's distribution names and writes them."""
    files: dict[str, bytes] = {}
    for number, (split, file) in enumerate(corpus.files.items()):
        ids = [IDS[corpus.id_space].format(f"{number}{n}") for n in range(2)]
        if corpus.name == "bioid":
            ids = [f"{id}1001" for id in ids]
        if corpus.name == "biored" and split != "test":
            ids = ["15001", sorted(corpus.validation_ids)[0]]
        data = WRITERS[file.format](ids, corpus.types).encode("latin-1" if file.format == "scai" else "utf-8")
        if file.ids:
            files[file.ids] = "\n".join(ids).encode()
            data = files.get(file.name, b"") + data  # the splits share the file
        files[file.name] = data
    for name, data in files.items():
        (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)


def pubtator(ids, types) -> str:
    records = []
    for id in ids:
        mentions = "".join(f"{id}\t{8 * n}\t{8 * n + 7}\tnämeNo{n}\t{t}\tID:{n}\n" for n, t in enumerate(types[:9]))
        records.append(f"{id}|t|{' '.join(f'nämeNo{n}' for n in range(9))}\n{id}|a|Of {id}.\n{mentions}\n")
    return "".join(records)


def iob2(ids, types) -> str:
    return "".join(f"Naïve\tB-{types[0]}\ncells\tI-{types[0]}\nno\tO\n{id}\tB-{types[-1]}\n\n" for id in ids)


def genia(ids, types) -> str:
    rows = []
    for id in ids:
        mentions = [{"start": 0, "end": 2, "entity_type": types[0], "text": f"IL-2 {id}"}]
        mentions.append({"start": 0, "end": 1, "entity_type": types[1], "text": "IL-2"})
        tokens = ["IL-2", id, "binds"]
        rows.append(
            {"tokens": tokens, "doc_id": f"MEDLINE:{id}", "sent_id": f"MEDLINE:{id}-0", "entity_mentions": mentions}
        )
    return "".join(json.dumps(row) + "\n" for row in rows)


def scai(ids, types) -> str:
    rows = "Naïve\t0\t5\tNaïve cells\t|B-{0}\ncells\t7\t12\t\t|I-{0}\n.\t12\t13\t\t|O\n{1}\t14\t15\t{1}\t|B-{2}\n\n"
    return "".join(f"###\t{id}\n" + rows.format(types[0], id, types[-1]) for id in ids)


WRITERS = {"scai": scai, "pubtator": pubtator, "iob2": iob2, "genia_jsonl": genia}
