"""A folder in which every recipe and every documented command runs: small corpora, tiny encoders, stand-ins of resources."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import helpers_synonyms
import yaml
from helpers_run import ROOT
from helpers_small_corpora import DOCUMENTS, names_of, pubtator, write_corpora
from mosaic_ner.data_builders.corpora import CORPORA
from mosaic_ner.training.arguments import Arguments, parse

import run_ner

TRIALS, STEPS = 2, 2
ENCODER, T5 = "E", "T5"
QUICK = ["--report_to", "none", "--disable_tqdm", "true", "--use_cpu", "true", "--data_dir", "D"]
TRAINING = ["--max_steps", str(STEPS), "--logging_steps", "1"]
SMALL = ["--scratch_layers", "1", "--scratch_hidden_size", "32"]
INPUT = "abstracts.pubtator"
FILES = ["--train_file", "train.pubtator", "--validation_file", "dev.pubtator", "--test_file", "test.pubtator"]
NEEDED = {"aioner/paper/merged_new_types": FILES, "aioner/paper/pretrained_new_types": FILES,
          "aioner/mini": ["--complete_with", "outputs/aioner/mini_teacher"]}  # fmt: skip
"""Options that a recipe needs beside it, as its first lines say."""

PUBMED = b"""<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>1</PMID><Article>
<ArticleTitle>Bracel in dorfim.</ArticleTitle><Abstract><AbstractText>We saw gulhep.</AbstractText></Abstract>
</Article></MedlineCitation></PubmedArticle></PubmedArticleSet>"""


def recipes() -> dict[str, Path]:
    """Name → file of every recipe; files of searches are none."""
    files = sorted((ROOT / "recipes").rglob("*.yaml"))
    found = {str(p.relative_to(ROOT / "recipes").with_suffix("")): p for p in files}
    return {name: path for name, path in found.items() if "space" not in yaml.safe_load(path.read_text("utf-8"))}


class Workplace:
    """The folder, to be the current one of what runs here.

    Attributes:
        ran: what was asked for, after all stand-ins → the folder that it wrote.
    """

    def __init__(self, folder: Path, encoder: Path, t5: Path):
        self.folder = folder
        self.ran: dict[str, Path] = {}
        write_corpora(folder / "D")
        (folder / ENCODER).symlink_to(encoder)
        (folder / T5).symlink_to(t5)
        (folder / "model_cards").symlink_to(ROOT / "model_cards")
        (folder / "docs").mkdir()
        shutil.copytree(ROOT / "recipes", folder / "recipes")
        for path in (folder / "recipes").rglob("search.yaml"):
            path.write_text(re.sub(r"(?m)^n_trials: \d+", f"n_trials: {TRIALS}", path.read_text("utf-8")), "utf-8")
        self._write_inputs()

    def _write_inputs(self) -> None:
        """Files that a user would bring, under the names that the documentation gives them."""
        for file, split in {"train": "train", "dev": "validation", "test": "test"}.items():
            text = pubtator("linnaeus", split).replace("\tSpecies\t", "\tPlant\t")
            (self.folder / f"{file}.pubtator").write_text(text, "utf-8")
        (self.folder / "updatefiles").mkdir()
        for file in ("pubmed26n0001.xml.gz", "updatefiles/pubmed26n1400.xml.gz"):
            (self.folder / file).write_bytes(gzip.compress(PUBMED))
        lines = pubtator("biored", "test").splitlines()
        (self.folder / INPUT).write_text("\n".join(line for line in lines if "\t" not in line) + "\n", "utf-8")
        kinds = sorted({kind for corpus in CORPORA.values() for kind in corpus.types})
        names = [pair for kind in kinds for pair in names_of("", kind)]
        rows = [helpers_synonyms.row(identifier, name) for name, identifier in names]
        helpers_synonyms.umls(self.folder / "MRCONSO.RRF", rows)
        for file in ("doid.obo", "DO_cancer_slim.obo"):
            helpers_synonyms.obo(self.folder / file)
        words = [word for name, _ in names for word in name.split()]
        vectors = "\n".join(f"{word} {number}.5 1 -1 0.25" for number, word in enumerate(dict.fromkeys(words)))
        (self.folder / "vectors.bin").write_text(f"{len(set(words))} 4\n{vectors}\n", "utf-8")

    def stand_ins(self, words: list[str]) -> list[str]:
        """What is added to a command line of run_ner.py, so that it takes seconds and no network."""
        arguments = parse(words)
        if arguments.prediction.do_predict:
            return []
        if arguments.model.model_name_or_path:
            return QUICK
        few = {corpus: min(n, DOCUMENTS["train"]) for corpus, n in (arguments.data.max_train_documents or {}).items()}
        subset = ["--max_train_documents", json.dumps(few)] if few else []
        return [*QUICK, *TRAINING, *subset, *self._encoder(arguments)]

    def _encoder(self, arguments: Arguments) -> list[str]:
        encoder = arguments.model.encoder
        if encoder == "scratch":
            return SMALL
        return [] if Path(encoder).is_dir() else ["--encoder", T5 if "t5" in encoder.lower() else ENCODER]

    def make(self, words: list[str]) -> None:
        """Runs the recipes whose output folders a command names, where they haven't run."""
        named = {word for before, word in pairwise(words) if before != "--output_dir"}
        if words[0] not in run_ner.COMMANDS:
            named.add(parse(words).model.encoder)
        for name, path in recipes().items():
            folder = parse([str(path)]).train.output_dir
            if folder in named and not Path(folder).exists():
                self.run([f"recipes/{name}.yaml", *NEEDED.get(name, [])])

    def run(self, words: list[str]) -> Path:
        """Runs a command line of run_ner.py, or gives the folder of an equal one that ran already.

        A recipe with options that change it doesn't write over the recipe's folder, unless it says a folder.
        """
        self.make(words)
        words = [*words, *self.stand_ins(words)]
        given = parse(words).given
        if "--output_dir" not in words:
            given.pop("output_dir", None)
        key = json.dumps(given, sort_keys=True)
        if key not in self.ran:
            if "output_dir" not in given and not self._plain(words):
                words += ["--output_dir", f"outputs/other/{len(self.ran)}"]
            run_ner.main(words)
            self.ran[key] = self.folder / parse(words).train.output_dir
        return self.ran[key]

    def _plain(self, words: list[str]) -> bool:
        """Whether a command line is a recipe without options that change it."""
        if words[0].startswith("--"):
            return False
        recipe, given = parse(words[:1]).given, parse(words).given
        own = {option.removeprefix("--") for option in [*QUICK, *TRAINING, *SMALL, *FILES, "--encoder"]}
        return {name for name in given if given[name] != recipe.get(name)} <= own
