"""Options: declared once as fields of dataclasses, from which the command line, recipes, help and checks come.

Standard library only, so that `--help` is quick.
"""

from __future__ import annotations

import dataclasses
import json
import types
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from mosaic_ner.modeling.label_space import UserError, nearest

from .overlap import MODES


class ArgumentError(UserError):
    """A recipe or a command line that can't be understood, or an option without effect."""


def option(default, text: str, **rules):
    """A field of an options class.

    Args:
        default: its value where nothing is said; a list or a dictionary is copied.
        text: what --help says.
        rules: `choices` (a tuple), `least` and `most` (inclusive), `below` (exclusive), checked by `Options.check`; `fixed`:
            whether a search may not vary it; `exists`: whether it names a file that must be there; `published`: False keeps
            it out of the settings in results.json.
    """
    metadata = {"help": text, **rules}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Spec:
    """What is known of an option: the plain type of its values (bool, int, float, str, list or dict), whether it may be left
    out (None), its default, its help and its rules."""

    name: str
    kind: type
    optional: bool
    default: Any
    help: str
    rules: dict

    def check(self, value) -> None:
        """Raises ArgumentError for a value that the rules exclude."""
        if value is None:
            return
        choices = self.rules.get("choices")
        if choices and value not in choices:
            hint = nearest(str(value), choices, listing=False)
            raise ArgumentError(f"--{self.name} is {value!r}; expected one of {', '.join(map(str, choices))}{hint}")
        least, most, below = (self.rules.get(rule) for rule in ("least", "most", "below"))
        low = least is not None and value < least
        if low or (most is not None and value > most) or (below is not None and value >= below):
            top = f" to {most}" if most is not None else f" to below {below}" if below is not None else " or more"
            raise ArgumentError(f"--{self.name} is {value}; expected {'' if least is None else least}{top}")
        if self.rules.get("exists") and not Path(value).exists():
            folder = Path(value).parent
            there = [str(folder / p.name) for p in folder.iterdir()] if folder.is_dir() else []
            raise ArgumentError(f"--{self.name}: no such file {value!r}{nearest(value, there, listing=False)}")


@cache
def specs(group: type) -> dict[str, Spec]:
    """Option → what is known of it, in order; of an options class or an object of one."""
    hints = get_type_hints(group)
    found = {}
    for f in dataclasses.fields(group):
        alternatives = (
            get_args(hints[f.name]) if get_origin(hints[f.name]) in (Union, types.UnionType) else (hints[f.name],)
        )
        kinds = [get_origin(kind) or kind for kind in alternatives if kind is not type(None)]
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        rules = {name: rule for name, rule in f.metadata.items() if name != "help"}
        found[f.name] = Spec(f.name, kinds[0], type(None) in alternatives, default, f.metadata["help"], rules)
    return found


@dataclass
class Options:
    """Base of the options classes. The first line of a class's docstring names its section in --help."""

    def check(self) -> None:
        """Raises ArgumentError for what can be told to be wrong before anything is read."""
        for name, spec in specs(type(self)).items():
            spec.check(getattr(self, name))

    def values_for(self, target) -> dict[str, Any]:
        """Those of the options that are parameters of a constructor, by name."""
        code = target.__init__.__code__
        taken = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return {name: getattr(self, name) for name in specs(type(self)) if name in taken}

    def departures(self) -> dict[str, Any]:
        """The options that depart from their defaults and may be published."""
        rows = ((name, spec, getattr(self, name)) for name, spec in specs(type(self)).items())
        return {n: v for n, s, v in rows if s.rules.get("published", True) and v not in (s.default, None, [])}


FORMATS = (
    "pubtator", "bioc_xml", "bioc_json", "jsonl", "brat", "label_studio", "xmi", "iob2", "pubmed", "jats", "parquet", "text",
    "genia_jsonl", "scai",
)  # fmt: skip
"""Those of data_builders/formats, which would take its time to import."""
OFFSET_UNITS = (
    "code_points", "utf16", "utf8", "crlf_once", "crlf_twice", "utf16_crlf_once", "utf16_crlf_twice", "utf8_crlf_once",
    "utf8_crlf_twice",
)  # fmt: skip
"""Those of data_builders/formats/units.py."""


