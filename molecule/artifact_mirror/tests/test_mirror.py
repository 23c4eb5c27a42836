"""The node after role artifact_mirror: what clients get from it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Any

URL = "http://127.0.0.1:8090"
COMMIT = os.environ["MI50_LAB_TINY_COMMIT"]


def fetched(host: Any, path: str) -> str:
    return str(
        host.check_output(
            f"python3 -c \"import urllib.request as u; print(u.urlopen('{URL}/{path}').read().decode())\""
        )
    )


def test_git_hands_out_one_commit_without_history(host: Any) -> None:
    host.check_output("rm -rf /tmp/clone && git init -q /tmp/clone")
    host.check_output(f"git -C /tmp/clone fetch -q --depth 1 {URL}/github/nlzy/triton-gfx906 {COMMIT}")
    assert host.check_output("git -C /tmp/clone rev-parse FETCH_HEAD").strip() == COMMIT
    log = host.check_output("tail -n 20 /var/log/nginx/mi50-mirror.log")
    assert "git-upload-pack" in log, "git fell back to plain files"


def test_wheels_are_offered_with_digests_that_are_theirs(host: Any) -> None:
    page = fetched(host, "pytorch/rocm6.4/torch/")
    name, digest = re.findall(r'href="\.\./([^"#]+)#sha256=([0-9a-f]{64})"', page)[0]
    assert "cp311" in name
    path = f"/srv/mi50-mirror/www/pytorch/rocm6.4/{name.replace('%2B', '+')}"
    assert host.file(path).sha256sum == digest
    assert re.search(r"#sha256=[0-9a-f]{64}", fetched(host, "pypi/jinja2/"))


def test_the_manifest_knows_every_file_that_is_served(host: Any) -> None:
    manifest = json.loads(host.file("/srv/mi50-mirror/manifest.json").content_string)
    assert sorted(manifest["items"]) == ["rocm-key", "torch-index", "triton-gfx906"]
    there = host.check_output(
        "cd /srv/mi50-mirror && find www registry -type f ! -name nodes.yml ! -name contents.json ! -name '.*'"
    ).split()
    assert sorted(manifest["files"]) == sorted(there)


def test_the_export_is_sealed(host: Any) -> None:
    data = host.file("/srv/carried/manifest.json").content
    assert host.file("/srv/carried/manifest.json.sha256").content_string.split()[0] == hashlib.sha256(data).hexdigest()
    assert not host.file("/srv/other/manifest.json").exists


def test_nodes_are_told_what_to_set(host: Any) -> None:
    text = fetched(host, "nodes.yml")
    assert re.search(r"^mi50_url_radeon: http://\S+:8090/radeon$", text, re.MULTILINE)
    assert re.search(r"^mi50_registry_docker: \S+:5000$", text, re.MULTILINE)


def test_the_registry_answers_and_takes_nothing(host: Any) -> None:
    assert host.service("docker-registry").is_running
    code = "curl -s -o /dev/null -w '%{http_code}'"
    if host.exists("curl"):
        assert host.check_output(f"{code} -X POST http://127.0.0.1:5000/v2/x/blobs/uploads/") == "405"
    assert (
        host.check_output(
            "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:5000/v2/').status)\""
        )
        == "200"
    )


def test_halves_are_not_served(host: Any) -> None:
    host.check_output("touch /srv/mi50-mirror/www/.x.part")
    done = host.run(f"python3 -c \"import urllib.request as u; u.urlopen('{URL}/.x.part')\"")
    assert "404" in done.stderr
