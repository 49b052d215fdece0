"""
The package as a file: what Debian's and systemd's own judges say of it, and that it is the same
whoever builds it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from tests.appliance.machine import PLAIN, package
from tests.live.harness import LiveTestCase, ask, need

MOST_EXPOSED = 20
"""Tenths, of a hundred, as `systemd-analyze security` counts."""

LEVELS = "error,warning,info,pedantic,experimental"


def digest(path: Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class PackageTests(LiveTestCase):
    """What `make deb` left in dist/."""

    def test_lintian(self) -> None:
        """lintian says nothing, down to what is pedantic; what is overridden is explained."""
        need("lintian")
        done = subprocess.run(
            ("lintian", "--allow-root", "--pedantic", "--display-info", "--display-experimental",
             "--fail-on", LEVELS,
             str(package().with_name(package().name.replace("_all.deb", ".dsc"))), str(package())),
            env={**os.environ, **PLAIN}, capture_output=True, text=True, check=False)
        self.assertEqual((done.stdout + done.stderr).strip(), "")
        self.assertIn(done.returncode, (0, 2))  # 2: what it masks by itself counts, unseen

    def unit(self) -> tuple[str, str]:
        """The root of the unpacked package, and its unit there."""
        need("systemd-analyze")
        root = self.directory / "root"
        ask("dpkg-deb", "-x", str(package()), str(root))
        (root / "usr/bin/twistd3").write_text("")  # python3-twisted's
        (root / "usr/bin/twistd3").chmod(0o755)
        return str(root), str(next(root.rglob("balancer.service")))

    def test_unit(self) -> None:
        """systemd finds no fault with the unit."""
        root, _ = self.unit()
        done = subprocess.run(
            ("systemd-analyze", f"--root={root}", "--recursive-errors=no", "verify",
             "balancer.service"), capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_exposure(self) -> None:
        """The service is exposed to 2.0 at most."""
        _, unit = self.unit()
        ask("systemd-analyze", "security", "--no-pager", "--offline=yes",
            f"--threshold={MOST_EXPOSED}", unit)

    def test_reproducible(self) -> None:
        """Built from the source package again, in another place, by another clock, umask, language
        and time zone, it is the same to the last byte."""
        need("dpkg-buildpackage", "dh")
        dsc = package().with_name(package().name.replace("_all.deb", ".dsc"))
        place = self.directory / "elsewhere"
        place.mkdir()
        script = (f"umask 077 && dpkg-source -x {dsc} {place}/b >/dev/null && cd {place}/b && "
                  "dpkg-buildpackage -us -uc -b >../log 2>&1 || { tail -n 30 ../log; exit 1; }")
        done = subprocess.run(
            ("sh", "-c", script), capture_output=True, text=True, check=False,
            env={**PLAIN, "LC_ALL": "C", "TZ": "Pacific/Kiritimati", "HOME": str(place),
                 "DEB_BUILD_OPTIONS": "nocheck"})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(digest(place / package().name), digest(package()))
