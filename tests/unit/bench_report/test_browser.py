"""The page in a real browser, headless Chromium: it draws in both colour schemes, without network.

Runs where Chromium is installed (Debian: apt-get install chromium). MI50_REPORT_SCREENSHOT names a file to keep the
picture of the light page in. That the page holds no script is test_files.py's business.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from benchreport.build import Result
from benchreport.plots import COLOURS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
WIDTH, HEIGHT = 1400, 5000
LIGHT, DARK = (255, 255, 255), (0x14, 0x17, 0x1B)
BAD, BAD_GROUND = (0xA1, 0x14, 0x1A), (0xFD, 0xEC, 0xEC)
Colour = tuple[int, ...]


def shoot(page: Path, picture: Path, *options: str, width: int = WIDTH) -> Image.Image:
    """Open a page and return the picture of it."""
    profile = picture.with_suffix(".profile")
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
        "--host-resolver-rules=MAP * ~NOTFOUND",
        *(f"--user-data-dir={profile}", f"--window-size={width},{HEIGHT}", f"--screenshot={picture}"),
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert picture.is_file(), done.stderr[-2000:]
    shutil.rmtree(profile, ignore_errors=True)
    return Image.open(picture).convert("RGB")


def shares(picture: Image.Image) -> dict[Colour, int]:
    """How many pixels have each colour."""
    found: list[tuple[int, Colour]] = picture.getcolors(picture.width * picture.height)  # type: ignore[assignment]
    return {colour: count for count, colour in found}


def rgb(colour: str) -> Colour:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


@pytest.fixture(scope="module")
def light(report: Result, tmp_path_factory: pytest.TempPathFactory) -> Image.Image:
    kept = os.environ.get("MI50_REPORT_SCREENSHOT")
    path = tmp_path_factory.mktemp("shot") / "light.png"
    picture = shoot(report.files["html"], path)
    if kept:
        shutil.copy(path, kept)
    return picture


def test_the_page_is_drawn(light: Image.Image) -> None:
    seen = shares(light)
    assert light.size == (WIDTH, HEIGHT)
    assert max(seen, key=lambda colour: seen[colour]) == LIGHT
    # Words, failures as badges, and the bars of all engines of the first plots.
    assert sum(count for colour, count in seen.items() if max(colour) < 80) > 20_000
    assert seen.get(BAD, 0) > 500
    assert seen.get(BAD_GROUND, 0) > 2_000
    for colour in COLOURS[:3]:
        assert seen.get(rgb(colour), 0) > 3_000, colour


def test_a_dark_page_is_dark_all_over(report: Result, tmp_path: Path) -> None:
    seen = shares(shoot(report.files["html"], tmp_path / "dark.png", "--force-dark-mode"))
    assert max(seen, key=lambda colour: seen[colour]) == DARK
    # Ink of the plots follows the page; a white or black rest would be a plot that brings its own ground.
    assert seen.get(LIGHT, 0) < 2_000
    assert sum(count for colour, count in seen.items() if min(colour) > 180) > 10_000
    assert seen.get(rgb(COLOURS[0]), 0) > 3_000


def test_a_narrow_window_loses_nothing_to_the_side(report: Result, tmp_path: Path) -> None:
    """Wide tables scroll inside their frames: the right margin of the page stays empty."""
    picture = shoot(report.files["html"], tmp_path / "narrow.png", width=600)
    margin = picture.crop((picture.width - 8, 0, picture.width, picture.height))
    assert set(shares(margin)) == {LIGHT}
