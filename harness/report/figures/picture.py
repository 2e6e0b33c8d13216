"""Files of figures: SVG as it is, PDF and PNG by CairoSVG."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from harness.errors import UserError
from harness.storage.atomic_files import write_bytes

DPI = 300  # of a PNG
SUFFIXES = (".svg", ".pdf", ".png")


def write_picture(path: Path, svg: str) -> None:
    """Write a standalone figure as the suffix says: .svg, .pdf or .png; its size on paper is the same in all three.

    Raises:
        UserError: for another suffix; for PDF or PNG if CairoSVG or the system's cairo are not installed.
        StorageError: if the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path.name}: a figure's name ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    written = svg.encode("utf8", "replace")
    if path.suffix.lower() == ".svg":
        write_bytes(path, written)
        return
    try:
        import cairosvg
    except (ImportError, OSError) as error:  # OSError: cairocffi found no libcairo
        repair = "pip install 'sparsity-harness[figures]'"
        if isinstance(error, OSError):
            repair = "apt-get install libcairo2, or your system's package of it"
        raise UserError(f"{path.name} takes CairoSVG, which is not there ({repair}), or ask for .svg") from error
    if path.suffix.lower() == ".pdf":
        write_bytes(path, cairosvg.svg2pdf(written))
        return
    with Image.open(io.BytesIO(cairosvg.svg2png(written, scale=DPI / 96))) as picture:
        found = io.BytesIO()
        picture.save(found, "PNG", dpi=(DPI, DPI))
    write_bytes(path, found.getvalue())
