"""Draw the pictures of the suites: `python -m tools.suite_images [--check]`.

Everything is drawn here, four times too large and then averaged, so that the same Pillow gives the same pixels on
every machine. `--check` draws again and compares pixels: the packed bytes depend on the machine's zlib, pixels do not.
Latin text is set in DejaVu Sans as matplotlib brings it, Chinese in suites/images/fonts (a part of Droid Sans
Fallback, see the README there).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).resolve().parents[1] / "suites" / "images"
SIDE = 896  # pixels; Gemma 3 looks at 896 x 896 and scales everything else
SCALE = 4
_LATIN = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
_CHINESE = FOLDER / "fonts" / "DroidSansFallback-part.ttf"
Point = tuple[float, float]

INK, PAPER = "#202020", "#fbf7ec"


class Canvas:
    """A drawing in coordinates of the finished picture."""

    def __init__(self, background: str) -> None:
        """Start with one colour everywhere."""
        self.image = Image.new("RGB", (SIDE * SCALE, SIDE * SCALE), background)
        self.draw = ImageDraw.Draw(self.image)

    def polygon(self, points: list[Point], fill: str) -> None:
        """A filled polygon."""
        self.draw.polygon([(round(x * SCALE), round(y * SCALE)) for x, y in points], fill=fill)

    def box(self, left: float, top: float, right: float, bottom: float, fill: str) -> None:
        """A filled rectangle."""
        self.draw.rectangle([round(value * SCALE) for value in (left, top, right, bottom)], fill=fill)

    def disc(self, x: float, y: float, radius: float, fill: str, height: float | None = None) -> None:
        """A filled circle, or an ellipse of another height."""
        high = height if height is not None else radius
        self.draw.ellipse([round(v * SCALE) for v in (x - radius, y - high, x + radius, y + high)], fill=fill)

    def line(self, points: list[Point], fill: str, width: float) -> None:
        """A line through points, with round corners."""
        scaled = [(round(x * SCALE), round(y * SCALE)) for x, y in points]
        self.draw.line(scaled, fill=fill, width=round(width * SCALE), joint="curve")

    def text(self, x: float, y: float, words: str, size: float, fill: str = INK) -> None:
        """Text from its left baseline; each run of characters in the font that has them."""
        fonts = {cjk: ImageFont.truetype(_CHINESE if cjk else _LATIN, round(size * SCALE)) for cjk in (True, False)}
        at = round(x * SCALE)
        for char in words:
            font = fonts[ord(char) > 0x2E80]
            self.draw.text((at, round(y * SCALE)), char, font=font, fill=fill, anchor="ls")
            at += round(font.getlength(char))

    def finished(self) -> Image.Image:
        """The picture, each pixel the average of its part, in as few colours as a small file takes."""
        return self.image.reduce(SCALE).quantize(64, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def scene() -> Image.Image:
    """A house, a tree, a car, the sun, a cloud and three red balloons, to be recognised and counted."""
    canvas = Canvas("#9fd3f5")
    canvas.disc(770, 120, 70, "#ffd23f")
    for x, y, radius in ((180, 150, 50), (235, 125, 62), (300, 150, 52), (240, 165, 50)):
        canvas.disc(x, y, radius, "#ffffff")
    canvas.box(0, 620, SIDE, SIDE, "#6fbf5a")
    canvas.box(0, 740, SIDE, 860, "#6b6b6b")
    for x in range(20, SIDE, 130):
        canvas.box(x, 794, x + 70, 804, "#ffffff")
    canvas.box(110, 420, 390, 660, "#e8c893")
    canvas.polygon([(80, 425), (250, 285), (420, 425)], "#b5442e")
    canvas.box(215, 540, 285, 660, "#2f5fb3")
    canvas.disc(272, 602, 6, "#ffd23f")
    for left in (140, 305):
        canvas.box(left, 460, left + 60, 520, "#d7f0ff")
        canvas.line([(left + 30, 460), (left + 30, 520)], "#7a5230", 5)
        canvas.line([(left, 490), (left + 60, 490)], "#7a5230", 5)
    canvas.box(690, 470, 730, 680, "#7a5230")
    for x, y, radius in ((710, 400, 85), (655, 445, 65), (765, 445, 65), (710, 460, 70)):
        canvas.disc(x, y, radius, "#2e8b3d")
    canvas.polygon([(480, 745), (530, 690), (640, 690), (690, 745)], "#3b6fd4")
    canvas.polygon([(502, 743), (538, 702), (580, 702), (580, 743)], "#d7f0ff")
    canvas.polygon([(592, 743), (592, 702), (632, 702), (668, 743)], "#d7f0ff")
    canvas.box(445, 743, 735, 800, "#3b6fd4")
    for x in (515, 665):
        canvas.disc(x, 802, 34, "#202020")
        canvas.disc(x, 802, 15, "#cfcfcf")
    for x, y in ((450, 210), (530, 150), (590, 250)):
        canvas.line([(x, y + 58), (x - 8, y + 120), (x + 6, y + 180)], "#555555", 3)
        canvas.disc(x, y, 42, "#e0262b", 54)
        canvas.polygon([(x - 8, y + 64), (x + 8, y + 64), (x, y + 50)], "#e0262b")
        canvas.disc(x - 14, y - 20, 8, "#f7a5a7", 13)
    return canvas.finished()


def story() -> Image.Image:
    """A lighthouse on a cliff at night, its beam over a small sailing boat in high waves, a moon, lightning."""
    canvas = Canvas("#16213f")
    for index in range(40):
        canvas.disc((index * 197 + 31) % SIDE, (index * 89 + 17) % 330, 1.5 + index % 3, "#cfd8ff")
    canvas.disc(160, 130, 62, "#f4ecc2")
    canvas.disc(186, 114, 54, "#16213f")
    canvas.polygon([(676, 262), (0, 330), (0, 520)], "#59603f")
    for x, y, radius in ((360, 120, 46), (420, 96, 60), (485, 122, 48), (420, 138, 52)):
        canvas.disc(x, y, radius, "#46506e")
    canvas.polygon([(432, 178), (398, 262), (426, 262), (404, 340), (462, 244), (432, 244), (456, 178)], "#ffe65c")
    for row, (y, colour) in enumerate(((600, "#1f4e79"), (690, "#1a4268"), (780, "#143655"))):
        crest: list[Point] = [(x, y + 26 * math.sin(x / 58 + row * 1.9)) for x in range(0, 650, 6)]
        canvas.polygon([(0, SIDE), *crest, (crest[-1][0], SIDE)], colour)
        canvas.line(crest, "#d6e6f2", 4)
        if row == 0:
            canvas.polygon([(190, 604), (350, 580), (326, 648), (222, 662)], "#8a4b22")
            canvas.line([(268, 596), (252, 400)], "#e7d3b0", 8)
            canvas.polygon([(262, 410), (358, 560), (276, 580)], "#f7f4ea")
            canvas.polygon([(246, 424), (262, 584), (186, 594)], "#e3dcc6")
    canvas.polygon([(560, SIDE), (600, 640), (640, 560), (SIDE, 540), (SIDE, SIDE)], "#4a3f3a")
    canvas.polygon([(644, 562), (660, 300), (740, 300), (756, 562)], "#f2f2f2")
    for top in (330, 420, 510):
        left, right = 660 - (top - 300) * 0.061, 740 + (top - 300) * 0.061
        canvas.polygon([(left, top), (right, top), (right + 3, top + 42), (left - 3, top + 42)], "#c8322b")
    canvas.box(646, 290, 754, 304, "#2c2c2c")
    canvas.box(668, 236, 732, 290, "#fff3a8")
    canvas.polygon([(656, 238), (700, 194), (744, 238)], "#c8322b")
    canvas.box(684, 500, 716, 562, "#3a2c22")
    return canvas.finished()


def geometry() -> Image.Image:
    """A right triangle with its altitude: AC = 9, BC = 12, the right angle at C, CD perpendicular to AB."""
    canvas = Canvas("#ffffff")
    unit, origin = 52.0, (140.0, 700.0)
    c, b, a = origin, (origin[0] + 12 * unit, origin[1]), (origin[0], origin[1] - 9 * unit)
    # D divides AB as 9^2 : 12^2.
    d = (a[0] + (b[0] - a[0]) * 81 / 225, a[1] + (b[1] - a[1]) * 81 / 225)
    canvas.line([a, b, c, a, b], INK, 5)
    canvas.line([c, d], INK, 5)
    canvas.line([(c[0], c[1] - 34), (c[0] + 34, c[1] - 34), (c[0] + 34, c[1])], INK, 3)
    along, across = (0.8, 0.6), (-0.6, 0.8)  # of AB, and of DC
    corner = [
        (d[0] + 30 * (f * along[0] + g * across[0]), d[1] + 30 * (f * along[1] + g * across[1]))
        for f, g in ((1, 0), (1, 1), (0, 1))
    ]
    canvas.line(corner, INK, 3)
    for name, x, y in (("A", a[0] - 18, a[1] - 22), ("B", b[0] + 12, b[1] + 16), ("C", c[0] - 52, c[1] + 34)):
        canvas.text(x, y, name, 46)
    canvas.text(d[0] + 8, d[1] - 20, "D", 46)
    canvas.text(c[0] - 52, (a[1] + c[1]) / 2 + 14, "9", 42)
    canvas.text((b[0] + c[0]) / 2 - 24, c[1] + 58, "12", 42)
    canvas.text((c[0] + d[0]) / 2 + 22, (c[1] + d[1]) / 2 + 30, "?", 42)
    return canvas.finished()


def notice(language: str) -> Image.Image:
    """A notice on a board, the eight lines of notice-LANGUAGE.txt, to be read."""
    canvas = Canvas("#b98a5a")
    canvas.box(56, 76, SIDE - 40, SIDE - 56, "#8f673f")
    canvas.box(48, 64, SIDE - 48, SIDE - 64, PAPER)
    canvas.disc(SIDE / 2, 88, 15, "#c8322b")
    lines = (FOLDER / f"notice-{language}.txt").read_text(encoding="utf-8").splitlines()
    canvas.text(112 if language == "en" else 236, 200, lines[0], 46 if language == "en" else 60, "#8c1d18")
    canvas.line([(112, 232), (SIDE - 112, 232)], "#8c1d18", 4)
    for index, words in enumerate(lines[1:]):
        canvas.text(104, 312 + index * 78, words, 33 if language == "en" else 44)
    return canvas.finished()


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "scene.png": scene,
    "story.png": story,
    "geometry.png": geometry,
    "notice-zh.png": lambda: notice("zh"),
    "notice-en.png": lambda: notice("en"),
}


def different(folder: Path = FOLDER) -> list[str]:
    """Names of pictures that are missing or whose pixels are not what this file draws."""
    wrong = []
    for name, make in PICTURES.items():
        path = folder / name
        if not path.is_file() or Image.open(path).convert("RGB").tobytes() != make().convert("RGB").tobytes():
            wrong.append(name)
    return wrong


def main(arguments: list[str]) -> int:
    """Draw, or with --check compare."""
    if arguments == ["--check"]:
        wrong = different()
        for name in wrong:
            sys.stderr.write(f"{FOLDER / name} is not what tools/suite_images.py draws\n")
        return 1 if wrong else 0
    if arguments:
        sys.stderr.write("usage: python -m tools.suite_images [--check]\n")
        return 2
    for name, make in PICTURES.items():
        make().save(FOLDER / name, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
