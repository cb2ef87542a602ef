"""Whether folders with models are what they say, found out without running anything in them (see prediction/integrity.py).

mosaic-ner verify outputs/hub/biored-ner

The checks are those that this package makes before it loads a model: no pickles; weights, config and tokenizer fit each
other; references to code stay in the folder; checksums agree, where there are some. Checkpoints pass, and so do an edited
README.md or LICENSE.

Code that differs from this package's is named, and no reason to refuse a folder: this package never runs it. It may be of
another version, or do anything. With `trust_remote_code=True` transformers runs it.

--publishing is as strict as publishing: subfolders too, nothing that resumes a training, code equal to this package's, and
checksums of all files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mosaic_ner.prediction.integrity import CHECKSUMS, IntegrityError, check_folder, foreign_code


def main(argv: list[str] | None = None) -> None:
    """Command line entry; exit code 2 if a folder is refused, after all have been looked at."""
    parser = argparse.ArgumentParser(
        prog="mosaic-ner verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument("--publishing", action="store_true", help="check what publishing the folder needs")
    options = parser.parse_args(argv)
    refused = False
    for folder in options.folder:
        try:
            check_folder(folder, strict=options.publishing)
            told = _remarks(folder)
        except (IntegrityError, OSError) as error:
            refused = True
            sys.stderr.write(f"verify: error: {error}\n")
        else:
            sys.stdout.write(f"{folder}: nothing amiss; {told}\n")
    if refused:
        sys.exit(2)


def _remarks(folder: Path) -> str:
    sums = "checksums agree" if (folder / CHECKSUMS).exists() else f"no {CHECKSUMS} to compare with"
    code = foreign_code(folder)
    differs = (
        f"; code differs from this package's: {', '.join(code)} (only transformers would run it, if told to trust it)"
    )
    return sums + differs * bool(code)


if __name__ == "__main__":
    main()
