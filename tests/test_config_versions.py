"""Models of mosaic-ner 0.1: refused by name, and, with a converted config, the same model."""

from __future__ import annotations

import json
import shutil

import pytest
from helpers_run import fails
from helpers_v01 import FORMS, HIDDEN, TIED, UNITS, convert_folder, converted
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.prediction.loading import load
from mosaic_ner.prediction.model_classes import ModelError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

NAMES = {
    "aioner": [],
    "span_cvae": ["boundaries (now units)", "each corpus has its own first layer of the classifier"],
    "sruner": ["boundaries (now units)", "write (gone)", "loss_mean (gone)"],
    "joint_ib": [
        "boundaries (now units)", "shared (now tied)", "synonyms (now generate_synonyms)", "annealing (gone)",
        "pretraining (gone)", "noise (gone)", "the Baseline has no layers that compress",
    ],
}  # fmt: skip
"""Family → what an error says of the keys of its 0.1 configs."""
TASKS = {
    "aioner": ("name", "prefix_ids", "suffix_ids", "types", "labels"),
    "span_cvae": ("name", "prefix_ids", "suffix_ids"),
    "sruner": ("name", "prefix_ids", "suffix_ids", "corpus"),
    "joint_ib": ("name", "prefix_ids", "suffix_ids", "corpus"),
}
"""Family → the keys of a task in its 0.1 configs."""
MODELS = {
    "aioner": {"family": "aioner"},
    "aioner_mtl": {"family": "aioner", "scheme": "mtl", "classifier": "softmax", "hidden_size": 16},
    "span_cvae": {"family": "span_cvae"},
    "span_cvae_shared": {"family": "span_cvae", "labels_per": "shared", "units": "token", "alpha": 0.0},
    "sruner": {"family": "sruner"},
    "sruner_token": {"family": "sruner", "units": "token", "flat": True},
    "joint_ib": {"family": "joint_ib"},
    "joint_ib_synonyms": {
        "family": "joint_ib", "units": "token", "tied": "none", "threshold": 0.6,
        "synonyms": {"brca1": ("breast cancer 1",)},
    },
}  # fmt: skip


def as_0_1(new: dict) -> dict:
    """The config as mosaic-ner 0.1 wrote it: the inverse of `converted`."""
    family = new["model_type"].removeprefix("mosaic_")
    units, tied = ({now: then for then, now in names.items()} for names in (UNITS, TIED))
    old = {key: value for key, value in new.items() if key != "config_version"}
    old["auto_map"] = new["auto_map"] | {
        "AutoConfig": "configuration_ner." + new["auto_map"]["AutoConfig"].split(".")[1]
    }
    old["tasks"] = [{key: task[key] for key in TASKS[family]} for task in new["tasks"]]
    if family != "aioner":
        old["boundaries"] = units[old.pop("units")]
    if family == "sruner":
        old |= {"write": "last", "loss_mean": "windows"}
    if family == "joint_ib":
        assert old.pop("compressed")
        old |= {"noise": True, "shared": tied[old.pop("tied")], "annealing": 0.0}
        old |= {"synonyms": old.pop("generate_synonyms"), "pretraining": 0.0}
    return old


def read(folder) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def plain(config: dict, *more: str) -> dict:
    """Without what names code or a folder."""
    return {k: v for k, v in config.items() if k not in ("auto_map", "custom_pipelines", "_name_or_path", *more)}


