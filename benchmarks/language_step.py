"""Dense GPT-2 training: the harness's Trainer against a plain loop in the manner of nanoGPT, written out here.

Both train the same network size on the same batches with fused AdamW, clipping, a cosine schedule, the same
precision and the same compiler. Printed are medians over rounds of tokens a second, of the plain loop's time in
the same round divided by it, and model FLOPs utilisation: 6 x parameters (without positions) + 12 x layers x
width x context operations a token (Chowdhery et al. 2022, appendix B) over what the device can do.

    python benchmarks/language_step.py --size tiny --batch 4 --micro-batches 2 --context 256
    python benchmarks/language_step.py --device cuda --compile --precision bf16 --batch 64 --micro-batches 4
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from checkout import registry
from timing import Compared, compared, side_by_side
from torch import Tensor, nn
from torch.nn import functional as F

from harness import DataSpec, Finetune
from harness.suites.schema import Training
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import Trainer
from harness.training.weights import Weights

SIZES = {
    "micro": (2, 32, 2),
    "tiny": (4, 128, 4),
    "small": (12, 768, 12),
    "medium": (24, 1024, 16),
    "large": (36, 1280, 20),
}
"""Layers, width and heads."""
VOCABULARY, ROWS = 50257, 50304
PEAK = {
    "A100": 312,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "H200": 989,
    "B200": 2250,
    "4090": 165,
    "3090": 71,
    "L40S": 362,
    "A10": 125,
}
"""Dense bf16 TFLOP/s with float32 sums, by a part of the device's name, the first that fits; from data sheets."""
STEPS = 10**6


@dataclass(frozen=True, slots=True)
class Speeds:
    """What was measured.

    Attributes:
        loops: seconds of a step, beside the plain loop's.
        tokens: in a step.
        parameters: without positions.
        flops: operations a token.
        peak: TFLOP/s of the device, or None where it is not known.
    """

    loops: dict[str, Compared]
    tokens: int
    parameters: int
    flops: float
    peak: float | None

    def per_second(self, loop: str) -> float:
        """Tokens a second."""
        return self.tokens / self.loops[loop].seconds

    def utilisation(self, loop: str) -> float | None:
        """Fraction of what the device can do, or None."""
        return self.per_second(loop) * self.flops / self.peak / 1e12 if self.peak else None


