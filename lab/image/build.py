"""Build the lab's images: the base by debootstrap, then thin layers that cost seconds."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import lab.sysfs
from lab import cache, debian, engine, keys
from lab.console import as_root, run, say, step
from lab.image import decoy
from lab.settings import LABEL, NAME, OURS, LabError, Settings

HERE = Path(__file__).parent
SUITE = "bookworm"
INCLUDE = (
    "systemd,systemd-sysv,dbus,udev,python3,python3-apt,ca-certificates,iproute2,openssh-server,sudo,"
    "zstd,xz-utils,gpgv,procps,kmod,pciutils,less,bash-completion"
)
PRESETS = "/srv/mi50-lab/presets"


def base(settings: Settings) -> str:
    """The Debian base image; made anew when the recipe or the machine's archive changes."""
    archive = debian.archive()
    name = f"mi50-lab/base:{cache.key(SUITE, INCLUDE, archive.main, archive.security, HERE / 'base.sh')}"
    if not engine.image_exists(name):
        with step(f"Building the base image ({SUITE}, debootstrap)"):
            _debootstrap(name, archive)
    return name


def _debootstrap(name: str, archive: debian.Archive) -> None:
    scratch = Path(tempfile.mkdtemp(prefix="mi50-lab-base-"))
    proxies = debian.proxies()
    environment = ["env", *(f"{key}={value}" for key, value in proxies.items())]
    try:
        keyring = f"--keyring={engine.DEBIAN_KEYRING}"
        command = [
            "debootstrap",
            "--variant=minbase",
            keyring,
            f"--include={INCLUDE}",
            SUITE,
            str(scratch),
            archive.main,
        ]
        run(as_root([*environment, *command]))
        sources = _sources(archive)
        settings_apt = "".join(f'Acquire::{key.split("_")[0]}::Proxy "{value}";\n' for key, value in proxies.items())
        run(as_root(["sh", str(HERE / "base.sh"), str(scratch)]), env={"LC_ALL": "C.UTF-8"})
        run(as_root(["tee", str(scratch / "etc/apt/sources.list.d/debian.sources")]), data=sources)
        run(as_root(["tee", str(scratch / "etc/apt/apt.conf.d/90mirror")]), data=settings_apt)
        _import(name, ["tar", "-C", str(scratch), "-c", "."])
    finally:
        run(as_root(["rm", "-rf", "--one-file-system", str(scratch)]))


def _sources(archive: debian.Archive) -> str:
    """The machine's own archive as a deb822 source: addresses come from apt's configuration at run time."""
    places = [(archive.main, f"{SUITE} {SUITE}-updates")]
    if archive.security:
        places.append((archive.security, f"{SUITE}-security"))
    return "\n".join(
        f"Types: deb\nURIs: {base}\nSuites: {suites}\nComponents: main\nSigned-By: {engine.DEBIAN_KEYRING}\n"
        for base, suites in places
    )


def _import(name: str, producer: list[str]) -> None:
    """Pipe a tar stream into `docker import`."""
    change = ["--change", 'CMD ["/lib/systemd/systemd"]', "--change", f"LABEL {LABEL}=1"]
    with subprocess.Popen(as_root(producer), stdout=subprocess.PIPE) as tar:
        engine.docker("import", *change, "-", name, stdin=tar.stdout)
    if tar.returncode != 0:
        engine.docker("image", "rm", name, check=False)
        raise LabError(f"packing the tree for {name} failed")


def _layer(parent: str, name: str, fill: Callable[[str], None], changes: tuple[str, ...] = ()) -> None:
    """Commit what `fill` does to a running container of `parent` as a new image."""
    container = engine.docker("run", "-d", "--label", OURS, parent, "sleep", "infinity").stdout.strip()
    try:
        fill(container)
        options = [word for change in ('CMD ["/lib/systemd/systemd"]', *changes) for word in ("--change", change)]
        engine.docker("commit", *options, container, name)
    finally:
        engine.docker("rm", "-f", container, check=False)


