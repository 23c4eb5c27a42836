"""The benchmark report: from the JSONL of any number of nodes and runs to HTML, Markdown, CSV and JSON.

Runs on the controller (matplotlib, Jinja2, jsonschema), with Ansible (`llm_benchmark_report`) or without
(`python -m benchreport`). Measures nothing; what it shows is computed again from the recorded requests.
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
# The definitions of metrics and statuses are those of the nodes' code, which is no installed package.
if str(CHECKOUT / "module_utils") not in sys.path:
    sys.path.append(str(CHECKOUT / "module_utils"))
