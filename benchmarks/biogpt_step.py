"""BioGPT, forward and backward: the harness's network against the published formulation, written out here.

The published formulation is a module per neuron, looped over: grouped convolutions over (batch, channels,
context) for the branches, GroupNorm over each position, one projection per neuron. Both networks hold the
same weights; outputs are compared first. Printed are medians over rounds of the time, and of the published
one's time in the same round divided by it.

    python benchmarks/biogpt_step.py                                     # 12 x 768, 1 x 256 tokens
    python benchmarks/biogpt_step.py --device cuda --compile --precision bf16 --batch 8 --context 1024
    python benchmarks/biogpt_step.py --profile                           # where the harness's time goes
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import checkout  # noqa: F401
import torch
from timing import Compared, compared, side_by_side
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import profile

from harness_biogpt import load_published
from harness_biogpt.layout import cortical_layout, feedback_pairs

TAPS = 5


@dataclass(frozen=True, slots=True)
class Passes:
    """What was measured: ``networks`` beside the published one, and how far their logits differ."""

    networks: dict[str, Compared]
    tokens: int
    difference: float
    largest: float


class PublishedNeuron(nn.Module):
    """One neuron of ``branches`` branches."""

    def __init__(self, width: int, branches: int) -> None:
        super().__init__()
        self.branches = branches
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.nmda_decay = nn.Parameter(torch.full((1, branches, 1, width // branches), 0.9))
        self.temporal_conv = nn.Conv1d(width, width, TAPS, padding=TAPS - 1, groups=branches)
        self.ff_up = nn.Conv1d(width, 2 * width, 1, groups=branches)
        self.ff_down = nn.Conv1d(2 * width, width, 1, groups=branches)
        self.branch_norm = nn.GroupNorm(branches, width)
        self.soma_proj = nn.Linear(width, width, bias=False)
        self.ln_soma = nn.LayerNorm(width)
        self.soma_ffn = nn.Sequential(
            nn.Linear(width, 3 * width), nn.GELU(), nn.Dropout(0.0), nn.Linear(3 * width, width), nn.Dropout(0.0)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context, width) -> the same shape."""
        batch, context, width = x.shape
        heads = (part.view(batch, context, self.branches, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, 2))
        attended = F.scaled_dot_product_attention(*heads, is_causal=True)
        attended = attended.transpose(2, 3).reshape(batch, width, context)
        convolved = attended + self.temporal_conv(attended)[:, :, :context]
        y = attended + self.ff_down(F.gelu(self.ff_up(convolved)))
        y = self.branch_norm(y.transpose(1, 2).reshape(-1, width)).view(batch, context, width)
        y = self.soma_proj(y)
        return y + self.soma_ffn(self.ln_soma(y))


class PublishedLayer(nn.Module):
    """Neurons that read the same input, mixed by a softmax."""

    def __init__(self, width: int, branches: tuple[int, ...]) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(width)
        self.neurons = nn.ModuleList(PublishedNeuron(width, b) for b in branches)
        self.neuron_projs = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in branches)
        self.neuron_weights = nn.Parameter(torch.zeros(len(branches)))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context, width) -> the same shape."""
        normed, weights = self.ln(x), self.neuron_weights.softmax(0)
        for weight, neuron, projection in zip(weights, self.neurons, self.neuron_projs, strict=True):
            x = x + weight * projection(neuron(normed))
        return x


class Published(nn.Module):
    """One pass; its feedback is not used, but belongs to the weights."""

    def __init__(self, layers: int, width: int, vocabulary: int, context: int) -> None:
        super().__init__()
        self.token_emb, self.pos_emb = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.layers = nn.ModuleList(PublishedLayer(width, branches) for branches in cortical_layout(width, layers))
        self.feedback_connections = nn.ModuleDict()
        for late, early in feedback_pairs(layers):
            feedback = nn.Module()
            feedback.proj, feedback.ln = nn.Linear(width, width, bias=False), nn.LayerNorm(width)
            feedback.gate = nn.Sequential(nn.Linear(2 * width, width), nn.Sigmoid())
            self.feedback_connections[f"fb_{late}_to_{early}"] = feedback
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits, or the mean loss."""
        x = self.token_emb(inputs) + self.pos_emb.weight[: inputs.shape[1]]
        for layer in self.layers:
            x = layer(x)
        logits = self.lm_head(self.ln_f(x))
        return logits if targets is None else F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def step(network: nn.Module, inputs: Tensor, targets: Tensor, bf16: bool) -> None:
    """One forward and backward pass."""
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
        loss = network(inputs, targets)
    loss.backward()


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--vocabulary", type=int, default=50304)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=math.inf, help="no further round after so long")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="both networks")
    parser.add_argument("--profile", action="store_true", help="print the harness's most expensive operations")
    return parser.parse_args(argv)


def measure(arguments: argparse.Namespace) -> Passes:
    """Compare outputs, then times."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    published = Published(arguments.layers, arguments.width, arguments.vocabulary, arguments.context)
    networks: dict[str, nn.Module] = {"published": published, "harness": load_published(published.state_dict())}
    ids = torch.randint(arguments.vocabulary, (arguments.batch, arguments.context + 1), device=arguments.device)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    with torch.no_grad():
        logits = [network.to(arguments.device)(inputs) for network in networks.values()]
    difference, scale = float((logits[0] - logits[1]).abs().max()), float(logits[0].abs().max())
    assert difference < 1e-4 or arguments.device == "cuda"
    del logits
    if arguments.compile:
        networks = {name: torch.compile(network) for name, network in networks.items()}
    bf16 = arguments.precision == "bf16"
    ways = {name: partial(step, network, inputs, targets, bf16) for name, network in networks.items()}

    def between() -> None:
        for network in networks.values():
            network.zero_grad(set_to_none=True)

    times = side_by_side(ways, arguments.rounds, arguments.device, arguments.seconds, between)
    if arguments.profile:
        with profile() as seen:
            ways["harness"]()
        print(seen.key_averages().table(sort_by=f"self_{arguments.device}_time_total", row_limit=20))
    return Passes(compared(times, "published"), inputs.numel(), difference, scale)


def main() -> None:
    """Print medians."""
    found = measure(parsed())
    print(f"largest difference of the logits {found.difference:.1e}, largest logit {found.largest:.1f}")
    for name, one in found.networks.items():
        print(
            f"{name:10} {one.seconds * 1e3:9.1f} ms   {found.tokens / one.seconds:9.0f} tokens/s   "
            f"{one.speed:.3f} x as fast (quartiles {1 / one.high:.3f} to {1 / one.low:.3f})"
        )


if __name__ == "__main__":
    main()
