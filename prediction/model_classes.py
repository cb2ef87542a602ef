"""Which classes a trained model has, told by its model type."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from mosaic_ner.modeling.configuration_ner import NERConfig
from mosaic_ner.modeling.label_space import UserError
from mosaic_ner.modeling.modeling_ner import NERPreTrainedModel
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification

PREFIX = "mosaic_"
"""How the model types of this package begin; the rest names the files configuration_<rest>.py and modeling_<rest>.py."""

_CLASSES: dict[str, type[NERPreTrainedModel]] = {}


class ModelError(UserError):
    """A family, an encoder or a trained model that can't be used as asked."""


def register(model: type[NERPreTrainedModel]) -> None:
    """Makes a family's classes known to the Auto classes of transformers, under the model type of its config.

    Args:
        model: its `config_class` is registered with it.
    """
    config = model.config_class
    _CLASSES[config.model_type] = model
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModel.register(config, model, exist_ok=True)
    AutoModelForTokenClassification.register(config, model, exist_ok=True)


def model_class(model_type: str) -> type[NERPreTrainedModel] | None:
    """The class of a model type, registered; None for a type that is none of this package's families."""
    name = str(model_type).removeprefix(PREFIX)
    module = f"{NERConfig.__module__.rpartition('.')[0]}.modeling_{name}"
    if model_type not in _CLASSES and model_type == PREFIX + name and name.isidentifier() and find_spec(module):
        own = vars(import_module(module)).values()
        kinds = [k for k in own if isinstance(k, type) and issubclass(k, NERPreTrainedModel) and k.__module__ == module]
        for kind in kinds:
            if kind.config_class.model_type == model_type:
                register(kind)
    return _CLASSES.get(model_type)
