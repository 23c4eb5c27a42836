#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put gfx906 kernels into a rocBLAS library, or take them out again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gfx906_rocblas
short_description: Put gfx906 kernels into a rocBLAS library directory
version_added: "0.1.0"
description:
  - AMD's rocBLAS has no kernels for gfx906 (MI50, MI60, Radeon VII) from ROCm 6.4 on; the first matrix product aborts.
  - Takes just these kernels out of another build of the same release in one streaming pass, proves that they are
    whole, of this architecture and of this release, and moves them into a library directory all or nothing.
  - A run that is killed at any point is finished by the next one; until then rocBLAS finds no gfx906 kernels rather
    than half of them.
  - Notices when an upgrade of ROCm or a re-installation of torch removed or replaced files, and puts them back.
author:
  - mi50-aipc authors (@mi50-aipc)
requirements:
  - xz-utils or gzip on the managed node if the source is compressed so; for zstd the libzstd that dpkg uses, or zstd
  - gpgv on the managed node for O(signature)
options:
  src:
    description:
      - The kernels on the managed node, as C(.pkg.tar.zst) of Arch Linux, C(.deb), C(.tar) (plain, gz, xz, zst) or a
        directory.
      - Required for O(state=present), but need not exist with O(defer), or while everything is whole and of the same
        O(source_id).
    type: path
  dest:
    description:
      - Where to put them; each destination by itself, in this order, up to the first error.
      - A ROCm prefix such as C(/opt/rocm-6.4.3), a virtual environment with a ROCm build of torch, C(/usr) with
        Debian's rocBLAS, or a C(rocblas/library) directory itself.
    type: list
    elements: path
    required: true
  state:
    description:
      - V(absent) restores byte for byte what was there before; files that a package has put in place of ours since
        are left alone.
    type: str
    choices: [present, absent]
    default: present
  gpu_arch:
    description: Architecture whose kernels are installed.
    type: str
    default: gfx906
  version:
    description:
      - Expected version of the source, for example V(6.4.3) or V(6.4.3-3), compared with what the archive says of
        itself, never with its name.
    type: str
  signature:
    description: Detached OpenPGP signature of O(src). The source is refused if it does not verify.
    type: path
  keyring:
    description: Binary keyring with the keys that are trusted. Keys in a file C(<keyring>-revoked) beside it are not.
    type: path
  verify:
    description:
      - How much an unchanged run re-reads; V(stat) compares sizes, times, inodes and modes with the manifest,
        V(sha256) reads every file and O(src).
    type: str
    choices: [stat, sha256]
    default: stat
  expected_files:
    description: Number of files of O(gpu_arch) the source must have.
    type: int
  allow_version_mismatch:
    description:
      - Install although version, librocblas or catalogs say that kernels and library are of two releases. They may
        then be missing solutions or compute wrong results without an error; only a numeric test tells.
    type: bool
    default: false
  source_id:
    description:
      - Where O(src) comes from, usually its address. It is recorded, and while a destination is whole and its record
        names the same place, O(src) is not looked at.
    type: str
  sha256:
    description: Digest O(src) must have, in hexadecimal. Compared with the record, too, when O(src) is not looked at.
    type: str
  defer:
    description:
      - When O(src) would have to be read, do nothing but return RV(needs_source=true). For a first call that tells
        whether the source has to be fetched at all.
    type: bool
    default: false
  discard_source:
    description:
      - When to remove O(src), O(signature) and the records C(artifact_fetch) keeps beside them; meant for a cache.
      - V(rejected) does so when the source itself is at fault (damaged, forged, another version), so that the next run
        fetches it again, not when the destination is; V(always) does so also when every destination is whole.
      - A directory is never removed.
    type: str
    choices: [never, rejected, always]
    default: never
  threads:
    description:
      - Threads that decompress O(src) where it is packed by xz, as a C(.deb); V(0) for one on each processor.
      - Two halve the time for Debian's package and take about 140 MiB, V(1) takes about 10 MiB.
    type: int
    default: 0
notes:
  - What is proven before anything in a library changes - the digests that the package lists (C(.MTREE), C(md5sums)),
    the architecture inside every code object, that every file which the lazy index and the catalogs name is there, and
    that the library's own catalogs for all architectures name kernels which the source has.
  - The source is read once. What was hashed and whose signature was checked is what is installed, whatever becomes of
    the file meanwhile.
  - Beside the kernels lie the record, C(.gfx906_rocblas.json), and the files they replaced, C(.gfx906_rocblas.backup).
  - Two runs on one library exclude each other; the second one fails at once.
seealso:
  - module: artifact_fetch
attributes:
  check_mode:
    description:
      - Reads and proves the source, writes nothing and says what would change.
      - A destination that does not exist counts as a change, since an earlier task of the same check may make it.
    support: full
  diff_mode:
    description: Lists the files that change, with sizes.
    support: full
  platform:
    description: Linux.
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Patch ROCm
  gfx906_rocblas:
    src: /var/cache/mi50-aipc/rocblas-6.4.3-3-x86_64.pkg.tar.zst
    dest: [/opt/rocm-6.4.3, /opt/venv]
    version: 6.4.3
    signature: /var/cache/mi50-aipc/rocblas-6.4.3-3-x86_64.pkg.tar.zst.sig
    keyring: /usr/share/keyrings/archlinux.gpg
    expected_files: 156

