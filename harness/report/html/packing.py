"""Data inside a page: compressed JSON, which cannot end its script element."""

from __future__ import annotations

import base64
import json
import math
import zlib
from typing import Any


def packed(value: Any) -> str:
    """A value as JSON, compressed, as a JSON string: base64 of a zlib stream, which has no time in its header.

    Numbers that JSON does not have (nan, infinities) become null.
    """
    return f'"{base64.b64encode(zlib.compress(_dumped(value).encode(), 9)).decode()}"'


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
