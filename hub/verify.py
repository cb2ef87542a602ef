"""Whether folders with models are what they say, found out without running anything in them (see prediction/integrity.py).

mosaic-ner verify outputs/hub/biored-ner

By default as before a model is loaded: weights that aren't pickles and fit config and tokenizer, no code from elsewhere, and
checksums, where there are some. Checkpoints, models of an earlier version, and an edited README.md or LICENSE pass.
--publishing is as strict as publishing: subfolders too, nothing that resumes a training, code equal to this package's, and
checksums of all files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mosaic_ner.prediction.integrity import CHECKSUMS, IntegrityError, check_folder


def main(argv: list[str] | None = None) -> None:
    """Command line entry; exit code 2 if a folder is refused, after all have been looked at."""
    parser = argparse.ArgumentParser(
        prog="verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument("--publishing", action="store_true", help="check what publishing the folder needs")
    options = parser.parse_args(argv)
    refused = False
    for folder in options.folder:
        try:
            check_folder(folder, strict=options.publishing)
            sums = "checksums agree" if (folder / CHECKSUMS).exists() else f"no {CHECKSUMS} to compare with"
        except (IntegrityError, OSError) as error:
            refused = True
            sys.stderr.write(f"verify: error: {error}\n")
        else:
            sys.stdout.write(f"{folder}: nothing amiss; {sums}\n")
    if refused:
        sys.exit(2)


if __name__ == "__main__":
    main()