@dataclass
class DataOptions(Options):
    """Data."""

    corpora: list[str] = option([], "corpora to train on, by name; 'demo' is the generated set")
    test_corpora: list[str] | None = option(None, "corpora to test on; default: all corpora of the run")
    validation_corpora: list[str] | None = option(
        None, "corpora whose validation split chooses the checkpoint; default: all that have one"
    )
    data_dir: str | None = option(
        None, "folder with the corpora's files; without it they are downloaded", published=False
    )
    cache_dir: str | None = option(None, "cache of the built corpora; default: that of datasets", published=False)
    mapping: str = option("shared", "column of the label mapping: shared (CVAE-NER's Table 7), aioner or sruner")
    types: list[str] | None = option(
        None,
        "only these shared types, of corpora or teachers, count; aioner learns no others, "
        "the other families learn them as the corpora's own types",
    )
    train_file: str | None = option(
        None, "your own training file or folder; its content tells its format, or else its ending", exists=True
    )
    validation_file: str | None = option(None, "your own validation file or folder", exists=True)
    test_file: str | None = option(None, "your own test file or folder", exists=True)
    format: str | None = option(
        None,
        "format of your own files and of --predict_input; default: what their content or ending says",
        choices=FORMATS,
    )
    offset_unit: str = option(
        "code_points",
        "what the offsets of your files count: code_points, utf16 or utf8, or these with line ends counted otherwise "
        "(crlf_once, …)",
        choices=OFFSET_UNITS,
    )
    entity_type: str | None = option(None, "the type of IOB tags that have none (B, I, O)")
    type_infon: str = option("type", "the infon that says the type of an annotation (BioC)")
    tag_column: int | None = option(None, "the column of the tag in IOB files, from 1; default: the last", least=2)
    corpus_name: str = option("user", "name of the corpus in your own files")
    corpus_types: list[str] | None = option(
        None, "types your files annotate exhaustively; default: those found or declared in the files"
    )
    extra_mapping: str | None = option(
        None, "a mapping table for your own types; without it each type is shared under its own name"
    )
    validation_fraction: float = option(
        0.0, "share of the training articles held out for validation where a run would have none", least=0, below=1
    )
    merge_validation: bool = option(
        False, "train on the validation splits, too; --validation_fraction then holds some of all out"
    )
    parts: dict | None = option(
        None,
        "JSON: name → a corpus made of another one's types, articles and splits (docs/corpora.md); name it in --corpora",
    )
    max_train_documents: dict | None = option(
        None, "JSON: corpus → number of training documents (subset curves), drawn by the seed"
    )
    overlap: str = option(
        "remove",
        "documents shared with evaluation: remove (from training), keep (not honest), evaluation (not scored); or JSON, corpus "
        "→ one of these",
    )
    article_ids: str | None = option(
        None, "ids of your files are article ids of this kind; default: texts alone tell", choices=("pmid", "pmcid")
    )
    policy: str | None = option(
        None,
        "faults in your files: strict (an error) or lenient (counted); default: strict, but in prediction lenient, which skips "
        "bad records",
        choices=("strict", "lenient"),
    )
    repeated_ids: str | None = option(
        None,
        "records of your files that share an id: error, or index (number them); default: by the policy",
        choices=("error", "index"),
    )

    def check(self) -> None:
        super().check()
        if self.merge_validation and self.validation_corpora:
            raise ArgumentError("--merge_validation trains on validation documents; leave out --validation_corpora")
        for mode in self.overlap_modes().values():
            if mode not in MODES:
                hint = nearest(str(mode), MODES, listing=False)
                raise ArgumentError(f"--overlap has {mode!r}; expected one of {', '.join(MODES)}{hint}")

    def overlap_modes(self) -> dict[str, str]:
        """Corpus → what is done with documents that training shares with its evaluation splits; "" stands for all others."""
        if not self.overlap.startswith("{"):
            return {"": self.overlap}
        try:
            return json.loads(self.overlap)
        except ValueError as error:
            raise ArgumentError(f"--overlap: {self.overlap!r} is no JSON object ({error})") from error

    def overlap_mode(self, corpus: str) -> str:
        """What is done with documents that training shares with the corpus's evaluation splits."""
        modes = self.overlap_modes()
        return modes.get(corpus, modes.get("", MODES[0]))

    def reading(self, *files: str) -> dict[str, Any]:
        """How your own files are read, as `read_documents` (data_builders/formats) takes it, but for the policy.

        Raises:
            ArgumentError: an option has no effect on any of these files.
        """
        from .formats import formats_of
        from .formats.detect import OPTIONS

        said = [name for name in OPTIONS if getattr(self, name) != specs(type(self))[name].default]
        found = {format for path in files for format in formats_of(path, self.format)} if said else set()
        for name in said:
            if not found & set(OPTIONS[name]):
                raise ArgumentError(
                    f"--{name} has no effect on files of the format {', '.join(sorted(found))}, only on "
                    f"{', '.join(OPTIONS[name])}; leave it out, or say another --format"
                )
        names = ("format", "repeated_ids", "offset_unit", "entity_type", "type_infon", "tag_column")
        return {name: getattr(self, name) for name in names}
