"""docs/benchmark-lab.md: the report's Markdown of runs of the lab, and a picture of its page."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.console import run, say
from lab.settings import LabError, Settings

HEAD = Path(__file__).with_suffix(".txt")
PICTURE = "docs/images/benchmark-lab.png"
PIXELS = "1400,2600"


def write(settings: Settings, runs: list[Path], what: str) -> Path:
    """Make one report of all runs, write the page and, where Chromium is installed, the picture."""
    with tempfile.TemporaryDirectory(prefix="mi50-lab-report-") as scratch:
        made = Path(scratch)
        command = [str(settings.root / ".venv/bin/python"), "-m", "benchreport", *map(str, runs), "-o", str(made)]
        run([*command, "--language", "en", "--formats", "html", "md"], cwd=settings.root)
        pages = sorted(made.glob("*.md"))
        if len(pages) != 1:
            raise LabError(f"the report has {len(pages)} Markdown files, one is expected")
        text = HEAD.read_text().format(what=what, runs=", ".join(path.name for path in runs))
        body = pages[0].read_text(encoding="utf-8").partition("\n")[2].lstrip()
        target = settings.root / "docs/benchmark-lab.md"
        target.write_text(text + body, encoding="utf-8")
        _picture(next(made.glob("*.html")), settings.root / PICTURE)
    return target


def _picture(page: Path, target: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        say(f"no Chromium here (apt-get install chromium): {target.name} stays as it was")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mi50-lab-chromium-") as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        options += [f"--user-data-dir={profile}", f"--window-size={PIXELS}", f"--screenshot={target}"]
        done = subprocess.run([chromium, *options, page.as_uri()], capture_output=True, timeout=120, check=False)
    if not target.exists():
        raise LabError(f"Chromium took no picture: {done.stderr.decode(errors='replace')[-500:]}")
