"""What the nodes of a mirror set in their inventory: base addresses, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from .plan import folder


def text(served_as: Iterable[str], bases: Iterable[str]) -> str:
    """Return the variables of nodes as YAML; `served_as` is the web server's address and the registry's.

    Empty when the mirror was not told how it is reached.
    """
    places = list(served_as)
    if len(places) != 2:
        return ""
    web, registry = places
    urls = [f"{base}: {web}/{folder(base)}\n" for base in bases if base.startswith("mi50_url_")]
    return "".join(
        (
            "---\n# What nodes of this mirror set: put it into group_vars/mi50_nodes/. Not for group mi50_mirror.\n",
            *urls,
            f"mi50_registry_docker: {registry}\n",
            f'container_engine_insecure_registries: ["{registry}"]\n',
            "# ansible-playbook playbooks/mirror_client.yml: the distribution's packages as well\n",
            f"artifact_mirror_client_base: {web}\n",
        )
    )
