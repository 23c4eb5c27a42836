"""A run of ours that was cut off while apt worked: known for what it is, finished; everybody else's is left alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mi50.apt import cut, litter, mend
from mi50.record import journal

BEGAN = time.mktime((2026, 11, 23, 9, 0, 0, 0, 0, -1))
ANSIBLE = "/usr/bin/apt-get -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
INSTALL = (
    f"{ANSIBLE} --allow-downgrades install rocm=6.4.3.60403-128~24.04 rocblas=4 hipblas=2 migraphx=2",
    "Install: rocm:amd64 (6.4.3), libnew:amd64 (1, automatic)\nUpgrade: rocm-core:amd64 (6.3.3, 6.4.3)",
)
WHOLE = "Package: bash\nStatus: install ok installed\n\n"


def block(command: str, changes: str, *, minute: int = 5, end: str = "") -> str:
    """A transaction as apt writes it down."""
    return f"\nStart-Date: 2026-11-23  09:{minute:02}:00\nCommandline: {command}\n{changes}\n{end}"


END = "End-Date: 2026-11-23  09:20:00\n"


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., Path]:
    """A node's tree: dpkg's status with these packages (name=state), apt's history, our note of 09:00."""

    def make(history: str, *packages: str, noted: bool = True, updates: str = "") -> Path:
        rows = [one.partition("=") for one in packages]
        status = WHOLE + "".join(f"Package: {name}\nStatus: install ok {state}\n\n" for name, _is, state in rows)
        files = {"var/lib/dpkg/status": status, "var/log/apt/history.log": history}
        if updates:
            files["var/lib/dpkg/updates/0000"] = updates
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        if noted:
            journal.begin(tmp_path / journal.PATH, BEGAN)
        return tmp_path

    return make


class Machine:
    """dpkg and apt-get on the tree: `configure` and `fix` are what they make of the status file."""

    def __init__(self, root: Path, configure: str = WHOLE, simulated: str = "", fix: str = WHOLE) -> None:
        self.root, self.configure, self.simulated, self.fix = root, configure, simulated, fix
        self.said: list[str] = []
        self.code = 0

    def __call__(self, words: list[str]) -> tuple[int, str]:
        if words[0] == "apt-get":
            at = next(number for number, word in enumerate(words) if word.startswith("Dir::Etc::preferences="))
            self.preferences = Path(words[at].partition("=")[2]).read_text()
            assert words[at + 1] == "--allow-downgrades"
            words = [*words[: at - 1], *words[at + 2 :]]
        self.said.append(" ".join(words))
        status = self.root / "var/lib/dpkg/status"
        if words[0] == "dpkg":
            status.write_text(self.configure)
            for one in (self.root / "var/lib/dpkg/updates").glob("*"):
                one.unlink()
            return 1, "dpkg: dependency problems"
        if "-s" in words:
            return self.code, self.simulated
        status.write_text(self.fix)
        return self.code, "E: Unable to fetch some archives"


def since(root: Path) -> float | None:
    return journal.read(root / journal.PATH)


def test_what_dpkg_can_finish_is_finished(node: Callable[..., Path]) -> None:
    root = node(block(*INSTALL), "rocm-core=unpacked", "libc-bin=triggers-pending", updates="Package: rocm\n")
    machine = Machine(root)
    done = mend.mend(root, since(root), machine)
    assert done == [
        "dpkg --configure -a finished what was cut off: "
        "apt-get install rocm=6.4.3.60403-128~24.04 rocblas=4 … of 2026-11-23 09:05"
    ]
    assert machine.said == ["dpkg --force-confdef --force-confold --configure -a", "apt-get -s -f install"]


def test_what_is_missing_is_installed_when_it_is_ours(node: Callable[..., Path]) -> None:
    root = node(block(*INSTALL), "rocm-core=half-installed")
    half = WHOLE + "Package: rocm-core\nStatus: install ok unpacked\n"
    machine = Machine(root, half, "Inst libnew (1 ROCm)\nConf rocm-core (6.4.3)\nRemv rocm [6.3.3]\nConf bash (1)\n")
    assert mend.mend(root, since(root), machine)[1] == "apt-get -f install put right libnew, rocm"
    assert machine.said[2].startswith("apt-get -y -q -o MI50::Run=1 ")
    assert machine.said[2].endswith(" -f install")


