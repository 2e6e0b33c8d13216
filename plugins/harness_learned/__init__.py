"""Masks and thresholds that are learned with the weights (movement pruning, STR, L0, PowerPropagation)."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register ``movement``, ``soft_movement``, ``str``, ``l0`` and ``powerprop``."""
    return [
        Entry(
            "movement",
            "harness_learned.movement:Movement",
            "keeps weights that move away from zero (Sanh, Wolf, Rush 2020)",
        ),
        Entry(
            "soft_movement",
            "harness_learned.soft_movement:SoftMovement",
            "the same above a threshold, with a penalty (Sanh, Wolf, Rush 2020)",
        ),
        Entry(
            "str",
            "harness_learned.soft_threshold:SoftThreshold",
            "soft thresholds learned with the weights (Kusupati et al. 2020)",
        ),
        Entry("l0", "harness_learned.l0:L0", "as few open gates as possible (Louizos, Welling, Kingma 2018)"),
        Entry(
            "powerprop",
            "harness_learned.powerprop:Powerprop",
            "weights as powers, then the largest (Schwarz et al. 2021)",
        ),
    ]
