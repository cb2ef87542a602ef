"""Encoders and tokenizers from elsewhere, out of a trained model, and from scratch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from mosaic_ner.modeling.inference import MentionPredictor
from mosaic_ner.modeling.label_space import LabelSpace
from mosaic_ner.modeling.modeling_aioner import AIONERForTokenClassification
from mosaic_ner.prediction.encoders import plain_tokenizer, set_template
from mosaic_ner.prediction.model_classes import ModelError
from mosaic_ner.training.encoders import load_encoder_parts
from transformers import AutoTokenizer, BertModel, T5Model

# ---- tokenizers


def test_stored_truncation_and_padding_are_removed(bert_dir):
    text = "BRCA1 was seen in mice. " * 20
    stored = AutoTokenizer.from_pretrained(bert_dir)
    # What there is to remove: the saved tokenizer says truncate and pad.
    assert stored.backend_tokenizer.truncation["max_length"] == 8
    assert stored.backend_tokenizer.padding["length"] == 8
    plain = plain_tokenizer(stored)
    assert plain.backend_tokenizer.truncation is None
    assert plain.backend_tokenizer.padding is None
    parts = load_encoder_parts(str(bert_dir))
    assert len(parts.tokenizer(text)["input_ids"]) > 100
    assert parts.tokenizer("a")["input_ids"][-1] == parts.tokenizer.sep_token_id
    again = plain_tokenizer(parts.tokenizer)
    assert again(text)["input_ids"] == parts.tokenizer(text)["input_ids"]
    assert again.special_tokens_map == parts.tokenizer.special_tokens_map


def test_no_token_type_ids_and_no_warning_for_long_texts(bert_dir, caplog):
    parts = load_encoder_parts(str(bert_dir))
    assert set(parts.tokenizer("a gene")) == {"input_ids", "attention_mask"}


def test_a_tokenizer_without_offsets_is_an_error():
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match="Slow has no fast version"):
        plain_tokenizer(Slow())


def test_the_template_names_the_tokens_around_a_text(tiny_parts, tmp_path):
    tokenizer = plain_tokenizer(tiny_parts.tokenizer)
    bare = tokenizer("a gene", add_special_tokens=False)["input_ids"]
    cls, sep, mask = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id
    assert tokenizer("a gene")["input_ids"] == [cls, *bare, sep]
    set_template(tokenizer, [cls, mask], [mask, sep])
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("a gene")["input_ids"] == [cls, mask, *bare, mask, sep]


# ---- encoders


def test_a_pretrained_encoder_keeps_its_weights_and_leaves_the_pooler(bert_dir):
    parts = load_encoder_parts(str(bert_dir))
    stored = BertModel.from_pretrained(bert_dir)
    assert (parts.cls_ids, parts.sep_ids) == ([parts.tokenizer.cls_token_id], [parts.tokenizer.sep_token_id])
    own = parts.encoder.state_dict()
    assert not any("pooler" in name for name in own)
    assert set(own) == {name for name in stored.state_dict() if "pooler" not in name}
    for name, value in own.items():
        assert torch.equal(value, stored.state_dict()[name]), name


def test_t5_gives_its_encoder_alone(t5_dir):
    parts = load_encoder_parts(str(t5_dir))
    assert not any("decoder" in name for name, _ in parts.encoder.named_parameters())
    assert (parts.cls_ids, parts.sep_ids) == ([], [1])
    stored = T5Model.from_pretrained(t5_dir).encoder
    ids = parts.tokenizer("BRCA1 was seen.", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(parts.encoder(ids).last_hidden_state, stored(ids).last_hidden_state)


@pytest.mark.parametrize("kind", ["t5_dir", "bert_dir"])
def test_a_tagger_on_any_encoder_trains_saves_and_predicts_in_characters(
    request, build_bundle, demo_corpora, tmp_path, kind
):
    bundle = build_bundle(encoder=str(request.getfixturevalue(kind)), lively=True)
    text = demo_corpora["demo_all"]["test"][0].text
    batch = bundle.collator(bundle.features.build(demo_corpora["demo_all"]["train"][:2]).features)
    bundle.model(**batch).loss.backward()
    assert all(p.grad is not None for p in bundle.model.encoder.parameters())
    assert bundle.features.coverage.representable("demo_all") > 0.9
    expected = MentionPredictor(bundle.model, bundle.tokenizer)([text])[0]
    assert len(expected) > 5
    assert all(text[m.start : m.end].strip() == text[m.start : m.end] for m in expected)
    bundle.model.save_pretrained(tmp_path)
    again = AIONERForTokenClassification.from_pretrained(tmp_path).eval()
    found = MentionPredictor(again, bundle.tokenizer)([text])[0]
    assert [(m.key, m.score) for m in found] == [(m.key, m.score) for m in expected]


def test_the_encoder_of_a_trained_model_is_taken_without_its_task_tags(shared_bundle, saved_model_dir, build_bundle):
    """AIONER-Pretrained: a new tagger on top of what another has learnt."""
    parts = load_encoder_parts(str(saved_model_dir))
    trained = shared_bundle.model.encoder.state_dict()
    assert set(parts.encoder.state_dict()) == set(trained)
    for name, value in parts.encoder.state_dict().items():
        assert torch.equal(value, trained[name]), name
    tokenizer = shared_bundle.tokenizer
    assert (parts.cls_ids, parts.sep_ids) == ([tokenizer.cls_token_id], [tokenizer.sep_token_id])
    space = LabelSpace({"plants": {"Plant": "Plant", "Soil": "Soil"}, "roots": {"Plant": "Plant"}})
    bundle = build_bundle(space, encoder=str(saved_model_dir))
    (window,) = bundle.features.windower(["A gene of plants."])[0]
    feature = bundle.model.features(window, bundle.model.config.task("Plant"))
    tokens = bundle.tokenizer.convert_ids_to_tokens(feature["input_ids"])
    assert tokens[:2] == ["[CLS]", "<Plant>"]
    assert tokens[-2:] == ["</Plant>", "[SEP]"]
    assert "<ALL>" not in tokens[2:-2]
    # Tags that both have keep their embeddings; new ones come behind.
    assert bundle.tokenizer.convert_tokens_to_ids("<ALL>") == tokenizer.convert_tokens_to_ids("<ALL>")
    old = len(tokenizer)
    assert bundle.tokenizer.convert_tokens_to_ids("<Plant>") >= old
    embeddings = bundle.model.encoder.get_input_embeddings().weight
    assert len(embeddings) == len(bundle.tokenizer) > old
    assert torch.equal(embeddings[:old], shared_bundle.model.encoder.get_input_embeddings().weight)


def test_a_name_that_is_no_encoder_says_so(tmp_path):
    with pytest.raises(ModelError, match=r"neither a folder with a config\.json nor"):
        load_encoder_parts(str(tmp_path))


def test_too_many_tokens_for_the_encoders_positions(bert_dir, build_bundle):
    with pytest.raises(ModelError, match="max_tokens=600, but the encoder has 512 positions"):
        build_bundle(encoder=str(bert_dir), max_tokens=600)


# ---- from scratch


def test_from_scratch_the_same_texts_give_the_same_tokenizer(demo_texts, tiny_parts):
    again = load_encoder_parts("scratch", demo_texts, layers=1, hidden_size=32).tokenizer
    assert again.get_vocab() == tiny_parts.tokenizer.get_vocab()
    assert len(again) == 1000 == tiny_parts.encoder.config.vocab_size


def test_from_scratch_most_words_are_known_in_pieces(demo_texts, tiny_parts):
    tokenizer = tiny_parts.tokenizer
    ids = Counter(i for text in demo_texts for i in tokenizer(text, add_special_tokens=False)["input_ids"])
    assert ids[tokenizer.unk_token_id] < 0.01 * ids.total()
    assert len(ids) > 500
    assert tokenizer.tokenize("Gene") != tokenizer.tokenize("gene")  # cased
    assert tokenizer.tokenize("12") == ["1", "2"]
