"""Issue 2, "Shows" 3, on nodes: each bad input gives one clear error and changes nothing.

node3 starts fresh. The first half runs on it as it is; the second half needs ROCm on it and not yet the kernels.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import engine, keys, nodes, site
from lab.mirror import apt, arch, rocblas, tree
from tests.lab.conftest import Lab

pytestmark = pytest.mark.lab
NODE = "node3"
CLOSED_PORT = 9
ARCH_FOLDER = "packages/r/rocblas"


def refused(lab: Lab, *arguments: str, says: tuple[str, ...]) -> site.Result:
    """Run site.yml on node3 and prove: it failed once, in these words, and left the node as it was."""
    before = lab.state(NODE)
    result = lab.site("--limit", NODE, *arguments)
    assert result.returncode != 0, result.why
    assert "Traceback" not in result.output
    errors = re.split(rf"^(?:fatal|failed): \[{NODE}\]", result.output, flags=re.MULTILINE)[1:]
    # A rescue that cleans up says the same once more; it is told from a second failure by the recap.
    assert result.recap[NODE]["failed"] == 1, result.why
    assert len(errors) == 1 + result.recap[NODE]["rescued"], result.why
    # Ansible folds long lines, and fingerprints are written in groups.
    squeezed = re.sub(r"\s+", "", errors[-1]).lower()
    assert [word for word in says if re.sub(r"\s+", "", word).lower() not in squeezed] == [], errors[-1][:4000]
    assert sorted(set(before.splitlines()) ^ set(lab.state(NODE).splitlines())) == []
    return result


def copy_tree(source: Path, target: Path) -> Path:
    """A copy that shares unchanged files with the mirror: os.link, so that nothing may be edited in place."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=os.link)
    return target


def replace(path: Path, data: bytes) -> None:
    """Give a linked file other contents without touching the mirror's own."""
    path.unlink()
    path.write_bytes(data)


@contextmanager
def mounted(lab: Lab, what: str, where: str) -> Iterator[None]:
    """A mount on node3 for the length of a test."""
    lab.ssh(NODE, f"mkdir -p {where} 2>/dev/null; mount {what} {where}")
    try:
        yield
    finally:
        lab.ssh(NODE, f"umount {where}")


def test_unknown_stack(lab: Lab) -> None:
    refused(lab, "-e", "mi50_stack=rocm-9.9.9", says=("rocm-9.9.9", "rocm-6.4.3"))


def test_no_gfx906(lab: Lab) -> None:
    settings = json.dumps({"mi50_sysfs_root": "/srv/mi50-lab/presets/none", "mi50_expected_gpus": None})
    refused(lab, "-e", settings, says=("gpu.present", "gfx906"))


def test_fewer_cards_than_expected(lab: Lab) -> None:
    refused(lab, "-e", '{"mi50_expected_gpus": 4}', says=("gpu.count", "mi50_expected_gpus is 4"))


def test_unsupported_release(lab: Lab) -> None:
    lab.ssh(NODE, "sed 's/12/13/; s/bookworm/trixie/' /usr/lib/os-release >/run/os-release")
    with mounted(lab, "--bind /run/os-release", "/usr/lib/os-release"):
        refused(lab, says=("os.release", "debian 13"))


def test_no_network(lab: Lab) -> None:
    refused(lab, "-e", f"mi50_url_radeon={lab.url}:{CLOSED_PORT}/radeon", says=("mi50_url_radeon", f":{CLOSED_PORT}"))


def test_broken_proxy(lab: Lab) -> None:
    refused(lab, "-e", f"mi50_http_proxy={lab.url}:{CLOSED_PORT}", says=("proxy", f":{CLOSED_PORT}"))


def test_full_disk(lab: Lab) -> None:
    with mounted(lab, "-t tmpfs -o size=8m,mode=0755 tmpfs", "/opt"):
        refused(lab, says=("/opt", "GiB"))


def test_half_configured_dpkg(lab: Lab) -> None:
    pool = tree.docroot(lab.settings) / "radeon/amdgpu/6.4.3/ubuntu/pool"
    package = next(pool.rglob("amdgpu-dkms_*.deb"))
    engine.docker("cp", str(package), f"{nodes.container(NODE)}:/var/tmp/amdgpu-dkms.deb")
    broken = lab.ssh(
        NODE, "touch /srv/mi50-lab/standin_dkms_fails; dpkg -i /var/tmp/amdgpu-dkms.deb >/dev/null 2>&1; echo $?"
    )
    assert broken.strip() != "0", "the stand-in did not break dpkg: this proves nothing"
    try:
        refused(lab, says=("dpkg", "amdgpu-dkms"))
    finally:
        lab.ssh(NODE, "rm /srv/mi50-lab/standin_dkms_fails; dpkg --purge --force-all amdgpu-dkms >/dev/null 2>&1")


