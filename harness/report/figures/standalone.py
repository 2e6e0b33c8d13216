"""A figure for programs that read no style sheets, and for paper."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from harness.report.figures.document import MM
from harness.report.figures.stylesheet import METHOD, RULES
from harness.report.palette import NEUTRAL, Style, dashes

_NAMESPACE = "http://www.w3.org/2000/svg"
_FONT = "sans-serif"  # of a list of fonts some programs ask for the first alone

ET.register_namespace("", _NAMESPACE)


def standalone(svg: str, styles: Iterable[Style], dark: bool = False) -> str:
    """The same figure with its colours, font and dashes as attributes of the marks, its size in millimetres.

    It has the background for which its colours are made: halos and hollow points are filled with it, and where a
    program shows what is transparent as black, the ink of a light figure would be lost.

    Args:
        svg: a figure of :mod:`harness.report.figures`.
        styles: those of its methods; there may be more.
        dark: for dark pages instead of paper.
    """
    root = ET.fromstring(svg.encode("utf8", "replace"))
    classes = {name for node in root.iter() for name in node.get("class", "").split()}
    looks = {style.key: style for style in styles if style.key in classes}
    dashed = dashes(looks.values())
    neutral = {name: both[dark] for name, both in NEUTRAL.items()}

    def inline(node: ET.Element, style: Style | None) -> None:
        """Write what the rules say of an element, and of all in it, in the colour of its group's method."""
        own = node.attrib.pop("class", "").split()
        style = next((looks[name] for name in own if name in looks), style)
        colours = neutral if style is None else {**neutral, METHOD: style.dark if dark else style.light}
        for name, rule in RULES.items():
            if name == node.tag.removeprefix(f"{{{_NAMESPACE}}}") or name.removeprefix(".") in own:
                node.attrib |= {key: colours.get(value, value) for key, value in rule.items()}
        if "font-family" in node.attrib:
            node.set("font-family", _FONT)
        if style is not None and "l" in own and dashed[style.key]:
            node.set("stroke-dasharray", dashed[style.key])
        for child in node:
            inline(child, style)

    sheet = next(root.iter(f"{{{_NAMESPACE}}}style"))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    root.attrib |= {"width": f"{width * MM:.4g}mm", "height": f"{height * MM:.4g}mm"}
    inline(root, None)
    sheet.tag, sheet.text = f"{{{_NAMESPACE}}}rect", None
    sheet.attrib |= {"width": f"{width:g}", "height": f"{height:g}", "fill": neutral["paper"]}
    return ET.tostring(root, encoding="unicode")
