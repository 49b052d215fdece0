"""Servers with TLS: how they are trusted, and what a reload makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from balancer.interfaces import PrepareError
from balancer.site.diff import changes
from balancer.site.plan import BadSite
from balancer.wire.connect_tls import Secured
from tests.site.test_reload import ReloadTestCase
from tests.wire.certificates import Authority

AUTHORITY = Authority()

TEXT = """[site]
admin = off
control = off
[pool web]
tls-ca = {ca}
tls-cert = {cert}
servers =
  a 127.0.0.1:1 tls
  b 127.0.0.1:2 tls sni=b.test
  c localhost:3 tls
  d 127.0.0.1:4
[gate one]
pool = web
"""


class TrustTests(ReloadTestCase):
    """A pool of servers with TLS."""

    def setUp(self) -> None:
        super().setUp()
        directory = Path(self.mktemp())
        directory.mkdir()
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(AUTHORITY.pem)
        self.cert = AUTHORITY.issue("client").save(directory / "cert.pem")
        self.text = TEXT.format(ca=self.ca, cert=self.cert)
        self.follow(self.text)

    def servers(self) -> dict[str, Any]:
        """The servers by name."""
        return {server.name: server for server in self.site.context.pool("web").servers}

    def names(self) -> dict[str, str | None]:
        """By which name each is verified; '' is its address, None not at all."""
        return {
            name: server.address.trust.name if isinstance(server.address, Secured) else None
            for name, server in self.servers().items()
        }

    def test_names(self) -> None:
        """A server is verified by sni=, else by its DNS name, else by its address."""
        self.assertEqual(self.names(), {"a": "", "b": "b.test", "c": "localhost", "d": None})

    def test_shared(self) -> None:
        """All servers of a pool are connected to in one context."""
        servers = self.servers()
        contexts = {servers[name].address.trust.context for name in "abc"}
        self.assertEqual(len(contexts), 1)

    def test_unchanged(self) -> None:
        """A reload that changes nothing leaves servers and their addresses as they are."""
        before = {server: server.address for server in self.servers().values()}
        self.follow(self.text)
        after = {server: server.address for server in self.servers().values()}
        self.assertEqual(list(before), list(after))
        for server, address in before.items():
            self.assertIs(server.address, address)

    def test_changed_file(self) -> None:
        """Files with other contents are taken by the servers, which stay who they are."""
        before = {name: (server, server.address) for name, server in self.servers().items()}
        self.ca.write_bytes(Authority("another").pem)
        self.follow(self.text)
        for name, server in self.servers().items():
            self.assertIs(server, before[name][0])
            self.assertEqual(str(server.address), str(before[name][1]))
            self.assertEqual(server.address == before[name][1], name == "d")

    def test_changed_options(self) -> None:
        """Another name, or no verification, makes no new server of one with TLS."""
        before = self.servers()
        text = self.text.replace(f"tls-ca = {self.ca}", "tls-verify = no")
        text = text.replace("sni=b.test", "sni=x.test")
        told = [change.text() for change in changes(self.plan(self.text), self.plan(text))]
        self.follow(text)
        self.assertEqual(self.servers(), before)
        self.assertEqual(self.names()["b"], "x.test")
        self.assertFalse(self.servers()["a"].address.trust.context.check_hostname)
        self.assertIn("tls-verify yes -> no", told[0])
        self.assertEqual(told[1], "~ server web/b: sni b.test -> x.test")

    def test_with_and_without(self) -> None:
        """TLS where there was none makes another server, and the plan says so."""
        before = self.servers()
        text = self.text.replace("127.0.0.1:4", "127.0.0.1:4 tls")
        told = [change.text() for change in changes(self.plan(self.text), self.plan(text))]
        self.follow(text)
        self.assertEqual(told, ["- server web/d 127.0.0.1:4", "+ server web/d 127.0.0.1:4"])
        self.assertIsNot(self.servers()["d"], before["d"])
        self.assertIs(self.servers()["a"], before["a"])

    def test_broken_files(self) -> None:
        """A reload with files that cannot be used says all that is wrong, and changes nothing."""
        before = {server: server.address for server in self.servers().values()}
        self.ca.write_text("nonsense")
        self.cert.unlink()
        error = self.assertRaises(PrepareError, self.follow, self.text + "fault = broken\n")
        told = str(error).splitlines()
        self.assertEqual(len(told), 3)
        self.assertIn("[pool web] tls-ca: ", told[0])
        self.assertIn("expected certificates in PEM to trust, got none", told[0])
        self.assertIn("[pool web] tls-cert: ", told[1])
        self.assertEqual(told[2], "broken")
        after = {server: server.address for server in self.servers().values()}
        self.assertEqual(before, after)


class PlanTests(ReloadTestCase):
    """What a site file may say of servers with TLS."""

    def told(self, pool: str) -> str:
        """What is wrong with a pool."""
        text = f"[pool web]\n{pool}\n[gate one]\npool = web\n"
        return str(self.assertRaises(BadSite, self.plan, text))

    def test_needless(self) -> None:
        """Options of TLS in a pool without are a mistake, and so is a CA that nothing is held
        against."""
        for line in ("tls-ca = f", "tls-cert = f", "tls-verify = no"):
            self.assertIn(
                "expected a server with tls", self.told(f"servers = a 127.0.0.1:1\n{line}")
            )
        self.assertIn(
            "[pool web] tls-ca: expected tls-verify = yes",
            self.told("servers = a 127.0.0.1:1 tls\ntls-verify = no\ntls-ca = f"),
        )

    def test_unix(self) -> None:
        """A unix socket has no name to verify."""
        self.assertIn("expected sni=NAME", self.told("servers = a unix:/s tls"))
        text = "[pool web]\nservers = a unix:/s tls sni=a.test\n[gate one]\npool = web\n"
        self.assertEqual(self.plan(text).warnings, ())

    def test_unverified(self) -> None:
        """Servers that are not verified are warned of."""
        text = "[pool web]\nservers = a 127.0.0.1:1 tls\ntls-verify = no\n[gate one]\npool = web\n"
        (warning,) = self.plan(text).warnings
        self.assertIn(
            "s.ini:3: [pool web] tls-verify: servers with tls need not prove", str(warning)
        )
