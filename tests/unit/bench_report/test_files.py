"""The files: one page that needs nothing else, Markdown, CSV and JSON with the same content, hostile text harmless."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchreport import __main__ as command
from benchreport.build import Options, Result, build
from benchreport.records import ReportError
from tests.unit.bench_report.made_up import FLEET, MadeUp

HOSTILE = '<script>alert("x")</script> & =cmd|pipe| `code` [link](javascript:x)'


class Page(HTMLParser):
    """Elements, addresses and ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                self.addresses.append(value)
            elif name == "id":
                self.ids.append(value)
            assert not name.startswith("on"), "a handler is a script"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def html(report: Result) -> str:
    return report.files["html"].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_needs_nothing_else(html: str, page: Page) -> None:
    assert [address for address in page.addresses if not address.startswith("#")] == []
    assert {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags) == set()
    assert re.findall(r"url\((?!#)|@import|https?://(?!www\.w3\.org/(?:1999/xlink|2000/svg))", html) == []


def test_ids_are_unique_and_every_reference_leads_somewhere(page: Page) -> None:
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    assert {address[1:] for address in page.addresses} - set(page.ids) == set()


def test_references_inside_the_plots_lead_somewhere(html: str, page: Page) -> None:
    used = set(re.findall(r"url\(#([^)]+)\)", html))
    assert used
    assert used - set(page.ids) == set()


def test_both_colour_schemes_have_all_colours(html: str) -> None:
    style = html[: html.index("</style>")]
    light, dark = (re.findall(r"(--[a-z-]+): #", part) for part in style.split("@media (prefers-color-scheme: dark)"))
    used = set(re.findall(r"var\((--[a-z-]+)\)", html))
    assert used <= set(light)
    assert set(light) == set(dark)
    assert "currentColor" in html


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, by WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_is_legible_on_both_grounds(html: str) -> None:
    style = html[: html.index("</style>")]
    for part in style.split("@media (prefers-color-scheme: dark)"):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part))
        for ink, ground in (
            ("ink", "ground"),
            ("soft", "ground"),
            ("soft", "head"),
            ("bad", "bad-ground"),
            ("link", "ground"),
        ):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def test_failures_and_the_note_are_on_the_page(page: Page) -> None:
    for words in ("OOM", "HIP out of memory", "TIMEOUT_PREFILL", "MADE-UP NUMBERS", "57 of 70", "DC_srv@1", "96.9 %"):
        assert words in page.text


def test_tables_come_before_plots(html: str) -> None:
    assert html.index("<table") < html.index("<svg")
    assert html.count("<svg") == 8


def test_csv_has_a_line_a_cell_and_formulas_in_its_head(report: Result) -> None:
    lines = list(csv.DictReader(io.StringIO(report.files["csv"].read_text(encoding="utf-8"))))
    assert len(lines) == report.cells == 70
    assert "dc_srv median [DC_srv@1 tok/s]" in lines[0]
    assert {line["status"] for line in lines} == set(report.statuses)
    failed = next(line for line in lines if line["status"] == "OOM")
    assert failed["dc_srv median [DC_srv@1 tok/s]"] == ""
    assert failed["reason"] == "HIP out of memory: tried to allocate 2.1 GiB"


def test_json_has_the_same_figures_in_full(report: Result) -> None:
    document = json.loads(report.files["json"].read_text(encoding="utf-8"))
    assert len(document["cells"]) == 70
    assert (document["report_version"], document["problems"]) == (1, [])
    cell = document["cells"][0]
    assert cell["figures"]["dc_srv"]["formula"] == "DC_srv@1"
    assert len(cell["figures"]["dc_srv"]["values"]) == len(cell["repetitions"]) == 6
    assert cell["headline"] == {"prefill": "pf_srv", "decode": "dc_srv"}


def test_markdown_has_whole_tables(report: Result) -> None:
    text = report.files["md"].read_text(encoding="utf-8")
    assert text.startswith("# LLM benchmark\n\n> MADE-UP NUMBERS")
    assert "## Speed of the tasks on node1" in text
    heads = re.findall(r"^\|.*\|\n\|[-: |]+\|$", text, re.MULTILINE)
    assert len(heads) >= 7
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block[:200]
    notes = re.findall(r"\*\*OOM\*\* \(0/6 OK\) \[(\d+)\]", text)
    assert notes
    assert f"\n{notes[0]}. HIP out of memory" in text


