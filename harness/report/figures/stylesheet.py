"""The CSS of a figure: its colours as custom properties, light and dark."""

from __future__ import annotations

from collections.abc import Iterable

from harness.report.palette import NEUTRAL, Style
from harness.report.svg import FONT

_RULES = (
    f"#P text{{font:12px {FONT};fill:var(--ink)}}",
    "#P .s{font-size:11px;fill:var(--soft)}",
    "#P path{fill:none;stroke-linejoin:round}",
    "#P .g{stroke:var(--grid)}#P .x{stroke:var(--soft)}",
    "#P .d{stroke:var(--soft);stroke-dasharray:2 3}#P .o{stroke:var(--soft);stroke-width:1.4;stroke-dasharray:6 3}",
    "#P .a{fill:var(--c);opacity:.08}",
    "#P .l{stroke:var(--c);stroke-width:1.8}",
    "#P .b{fill:var(--c);opacity:.14}",
    "#P .e{stroke:var(--c);stroke-width:1.2}",
    "#P .p{fill:var(--c);stroke:var(--paper);stroke-width:.8}",
    "#P .h{fill:var(--paper);stroke:var(--c);stroke-width:1.4}",
    "#P .r{fill:none}",
    "#P .k{stroke:var(--c);stroke-width:1.8}",
    "#P .n{stroke:var(--c);stroke-width:.8;opacity:.7}",
    "#P .f{fill:var(--c)}",
    "#P .w{stroke:var(--soft)}",
    "#P .t{stroke:var(--c);stroke-width:.9;stroke-dasharray:1 3;opacity:.75}",
)


def stylesheet(prefix: str, styles: Iterable[Style]) -> str:
    """Rules that reach only the figure with this id.

    Dark where the reader's system is; where the SVG stands inside an element with data-theme="light" or
    "dark", that decides. ``--c`` is the colour of the method whose class an element is in.
    """
    used = sorted(set(styles), key=lambda style: style.key)
    light, dark = (
        "".join(f"--{name}:{both[mode]};" for name, both in NEUTRAL.items())
        + "".join(f"--{style.key}:{(style.light, style.dark)[mode]};" for style in used)
        for mode in (0, 1)
    )
    themes = (
        f"#P{{{light}}}@media (prefers-color-scheme:dark){{#P{{{dark}}}}}"
        f"[data-theme=light] #P{{{light}}}[data-theme=dark] #P{{{dark}}}"
    )
    classes = "".join(f"#P .{style.key}{{--c:var(--{style.key})}}" for style in used)
    dashes = "".join(f"#P .{style.key} .l{{stroke-dasharray:{style.dash}}}" for style in used if style.dash)
    return (themes + "".join(_RULES) + classes + dashes).replace("#P", f"#{prefix}")
