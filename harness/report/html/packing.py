"""Data inside a page: JSON that cannot end its script element, and compressed JSON."""

from __future__ import annotations

import base64
import json
import math
import zlib
from typing import Any

_ESCAPED = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element: ASCII only, without ``<``, ``>`` and ``&``.

    Numbers that JSON does not have (nan, infinities) become null.
    """
    return _dumped(value).translate(_ESCAPED)


def packed(value: Any) -> str:
    """The same value compressed, as a JSON string: base64 of a zlib stream, which has no time in its header."""
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