- name: Patch a virtual environment with Debian's build, and have every byte compared in each run
  gfx906_rocblas:
    src: /srv/librocblas4_6.4.4-4_amd64.deb
    sha256: 05613a07d3fba2feaa8b81a86a22bc142dd4fb6630c44c416883a33bf22a1cdb
    dest: /opt/venv
    verify: sha256

- name: Take the kernels out again
  gfx906_rocblas:
    dest: /opt/rocm-6.4.3
    state: absent
"""

RETURN = r"""
needs_source:
  description: With O(defer), whether the source has to be read for a destination; fetch it and call again without.
  returned: always
  type: bool
  sample: false
source_rejected:
  description: Whether the source itself is at fault.
  returned: failure
  type: bool
  sample: true
library_dir:
  description: As in RV(libraries[].library_dir).
  returned: with one destination
  type: str
  sample: /opt/rocm-6.4.3/lib/rocblas/library
source:
  description: As in RV(libraries[].source).
  returned: with one destination
  type: dict
  sample: {kind: arch, name: rocblas, version: 6.4.3-3}
files:
  description: As in RV(libraries[].files).
  returned: with one destination
  type: dict
  sample: {added: [TensileLibrary_lazy_gfx906.dat], replaced: [], removed: [], unchanged: []}
bytes_written:
  description: As in RV(libraries[].bytes_written).
  returned: with one destination
  type: int
  sample: 142014224
manifest:
  description: As in RV(libraries[].manifest).
  returned: with one destination
  type: str
  sample: /opt/rocm-6.4.3/lib/rocblas/library/.gfx906_rocblas.json
libraries:
  description:
    - The destinations in the order given; on failure those before the one that failed.
    - A single destination's fields stand at the top level of the result, too.
  returned: always
  type: list
  elements: dict
  contains:
    dest:
      description: The destination as given.
      returned: always
      type: str
      sample: /opt/rocm-6.4.3
    changed:
      description: Whether this one changed.
      returned: always
      type: bool
      sample: true
    library_dir:
      description: The library directory that was found for O(dest), links resolved.
      returned: always
      type: str
      sample: /opt/rocm-6.4.3/lib/rocblas/library
    source:
      description: What the kernels came from; empty for O(state=absent) with nothing to remove.
      returned: always
      type: dict
      contains:
        kind:
          description: V(arch), V(deb), V(tar) or V(directory).
          type: str
          returned: always
          sample: arch
        name:
          description: Name of the package.
          type: str
          returned: always
          sample: rocblas
        version:
          description: Version by the archive's own metadata, or null.
          type: str
          returned: always
          sample: 6.4.3-3
        sha256:
          description: Digest of the whole source.
          type: str
          returned: always
          sample: 05613a07d3fba2feaa8b81a86a22bc142dd4fb6630c44c416883a33bf22a1cdb
        signed_by:
          description: Fingerprint of the key that signed it, or null.
          type: str
          returned: always
          sample: 04CF0CD6F6EE93AE1896F58407D06351CA5B31BE
    files:
      description: Names of the kernels' files by what happened to them.
      returned: always
      type: dict
      sample: {added: [TensileLibrary_lazy_gfx906.dat], replaced: [], removed: [], unchanged: []}
    bytes_written:
      description: Bytes of the files that were moved into the library.
      returned: always
      type: int
      sample: 142014224
    manifest:
      description: Path of the record of what is installed.
      returned: always
      type: str
      sample: /opt/rocm-6.4.3/lib/rocblas/library/.gfx906_rocblas.json
    drift:
      description:
        - Files that somebody else changed since the last run, by kind (V(missing), V(modified), V(foreign),
          V(catalogs)).
      returned: always
      type: dict
      sample: {missing: [TensileLibrary_lazy_gfx906.dat]}
diff:
  description: The files that change with their sizes, before and after; a list when there are several destinations.
  returned: success
  type: dict
  sample: {before: "", after: "TensileLibrary_lazy_gfx906.dat 23456 bytes\n"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.rocblas import question
from ansible.module_utils.mi50.rocblas.request import Request
from ansible.module_utils.mi50.rocblas.run import run_all


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=question.SPEC,
        required_if=[("state", "present", ["src"])],
        required_by={"signature": ["keyring"]},
        supports_check_mode=True,
    )
    destinations = module.params.pop("dest")
    if module.params["threads"] < 0:
        module.fail_json(msg=f"threads is {module.params['threads']}: give 0 for one on each processor, or a number")
    result, failure = run_all(Request("", check_mode=module.check_mode, **module.params), destinations)
    for warning in result.pop("warnings"):
        module.warn(warning)
    if failure:
        module.fail_json(msg=failure.message, source_rejected=failure.rejected, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
