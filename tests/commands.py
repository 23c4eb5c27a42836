"""Commands that README and docs give to users: where each is run by a test, or why none can run it.

`tests/unit/test_commands.py` finds the commands and holds them against this list: one that is new fails until somebody
says here what proves it. Patterns are regular expressions for the start of a command; the first that matches counts.
"""

from __future__ import annotations

from typing import NamedTuple

HARDWARE = "hardware"  # needs a card, a blower, another machine or a broken one
HAND = "by hand"  # takes too long or changes the machine that runs the tests; docs/verification.md says when it was run
SHOWN = "shown"  # no command to type: what another one does, or a name


class Proof(NamedTuple):
    """`where`: a file of tests that holds `says`, or one of the words above with the reason in `says`."""

    pattern: str
    where: str
    says: str


PROOFS = (
    Proof(r"git clone REPOSITORY", HAND, "from a fresh clone in a bare container"),
    Proof(r"script/site", "tests/unit/tools/test_site.py", "script/site"),
    Proof(r"script/bootstrap", "tests/unit/tools/test_bootstrap.py", "bootstrap"),
    Proof(r"script/lab accuracy", HAND, "an hour of measurements; its page is committed"),
    Proof(
        r"(script/lab|python -m lab) (measure|fleet|chaos|gateway-cost)",
        HAND,
        "minutes of measurements; its page is committed",
    ),
    Proof(r"script/lab", "tests/unit/test_lab.py", "lab"),
    Proof(r"script/test", "tests/unit/tools/test_testsuite.py", "testsuite"),
    Proof(r"script/benchmark|ansible-playbook playbooks/benchmark\.yml", "tests/lab/test_benchmark.py", "benchmark"),
    Proof(r"ansible-playbook .*playbooks/mirror\.yml.*mi50_lock=", HAND, "fetches gigabytes from upstream hosts"),
    Proof(r"ansible-playbook .*playbooks/mirror(_client)?\.yml", "molecule/artifact_mirror", "artifact_mirror"),
    Proof(
        r"curl http://192\.0\.2\.5",
        HARDWARE,
        "an address of the reader's own network; the file is what the mirror's scenario reads",
    ),
    Proof(r"ansible-playbook .*playbooks/reboot\.yml", "tests/lab/test_reboot.py", "reboot"),
    Proof(r"ansible-playbook .*playbooks/fan_(map|calibrate)\.yml", "molecule/fan_control", "fan_"),
    Proof(r"ansible-playbook .*playbooks/monitoring\.yml", "molecule/monitoring", "monitoring"),
    Proof(r"ansible-playbook .*playbooks/gateway\.yml", "tests/lab/test_gateway.py", "mi50_gateway"),
    Proof(r"ansible-playbook .*playbooks/(drain|ready)\.yml", "tests/lab/test_gateway.py", "playbooks/drain.yml"),
    Proof(r"sudo cat /etc/mi50-aipc/keys/gateway", "tests/lab/test_gateway.py", "keys/gateway"),
    Proof(r"ansible-playbook .*playbooks/verify\.yml", "tests/lab/test_verify.py", "playbooks/verify.yml"),
    Proof(r"ansible-playbook .*playbooks/preflight\.yml", "tests/lab/test_bad_input.py", "preflight"),
    Proof(r"ansible-playbook .*playbooks/uninstall\.yml", "tests/lab/test_undo.py", "playbooks/uninstall.yml"),
    Proof(r"ansible-playbook .*playbooks/rollback\.yml", "tests/lab/test_undo.py", "playbooks/rollback.yml"),
    Proof(
        r"ansible-playbook .*playbooks/support_bundle\.yml", "tests/lab/test_undo.py", "playbooks/support_bundle.yml"
    ),
    Proof(r"ansible-playbook .*site\.yml", "tests/lab/test_site.py", "site"),
    Proof(r"ansible -i inventories/local all -m amdgpu_info", HARDWARE, "lists the cards of this machine"),
    Proof(r"python3? -m lab\.sysfs", "tests/unit/amdgpu", "sysfs"),
    Proof(r"ansible localhost -m amdgpu_info", "tests/unit/amdgpu", "amdgpu_info"),
    Proof(r"(export PYTHONPATH=|python3? -m mi50\.bench)", "tests/unit/bench", "__main__"),
    Proof(r"mi50-compute", "tests/lab/test_torch.py", "mi50-compute --json"),
    Proof(r"mi50-fand|mi50-fan-full", "tests/unit/fand", "mi50-fand"),
    Proof(r"ansible NODE -m llm_benchmark", "tests/lab/test_benchmark.py", "benchmark"),
    Proof(r"python3? -m lab\.plant", HAND, "draws the committed pictures and measures ten minutes"),
    Proof(r"python3? -m tests\.vm", HAND, "a quarter of an hour of virtual machines; its table is committed"),
    Proof(
        r"python3? -m tests\.proofs", HAND, "many gigabytes and minutes; its figures are committed in docs/rocblas.json"
    ),
    Proof(r"python3? -m torch\.distributed\.run", SHOWN, "what mi50-compute starts, not a command to type"),
    Proof(r"python3? -m pytest tests/hosts", "tests/lab/test_verify.py", "tests/hosts"),
    Proof(r"python3? -m (pytest|tools)", "tests/unit/tools", "tools"),
    Proof(
        r"sudo |dmesg|journalctl|lspci|update-grub|apt-get |dpkg |systemctl |docker |mokutil",
        HARDWARE,
        "a remedy on a machine that is broken so",
    ),
)
