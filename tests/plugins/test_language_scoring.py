"""The engine that scores text: against a plain float64 reference, whatever the batches."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness import LanguageNetwork, Unsupported, UserError
from harness_architectures.gpt2_network import Gpt2Network, Gpt2Shape
from harness_language import scoring
from harness_language.scoring import Continuation, rolling, score

CPU = torch.device("cpu")
CONTEXT, VOCABULARY = 16, 50


class Counting(Gpt2Network):
    """Notes the shape of everything that is read."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(Gpt2Shape(VOCABULARY, 64, CONTEXT, 2, 16, 2, 64, 0.0, True, True))
        self.read: list[tuple[int, ...]] = []
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, 0, 0.3)
        self.eval()

    def states(self, inputs: Tensor) -> list[Tensor]:
        self.read.append(tuple(inputs.shape))
        return super().states(inputs)


class Side(Counting):
    """Reads texts side by side."""

    def branched(self, inputs: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
        self.read.append(tuple(inputs.shape))
        x = self.embedding(inputs) + self.positions(positions)
        for block in self.blocks:
            attn = block.attn
            batch, n, width = x.shape
            heads = attn.qkv(block.attn_norm(x)).view(batch, n, 3, -1, attn.head_size)
            query, key, value = heads.permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None])
            x = x + attn.out(mixed.transpose(1, 2).reshape(batch, n, width))
            x = x + block.ffn(block.ffn_norm(x))
        return self.normed(x)


NETWORKS = [Counting, Side]


def ids(rng: random.Random, least: int, most: int) -> list[int]:
    return [rng.randrange(VOCABULARY) for _ in range(rng.randint(least, most))]


def one_by_one(network: LanguageNetwork, context: Sequence[int], target: Sequence[int]) -> tuple[list[float], bool]:
    """Each target token by a forward pass of its own, in float64, from all logits."""
    network = type(network)().double()
    logprobs, greedy = [], True
    for place, token in enumerate(target):
        text = [*context, *target[:place]]
        cut = len(context) + len(target) - 1 - CONTEXT
        logits = network(torch.tensor([text[max(0, cut) :]]))[0, -1]
        assert logits.shape == (VOCABULARY,)
        logprobs.append(float(logits[token] - logits.exp().sum().log()))
        greedy &= int(logits.argmax()) == token
    return logprobs, greedy


def requests(network: LanguageNetwork) -> list[Continuation]:
    """All kinds: short, cut, greedy, one context with many endings, one text that begins another, twice the same."""
    rng = random.Random(0)
    found = [Continuation(ids(rng, 1, 30), ids(rng, 1, CONTEXT)) for _ in range(40)]
    shared = ids(rng, 9, 9)
    found += [Continuation(shared, [token]) for token in range(6)]
    found += [Continuation(shared, ids(rng, 1, 5)) for _ in range(6)]
    found += [Continuation(found[0].context, found[0].target), Continuation(shared[:4], shared[4:])]
    for least in (2, 12):
        text = ids(rng, least, 12)
        start = len(text)
        while len(text) < start + 3:
            text.append(int(network(torch.tensor([text[-CONTEXT:]]))[0, -1].argmax()))
        found.append(Continuation(text[:start], text[start:]))
    return found


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("tokens", [1, 40, scoring.TOKENS])
@torch.no_grad()
def test_equal_to_one_forward_pass_per_token(
    make: Callable[[], Counting], tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "TOKENS", tokens)
    network = make()
    asked = requests(network)
    found = score(network, asked, CPU)
    expected = [one_by_one(network, request.context, request.target) for request in asked]
    for scored, (logprobs, greedy) in zip(found, expected, strict=True):
        assert scored.logprobs.dtype == torch.float64
        assert scored.logprobs.tolist() == pytest.approx(logprobs, abs=1e-5)
        assert scored.total == pytest.approx(sum(logprobs), abs=1e-5)
        assert scored.greedy is greedy
    assert sum(scored.greedy for scored in found) >= 2


@pytest.mark.parametrize("make", NETWORKS)
def test_same_in_any_order_and_alone(make: Callable[[], Counting]) -> None:
    network = make()
    asked = requests(network)
    together = [scored.total for scored in score(network, asked, CPU)]
    order = random.Random(1).sample(range(len(asked)), len(asked))
    shuffled = score(network, [asked[i] for i in order], CPU)
    assert [scored.total for scored in shuffled] == pytest.approx([together[i] for i in order], abs=1e-5)
    alone = [score(network, [request], CPU)[0].total for request in asked]
    assert alone == pytest.approx(together, abs=1e-5)


