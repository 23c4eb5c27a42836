"""Answers to the tasks of suites/blog-2025-10.yml: good ones, and bad ones that a broken kernel or model could give.

`BAD` maps (task, language) to {what is wrong: (answer, id of a check that has to fail)}.
"""

from __future__ import annotations

from pathlib import Path

IMAGES = Path(__file__).resolve().parents[3] / "suites" / "images"
NOTICE = {language: (IMAGES / f"notice-{language}.txt").read_text(encoding="utf-8") for language in ("zh", "en")}
ESSAYS = Path(__file__).resolve().parent / "essays"


def read(name: str) -> str:
    return (ESSAYS / name).read_text(encoding="utf-8")


SCENE_EN = """Here is what I can see:
* **A house** with beige walls, a red roof and a blue door
* **A tree** with a brown trunk and a green crown
* **A car**, blue, on a gray road
* **The sun**, yellow, and a white cloud
* **Balloons**, all of them red

Answer: 3"""
SCENE_ZH = """1. 房子：米色墙壁，红色屋顶，蓝色的门
2. 树：绿色树冠
3. 汽车：蓝色
4. 太阳：黄色；云：白色
5. 气球：红色，共3个
答案：**3**"""
GEOMETRY_EN = r"""AB = \sqrt{9^2 + 12^2} = 15.
The area is \frac{1}{2} \cdot 9 \cdot 12 = 54 = \frac{1}{2} \cdot 15 \cdot CD.
Hence $CD = \frac{108}{15} = 7.2$.
Answer: $\boxed{\frac{36}{5}}$"""
GEOMETRY_ZH = "由勾股定理，AB = 15（AC = 9，BC = 12）。面积相等：9 × 12 = 15 × CD。\n答案：CD = 7.2"
ALGEBRA_EN = """The roots are 3 - d, 3, 3 + d. With x = 3: 27 - 81 + 69 = 15, and 9 - d^2 = 5.

**Answer:** m = 15, greatest root = 5"""
ALGEBRA_ZH = "设三个根为 3-d, 3, 3+d。代入 x=3 得 m=15，再由 9-d²=5 得 d=2。\n答案：15, 5"

PAGE = """```html
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ font-family: sans-serif }} td {{ padding: 4px }}</style>
</head>
<body>
<h1>{title}</h1>
<form id="form">
<input type="date" id="date" required> <input id="name" required> <input type="number" id="amount" step="0.01" required>
<button type="submit">+</button>
</form>
<table><thead><tr><th>1<th>2<th>3</tr></thead><tbody id="rows"></tbody></table>
<p>= <output id="sum">0</output>
<script>
const rows = JSON.parse(localStorage.getItem("rows") || "[]");
function show() {{ document.getElementById("sum").textContent = rows.reduce((a, r) => a + r.amount, 0); }}
document.getElementById("form").addEventListener("submit", (e) => {{
  e.preventDefault();
  if (rows.length < 10 && 1 > 0) rows.push({{ amount: Number(document.getElementById("amount").value) }});
  localStorage.setItem("rows", JSON.stringify(rows));
  show();
}});
show();
</script>
</body>
</html>
```"""
PAGE_EN, PAGE_ZH = PAGE.format(title="Ledger"), PAGE.format(title="记账本")

TITLES = {
    "en": (
        "Order parts",
        "Install cooling",
        "Install the graphics cards",
        "Install the operating system",
        "Install the driver",
        "Deploy the model",
        "Stress test",
        "Write documentation",
    ),
    "zh": ("采购配件", "安装散热", "安装显卡", "安装操作系统", "安装驱动", "部署模型", "压力测试", "编写文档"),
}
DEPENDS = ([], [1], [1, 2], [], [3, 4], [5], [5, 2], [6, 7])


def plan(language: str, depends: tuple[list[int], ...] = DEPENDS, days: float = 2, skip: int = 0) -> str:
    tasks = [
        f'{{"id": {number}, "title": "{title}", "days": {days}, "depends_on": {depends[number - 1]}}}'
        for number, title in enumerate(TITLES[language], 1)
        if number != skip
    ]
    return '```json\n{"tasks": [' + ",\n".join(tasks) + "]}\n```"


GOOD = {
    ("image-recognition", "en"): SCENE_EN,
    ("image-recognition", "zh"): SCENE_ZH,
    ("picture-story", "en"): read("story-en.txt"),
    ("picture-story", "zh"): read("story-zh.txt"),
    ("geometry", "en"): GEOMETRY_EN,
    ("geometry", "zh"): GEOMETRY_ZH,
    ("text-extraction", "en"): f"```\n{NOTICE['en']}```",
    ("text-extraction", "zh"): NOTICE["zh"].replace("：", ": "),
    ("algebra", "en"): f"<think>Is it 14, 4? No.</think>{ALGEBRA_EN}",
    ("algebra", "zh"): ALGEBRA_ZH,
    ("gaokao-essay", "en"): read("essay-en.txt"),
    ("gaokao-essay", "zh"): read("essay-zh.txt"),
    ("front-end-page", "en"): PAGE_EN,
    ("front-end-page", "zh"): PAGE_ZH,
    ("task-plan", "en"): plan("en"),
    ("task-plan", "zh"): plan("zh"),
}

