"""Configurations: what every family shares, and one class per family. Ships to the Hub."""

from __future__ import annotations

import difflib
import inspect

from transformers import AutoConfig, PreTrainedConfig

from .label_space import LabelSpace


class NERConfig(PreTrainedConfig):
    """What all families need to turn whole documents into windows and windows into mentions.

    Args:
        encoder_config: the encoder's own config (object or dict). Local paths are stripped from it.
        label_space: `LabelSpace.to_dict()`: corpora → native types → shared types.
        max_tokens: tokens per window, special tokens included.
        window_overlap: tokens shared by two windows when one sentence alone is too long; None: 48 or a quarter.
        packing: "packed" (consecutive sentences as long as they fit) or "single" (one sentence a window).
        flat: whether overlapping predictions are resolved (the longest wins) or all kept.
        cls_ids, sep_ids: the special tokens the tokenizer puts before and after a text, without any task tag.
        dropout: dropout probability on the encoder's output.
        inference_only: the model lacks the parts that only training needs.
        tasks: the passes over a text that the model can be asked for, in order, each a dict with at least `"name"`,
            `"prefix_ids"` and `"suffix_ids"`: the special tokens around its windows. Empty: one pass without a name.
        default_tasks: names of the tasks that answer for a text of no training corpus; default: all.

    Raises:
        ValueError: a keyword argument that is a near miss of one of these.
    """

    model_type = "mosaic_ner"

    def __init__(
        self,
        encoder_config=None,
        label_space: dict | None = None,
        max_tokens: int = 256,
        window_overlap: int | None = None,
        packing: str = "packed",
        flat: bool = True,
        cls_ids: list[int] | None = None,
        sep_ids: list[int] | None = None,
        dropout: float = 0.1,
        inference_only: bool = False,
        tasks: list[dict] | None = None,
        default_tasks: list[str] | None = None,
        **kwargs,
    ):
        self._reject_misspelt(kwargs)
        self.encoder_config = _as_config(encoder_config)
        self.label_space = label_space or LabelSpace().to_dict()
        self.max_tokens = max_tokens
        self.window_overlap = window_overlap
        self.packing = packing
        self.flat = flat
        self.cls_ids = list(cls_ids or [])
        self.sep_ids = list(sep_ids or [])
        self.dropout = dropout
        self.inference_only = inference_only
        self.tasks = tasks or []
        self.default_tasks = default_tasks or [t["name"] for t in self.tasks]
        super().__init__(**kwargs)

    def _reject_misspelt(self, kwargs: dict) -> None:
        # transformers keeps and saves unknown keyword arguments, so a misspelt one would be lost without a word.
        own = {
            name
            for cls in type(self).__mro__
            if issubclass(cls, NERConfig)
            for name in inspect.signature(cls.__init__).parameters
        } - {"self", "kwargs"}
        for key in kwargs:
            close = difflib.get_close_matches(key, own, n=1, cutoff=0.8)
            if close:
                raise ValueError(f"{type(self).__name__} has no option {key!r}; did you mean {close[0]!r}?")

    @property
    def num_special_tokens(self) -> int:
        """Tokens a window gets beside its text, those of its task included."""
        around = [len(t["prefix_ids"]) + len(t["suffix_ids"]) for t in self.tasks]
        return max(around, default=len(self.cls_ids) + len(self.sep_ids))

    def task_index(self, name: str) -> int:
        """Number of a task.

        Raises:
            ValueError: no task has this name.
        """
        names = [t["name"] for t in self.tasks]
        if name not in names:
            raise ValueError(f"unknown task {name!r}; this model has {', '.join(names)}")
        return names.index(name)

    @property
    def labels(self) -> LabelSpace:
        """The label space as an object."""
        return LabelSpace.from_dict(self.label_space)


def _as_config(config):
    """A config object of the encoder's own class, without the place it was loaded from."""
    if config is None:
        return None
    if isinstance(config, dict):
        values = {k: v for k, v in config.items() if k not in ("model_type", "_name_or_path", "name_or_path")}
        return AutoConfig.for_model(config["model_type"], **values)
    config._name_or_path = ""
    return config


