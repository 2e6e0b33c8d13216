"""Files of figures: SVG as it is, PDF and PNG by CairoSVG."""

from __future__ import annotations

import io
from pathlib import Path

from harness.errors import UserError
from harness.extras import require
from harness.storage.atomic_files import write_bytes

DPI = 300  # of a PNG
SUFFIXES = (".svg", ".pdf", ".png")


def write_picture(path: Path, svg: str) -> None:
    """Write a standalone figure as the suffix says: .svg, .pdf or .png; its size on paper is the same in all three.

    Raises:
        UserError: for another suffix, or a folder that is not there; for PDF or PNG if the system's cairo is not
            installed.
        NotInstalled: for PDF or PNG without CairoSVG.
        StorageError: if the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path.name}: a figure's name ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent}: make it, or write {path.name} elsewhere")
    written = svg.encode("utf8", "replace")
    if path.suffix.lower() == ".svg":
        write_bytes(path, written)
        return
    require("cairosvg", what=path.name)
    try:
        import cairosvg
    except OSError as error:  # cairocffi found no libcairo
        repair = "apt-get install libcairo2, or your system's package of it"
        raise UserError(f"{path.name} takes cairo, which is not there ({repair}), or ask for .svg") from error
    if path.suffix.lower() == ".pdf":
        write_bytes(path, cairosvg.svg2pdf(written))
        return
    from PIL import Image  # late: it comes with CairoSVG

    with Image.open(io.BytesIO(cairosvg.svg2png(written, scale=DPI / 96))) as picture:
        found = io.BytesIO()
        picture.save(found, "PNG", dpi=(DPI, DPI))
    write_bytes(path, found.getvalue())