def test_apt_goes_on_to_the_versions_that_the_run_was_to_bring(node: Callable[..., Path]) -> None:
    """Also to older ones, which it would not take by itself; what was to go has none."""
    changes = "Downgrade: rocblas:amd64 (4.4.1, 4.3.0)\nUpgrade: hip:amd64 (1, 2:2.1-3)\n"
    changes += "Install: libnew:amd64 (1, automatic)\nRemove: rocm-old:amd64 (5)"
    root = node(block(INSTALL[0], changes), "rocblas=half-installed")
    (root / "etc/apt").mkdir(parents=True)
    (root / "etc/apt/preferences").write_text("Package: mine\n")
    machine = Machine(root)
    mend.mend(root, since(root), machine)
    wanted = {"rocblas": "4.3.0", "hip": "2:2.1-3", "libnew": "1"}
    found = machine.preferences.split("\n\n")
    assert set(found[:-1]) | {found[-1]} == {
        *(f"Package: {name}\nPin: version {version}\nPin-Priority: 1001" for name, version in wanted.items()),
        "Package: mine\n",
    }


def test_what_an_unpack_left_is_swept(node: Callable[..., Path]) -> None:
    """Only what came since the run began; folders that no package has go with it."""
    root = node(block(*INSTALL), "rocm-core=unpacked")
    old = root / "opt/mine/x.dpkg-new"
    left = [
        root / "opt/rocm-6.3.3/lib/a.dpkg-new",
        root / "opt/rocm-6.3.3/lib/b.dpkg-tmp",
        root / "opt/owned/c.dpkg-new",
    ]
    for path in (old, *left, root / "opt/rocm-6.3.3/lib/whole", root / "var/lib/dpkg/info/x.list"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("/opt\n/opt/owned\n")
    (root / "opt/rocm-6.3.3/link.dpkg-new").symlink_to("nowhere")
    assert litter.sweep(root, time.time() + 3600) == 0
    assert litter.sweep(root, old.stat().st_ctime - 60) == 5 and not old.parent.exists()
    assert (root / "opt/owned").is_dir() and (root / "opt/rocm-6.3.3/lib/whole").exists()
    (root / "opt/rocm-6.3.3/lib/whole").rename(root / "opt/rocm-6.3.3/lib/whole.dpkg-new")
    done = mend.mend(root, BEGAN, Machine(root))
    assert done[-1] == "1 files that dpkg had not come to the end of were removed"
    assert not (root / "opt/rocm-6.3.3").exists() and (root / "opt").is_dir()


def test_nothing_is_swept_while_dpkg_works(tmp_path: Path) -> None:
    left, lock = tmp_path / "usr/x.dpkg-new", tmp_path / litter.LOCKS[0]
    for path in (left, lock):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    hold = "import fcntl, sys; f = open(sys.argv[1], 'rb+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "\n"
        assert litter.sweep(tmp_path, 0) == 0 and left.exists()
        other.communicate("\n")
    assert litter.sweep(tmp_path, 0) == 1


def test_apt_may_not_touch_what_the_run_was_not_about(node: Callable[..., Path]) -> None:
    root = node(block(*INSTALL), "rocm-core=unpacked")
    machine = Machine(root, simulated="Inst libnew (1)\nRemv postgresql [15]\n")
    with pytest.raises(mend.MendError, match="would also change postgresql, which that run was not about"):
        mend.mend(root, since(root), machine)
    assert len(machine.said) == 2


def test_a_removal_that_left_nothing_half_is_put_right_as_well(node: Callable[..., Path]) -> None:
    """dpkg removes with --force-depends: every package is whole, and yet something they need is gone."""
    root = node(block(f"{ANSIBLE} --purge remove rocm", "Purge: rocm:amd64 (6.4.3), rocm-core:amd64 (6.4.3)"))
    done = mend.mend(root, since(root), Machine(root, simulated="Purg rocm [6.4.3]\n"))
    assert done == ["apt-get -f install put right rocm"]


NOT_OURS = {
    "a user's own": block("apt install rocm", INSTALL[1]),
    "unattended upgrades": block("/usr/bin/unattended-upgrade", INSTALL[1]),
    "before our run": block(*INSTALL).replace("09:05", "08:05"),
    "ours came to its end, a user's did not": block(*INSTALL, end=END) + block("apt install x", INSTALL[1], minute=9),
    "it came to its end, and somebody used dpkg": block(*INSTALL, end=END),
    "no history": "",
    "a history that nobody can read": "\nStart-Date: yesterday\nCommandline: apt\n",
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_is_not_ours_is_refused_with_the_way_out(node: Callable[..., Path], name: str) -> None:
    root = node(NOT_OURS[name], "rocm-core=unpacked")
    machine = Machine(root)
    with pytest.raises(mend.MendError, match="rocm-core is unpacked, and not by a run of this project") as caught:
        mend.mend(root, since(root), machine)
    assert "dpkg --configure -a" in str(caught.value)
    assert machine.said == []


def test_a_package_of_somebody_else_is_refused(node: Callable[..., Path]) -> None:
    root = node(block(*INSTALL), "rocm-core=unpacked", "postgresql=half-configured")
    with pytest.raises(mend.MendError, match="postgresql is half-configured"):
        mend.mend(root, since(root), Machine(root))


def test_without_our_note_nobody_is_at_work(node: Callable[..., Path]) -> None:
    root = node(block(*INSTALL), "rocm-core=unpacked", noted=False)
    with pytest.raises(mend.MendError):
        mend.mend(root, since(root), Machine(root))
    (root / journal.PATH).parent.mkdir(parents=True)
    (root / journal.PATH).write_text("[]")
    assert since(root) is None


@pytest.mark.parametrize("error", ["received signal 1.", "returned an error code (1)"])
def test_what_dpkg_failed_in_is_tried_again(node: Callable[..., Path], error: str) -> None:
    """apt outlives the connection, or the disk was full: it writes down how dpkg ended."""
    root = node(block(*INSTALL, end=f"Error: Sub-process /usr/bin/dpkg {error}\n{END}"), "rocm-core=unpacked")
    assert cut.find(root, since(root), {"rocm-core": "unpacked"}) is not None


def test_a_driver_that_did_not_build_is_not_built_again_and_again(node: Callable[..., Path]) -> None:
    """The preflight has another remedy for it; cut off in the middle it is worth a try."""
    dkms = (INSTALL[0], "Install: amdgpu-dkms:amd64 (6.12)")
    broken = {"amdgpu-dkms": "half-configured"}
    error = "Error: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    root = node(block(*dkms, end=error + END))
    assert cut.find(root, since(root), broken) is None
    assert cut.find(node(block(*dkms)), since(root), broken) is not None


def test_packages_of_an_earlier_transaction_of_the_run_are_ours(node: Callable[..., Path]) -> None:
    """Our own repair is a transaction of its own, and about fewer packages."""
    fix = block(f"apt-get -y -q -o {cut.MARK} -f install", "Install: libnew:amd64 (1)", minute=9)
    root = node(block(*INSTALL) + fix, "rocm-core=unpacked")
    found = cut.find(root, since(root), {"rocm-core": "unpacked"})
    assert found is not None and found.packages == {"rocm", "libnew", "rocm-core"}


def test_check_mode_says_what_would_be_done(node: Callable[..., Path]) -> None:
    root = node(block(*INSTALL), "rocm-core=unpacked")
    machine = Machine(root)
    (line,) = mend.mend(root, since(root), machine, check=True)
    assert line.startswith("dpkg --configure -a would finish") and machine.said == []


def test_what_stays_broken_is_an_error(node: Callable[..., Path]) -> None:
    root = node(block(*INSTALL), "rocm-core=unpacked")
    half = "Package: rocm-core\nStatus: install ok half-configured\n"
    with pytest.raises(mend.MendError, match="rocm-core is half-configured by a run of this project"):
        mend.mend(root, since(root), Machine(root, half))
    machine = Machine(root, half, "E: rocm needs to be reinstalled, but I can't find an archive for it.\n")
    machine.code = 100
    with pytest.raises(mend.MendError, match=r"apt does not know how to go on after apt-get install .*an archive"):
        mend.mend(root, since(root), machine)


def test_a_whole_node_costs_no_program(node: Callable[..., Path]) -> None:
    root = node(block(*INSTALL, end=END))
    machine = Machine(root)
    assert mend.mend(root, since(root), machine) == [] and machine.said == []


def test_an_apt_that_still_works_is_waited_for(node: Callable[..., Path]) -> None:
    """The lock is held by another process, as apt holds it; when it goes, apt has come to its end."""
    root = node(block(*INSTALL), "rocm-core=unpacked")
    lock = root / mend.LOCKS[0]
    lock.touch()
    hold = "import fcntl, sys; f = open(sys.argv[1], 'rb+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "\n"
        with pytest.raises(mend.MendError, match="still works after 3 s"):
            mend.mend(root, since(root), Machine(root), patience=3, sleep=lambda _s: None)

        def finish(_seconds: float) -> None:
            (root / cut.HISTORY).write_text(block(*INSTALL, end=END))
            (root / "var/lib/dpkg/status").write_text(WHOLE)
            other.communicate("\n")

        machine = Machine(root)
        assert mend.mend(root, since(root), machine, sleep=finish) == []
    assert machine.said == []