def test_the_same_runs_give_the_same_files(tmp_path: Path) -> None:
    run = MadeUp(tasks=["algebra"]).write(tmp_path, samples=True)
    options = Options([run], tmp_path / "out")
    assert build(options).changed
    assert not build(options).changed


def test_check_mode_writes_nothing(fleet_dir: Path, tmp_path: Path) -> None:
    found = build(Options([fleet_dir], tmp_path / "new", formats=("md", "csv")), dry_run=True)
    assert found.changed
    assert set(found.files) == {"md", "csv"}
    assert not (tmp_path / "new").exists()


def test_what_servers_say_cannot_do_anything(tmp_path: Path) -> None:
    made = MadeUp(node="n", tasks=["algebra"], statuses={"qwen3-30b.algebra.fixed": ("INBAND_ERROR", HOSTILE)})
    path = made.write(tmp_path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if line["type"] == "run":
            line["node"]["inventory_name"] = HOSTILE
            line["framework"]["name"] = "=1+1"
            line["note"] = HOSTILE
        if line["type"] == "cell":
            line["model"].update(key=HOSTILE, served=HOSTILE)
            line["task"]["title"] = HOSTILE
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = build(Options([tmp_path], tmp_path / "out", title=HOSTILE))
    shown = Page(found.files["html"].read_text(encoding="utf-8"))
    assert shown.tags["script"] == 0
    assert HOSTILE in shown.text
    assert [address for address in shown.addresses if not address.startswith("#")] == []
    markdown = found.files["md"].read_text(encoding="utf-8")
    table = next(line for line in markdown.splitlines() if "INBAND" in line)
    assert "<script>" not in table
    lines_out = list(csv.reader(io.StringIO(found.files["csv"].read_text(encoding="utf-8"))))
    assert [cell for line in lines_out for cell in line if cell[:1] in ("=", "+", "@")] == []
    json.loads(found.files["json"].read_text(encoding="utf-8"))


def test_problems_are_the_first_thing_that_is_shown(tmp_path: Path) -> None:
    path = FLEET[2].write(tmp_path)
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"type": "cell", "schema_ver')
    found = build(Options([tmp_path], tmp_path / "out"))
    assert len(found.problems) == 2  # the cut line, and samples that were not written
    shown = found.files["html"].read_text(encoding="utf-8")
    assert 0 < shown.index('id="problems"') < shown.index('id="blog-node2"')
    assert "cut off in the middle" in shown
    assert "cut off in the middle" in found.files["md"].read_text(encoding="utf-8")


def test_the_command_line(fleet_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = MadeUp(tasks=["algebra"]), MadeUp(tasks=["algebra"], run_id="2026-11-23-b", decode=30.0)
    arguments = [
        str(new.write(tmp_path / "b")),
        "--against",
        str(old.write(tmp_path / "a")),
        "-o",
        str(tmp_path / "out"),
    ]
    assert command.main([*arguments, "--formats", "md", "json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 cells: 2 OK; compared: 2 faster, 2 inconclusive\n")
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert (
        text.index("## What differs between A and B") < text.index("## Verdicts") < text.index("## Speed of the tasks")
    )
    document = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert {pair["verdict"] for pair in document["comparison"]["pairs"]} == {"faster", "inconclusive"}
    assert command.main([str(tmp_path / "nothing"), "-o", str(tmp_path)]) == 1
    assert "no such file or folder" in capsys.readouterr().err


def test_wrong_options_are_refused(fleet_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="format 'pdf': known are html, md, csv, json"):
        build(Options([fleet_dir], tmp_path, formats=("pdf",)))
    with pytest.raises(ReportError, match="language 'de': known are en, zh"):
        build(Options([fleet_dir], tmp_path, language="de"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    run = MadeUp(tasks=["algebra"]).write(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"file/out: cannot write the report: Not a directory"):
        build(Options([run], tmp_path / "file" / "out", formats=("csv",)))
