"""
`twistd lb --check --files`: what is wrong with the files that a site file names, without a start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from tests.dns.mmdb import Writer
from tests.live.harness import LiveTestCase, Process, need
from tests.wire.certificates import Authority

AUTHORITY = Authority()
GOOD = AUTHORITY.issue("www.example.test")
OTHER = AUTHORITY.issue("other.example.test")

NOBODYS = 65534

SITE = """\
[site]
geo = city.mmdb
state = never
control = never/lb.sock
[pool web]
servers = a no-such-name.example.test:443 tls
tls-ca = ca.pem
[http front]
listen =
    203.0.113.1:443 tls=www.pem
    203.0.113.2:443 tls=mail.pem
pool = web
error-page 503 = sorry.html
[pool names]
servers = a 192.0.2.1:53
check = exec touch ran
[dns example.test]
listen = 203.0.113.53:53
zone = example.zone
answers = www pool=names
[dns example.net]
listen = 203.0.113.53:53
zone = gone.zone
[anycast far]
prefixes = 192.0.2.0/24
when = pool:names
local-as = 65001
neighbors = 203.0.113.99 as=65002 password-file=password
"""
"""No address of it can be bound here, and nobody knows the server's name."""

ZONE = "$TTL 60\n@ SOA ns1 h 1 7200 600 86400 60\n@ NS ns1\nns1 A 192.0.2.53\n"

FAULTS = {
    2: "[site] geo: city.mmdb: expected a MaxMind DB file",
    7: "[pool web] tls-ca: ca.pem: expected certificates in PEM to trust, got none",
    10: "[http front] listen: tls: www.pem: expected a certificate (BEGIN CERTIFICATE)",
    11: "[http front] listen: tls: mail.pem: expected the key of its first certificate",
    13: "[http front] error-page 503: sorry.html: cannot be read",
    19: "[dns example.test] zone: example.zone:5: expected an IPv4 address",
    23: "[dns example.net] zone: expected a file that can be read, got gone.zone",
    28: "[anycast far] neighbors: password-file=password: expected one line",
}
"""What is said at which line when everything is broken."""


class NamedFilesTests(LiveTestCase):
    """A directory with a site file and what it names."""

    def setUp(self) -> None:
        """Write all of them, sound."""
        super().setUp()
        self.site = self.directory / "site.ini"
        self.site.write_text(SITE)
        self.write("city.mmdb", Writer().insert("2001:db8::/32", {}).built())
        self.write("ca.pem", AUTHORITY.pem)
        self.write("www.pem", GOOD.chain + GOOD.key)
        self.write("mail.pem", OTHER.chain + OTHER.key)
        self.write("sorry.html", b"We are back soon.\n")
        self.write("example.zone", ZONE.encode())
        self.write("gone.zone", ZONE.encode())
        self.write("password", b"secret\n")

    def write(self, name: str, content: bytes) -> None:
        """A file of the directory."""
        (self.directory / name).write_bytes(content)

    def break_all(self) -> None:
        """A fault in each of them."""
        self.write("city.mmdb", b"no database")
        self.write("ca.pem", b"nonsense\n")
        self.write("www.pem", GOOD.chain[:100] + b"\n" + GOOD.key)
        self.write("mail.pem", OTHER.chain + GOOD.key)
        (self.directory / "sorry.html").unlink()
        self.write("example.zone", ZONE.encode() + b"x A 192.0.2.300\n")
        (self.directory / "gone.zone").unlink()
        self.write("password", b"two\nlines\n")

    def check(self, *options: str, wrap: Sequence[str] = ()) -> Process:
        """A check that has ended."""
        process = self.twistd(self.site, "--check", *options, name="check", wrap=wrap)
        process.wait()
        return process

    def said(self, process: Process) -> dict[int, str]:
        """What it said of each line of the site file, which must be once."""
        lines = re.findall(rf"^{re.escape(str(self.site))}:(\d+): (.*)$", process.output, re.M)
        found = {int(line): text for line, text in lines}
        self.assertEqual(len(found), len(lines), process.output)
        return found

    def test_sound(self) -> None:
        """It exits with 0 and says that the files were read. Nothing is bound, looked up, run or
        written meanwhile: no address of the site is this machine's."""
        before = sorted(os.listdir(self.directory))
        process = self.check("--files")
        self.assertEqual(process.status, 0, process.output)
        self.assertEqual(process.output.splitlines(), [
            f"{self.site}: ok", f"{self.site}: the 8 files that it names can be read and used"])
        self.assertEqual(
            sorted(set(os.listdir(self.directory)) - {"check.log", "dropin.cache"}), before)

    def test_broken(self) -> None:
        """It exits with 1 and every fault, each at the line that names the file, the zone's with a
        line of its own."""
        self.break_all()
        process = self.check("--files")
        self.assertEqual(process.status, 1, process.output)
        said = self.said(process)
        self.assertEqual(said.keys(), FAULTS.keys(), process.output)
        for line, text in FAULTS.items():
            self.assertTrue(said[line].startswith(text), (text, said[line]))
        self.assertNotIn(": ok", process.output)

    def test_plain(self) -> None:
        """Without the flag the same site file passes, and a line says what was not looked at."""
        self.break_all()
        process = self.check()
        self.assertEqual(process.status, 0, process.output)
        self.assertEqual(process.output.splitlines(), [
            f"{self.site}: ok",
            f"{self.site}: the 8 files that it names were not read; --check --files does so"])

    def test_as_a_start(self) -> None:
        """A start says of the same files what the check said, word by word, but only the first
        fault of a section."""
        self.break_all()
        said = set(self.said(self.check("--files")).values())
        text = SITE.partition("[anycast")[0]
        for old, new in (("203.0.113.", "127.0.0."), (":443 tls=", ":0 tls="),
                         (":53\nz", ":5399\nz"), ("no-such-name.example.test", "127.0.0.1"),
                         ("control = never/lb.sock", "control = off\nadmin = off")):
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.site.write_text(text)
        first = self.told_at_start()
        self.write("www.pem", GOOD.chain + GOOD.key)
        self.write("mail.pem", OTHER.chain + OTHER.key)
        self.write("example.zone", ZONE.encode())
        second = self.told_at_start()
        self.assertEqual(first | second, {each for each in said if "[anycast" not in each})

    def told_at_start(self) -> set[str]:
        """What a start says that fails."""
        process = self.twistd(self.site)
        self.assertEqual(process.wait(), 1, process.output)
        return {each.removeprefix(f"{self.site}: ") for each in process.output.splitlines()}

    def test_unreadable(self) -> None:
        """Who may not read a file is told so, though others may: the check asks as the user that
        runs it. A key that root alone may read is not the service's."""
        need("setpriv")
        for name in ("www.pem", "example.zone"):
            os.chown(self.directory / name, NOBODYS, NOBODYS)
            os.chmod(self.directory / name, 0o600)
        self.assertEqual(self.check("--files").status, 0)
        process = self.check(
            "--files", wrap=("setpriv", "--bounding-set=-dac_override,-dac_read_search"))
        self.assertEqual(process.status, 1, process.output)
        said = self.said(process)
        self.assertEqual(said.keys(), {10, 19}, process.output)
        self.assertIn("www.pem: cannot be read: permission denied; check the path", said[10])
        self.assertIn("example.zone: Permission denied", said[19])

    def test_alone(self) -> None:
        """The flag says nothing without --check: it is refused, and nothing starts."""
        process = self.twistd(self.site, "--files")
        self.assertEqual(process.wait(), 1, process.output)
        self.assertIn("expected --check beside --files", process.output)
