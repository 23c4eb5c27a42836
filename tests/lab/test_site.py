"""Issue 2, "Shows" 1 and 2: site.yml over SSH on two nodes, and what it leaves on them."""

from __future__ import annotations

import re

import pytest

from lab.mirror.tree import docroot
from tests.lab.conftest import Lab

pytestmark = pytest.mark.lab
NODES = ("node1", "node2")
LIBRARY = "/opt/rocm-6.4.3/lib/rocblas/library"


@pytest.mark.parametrize("run", ["first check", "first", "second", "converged check"])
def test_run_succeeds_on_both_nodes(converged: Lab, run: str) -> None:
    result = converged.runs[run]
    assert result.returncode == 0, result.why
    assert set(result.recap) >= set(NODES)
    assert all(counts["failed"] == counts["unreachable"] == 0 for counts in result.recap.values())


def test_first_run_changes_and_check_alone_does_not(converged: Lab) -> None:
    assert all(converged.runs["first"].recap[node]["changed"] > 0 for node in NODES)
    # Had the check installed anything, the first run would have had less to do.
    assert all(converged.runs["first check"].recap[node]["changed"] > 0 for node in NODES)


@pytest.mark.parametrize("run", ["second", "converged check"])
def test_nothing_changes_once_converged(converged: Lab, run: str) -> None:
    assert {node: converged.runs[run].recap[node]["changed"] for node in NODES} == dict.fromkeys(NODES, 0)


def test_a_converged_node_is_called_once(converged: Lab) -> None:
    """Each call costs a node a fifth of a second of its processor; the preflight asks for all roles."""
    output = converged.runs["second"].output
    assert output.count("TASK [preflight : Check the inventory and the host]") == 1
    for task in ("rocm : See what the node has and lacks", "gfx906_rocblas : See whether every kernel is there"):
        assert task in converged.runs["first"].output
        assert task not in output


def mirror_packages(lab: Lab) -> dict[str, str]:
    """Name to version of what the mirror's signed index offers."""
    text = (docroot(lab.settings) / "radeon/rocm/apt/6.4.3/dists/jammy/main/binary-amd64/Packages").read_text()
    return dict(re.findall(r"^Package: (\S+)\n(?:.*\n)*?Version: (\S+)$", text, re.MULTILINE))


@pytest.mark.parametrize("node", NODES)
def test_rocm_comes_from_the_mirror_only(converged: Lab, node: str) -> None:
    offered = mirror_packages(converged)
    listing = converged.ssh(node, "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n'")
    rows = [line.split() for line in listing.splitlines()]
    installed = {row[1]: row[2] for row in rows if row[1] in offered or "rocm" in row[1]}
    assert {"rocm", "rocm-core", "rocblas", "rocminfo"} <= set(installed)
    assert installed == {name: offered.get(name) for name in installed}
    assert all(row[0] == "ii" for row in rows), "a package is not fully installed"
    for name in ("rocm-core", "rocblas"):
        policy = converged.ssh(node, f"apt-cache policy {name}")
        current = policy.split("***", 1)[1].splitlines()
        assert converged.url in current[1], policy


@pytest.mark.parametrize("node", NODES)
def test_pin_wins_over_the_decoy(converged: Lab, node: str) -> None:
    policy = converged.ssh(node, "apt-cache policy rocminfo")
    assert "99.0-1 500" in policy, "the decoy is not offered: this proves nothing"
    candidate = re.search(r"Candidate: (\S+)", policy)
    assert candidate and candidate.group(1) == mirror_packages(converged)["rocminfo"]


@pytest.mark.parametrize("node", NODES)
def test_every_gfx906_file_equals_the_source(converged: Lab, node: str, source_digests: dict[str, str]) -> None:
    lines = converged.ssh(node, f"cd {LIBRARY} && sha256sum -- *gfx906*").splitlines()
    found = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    assert len(found) >= 100
    assert found == source_digests


@pytest.mark.parametrize(("node", "cards"), [("node1", 1), ("node2", 2)])
def test_rocminfo_shows_the_cards(converged: Lab, node: str, cards: int) -> None:
    assert converged.ssh(node, "/opt/rocm/bin/rocminfo").count("  Name:                    gfx906") == cards


def test_drift_is_seen_and_mended(converged: Lab, source_digests: dict[str, str]) -> None:
    """The one look of a converged node still reads what each role would: a file each is spoiled, on one node each."""
    kernel = sorted(source_digests)[0]
    paths = "/etc/ld.so.conf.d/mi50-rocm.conf"
    before = converged.ssh("node2", f"cat {paths}")
    converged.ssh("node1", f"rm {LIBRARY}/{kernel}")
    converged.ssh("node2", f"echo /opt/elsewhere >> {paths}")
    result = converged.site("--limit", "node1,node2")
    assert result.returncode == 0, result.why
    assert all(result.recap[node]["changed"] > 0 for node in NODES)
    assert converged.ssh("node1", f"sha256sum {LIBRARY}/{kernel}").split()[0] == source_digests[kernel]
    assert converged.ssh("node2", f"cat {paths}") == before
    again = converged.site("--limit", "node1,node2")
    assert {node: again.recap[node]["changed"] for node in NODES} == dict.fromkeys(NODES, 0)
