"""Shared fixtures: a tiny tokenizer and encoder, and small models on the label space of the generated corpora."""

from __future__ import annotations

import copy

import helpers_joint_ib
import helpers_run
import helpers_sruner
import pytest
import torch
from mosaic_ner.data_builders.demo import DEMO_LABEL_SPACE, load_demo_corpora
from mosaic_ner.data_builders.options import Options, specs
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.modeling_joint_ib import JointIBForNER
from mosaic_ner.modeling.modeling_span_cvae import SpanCVAEForNER
from mosaic_ner.training import bundle as bundles
from mosaic_ner.training import families
from mosaic_ner.training.arguments import ModelOptions, TrainOptions
from mosaic_ner.training.bundle import TrainingData
from mosaic_ner.training.encoders import load_encoder_parts
from mosaic_ner.training.evaluator import Evaluator
from mosaic_ner.training.trainer import NERTrainer, run_arguments
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, T5Config, T5Model

torch.set_num_threads(1)
"""Sums in one order, so that what must be equal to the last bit is; and two processes of tests don't share their cores."""


def pytest_make_parametrize_id(config, val, argname):
    """Bytes don't name a test: gzip writes the time into them, and pytest-xdist wants equal names from all its processes."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def demo_corpora():
    """corpus → split → documents of the generated set."""
    return load_demo_corpora()


@pytest.fixture(scope="session")
def demo_texts(demo_corpora):
    """The training texts of the bridge corpus."""
    return [d.text for d in demo_corpora["demo_all"]["train"]]


@pytest.fixture(scope="session")
def tiny_parts(demo_texts):
    """An `EncoderParts` from scratch: one layer of 32 units. Shared by all tests: copy before changing it."""
    torch.manual_seed(0)
    return load_encoder_parts("scratch", demo_texts, layers=1, hidden_size=32)


@pytest.fixture(scope="session")
def tiny_encoder_dir(tiny_parts, tmp_path_factory):
    """A folder that `--encoder` takes: the tiny encoder with its tokenizer."""
    folder = tmp_path_factory.mktemp("encoder")
    tiny_parts.encoder.save_pretrained(folder)
    tiny_parts.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def t5_dir(demo_texts, tmp_path_factory):
    """A tiny random T5, encoder and decoder, with a Unigram tokenizer that closes texts with </s>."""
    folder = tmp_path_factory.mktemp("t5")
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(demo_texts[:20], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    T5Model(
        T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, dropout_rate=0.0)
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert_dir(tiny_parts, tmp_path_factory):
    """A tiny random BERT whose tokenizer was saved with truncation to 8 tokens and padding, as some are."""
    folder = tmp_path_factory.mktemp("bert")
    backend = Tokenizer.from_str(tiny_parts.tokenizer.backend_tokenizer.to_str())
    backend.enable_truncation(8)
    backend.enable_padding(length=8, pad_id=0, pad_token="[PAD]")
    names = {f"{n}_token": f"[{n.upper()}]" for n in ("unk", "pad", "cls", "sep", "mask")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=8, **names)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(folder)
    return folder


def options_of(family="aioner", **options) -> tuple[ModelOptions, Options]:
    """The shared options and the family's own."""
    own = families.family(family).Options
    shared = {name: value for name, value in options.items() if name in specs(ModelOptions)}
    return ModelOptions(family=family, **shared), own(**{n: v for n, v in options.items() if n not in shared})


