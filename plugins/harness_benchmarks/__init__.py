"""Pictures, clips, a table, and texts with a class, whose tokenizers are harness_language's."""

from __future__ import annotations

from collections.abc import Sequence

from harness import Entry, hookimpl


@hookimpl
def harness_register_benchmarks() -> Sequence[Entry]:
    """Register the benchmarks of this package."""
    return [
        Entry("digits", "harness_benchmarks.digits:Digits", "scikit-learn's 8x8 handwritten digits, no download"),
        Entry(
            "diabetes", "harness_benchmarks.diabetes:Diabetes", "a real number to predict of 442 patients, no download"
        ),
        Entry("mnist", "harness_benchmarks.mnist:Mnist", "28x28 handwritten digits"),
        Entry("fashion_mnist", "harness_benchmarks.mnist:FashionMnist", "28x28 pictures of clothes"),
        Entry("cifar10", "harness_benchmarks.cifar:Cifar10", "32x32 photographs in colour, 10 classes"),
        Entry("cifar100", "harness_benchmarks.cifar:Cifar100", "32x32 photographs in colour, 100 classes"),
        Entry("moving_mnist", "harness_benchmarks.moving_mnist:MovingMnist", "the next frame of two moving digits"),
        Entry("imagenet", "harness_benchmarks.imagenet:ImageNet", "photographs of 1,000 classes, from a folder"),
        Entry("imdb_sentiment", "harness_benchmarks.imdb:ImdbSentiment", "reviews of films, for or against"),
    ]