def one_first_layer(model) -> int:
    """Gives each corpus of CVAE-NER the first layer that 0.1 had for all; its size."""
    size = model.config.hidden_size
    for parameter in (model.hidden.weight, model.hidden.bias):
        parameter.data = parameter.data[:size].repeat(len(parameter) // size, *[1] * (parameter.dim() - 1))
    return size


@pytest.fixture(scope="module")
def saved(build_bundle, demo_corpora, tmp_path_factory):
    """Function: name of a model → its bundle, its folder, and the folder that mosaic-ner 0.1 would have written."""
    made = {}

    def save(name: str):
        if name not in made:
            place = tmp_path_factory.mktemp(name)
            bundle = build_bundle(lively=True, documents=demo_corpora["demo_all"]["train"][:5], **MODELS[name])
            size = one_first_layer(bundle.model) if name.startswith("span_cvae") else 0
            bundle.save(place / "new")
            shutil.copytree(place / "new", place / "old")
            (place / "old" / "config.json").write_text(json.dumps(as_0_1(read(place / "new"))), encoding="utf-8")
            if size:
                weights = load_file(place / "new" / "model.safetensors")
                weights |= {name: weights[name][:size].clone() for name in HIDDEN}
                save_file(weights, place / "old" / "model.safetensors", metadata={"format": "pt"})
            made[name] = bundle, place / "new", place / "old"
        return made[name]

    return save


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_0_1_is_refused_by_name(saved, name):
    bundle, _, old = saved(name)
    kind, names = bundle.model.config.model_type, NAMES[MODELS[name]["family"]]
    assert names == [] or bundle.model.config.units == UNITS[read(old)["boundaries"]]
    for call in (AutoConfig.from_pretrained, AutoModel.from_pretrained, type(bundle.model).from_pretrained):
        with pytest.raises(ValueError, match="has the form of mosaic-ner") as error:
            call(old, trust_remote_code=False)
        assert str(error.value) == (
            f"config.json of a {kind} has the form of mosaic-ner 0.1, expected form {FORMS[kind]}"
            f"{': ' if names else ''}{', '.join(names)}. Train the model again, or load it with mosaic-ner 0.1"
        )


@pytest.mark.parametrize("name", ["aioner", "joint_ib"])
def test_the_command_line_says_so_too(saved, tmp_path, capsys, name):
    _, _, old = saved(name)
    with pytest.raises(ModelError, match=r"has the form of mosaic-ner 0\.1"):
        load(str(old))
    (tmp_path / "in.txt").write_text("BRCA1 causes velosis.")
    argv = ["--predict_input", tmp_path / "in.txt", "--predict_output", tmp_path / "out.jsonl"]
    message = fails(capsys, "--do_predict", "--model_name_or_path", old, *argv)
    for piece in (f"model: {old}", "mosaic-ner 0.1", *NAMES[MODELS[name]["family"]]):
        assert piece in message


@pytest.mark.parametrize("name", MODELS)
def test_a_converted_model_is_the_same(saved, demo_texts, tmp_path, name):
    bundle, new, old = saved(name)
    convert_folder(old, tmp_path / "converted")
    assert plain(read(tmp_path / "converted"), "tasks") == plain(read(new), "tasks")
    (original, _), (model, tokenizer) = (load(str(folder)) for folder in (new, tmp_path / "converted"))
    assert plain(model.config.to_dict()) == plain(original.config.to_dict()) == plain(bundle.model.config.to_dict())
    texts = [*demo_texts[:2], "𝔤𝔢𝔫𝔢 BRCA1 causes velosis.", "", " ".join(demo_texts[2:4])]
    # Both as they are loaded: weights that begin elsewhere in memory than in a file can give other roundings.
    first, again = (MentionPredictor(m, tokenizer) for m in (original, model))
    seen = set()
    for corpus in (None, *model.config.labels.corpora):
        for mode in [None, "native"] if corpus and model.knows_native_types(corpus) else [None]:
            tasks = model.tasks_for(corpus, mode)
            assert tasks == original.tasks_for(corpus, mode)
            found, expected = (predictor(texts, tasks) for predictor in (again, first))
            assert [[(m.key, m.score) for m in row] for row in found] == [
                [(m.key, m.score) for m in row] for row in expected
            ]
            seen |= {(corpus, mode, m.type) for row in found for m in row}
    assert len(seen) > 6


def test_what_0_1_could_and_0_2_cannot_is_not_converted(saved):
    _, _, old = saved("sruner")
    assert converted(read(old))["config_version"] == FORMS["mosaic_sruner"]
    with pytest.raises(ValueError, match="--write next has no counterpart"):
        converted(read(old) | {"write": "next"})


@pytest.mark.parametrize(
    ("name", "other", "more", "why"),
    [
        ("aioner", 3, {}, ""),
        ("span_cvae", 2, {}, ": each corpus has its own first layer of the classifier"),
        ("joint_ib", 2, {"deterministic": True}, r": deterministic \(gone\), the Baseline has no layers that compress"),
    ],
)
def test_another_form_is_refused_whether_earlier_or_later(saved, tmp_path, name, other, more, why):
    _, new, _ = saved(name)
    (tmp_path / "config.json").write_text(json.dumps(read(new) | {"config_version": other} | more))
    with pytest.raises(ValueError, match=f"the form of mosaic-ner {other}, expected form {5 - other}{why}"):
        AutoConfig.from_pretrained(tmp_path, trust_remote_code=False)