def enliven(model, seed: int = 0):
    """Gives the head larger random weights, so that an untrained model finds mentions of every type."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("encoder."):
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.4)
        if isinstance(model, JointIBForNER) and model.config.compressed:  # or every score would be 0 or 1
            model.classifier.weight.mul_(0.015)
        if isinstance(model, SpanCVAEForNER):  # or nearly every span would be a mention, with a score of 1
            names, _ = model.config.outputs
            model.classifier.weight.mul_(0.6 * model.config.hidden_size**-0.5)
            model.classifier.bias.mul_(0.25)
            model.classifier.bias[[name is None for name in names]] += 2.0
    return model.eval()


@pytest.fixture(scope="session")
def build_bundle(tiny_encoder_dir):
    """Function: model options (a label space, the corpora trained on) → a fresh `Bundle` with a tiny encoder, always the
    same; `lively=True`: untrained, but finding mentions of every type everywhere."""

    def build(space=DEMO_LABEL_SPACE, lively=False, trained=None, documents=(), synonyms=None, **options):
        torch.manual_seed(0)
        model, own = options_of(**({"encoder": str(tiny_encoder_dir), "max_tokens": 64} | options))
        train = {corpus: [] for corpus in (space.corpora if trained is None else trained)}
        for document in documents:
            train.setdefault(document.corpus, []).append(document)
        data = TrainingData(space, train)
        if synonyms is not None:
            own.synonyms = ["corpora"] if synonyms else None
            data._synonyms[("corpora",), own.max_synonyms] = synonyms
        bundle = bundles.build(model, own, data)
        if lively:
            enliven(bundle.model)
        return bundle

    return build


@pytest.fixture(scope="session")
def shared_bundle(build_bundle):
    """A lively bundle of the aio scheme with a CRF. For reading only: shared by all tests (`bundle` is a copy)."""
    return build_bundle(lively=True)


@pytest.fixture
def bundle(shared_bundle):
    """A copy of `shared_bundle` that a test may train or change."""
    return copy.deepcopy(shared_bundle)


@pytest.fixture
def exact(build_bundle):
    """Function: options → a lively bundle of SRU-NER in float64 without dropout, in evaluation mode."""

    def build(**options):
        bundle = build_bundle(**(helpers_sruner.SMALL | {"lively": True} | options))
        bundle.model.double().eval()
        helpers_sruner.calm(bundle.model)
        return bundle

    return build


@pytest.fixture
def ib(build_bundle):
    """Function: options → a bundle in float64, with words of the demo corpora's mentions, calm in training."""

    def build(exact=True, synonyms=None, **options):
        if synonyms is None:
            texts = {d.text[m.start : m.end].lower() for d in helpers_joint_ib.documents() for m in d.mentions}
            synonyms = {text: (f"the {text}", f"{text} 2") for text in sorted(texts)[::2]}
        bundle = build_bundle(
            documents=helpers_joint_ib.documents(), synonyms=synonyms, **(helpers_joint_ib.SMALL | options)
        )
        if exact:
            bundle.model.double()
        for module in bundle.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return bundle

    return build


@pytest.fixture(scope="session")
def saved_model_dir(shared_bundle, tmp_path_factory):
    """A folder with the (untrained) model of `shared_bundle`, its tokenizer and its code."""
    folder = tmp_path_factory.mktemp("model")
    shared_bundle.model.save_pretrained(folder)
    shared_bundle.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def trainer_for(tmp_path):
    """Function: bundle, features, run options → a trainer that saves nothing unless told to."""

    def make(bundle, dataset, validation=None, **options):
        quiet = {"report_to": "none", "eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
        quiet |= {"disable_tqdm": True, "use_cpu": True, "logging_steps": 1, "warmup_steps": 0} | options
        ours = {name: value for name, value in quiet.items() if name in specs(TrainOptions)}
        trainer = {name: value for name, value in quiet.items() if name not in ours}
        args = run_arguments(TrainOptions(output_dir=str(tmp_path), **ours), trainer)
        evaluator = Evaluator(MentionPredictor(bundle.model, bundle.tokenizer), DEMO_LABEL_SPACE)
        return NERTrainer(bundle, args, evaluator, validation or {}, train_dataset=dataset)

    return make


@pytest.fixture(scope="session")
def trained_dir(tmp_path_factory):
    """Output folder of a real run on the generated corpora: scratch encoder, 120 small steps, evaluated twice, predictions
    written. For reading only."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    argv = [
        "--corpora",
        "demo",
        *helpers_run.TINY,
        "--scratch_hidden_size",
        "64",
        "--dropout",
        "0",
        "--max_steps",
        "120",
    ]
    argv += ["--learning_rate", "8e-3", "--per_device_train_batch_size", "8", "--eval_strategy", "steps"]
    argv += ["--eval_steps", "60", "--save_strategy", "steps", "--save_steps", "60", "--save_total_limit", "2"]
    argv += ["--validation_corpora", "demo_all", "--logging_steps", "30", "--disable_tqdm", "true"]
    helpers_run.run(*argv, "--write_predictions", "--output_dir", folder)
    return folder
