"""Pruning by magnitude: after training, with recovery; little by little during it; in rounds that rewind."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register ``magnitude``, ``gradual_magnitude`` and ``imp``."""
    return [
        Entry("magnitude", "harness_magnitude.method:Magnitude", "train, remove the smallest weights, recover"),
        Entry(
            "gradual_magnitude",
            "harness_magnitude.gradual_magnitude:GradualMagnitude",
            "removes the smallest weights little by little while training (Zhu, Gupta 2017)",
        ),
        Entry("imp", "harness_magnitude.imp:Imp", "lottery tickets: rounds of training, pruning and rewinding"),
    ]