_CIRCLE = ([], [1], [1, 2], [], [3, 4, 6], [5], [5, 2], [6, 7])
_EARLY = ([], [1], [1], [], [3, 4], [5], [5], [6, 7])

BAD: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("image-recognition", "en"): {
        "miscounted": (SCENE_EN.replace("Answer: 3", "Answer: 4"), "balloons"),
        "blind": ("I see a mountain, a river and a castle.\nAnswer: 3", "objects"),
        "a word inside another": ("A carpet, a sundial, a streetwise treehouse, a cloudburst.\nAnswer: 3", "objects"),
    },
    ("image-recognition", "zh"): {"miscounted": (SCENE_ZH.replace("**3**", "**两个，即2**"), "balloons")},
    ("picture-story", "en"): {
        "another picture": (read("essay-en.txt"), "picture"),
        "too short": (
            "The lighthouse shone over the sea and the boat came home through the storm. The end.",
            "length-en",
        ),
        "in Chinese": (read("story-zh.txt"), "language-en"),
        "a loop": ("The lighthouse shone on the boat in the storm. " * 40, "coherent"),
    },
    ("picture-story", "zh"): {"in English": (read("story-en.txt"), "language-zh")},
    ("geometry", "en"): {
        "wrong number": (GEOMETRY_EN.replace(r"\frac{36}{5}", "7.5"), "length"),
        "right number on the way, wrong at the end": ("9, 12, 15: CD might be 7.2.\nAnswer: 6.8", "length"),
        "no figure read": ("Answer: 7.2", "read-from-picture"),
    },
    ("geometry", "zh"): {"wrong number": (GEOMETRY_ZH.replace("7.2", "72"), "length")},
    ("text-extraction", "en"): {
        "a line is missing": (NOTICE["en"].replace("Telephone: 000-5550 4913\n", ""), "characters-en"),
        "a digit is wrong": (NOTICE["en"].replace("5:45", "5:15"), "numbers"),
        "invented": ("RIVERSIDE LIBRARY\nOpen every day from 9:30 to 5:45. Call 000-5550 4913.", "characters-en"),
    },
    ("text-extraction", "zh"): {
        "translated": (NOTICE["en"], "characters-zh"),
        "characters misread": (
            NOTICE["zh"].replace("馆", "官").replace("闭", "闲").replace("延", "廷"),
            "characters-zh",
        ),
    },
    ("algebra", "en"): {
        "wrong m": (ALGEBRA_EN.replace("m = 15", "m = 51"), "result"),
        "one of two": ("Answer: m = 15", "result"),
        "cut in its thinking": ("<think>m = 15 and the roots are 1, 3, 5, so the answer is 15, 5. But wait", "result"),
    },
    ("algebra", "zh"): {"wrong root": (ALGEBRA_ZH.replace("15, 5", "15, 3"), "result")},
    ("gaokao-essay", "en"): {
        "too short": (read("essay-en.txt")[:2000], "length-en"),
        "a loop": (
            "# Slow\n" + "Slow and fast are two sides of the same old coin, said the man to his son.\n" * 50,
            "coherent",
        ),
        "one block": (" ".join(read("essay-en.txt").split()), "paragraphs"),
    },
    ("gaokao-essay", "zh"): {
        "too short": (read("essay-zh.txt")[:700], "length-zh"),
        "in English": (read("essay-en.txt"), "language-zh"),
        "off the subject": (read("essay-zh.txt").replace("慢", "红").replace("快", "绿"), "theme"),
    },
    ("front-end-page", "en"): {
        "cut off": (PAGE_EN[: PAGE_EN.index("  localStorage.setItem")], "page-en"),
        "cut off, closed by hand": (PAGE_EN.replace("</table>", ""), "page-en"),
        "nothing is kept": (PAGE_EN.replace("localStorage", "sessionData"), "page-en"),
        "loads from elsewhere": (
            PAGE_EN.replace("<style>", '<script src="//cdn.test/v.js"></script><style>'),
            "page-en",
        ),
        "no page at all": ("Here is how one would write such a page: first a form, then a table.", "page-en"),
    },
    ("front-end-page", "zh"): {"another title": (PAGE_EN, "page")},
    ("task-plan", "en"): {
        "a circle": (plan("en", _CIRCLE), "plan"),
        "test before cooling": (plan("en", _EARLY), "plan"),
        "too long": (plan("en", days=5), "plan"),
        "unknown dependency": (plan("en", skip=1), "plan"),
        "prose": ("First order the parts, then install everything, then test.", "plan"),
        "cut off": (plan("en")[:300], "plan"),
        "days are words": (plan("en").replace('"days": 2', '"days": "two"'), "plan"),
    },
    ("task-plan", "zh"): {"a task is missing": (plan("zh", skip=8), "plan")},
}