class AIONERConfig(NERConfig):
    """AIONER: one tagger for many corpora, told by task tags what to look for (section 2.2).

    Args:
        tasks: `{"name", "types", "labels", "prefix_ids", "suffix_ids"}`: also the shared types that the task looks for and
            its label numbers; task tags are among the special tokens.
        corpus_tasks: corpus → names of the tasks whose union answers for that corpus.
        trained_corpora: those that the model is trained on; default: all that have tasks.
        modes: ways to answer for texts of the default tasks (Table S3): "aio" (the ALL task), "ind" (each type's own task,
            results united) and "combined" (both), each a list of task names.
        classifier: "crf" or "softmax" (Table 4).
        hidden_size: units of the fully connected ReLU layer before the labels; 0 leaves it out.
        restrict_labels: keep the labels of other tasks out of the softmax or the chain. The paper has one CRF over all
            labels (False); multi-task learning, with an output layer per task, is this with disjoint labels (True).
        label_first_token_only: train and read tags on the first token of each white-space word only.
        scores: "marginal" (CRF forward-backward) or "emission" (softmax of the scores alone) for a mention's confidence.
    """

    model_type = "mosaic_aioner"

    def __init__(
        self,
        corpus_tasks: dict[str, list[str]] | None = None,
        trained_corpora: list[str] | None = None,
        modes: dict[str, list[str]] | None = None,
        classifier: str = "crf",
        hidden_size: int = 0,
        restrict_labels: bool = False,
        label_first_token_only: bool = False,
        scores: str = "marginal",
        **kwargs,
    ):
        _expect("classifier", classifier, ("crf", "softmax"))
        _expect("scores", scores, ("marginal", "emission"))
        self.corpus_tasks = corpus_tasks or {}
        self.trained_corpora = list(self.corpus_tasks if trained_corpora is None else trained_corpora)
        self.modes = modes or {}
        self.classifier = classifier
        self.hidden_size = hidden_size
        self.restrict_labels = restrict_labels
        self.label_first_token_only = label_first_token_only
        self.scores = scores
        super().__init__(**kwargs)


class SpanCVAEConfig(NERConfig):
    """CVAE-NER: spans classified by a softmax per corpus, shaped by a conditional VAE over label relations.

    Args:
        tasks: the corpora; a corpus's own token is among the special tokens around its windows.
        max_span_width: units of the widest span (Table 4: 10).
        boundaries: where a span may begin and end: "word" (see `find_units`) or "token".
        width_size: size of the embedding of a span's width (Table 4: 150).
        span_size: size of a span's embedding h (eq. 1); None: the encoder's hidden size.
        hidden_size: units of the classifier's first layer.
        labels_per: "corpus" (each corpus has its own outputs) or "shared" (types with the same shared type have the same
            output: the paper's "Multi (Shared label)").
        alpha: weight of L_CVAE; 0 builds no CVAE.
        prior: initialisation of the prior distribution vectors: "full", "fixed" (full, and never trained), "unshared",
            "shared" or "random" (section 4.3).
        cvae_hidden_size, latent_size: sizes of the CVAE's layers and of z (Table 4: 150).
        threshold: least probability of a predicted mention (0..1); 0: more probable than every other label is enough.
    """

    model_type = "mosaic_span_cvae"

    def __init__(
        self,
        max_span_width: int = 10,
        boundaries: str = "word",
        width_size: int = 150,
        span_size: int | None = None,
        hidden_size: int = 150,
        labels_per: str = "corpus",
        alpha: float = 1e-4,
        prior: str = "full",
        cvae_hidden_size: int = 150,
        latent_size: int = 150,
        threshold: float = 0.0,
        **kwargs,
    ):
        _expect("boundaries", boundaries, ("word", "token"))
        _expect("labels_per", labels_per, ("corpus", "shared"))
        _expect("prior", prior, ("full", "fixed", "unshared", "shared", "random"))
        if max_span_width < 1:
            raise ValueError(f"max_span_width is {max_span_width}; expected 1 or more")
        if alpha < 0:
            raise ValueError(f"alpha is {alpha}; expected 0 or more")
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; expected a probability, 0 to 1")
        self.max_span_width = max_span_width
        self.boundaries = boundaries
        self.width_size = width_size
        self.hidden_size = hidden_size
        self.labels_per = labels_per
        self.alpha = alpha
        self.prior = prior
        self.cvae_hidden_size = cvae_hidden_size
        self.latent_size = latent_size
        self.threshold = threshold
        super().__init__(**kwargs)
        self.span_size = span_size or (self.encoder_config.hidden_size if self.encoder_config else None)
        # Always made from the label space, so that names and numbers can't disagree.
        names = dict.fromkeys(":".join(key) for key in self._output_keys())
        self.id2label = dict(enumerate(names)) or self.id2label
        self.label2id = {name: number for number, name in self.id2label.items()}

    def _output_keys(self) -> list[tuple[str, ...]]:
        """For each of `labels.labels` what names its output; labels of the same output have the same."""
        space = self.labels
        keys: list[tuple[str, ...]] = []
        for corpus, native in space.labels:
            negative = native not in space.native_types(corpus)
            shared = None if negative else space.shared(corpus, native)
            if self.labels_per == "shared" and (negative or shared is not None):
                keys.append(("O",) if negative else (shared,))
            else:
                keys.append((corpus, "O" if negative else native))
        return keys

    @property
    def outputs(self) -> tuple[list[tuple[str, str] | None], list[int]]:
        """What the classifier's outputs stand for.

        Returns:
            per output (shared type or else the native one, native type), None for a negative; and the output of each of
            `labels.labels`. Where outputs are shared, the shared type stands for the native one.
        """
        space, keys = self.labels, self._output_keys()
        order = list(dict.fromkeys(keys))
        names: list[tuple[str, str] | None] = [None] * len(order)
        for (corpus, native), key in zip(space.labels, keys, strict=True):
            if native in space.native_types(corpus):
                shared = space.shared(corpus, native) or native
                names[order.index(key)] = (shared, native if self.labels_per == "corpus" else shared)
        return names, [order.index(key) for key in keys]


