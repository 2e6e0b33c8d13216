"""Records of a small suite with one accuracy each."""

from __future__ import annotations

from result_files import write_record


def write(store, method, seed, value, density=0.1, **changes):
    """One record; ``changes`` replace its parts."""
    mask = 1.0 if method == "dense" else changes.pop("mask", density)
    asked = None if method == "dense" else density
    cell = changes.pop("cell", f"{changes.get('experiment', 'main')}-{method}-{asked}-{seed}")
    unit = {"n": 100, "stderr": None, "unit": "fraction", "split": "test"}
    record = {
        "schema": 1,
        "status": "done",
        "cell": cell,
        "suite": "small",
        "experiment": "main",
        "architecture": {"label": "mlp", "plugin": "mlp", "version": "1", "options": {}, "parameters": 1000},
        "method": {"label": method, "plugin": method, "version": "1", "options": {}},
        "benchmark": {"label": "digits", "plugin": "digits", "version": "1", "options": {}, "protocol": "test"},
        "trained_on": "digits",
        "seed": seed,
        "density": {
            "requested": asked,
            "match": changes.pop("match", None),
            "scope": changes.pop("scope", "maskable"),
            "mask": mask,
            "true_zeros": 1 - mask,
            "total": mask,
        },
        "metrics": {
            "accuracy": {"value": value, "direction": "max", "primary": True, **unit},
            "loss": {"value": 1 - value, "direction": "min", "primary": False, **unit},
        },
        "spent": {"steps": 10, "examples": 100, "tokens": 100, "seconds": 1.0, "flops": {"training": 1.0}},
        **changes,
    }
    write_record(store, record)
    return record