def test_wrong_key_fingerprint(lab: Lab) -> None:
    wanted, offered = keys.fingerprint(lab.settings, "stranger"), keys.fingerprint(lab.settings, "rocm")
    refused(lab, "-e", f"rocm_apt_key_fingerprint={wanted}", says=("repository.key", wanted, offered))


def test_wrong_key_file(lab: Lab) -> None:
    key = keys.openpgp(lab.settings, "stranger") / "public.asc"
    wanted, offered = keys.fingerprint(lab.settings, "rocm"), keys.fingerprint(lab.settings, "stranger")
    refused(lab, "-e", f"rocm_apt_key_file={key}", says=("repository.key", "rocm_apt_key_file", wanted, offered))


def test_mirror_that_is_incomplete(lab: Lab) -> None:
    """Issue 9: all that is missing, before anything changes. The address answers, and its list has something else."""
    short = lab.variant("short")
    copy_tree(tree.docroot(lab.settings) / "arch", short / "arch")
    copy_tree(tree.docroot(lab.settings) / "radeon", short / "radeon")
    one = {"kind": "file", "what": {"path": "arch/another"}, "values": {}}
    (short / "contents.json").write_text(json.dumps({"format": 1, "items": {"one": one}}))
    base = f"{lab.url}/variants/short"
    given = {"mi50_url_arch_archive": f"{base}/arch", "mi50_url_radeon": f"{base}/radeon"}
    refused(
        lab,
        "-e",
        json.dumps({**given, "artifact_mirror_client_base": base}),
        says=(
            *("mirror.contents", "incomplete for this stack, 3 missing", "apt-debian-12"),
            *("radeon/rocm/rocm.gpg.key", "arch/packages/r/rocblas/rocblas-6.4.3"),
        ),
    )


def lock(tmp_path: Path, **values: str) -> str:
    """An argument that gives the stack a lock with these values of the kernels' package."""
    path = tmp_path / "stack.lock.yml"
    path.write_text(json.dumps({"stack": "rocm-6.4.3", "artifacts": {"rocblas-arch": values}}))
    return f"mi50_stack_lock_file={path}"


def test_mirror_that_holds_another_file_than_the_lock_says(lab: Lab, tmp_path: Path) -> None:
    """Issue 9: with the mirror's list at hand nothing has to be fetched to see it."""
    other, name = lab.variant("other"), f"arch/{ARCH_FOLDER}/{arch.filename()}"
    copy_tree(tree.docroot(lab.settings) / "arch", other / "arch")
    what = {"path": name, "signature": f"{name}.sig"}
    item = {"kind": "file", "what": what, "values": {"sha256": "b" * 64}}
    (other / "contents.json").write_text(json.dumps({"format": 1, "items": {"rocblas-arch": item}}))
    base = f"{lab.url}/variants/other"
    given = {"mi50_url_arch_archive": f"{base}/arch", "artifact_mirror_client_base": base}
    arguments = ("-e", json.dumps(given), "-e", lock(tmp_path, sha256="a" * 64))
    refused(lab, *arguments, says=("mirror.contents", "1 missing", name, "a" * 64, "it has " + "b" * 64))


def test_lock_that_contradicts_the_stack(lab: Lab, tmp_path: Path) -> None:
    says = ("rocblas-arch.path", "packages/r/rocblas/another", arch.filename(), "lock again")
    refused(lab, "-e", lock(tmp_path, path="packages/r/rocblas/another"), says=says)


def test_release_without_a_builder(lab: Lab) -> None:
    """Issue 9: of a fleet of two releases one has nobody to compile for it; said before ROCm is installed there."""
    text = r'ID=ubuntu\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\nPRETTY_NAME="Ubuntu 22.04"\n'
    lab.ssh(NODE, f"printf '{text}' >/run/os-release")
    with mounted(lab, "--bind /run/os-release", "/usr/lib/os-release"):
        says = ("triton", "no host can build it", "is not among build_once_hosts")
        refused(lab, "-e", '{"build_once_hosts": ["node2"]}', says=says)


def test_two_nodes_with_one_host_key(lab: Lab) -> None:
    """One of them goes on, whichever says so first; the other is refused. Of --tags preflight nothing else is done."""
    path = "/etc/ssh/ssh_host_ed25519_key.pub"
    key, own = lab.ssh("node2", f"cat {path}").split()[1], lab.ssh(NODE, f"cat {path}").strip()
    lab.ssh(NODE, f"echo 'ssh-ed25519 {key} copy' >{path}")
    try:
        result = lab.site("--limit", f"node2,{NODE}", "--tags", "preflight")
    finally:
        lab.ssh(NODE, f"echo '{own}' >{path}")
    assert sorted(counts["failed"] for counts in result.recap.values()) == [0, 1], result.output[-3000:]
    said = " ".join(result.output.split())
    assert "inventory.host_key" in said and "have the same one" in said and "dpkg-reconfigure openssh-server" in said


