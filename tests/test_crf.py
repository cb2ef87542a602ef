"""The CRF against the definition: enumeration of all label sequences, in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from mosaic_ner.modeling import crf as decoding
from mosaic_ner.modeling.crf import CRF

LABELS = 3
MASKS = {
    "full": [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]],
    "prefix": [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]],
    "specials and padding": [[0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [0, 1, 0, 0, 0, 0]],
    "gaps": [[1, 0, 1, 0, 1], [0, 1, 0, 0, 1], [1, 1, 0, 1, 0]],
    "empty row": [[0, 0, 0, 0], [1, 1, 0, 1], [0, 0, 0, 0]],
    "all empty": [[0, 0, 0]],
    "one position": [[1], [0]],
}


@pytest.fixture(params=MASKS, ids=list(MASKS))
def case(request):
    """A CRF in float64, emissions that need a gradient, labels (-100 outside the chain) and the mask."""
    generator = torch.Generator().manual_seed(len(request.param))
    mask = torch.tensor(MASKS[request.param], dtype=torch.bool)
    crf = random_crf(generator)
    emissions = (3 * torch.randn(*mask.shape, LABELS, generator=generator, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(LABELS, mask.shape, generator=generator).masked_fill(~mask, -100)
    return crf, emissions, labels, mask


def random_crf(generator, scale: float = 2.0) -> CRF:
    crf = CRF(LABELS).double()
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return crf


def viterbi(crf, emissions, mask):
    """The best path where no step is ruled out (test_tag_units.py has those where some are)."""
    return decoding.best_path(crf.steps().expand(4, -1, -1), emissions, mask, torch.zeros_like(mask, dtype=torch.long))


def marginals(crf, emissions, mask):
    return decoding.marginals(crf.steps().expand(4, -1, -1), emissions, mask, torch.zeros_like(mask, dtype=torch.long))


def chain_score(crf, emissions, sequence) -> torch.Tensor:
    """s(X, y) of one chain, term by term (eq. 1)."""
    score = crf.start[sequence[0]] + crf.end[sequence[-1]]
    for position, label in enumerate(sequence):
        score = score + emissions[position, label]
    for before, after in itertools.pairwise(sequence):
        score = score + crf.transitions[before, after]
    return score


def enumerated(crf, emissions):
    """All label sequences of one chain (n > 0 positions) and their scores."""
    sequences = list(itertools.product(range(LABELS), repeat=len(emissions)))
    return sequences, torch.stack([chain_score(crf, emissions, s) for s in sequences])


def enumerated_log_likelihood(crf, emissions, labels, mask) -> torch.Tensor:
    rows = []
    for row in range(len(mask)):
        inside = mask[row].nonzero().flatten()
        if not len(inside):
            rows.append(emissions.new_zeros(()))
            continue
        chain = emissions[row, inside]
        _, scores = enumerated(crf, chain)
        rows.append(chain_score(crf, chain, labels[row, inside].tolist()) - torch.logsumexp(scores, 0))
    return torch.stack(rows)


def test_log_likelihood_is_that_of_the_enumeration(case):
    crf, emissions, labels, mask = case
    expected = enumerated_log_likelihood(crf, emissions, labels, mask)
    torch.testing.assert_close(crf.log_likelihood(emissions, labels, mask), expected, rtol=0, atol=1e-10)
    assert (expected <= 0).all()
    assert (expected[mask.any(1)] < -1e-3).all()  # so that equality says something


def test_probabilities_of_all_sequences_sum_to_one(case):
    crf, emissions, _, mask = case
    row = int(mask.sum(1).argmax())
    inside = mask[row].nonzero().flatten()
    total = 0.0
    for sequence in itertools.product(range(LABELS), repeat=len(inside)):
        labels = torch.zeros_like(mask, dtype=torch.long)
        labels[row, inside] = torch.tensor(sequence, dtype=torch.long)
        total += crf.log_likelihood(emissions, labels, mask)[row].exp().item()
    assert total == pytest.approx(1, abs=1e-10)


def test_log_partition_is_that_of_the_enumeration():
    generator = torch.Generator().manual_seed(5)
    crf = random_crf(generator)
    emissions = torch.randn(3, 5, LABELS, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    expected = [torch.logsumexp(enumerated(crf, emissions[row, :n])[1], 0).item() for row, n in ((0, 5), (1, 3))]
    got = crf.log_partition(emissions, mask).tolist()
    assert got == pytest.approx([*expected, 0.0], abs=1e-10)


def test_gradient_is_that_of_the_enumeration(case):
    crf, emissions, labels, mask = case
    parameters = [emissions, crf.transitions, crf.start, crf.end]
    got = torch.autograd.grad(crf.log_likelihood(emissions, labels, mask).sum(), parameters)
    expected = [torch.zeros_like(p) for p in parameters]
    if mask.any():
        enumeration = enumerated_log_likelihood(crf, emissions, labels, mask).sum()
        expected = torch.autograd.grad(enumeration, parameters, allow_unused=True, materialize_grads=True)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_masked_positions_get_no_gradient_and_their_content_does_not_matter(case):
    crf, emissions, labels, mask = case
    loss = crf.log_likelihood(emissions, labels, mask)
    (gradient,) = torch.autograd.grad(loss.sum(), [emissions])
    assert (gradient[~mask] == 0).all()
    assert not mask.any() or (gradient[mask] != 0).any()
    changed = torch.where(mask.unsqueeze(2), emissions, torch.full_like(emissions, 1e6)).detach()
    other_labels = torch.where(mask, labels, torch.full_like(labels, LABELS - 1))
    assert torch.equal(crf.log_likelihood(changed, other_labels, mask), loss)
    assert torch.equal(viterbi(crf, changed, mask), viterbi(crf, emissions, mask))
    assert torch.equal(marginals(crf, changed, mask), marginals(crf, emissions, mask))


def test_viterbi_is_the_best_of_the_enumeration(case):
    crf, emissions, _, mask = case
    tags = viterbi(crf, emissions, mask)
    assert tags.dtype == torch.long
    assert (tags[~mask] == 0).all()
    for row in range(len(mask)):
        inside = mask[row].nonzero().flatten()
        if len(inside):
            sequences, scores = enumerated(crf, emissions[row, inside])
            assert tuple(tags[row, inside].tolist()) == sequences[int(scores.argmax())]


def test_viterbi_follows_transitions_and_not_only_emissions():
    crf = random_crf(torch.Generator().manual_seed(0), scale=0)
    with torch.no_grad():
        crf.transitions.fill_(-50.0)
        crf.transitions[0, 1] = crf.transitions[1, 2] = crf.transitions[2, 0] = 0.0
    emissions = torch.zeros(1, 6, LABELS, dtype=torch.float64)
    emissions[0, 2, 2] = 1.0
    assert viterbi(crf, emissions, torch.ones(1, 6, dtype=torch.bool)).tolist() == [[0, 1, 2, 0, 1, 2]]


def test_marginals_are_those_of_the_enumeration(case):
    crf, emissions, _, mask = case
    got = marginals(crf, emissions, mask)
    expected = torch.zeros_like(got)
    for row in range(len(mask)):
        inside = mask[row].nonzero().flatten()
        if len(inside):
            sequences, scores = enumerated(crf, emissions[row, inside])
            for sequence, chance in zip(sequences, scores.softmax(0), strict=True):
                for position, label in zip(inside.tolist(), sequence, strict=True):
                    expected[row, position, label] += chance.detach()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
    assert (got[~mask] == 0).all()


def test_a_row_does_not_depend_on_its_companions_or_on_padding(case):
    crf, emissions, labels, mask = case
    padded = torch.cat([emissions, emissions.new_full((len(mask), 4, LABELS), 7.0)], 1)
    padded_labels = torch.cat([labels, labels.new_full((len(mask), 4), -100)], 1)
    padded_mask = torch.cat([mask, mask.new_zeros(len(mask), 4)], 1)
    together = crf.log_likelihood(padded, padded_labels, padded_mask)
    for row in range(len(mask)):
        alone = crf.log_likelihood(emissions[row : row + 1], labels[row : row + 1], mask[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=0, atol=1e-10)
        one = marginals(crf, emissions[row : row + 1], mask[row : row + 1])
        torch.testing.assert_close(one, marginals(crf, padded, padded_mask)[row : row + 1, : mask.shape[1]])


def test_bf16_autocast_computes_in_float32():
    generator = torch.Generator().manual_seed(3)
    crf = random_crf(generator).float()
    emissions = torch.randn(2, 40, LABELS, generator=generator).bfloat16()
    labels = torch.randint(LABELS, (2, 40), generator=generator)
    mask = torch.ones(2, 40, dtype=torch.bool)
    mask[1, 25:] = False
    wide = emissions.float()
    expected = crf.log_likelihood(wide, labels, mask), viterbi(crf, wide, mask), marginals(crf, wide, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = (
            crf.log_likelihood(emissions, labels, mask),
            viterbi(crf, emissions, mask),
            marginals(crf, emissions, mask),
        )
    assert got[0].dtype == got[2].dtype == torch.float32
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_another_precision_than_the_scores(dtype):
    generator = torch.Generator().manual_seed(6)
    crf = random_crf(generator).to(dtype)
    emissions = torch.randn(2, 6, LABELS, generator=generator)
    mask = torch.tensor([[1, 1, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]], dtype=torch.bool)
    labels = torch.randint(LABELS, (2, 6), generator=generator)
    same = CRF(LABELS)
    same.load_state_dict(crf.state_dict())
    torch.testing.assert_close(marginals(crf, emissions, mask), marginals(same, emissions, mask))
    torch.testing.assert_close(
        crf.log_likelihood(emissions, labels, mask).float(), same.log_likelihood(emissions, labels, mask)
    )
    assert torch.equal(viterbi(crf, emissions, mask), viterbi(same, emissions, mask))


@pytest.mark.parametrize("size", [1e3, 1e4, 1e6])
def test_very_large_emissions_do_not_overflow(size):
    generator = torch.Generator().manual_seed(4)
    crf = CRF(LABELS)
    emissions = (size * torch.randn(3, 50, LABELS, generator=generator)).requires_grad_()
    labels = torch.randint(LABELS, (3, 50), generator=generator)
    mask = torch.ones(3, 50, dtype=torch.bool)
    likelihood = crf.log_likelihood(emissions, labels, mask)
    likelihood.sum().backward()
    assert torch.isfinite(likelihood).all()
    assert torch.isfinite(emissions.grad).all()
    chances = marginals(crf, emissions, mask)
    torch.testing.assert_close(chances.sum(2), torch.ones(3, 50))
    # With scores this far apart, the best label of each position alone is the best path and certain.
    assert torch.equal(viterbi(crf, emissions, mask), emissions.argmax(2))
    assert torch.equal(chances.argmax(2), emissions.argmax(2))


def test_a_confident_chain_has_likelihood_near_one():
    crf = CRF(LABELS).double()
    labels = torch.tensor([[0, 2, 1, 1]])
    emissions = 50.0 * torch.nn.functional.one_hot(labels, LABELS).double()
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert crf.log_likelihood(emissions, labels, mask).item() == pytest.approx(0, abs=1e-6)
    assert crf.log_likelihood(emissions, (labels + 1) % LABELS, mask).item() < -100


def test_marginals_survive_emissions_that_contradict_the_transitions():
    """float32: a transition ruled out by 300, demanded by the emissions."""
    crf = CRF(2)
    with torch.no_grad():
        crf.transitions.copy_(torch.tensor([[0.0, -300.0], [-300.0, 0.0]]))
        crf.start.zero_()
        crf.end.zero_()
    emissions = torch.tensor([[[200.0, 0.0], [0.0, 400.0]]])
    chances = marginals(crf, emissions, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(chances.sum(2), torch.ones(1, 2))


@pytest.mark.parametrize("scale", [3.0, 30.0])
def test_float32_keeps_the_gradient_of_a_long_chain(scale):
    generator = torch.Generator().manual_seed(8)
    crf = random_crf(generator, scale=4.0)
    single = CRF(LABELS)
    single.load_state_dict(crf.state_dict())
    emissions = scale * torch.randn(2, 300, LABELS, generator=generator, dtype=torch.float64)
    labels = torch.randint(LABELS, (2, 300), generator=generator)
    mask = torch.ones(2, 300, dtype=torch.bool)
    mask[1, 211:] = False
    gradients = []
    for model, scores in ((crf, emissions.requires_grad_()), (single, emissions.detach().float().requires_grad_())):
        model.log_likelihood(scores, labels, mask).sum().backward()
        gradients.append((scores.grad, model.transitions.grad / 300))
    for exact, got in zip(*gradients, strict=True):
        torch.testing.assert_close(got.double(), exact, rtol=0, atol=2e-4)