class Block(nn.Module):
    """Pre-LayerNorm attention and feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.attn_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.mlp_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context, width) -> the same shape."""
        shape = *x.shape[:2], self.heads, x.shape[2] // self.heads
        query, key, value = (part.view(shape).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).chunk(3, 2))
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attn_proj(y.transpose(1, 2).reshape(x.shape))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Plain(nn.Module):
    """GPT-2 with a tied head, padded to a multiple of 64 rows; loss over all logits at once."""

    def __init__(self, layers: int, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(ROWS, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0.0, 0.02 / (2 * layers) ** 0.5 if "proj" in name else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss."""
        x = self.wte(inputs) + self.wpe(torch.arange(inputs.shape[1], device=inputs.device))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, ROWS), targets.reshape(-1))


class Windows:
    """Random text on the device."""

    def __init__(self, context: int, count: int, device: str) -> None:
        self.tokens = torch.randint(VOCABULARY, (count, context + 1), device=device)

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of these windows."""
        windows = self.tokens[indices.to(self.tokens.device)]
        return windows[:, :-1], windows[:, 1:]


def plain_loop(arguments: argparse.Namespace, data: Windows, training: Training) -> Callable[[], None]:
    """Takes ``arguments.steps`` steps."""
    model = Plain(*SIZES[arguments.size], arguments.context).to(arguments.device)
    decayed, others = [p for p in model.parameters() if p.dim() > 1], [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=training.lr, betas=training.betas, fused=True)
    module = torch.compile(model) if arguments.compile else model
    size, done = training.batch_size // training.micro_batches, 0

    def run() -> None:
        nonlocal done
        for _ in range(arguments.steps):
            for group in optimizer.param_groups:
                group["lr"] = training.lr * 0.5 * (1 + math.cos(math.pi * done / STEPS))
            for _ in range(training.micro_batches):
                inputs, targets = data.batch(torch.randint(len(data), (size,)))
                with torch.autocast(arguments.device, torch.bfloat16, enabled=training.precision == "bf16"):
                    loss = module(inputs, targets) / training.micro_batches
                loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm or 0.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            done += 1
        loss.item()

    return run


def harness_loop(arguments: argparse.Namespace, data: Windows, training: Training) -> tuple[Callable[[], None], int]:
    """Takes ``arguments.steps`` steps; and the number of parameters without positions."""
    layers, width, heads = SIZES[arguments.size]
    cls = registry().get("architecture", "gpt2")
    options = {"n_layers": layers, "width": width, "heads": heads, "vocabulary_padding": 64}
    spec = DataSpec("language", (arguments.context,), VOCABULARY, len(data), arguments.context)
    module = cls(cls.Options.model_validate(options), spec).build().to(arguments.device)
    trainer = Trainer(
        weights=Weights(module, (), None, None),
        method=None,
        context=None,
        data=data,
        sampler=Sampler(len(data), 0),
        training=training,
        phase=Finetune(STEPS),
        substrate=Substrate(0, 1, torch.device(arguments.device)),
    )
    count = sum(p.numel() for p in module.parameters()) - module.positions.weight.numel()
    return lambda: trainer.run(lambda _: None, until=trainer.step + arguments.steps), count


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=16, help="sequences a step")
    parser.add_argument("--micro-batches", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5, help="timed at once")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=math.inf, help="no further round after so long")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="both")
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device; known for common GPUs")
    return parser.parse_args(argv)


def device_name(device: str) -> str:
    """What the driver calls it."""
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def known_peak(name: str) -> float | None:
    """TFLOP/s of the device of that name; None too for a part of one."""
    return next((peak for part, peak in PEAK.items() if part in name and "MIG" not in name), None)


def measure(arguments: argparse.Namespace) -> Speeds:
    """Both loops' speed."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    training = Training(
        steps=1,
        batch_size=arguments.batch,
        micro_batches=arguments.micro_batches,
        lr=6e-4,
        betas=(0.9, 0.95),
        weight_decay=0.1,
        clip_norm=1.0,
        precision=arguments.precision,
        compile=arguments.compile,
    )
    data = Windows(arguments.context, 8 * arguments.batch, arguments.device)
    harness, parameters = harness_loop(arguments, data, training)
    loops = {"plain": plain_loop(arguments, data, training), "harness": harness}
    times = side_by_side(loops, arguments.rounds, arguments.device, arguments.seconds)
    steps = {name: [value / arguments.steps for value in values] for name, values in times.items()}
    layers, width, _ = SIZES[arguments.size]
    return Speeds(
        loops=compared(steps, "plain"),
        tokens=arguments.batch * arguments.context,
        parameters=parameters,
        flops=6 * parameters + 12 * layers * width * arguments.context,
        peak=arguments.peak or known_peak(device_name(arguments.device)),
    )


def main() -> None:
    """Print tokens a second, the ratio and utilisation."""
    arguments = parsed()
    found = measure(arguments)
    print(
        f"{device_name(arguments.device)}, gpt2 {arguments.size}, {arguments.precision}, {found.tokens} tokens a step, "
        f"{found.parameters:,} parameters"
    )
    for name, one in found.loops.items():
        used = found.utilisation(name)
        share = f"   MFU {used:.1%} of {found.peak:g} TFLOP/s" if used is not None else ""
        print(f"{name:8} {found.per_second(name):12,.0f} tokens/s   {one.speed:.3f} x as fast{share}")


if __name__ == "__main__":
    main()