def radeon_copy(lab: Lab, name: str) -> Path:
    """A broken copy's own /radeon."""
    return copy_tree(tree.docroot(lab.settings) / "radeon", lab.variant(name) / "radeon")


def test_tampered_repository(lab: Lab) -> None:
    dist = radeon_copy(lab, "tampered") / "rocm/apt/6.4.3/dists/jammy/main/binary-amd64"
    for name in ("Packages", "Packages.gz"):
        replace(dist / name, (dist / name).read_bytes() + b"\n")
    base = f"{lab.url}/variants/tampered/radeon"
    refused(lab, "-e", f"mi50_url_radeon={base}", says=("repository.lists", "variants/tampered", "expected"))


def test_repository_signed_by_a_stranger(lab: Lab) -> None:
    root = radeon_copy(lab, "stranger") / "rocm/apt/6.4.3"
    shutil.rmtree(root / "dists")
    apt.publish(lab.settings, root, suite="jammy", origin="repo.radeon.com", key="stranger", release="6.4.3")
    address = f"mi50_url_radeon={lab.url}/variants/stranger/radeon"
    refused(lab, "-e", address, says=("repository.lists", "variants/stranger", "not by the pinned one"))


@pytest.fixture(scope="module")
def rocm_only(lab: Lab) -> Lab:
    """node3 with ROCm and without the kernels: what the Arch package is about to be put into."""
    result = lab.site("--limit", NODE, "--tags", "rocm")
    assert result.returncode == 0, result.why
    return lab


def arch_copy(lab: Lab, name: str) -> Path:
    """A broken copy's own package folder."""
    return copy_tree(tree.docroot(lab.settings) / "arch", lab.variant(name) / "arch") / ARCH_FOLDER


def test_truncated_arch_package(rocm_only: Lab) -> None:
    package = arch_copy(rocm_only, "truncated") / arch.filename()
    with package.open("rb") as stream:
        replace(package, stream.read(package.stat().st_size // 3))
    refused(rocm_only, "-e", f"mi50_url_arch_archive={rocm_only.url}/variants/truncated/arch", says=(arch.filename(),))


def test_package_that_the_lock_does_not_know(rocm_only: Lab, tmp_path: Path) -> None:
    """Without a mirror's list it is seen when the file has come; it is not kept."""
    refused(
        rocm_only,
        "-e",
        lock(tmp_path, sha256="a" * 64),
        says=(arch.filename(), f"expected {'a' * 64}", "nothing was kept"),
    )


def test_current_package_under_the_old_name(rocm_only: Lab) -> None:
    """The distribution's download page hands out 7.2.x whatever the file is called; it is properly signed, too."""
    folder = arch_copy(rocm_only, "misnamed")
    deb = tree.source_package(rocm_only.settings)
    names = rocblas.gfx906(rocblas.members(deb))
    made = arch.make(
        rocm_only.variant("made"),
        lambda root: rocblas.unpack(deb, names, root / "opt/rocm/lib/rocblas/library"),
        "7.2.4",
        "2",
    )
    package = folder / arch.filename()
    replace(package, made.read_bytes())
    (folder / f"{package.name}.sig").unlink()
    keys.sign(rocm_only.settings, "packager", package, output=folder / f"{package.name}.sig")
    address = f"mi50_url_arch_archive={rocm_only.url}/variants/misnamed/arch"
    refused(rocm_only, "-e", address, says=("7.2.4", "6.4.3"))


def test_package_signed_by_a_stranger(rocm_only: Lab) -> None:
    folder = arch_copy(rocm_only, "unsigned")
    signature = folder / f"{arch.filename()}.sig"
    signature.unlink()
    keys.sign(rocm_only.settings, "stranger", folder / arch.filename(), output=signature)
    refused(rocm_only, "-e", f"mi50_url_arch_archive={rocm_only.url}/variants/unsigned/arch", says=("sign",))


def test_cache_runs_full(rocm_only: Lab) -> None:
    relaxed = json.dumps({"preflight_min_free_gib": {"/opt": 0}})
    rocm_only.ssh(NODE, "rm -rf /var/cache/mi50-aipc/*")
    with mounted(rocm_only, "-t tmpfs -o size=32m,mode=0755 tmpfs", "/var/cache/mi50-aipc"):
        refused(rocm_only, "-e", relaxed, says=("/var/cache/mi50-aipc",))


def test_after_all_that_the_node_still_converges(rocm_only: Lab) -> None:
    result = rocm_only.site("--limit", NODE)
    assert result.returncode == 0, result.why
