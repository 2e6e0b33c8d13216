"""How the marks of figures look: rules by class, and the CSS that themes them, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.report.palette import NEUTRAL, Style, dashes
from harness.report.svg import FONT

# Inkscape gives a sheet up for a custom property outside of it, or for blocks nested deeper.
_LIVE = "@supports(color:var(--c))"
METHOD = "currentColor"  # of a group of marks: its method's
RULES: Mapping[str, Mapping[str, str]] = {
    "text": {"font-family": FONT, "font-size": "12px", "fill": "ink"},
    "path": {"fill": "none", "stroke-linejoin": "round"},
    ".s": {"font-size": "11px", "fill": "soft"},
    ".g": {"stroke": "grid"},
    ".x": {"stroke": "soft"},
    ".d": {"stroke": "soft", "stroke-dasharray": "2 3"},
    ".o": {"stroke": "soft", "stroke-width": "1.4", "stroke-dasharray": "6 3"},
    ".a": {"fill": METHOD, "opacity": ".08"},
    ".l": {"stroke": METHOD, "stroke-width": "1.8"},
    ".b": {"fill": METHOD, "opacity": ".14"},
    ".e": {"stroke": METHOD, "stroke-width": "1.2"},
    ".p": {"fill": METHOD, "stroke": "paper", "stroke-width": ".8"},
    ".h": {"fill": "paper", "stroke": METHOD, "stroke-width": "1.4"},
    ".r": {"fill": "none"},
    ".k": {"stroke": METHOD, "stroke-width": "1.8"},
    ".n": {"stroke": METHOD, "stroke-width": ".8", "opacity": ".7"},
    ".f": {"fill": METHOD},
    ".w": {"stroke": "soft"},
    ".t": {"stroke": METHOD, "stroke-width": ".9", "stroke-dasharray": "1 3", "opacity": ".75"},
}
"""Element or class -> its properties, later ones first; colours are names of ``NEUTRAL`` or the group's method's."""


def stylesheet(prefix: str, styles: Iterable[Style]) -> str:
    """Rules that reach only the figure with this id.

    Dark where the reader's system is; where the SVG stands inside an element with data-theme="light" or
    "dark", that decides. Programs without custom properties take the plain rules, which are light.
    """
    used = sorted(set(styles), key=lambda style: style.key)
    plain = "".join(
        _rule(name, {key: NEUTRAL.get(value, (value,))[0] for key, value in rule.items()})
        for name, rule in RULES.items()
    )
    plain += "".join(_rule(f".{style.key}", {"color": style.light}) for style in used)
    plain += "".join(_rule(f".{key} .l", {"stroke-dasharray": dash}) for key, dash in dashes(used).items() if dash)
    light, dark = (
        "".join(f"--{name}:{both[mode]};" for name, both in NEUTRAL.items())
        + "".join(f"--{style.key}:{(style.light, style.dark)[mode]};" for style in used)
        for mode in (0, 1)
    )
    live = f"#P{{max-width:100%;height:auto;{light}}}"
    for name, rule in RULES.items():
        if themed := {key: f"var(--{value})" for key, value in rule.items() if value in NEUTRAL}:
            live += _rule(name, themed)
    live += "".join(_rule(f".{style.key}", {"color": f"var(--{style.key})"}) for style in used)
    system = f"@media (prefers-color-scheme:dark){{#P{{{dark}}}}}"
    page = f"[data-theme=light] #P{{{light}}}[data-theme=dark] #P{{{dark}}}"
    return f"{plain}{_LIVE}{{{live}}}{system}{_LIVE}{{{page}}}".replace("#P", f"#{prefix}")


def _rule(selector: str, properties: Mapping[str, str]) -> str:
    return f"#P {selector}{{{';'.join(f'{key}:{value}' for key, value in properties.items())}}}"
