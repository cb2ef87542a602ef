"""Folders with models, from the Hub if need be: their config, and whether anything is amiss."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError
from mosaic_ner.modeling.label_space import UserError
from transformers import AutoConfig, PreTrainedConfig

from .integrity import check_folder
from .model_classes import ModelError, model_class


def load_config(name_or_path: str, option: str, trust_remote_code: bool | None = None):
    """The config of a folder or a Hub id.

    Args:
        name_or_path: what the user gave.
        option: as the value of which option.
        trust_remote_code: whether its code may run; default: for --encoder transformers asks on the terminal, else not.
    Raises:
        ModelError: there is none.
    """
    # A trained model's config is one of this package's classes; the code beside it is for users without the package.
    if trust_remote_code is None and option != "--encoder":
        trust_remote_code = False
    own_code = {} if trust_remote_code is None else {"trust_remote_code": trust_remote_code}
    try:
        model_class(PreTrainedConfig.get_config_dict(name_or_path)[0].get("model_type"))
        return AutoConfig.from_pretrained(name_or_path, **own_code)
    except UserError as error:
        raise ModelError(f"{option}: {name_or_path}: {error}") from error
    except (OSError, ValueError) as error:  # the latter for a folder with something else in it
        raise ModelError(
            f"{option}: {name_or_path!r} is neither a folder with a config.json nor a model that can be had from the Hub "
            f"({str(error).splitlines()[0]})"
        ) from error


def trained_folder(name_or_path: str, option: str) -> Path:
    """The folder of a trained model, downloaded if need be, in which nothing is amiss (see integrity.py).

    Args:
        name_or_path, option: as for `load_config`.
    Raises:
        ModelError: it can't be had. IntegrityError, one of these: something is amiss.
    """
    folder = Path(name_or_path)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(name_or_path))
        except (OSError, HTTPError, HFValidationError) as error:
            raise ModelError(
                f"{option}: {name_or_path!r} can't be had from the Hub ({str(error).splitlines()[0]})"
            ) from error
    check_folder(folder)
    return folder
