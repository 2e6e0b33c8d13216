"""Times `harness report` over 10,000 result files, and the page in a browser if there is one.

Run with ``python benchmarks/report_10k.py``; the target is a page of at most 30 MB that answers within 3 seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare_10k import write

COMMAND = "from harness.cli.report import command; command()"
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def main() -> None:
    """Write the records, make the page, open it, print seconds and bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    options = parser.parse_args()
    repository = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        results, page = Path(folder) / "results", Path(folder) / "report.html"
        write(results, options.cells)
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", COMMAND, "--results", results, "-o", page],
            cwd=repository,
            env=os.environ | {"PYTHONPATH": str(repository)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        seconds = time.perf_counter() - start
        print(f"{options.cells} cells, harness report: {seconds:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
        if CHROMIUM.exists():
            browse(page, Path(folder) / "profile")


def browse(page: Path, profile: Path) -> None:
    """Milliseconds from opening the page until it can be used, and of filtering, sorting and opening everything."""
    from selenium import webdriver

    settings = webdriver.ChromeOptions()
    settings.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1280,900"):
        settings.add_argument(flag)
    service = webdriver.ChromeService("/usr/bin/chromedriver")
    driver = webdriver.Chrome(options=settings, service=service)
    timed = (
        "const done = arguments[0]; const at = performance.now(); %s; "
        "requestAnimationFrame(() => setTimeout(() => done(performance.now() - at)));"
    )
    try:
        driver.get(page.as_uri())
        while not (
            marks := driver.execute_script("return performance.getEntriesByName('usable').map(m => m.startTime)")
        ):
            time.sleep(0.05)
        print(f"usable after {marks[0]:.0f} ms")
        for name, action in (
            (
                "filter",
                "const f = document.getElementById('filter-text'); f.value = 'a'; "
                "f.dispatchEvent(new Event('input', {bubbles: true}))",
            ),
            ("sort", "document.querySelector('details[open] thead button').click()"),
            ("open all tables", "document.getElementById('open-all').click()"),
            ("all columns", "document.getElementById('more-columns').click()"),
        ):
            print(f"{name}: {driver.execute_async_script(timed % action):.0f} ms")
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
