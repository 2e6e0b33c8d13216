"""Random masks: the control that every method of choosing weights has to beat."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register ``random``."""
    return [Entry("random", "harness_random.method:Random", "a random mask of exact density, fixed before training")]