class OwnTypesConfig(NERConfig):
    """What families share in which the types of all corpora are different types, each with outputs of its own.

    Args:
        tasks: which types are told: each `{"name", "corpus", "prefix_ids", "suffix_ids"}`, those of the corpus, or all where
            it is None.
    """

    def __init__(self, **kwargs):
        # transformers would make one of the class's fields, of which it has none.
        super().__init__(**kwargs)

    @property
    def types(self) -> list[tuple[str, str]]:
        """(corpus, native type) in order: the types of all corpora are different ones."""
        space = self.labels
        return [(corpus, native) for corpus in space.corpora for native in space.native_types(corpus)]

    def _name(self, names: list[str]) -> None:
        self.id2label = dict(enumerate(names))
        self.label2id = {name: number for number, name in self.id2label.items()}


class SRUNERConfig(OwnTypesConfig):
    """SRU-NER: a transition system with a slot memory, for nested mentions and disjoint label sets.

    Args:
        latents_per_action: latent vectors of the memory, as a multiple of the actions (Table 12: 10 for GENIA, else 2).
        context: slots on either side that have positions of their own (Table 12: 240 for GENIA, else 150).
        train_scale: whether α of eq. 5 is trained (GENIA) or stays 1 (the other experiments).
        history: what weighs the actions in Ω (eq. 2): "softmax" (the authors' code; on GENIA's development sentences far
            better after equal epochs) or "logits" (the paper).
        follow_gold: in training Ω also has the gold actions that the pointer follows, as in prediction it has the chosen one;
            False: only actions that the model finds no less likely than SH (the paper), so at first almost none.
        write: the slot that Ω goes to: "last", that of the last word read (the paper), or "next", for TR and RE that of the
            word to come (the authors' code).
        loss_mean: "windows", the mean over windows of the mean over their steps (the paper), or "steps", the mean over all
            steps of a batch (the authors' code): then long windows weigh more.
        slot_dropout: dropout on latent vectors and positions; `dropout` is that before the MLP.
        max_actions: steps between two words at most, so that prediction ends; a type can open or close as many mentions there.
        boundaries: what a word is: "word" (pieces of words, see spans.py) or "token".
    """

    model_type = "mosaic_sruner"

    def __init__(
        self,
        latents_per_action: int = 2,
        context: int = 150,
        train_scale: bool = False,
        history: str = "softmax",
        follow_gold: bool = True,
        write: str = "last",
        loss_mean: str = "windows",
        slot_dropout: float = 0.2,
        max_actions: int = 8,
        boundaries: str = "word",
        **kwargs,
    ):
        _expect("history", history, ("logits", "softmax"))
        _expect("write", write, ("last", "next"))
        _expect("loss_mean", loss_mean, ("windows", "steps"))
        _expect("boundaries", boundaries, ("word", "token"))
        for name, value, least in (
            ("latents_per_action", latents_per_action, 1),
            ("context", context, 0),
            ("max_actions", max_actions, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}; expected {least} or more")
        self.latents_per_action = latents_per_action
        self.context = context
        self.train_scale = train_scale
        self.history = history
        self.follow_gold = follow_gold
        self.write = write
        self.loss_mean = loss_mean
        self.slot_dropout = slot_dropout
        self.max_actions = max_actions
        self.boundaries = boundaries
        super().__init__(**kwargs)
        self._name(["SH", "EOA", *(f"{act}-{c}:{t}" for c, t in self.types for act in ("TR", "RE"))])


class JointIBConfig(OwnTypesConfig):
    """Joint information bottleneck: spans classified through a compressed latent, shaped by two generative ones.

    Args:
        max_span_width: units of the widest span.
        boundaries: where a span may begin and end: "word" (see `find_units`) or "token".
        hidden_size: units of the first of the two layers that compress a span.
        latent_size: of z₃, and of z₁ and z₂.
        noise: whether z₃ is sampled in training; without it and with `beta` 0 the model is a plain span classifier.
        beta: weight of the compression loss (eq. 6); 0: none ("SupVIB_0").
        ib_prior: r(z₃): "learnt" (a diagonal Gaussian, as Mahabadi et al. 2021) or "standard".
        gamma: weight of the generative losses (eq. 7) in what they give back to the encoder; 0: no decoders.
        kl_weight: weight of their divergences (eq. 4 and 5) beside the words' likelihood; 1: the paper's bound.
        synonyms: whether synonyms are generated too ("All"), or spans reconstructed only.
        shared: what reconstruction and synonyms share: "mean" (μ), "both" (μ and σ) or "nothing".
        word_size: size of the decoders' word vectors.
        decoder_size: size of their LSTM's state.
        vocabulary: the decoders' words; four special ones come before them.
        pretraining: epochs at the beginning that train the generative parts alone.
        annealing: epochs over which the weights of the divergences rise to their full values.
        threshold: least probability of a predicted mention, 0..1.
    """

    model_type = "mosaic_joint_ib"

    def __init__(
        self,
        max_span_width: int = 14,
        boundaries: str = "word",
        hidden_size: int = 512,
        latent_size: int = 512,
        noise: bool = True,
        beta: float = 1e-4,
        ib_prior: str = "learnt",
        gamma: float = 1e-2,
        kl_weight: float = 1.0,
        synonyms: bool = True,
        shared: str = "mean",
        word_size: int = 200,
        decoder_size: int = 256,
        vocabulary: list[str] | None = None,
        pretraining: float = 0.0,
        annealing: float = 0.0,
        threshold: float = 0.5,
        **kwargs,
    ):
        _expect("boundaries", boundaries, ("word", "token"))
        _expect("ib_prior", ib_prior, ("learnt", "standard"))
        _expect("shared", shared, ("mean", "both", "nothing"))
        if max_span_width < 1:
            raise ValueError(f"max_span_width is {max_span_width}; expected 1 or more")
        weights = {
            "beta": beta,
            "gamma": gamma,
            "kl_weight": kl_weight,
            "pretraining": pretraining,
            "annealing": annealing,
        }
        for name, value in weights.items():
            if value < 0:
                raise ValueError(f"{name} is {value}; expected 0 or more")
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; expected a probability, 0 to 1")
        self.max_span_width = max_span_width
        self.boundaries = boundaries
        self.hidden_size = hidden_size
        self.latent_size = latent_size
        self.noise = noise
        self.beta = beta
        self.ib_prior = ib_prior
        self.gamma = gamma
        self.kl_weight = kl_weight
        self.synonyms = synonyms
        self.shared = shared
        self.word_size = word_size
        self.decoder_size = decoder_size
        self.vocabulary = list(vocabulary or [])
        self.pretraining = pretraining
        self.annealing = annealing
        self.threshold = threshold
        super().__init__(**kwargs)
        self._name([":".join(kind) for kind in self.types])

    def to_dict(self) -> dict:
        """Without the decoders' words where there are no decoders: they are of no use, and thousands."""
        values = super().to_dict()
        return values | {"vocabulary": []} if self.inference_only else values


def _expect(name: str, value, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