def test_what_begins_another_text_is_not_read_again() -> None:
    network = Counting()
    context = [1, 2, 3, 4]
    score(network, [Continuation(context, [i]) for i in range(9)] + [Continuation(context, [5, 6, 7])], CPU)
    assert network.read == [(1, 6)]


def test_a_branching_network_reads_a_beginning_once() -> None:
    network = Side()
    context = list(range(10))
    endings = [[20, 21, 22], [23, 24], [20, 25, 26, 27]]
    score(network, [Continuation(context, ending) for ending in endings], CPU)
    assert network.read == [(1, 10 + 2 + 1 + 3)]
    network.read.clear()
    score(network, [Continuation([1, 2, 3], [4, 5, 6]), Continuation([1, 8, 9], [7, 6, 5])], CPU)
    assert network.read == [(2, 5)], "too little in common to be worth it"


def test_batches_hold_a_fixed_number_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "TOKENS", 30)
    network = Counting()
    rng = random.Random(2)
    done: list[tuple[int, int]] = []
    asked = [Continuation(ids(rng, 2, 12), [0]) for _ in range(30)]
    score(network, asked, CPU, progress=lambda now, total: done.append((now, total)))
    assert all(rows * length <= 30 for rows, length in network.read)
    assert [length for _, length in network.read] == sorted((length for _, length in network.read), reverse=True)
    assert [now for now, _ in done] == sorted(now for now, _ in done)
    assert done[-1] == (30, 30)
    assert score(network, [], CPU) == []


def test_logits_in_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Counting()
    asked = requests(network)
    whole = [scored.total for scored in score(network, asked, CPU)]
    monkeypatch.setattr(scoring, "_LOGITS", 3 * VOCABULARY)
    assert [scored.total for scored in score(network, asked, CPU)] == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("n", [2, 3, 9, 16, 17, 18, 70])
@pytest.mark.parametrize(("window", "stride"), [(16, 16), (16, 1), (8, 3), (1, 1), (10, 7)])
@pytest.mark.parametrize("prefix", [None, 3])
@torch.no_grad()
def test_rolling_scores_every_token_once(
    n: int, window: int, stride: int, prefix: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "TOKENS", 40)
    network = Counting()
    text = torch.tensor(ids(random.Random(n), n, n))
    found = rolling(network, text, CPU, window, stride, prefix)
    sequence = text.tolist() if prefix is None else [prefix, *text.tolist()]
    expected: list[float] = []
    start = 0
    while len(expected) < len(sequence) - 1:
        end = min(start + window, len(sequence) - 1)
        logprobs = network(torch.tensor([sequence[start:end]]))[0].double().log_softmax(-1)
        expected += [-float(logprobs[i - start, sequence[i + 1]]) for i in range(len(expected), end)]
        start += stride
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_rolling_of_less_than_two_tokens() -> None:
    network = Counting()
    assert rolling(network, torch.tensor([1]), CPU, 4, 2).tolist() == []
    assert len(rolling(network, torch.tensor([1]), CPU, 4, 2, prefix=0)) == 1
    assert rolling(network, torch.tensor([], dtype=torch.int32), CPU, 4, 2, prefix=0).tolist() == []


def test_bad_requests_say_what_is_wrong() -> None:
    network = Counting()
    with pytest.raises(UserError, match="target of 17 tokens is longer than the model's context of 16"):
        score(network, [Continuation([1], [1] * 17)], CPU)
    with pytest.raises(UserError, match=r"token id 50 is not in the model's vocabulary of 50.*Set `tokenizer`"):
        score(network, [Continuation([1], [50])], CPU)
    with pytest.raises(UserError, match="token id -1"):
        rolling(network, torch.tensor([1, -1]), CPU, 4, 2)
    for bad in (Continuation([], [1]), Continuation([1], [])):
        with pytest.raises(ValueError, match="at least one id each"):
            score(network, [bad], CPU)
    with pytest.raises(UserError, match="window is 17 tokens, but the model reads 1 to 16"):
        rolling(network, torch.tensor([1, 2]), CPU, 17, 1)
    with pytest.raises(UserError, match="stride is 5 tokens, but must be in 1 to 4"):
        rolling(network, torch.tensor([1, 2]), CPU, 4, 5)
    with pytest.raises(Unsupported, match="LanguageNetwork, and Linear is none"):
        score(torch.nn.Linear(2, 2), [Continuation([1], [1])], CPU)  # type: ignore[arg-type]