def node(settings: Settings) -> str:
    """The node image: base, login, the distribution's decoy repository, simulated sysfs trees of every preset."""
    login = keys.ssh(settings, "login")
    parent = base(settings)
    recipe = cache.key(
        parent,
        HERE,
        Path(lab.sysfs.__file__).parent,
        Path(f"{login}.pub"),
        keys.openpgp(settings, "packager") / "fingerprint",
        keys.openpgp(settings, "distribution") / "fingerprint",
    )
    name = f"{NAME}/node:{recipe}"
    if not engine.image_exists(name):
        with step("Building the node image"), tempfile.TemporaryDirectory(prefix="mi50-lab-node-") as scratch:
            tree = Path(scratch) / "tree"
            _node_tree(settings, tree, login)
            _layer(parent, name, lambda container: _fill(container, tree, HERE / "node.sh"))
    engine.docker("tag", name, f"{NAME}/node:latest")
    _prune(f"{NAME}/node", keep={name, f"{NAME}/node:latest"})
    return name


def _node_tree(settings: Settings, tree: Path, login: Path) -> None:
    """What the node image adds, laid out as the file tree it becomes."""
    lab_home = tree / "srv/mi50-lab"
    (lab_home / "devices").mkdir(parents=True)
    (tree / "srv").chmod(0o755)
    for preset in preset_names():
        lab.sysfs.build(lab_home / "presets" / preset, preset)
        lines = (
            f"{path} {major} {minor}\n" for path, major, minor in lab.sysfs.device_nodes(lab.sysfs.host_of(preset))
        )
        (lab_home / "devices" / preset).write_text("".join(lines))
    (lab_home / "sys").symlink_to(f"{PRESETS}/one-mi50")
    shutil.copy(keys.openpgp(settings, "packager") / "public.gpg", lab_home / "packager.gpg")
    decoy.build(settings, tree)
    ssh_folder = lab_home / "ssh"
    ssh_folder.mkdir()
    shutil.copy(f"{login}.pub", ssh_folder / "authorized_keys")
    tools = tree / "usr/local/sbin"
    tools.mkdir(parents=True)
    shutil.copy(HERE / "standin_devices", tools / "standin_devices")


def preset_names() -> list[str]:
    """Every preset that lab.sysfs knows."""
    return sorted(lab.sysfs.PRESETS)


def _fill(container: str, tree: Path, script: Path) -> None:
    with subprocess.Popen(["tar", "-C", str(tree), "--owner=0", "--group=0", "-c", "."], stdout=subprocess.PIPE) as tar:
        engine.docker(
            "exec",
            "-i",
            container,
            "tar",
            "-C",
            "/",
            "--keep-directory-symlink",
            "--no-overwrite-dir",
            "-x",
            stdin=tar.stdout,
        )
    engine.docker("exec", "-i", container, "sh", "-s", data=script.read_text())


def mirror(settings: Settings) -> str:
    """The mirror's image: base plus nginx from Debian."""
    parent = base(settings)
    config = HERE.parent / "mirror" / "nginx.conf"
    name = f"{NAME}/mirror:{cache.key(parent, config)}"
    if not engine.image_exists(name):
        with step("Building the mirror image (nginx)"):

            def fill(container: str) -> None:
                install = (
                    "apt-get update -q && apt-get install -qy --no-install-recommends nginx-light && apt-get clean"
                )
                engine.docker("exec", container, "sh", "-c", install)
                engine.docker("exec", "-i", container, "tee", "/etc/nginx/nginx.conf", data=config.read_text())

            _layer(parent, name, fill, ('CMD ["nginx", "-g", "daemon off;"]',))
    return name


def _prune(repository: str, keep: set[str]) -> None:
    """Remove images of older recipes; the engine refuses for those that a container still uses."""
    for name in engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository).stdout.split():
        if name not in keep:
            engine.docker("image", "rm", name, check=False)


def remove_all() -> None:
    """Remove every image the lab made."""
    found = engine.docker("image", "ls", "-q", "--filter", f"label={LABEL}").stdout.split()
    if found:
        engine.docker("image", "rm", "-f", *sorted(set(found)), check=False)
        say(f"removed {len(set(found))} images")
