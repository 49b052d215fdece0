"""The files that a site file names, read without a start: `--check --files`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from attrs import evolve, frozen
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from balancer.config import values
from balancer.config.schema import NamedFile, Section, option
from balancer.interfaces import Flaw, IReadsFiles, ISections
from balancer.plugins import LazyBalancerMaker
from balancer.site.files import check
from balancer.site.named_files import Around, paths
from balancer.site.plan import Makers
from balancer.tap import makers as installed
from tests.dns.mmdb import Writer
from tests.wire.certificates import NOW, Authority

AUTHORITY = Authority()
OTHER = Authority("another")
GOOD = AUTHORITY.issue("www.example.test", "127.0.0.1")

SITE = """\
[site]
geo = $at/city.mmdb
state = $at/state
[place here]
countries = DE
[pool web]
servers = a 127.0.0.1:1 tls
tls-ca = $at/ca.pem
tls-cert = $at/client.pem
[pool plain]
servers = a 127.0.0.1:1
check = tcp
[http front]
listen =
    127.0.0.1:9080
    127.0.0.1:9443 tls=$at/tls
    127.0.0.1:9444 tls=$at/www.pem
    127.0.0.1:9445 tls=$at/www.pem
pool = web
error-page 503 = $at/sorry
error-page 502 = $at/bad
[tcp relay]
listen = 127.0.0.1:9446
tls = $at/tcp.pem
pool = web
[dns example.test]
listen = 127.0.0.1:9053
zone = $at/zone
tsig-file = $at/keys
cookie-secret-file = $at/cookies
transfer =
    192.0.2.0/24
    198.51.100.0/24 key=far.
answers =
    www pool=plain
    mail pool=plain
[anycast far]
prefixes = 192.0.2.0/24
when = pool:plain
local-as = 65001
neighbors =
    10.9.0.1 as=65002
    10.9.0.2 as=65002 password-file=$at/password
"""

ZONE = """\
$$ORIGIN example.test.
$$TTL 60
@ SOA ns1 hostmaster 1 7200 600 86400 60
@ NS ns1
ns1 A 192.0.2.53
$$INCLUDE $at/more
"""

NAMED = ("city.mmdb", "ca.pem", "client.pem", "tls", "www.pem", "sorry", "bad", "tcp.pem", "zone",
         "keys", "cookies", "password")
"""All that it names, in the order of the file."""

FILES: Mapping[str, str | bytes] = {
    "city.mmdb": Writer().insert("2001:db8::/32", {"country": {"iso_code": "DE"}}).built(),
    "ca.pem": AUTHORITY.pem,
    "client.pem": GOOD.chain + GOOD.key,
    "tls/a.pem": GOOD.chain + GOOD.key,
    "www.pem": GOOD.chain + GOOD.key,
    "tcp.pem": GOOD.chain + GOOD.key,
    "sorry": "We are back soon.\n",
    "bad": "It does not answer.\n",
    "zone": ZONE,
    "more": "static A 192.0.2.80\n",
    "keys": 'key "far" { algorithm hmac-sha256; secret "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"; };\n',
    "cookies": "00112233445566778899aabbccddeeff\n",
    "password": "secret\n",
}

FAULTS: tuple[tuple[str, str | bytes | None, int, str], ...] = (
    ("city.mmdb", b"no database", 2, "[site] geo: $at/city.mmdb: expected a MaxMind DB file"),
    ("city.mmdb", None, 2, "[site] geo: $at/city.mmdb: expected a MaxMind DB file that can"),
    ("ca.pem", "nonsense", 8, "[pool web] tls-ca: $at/ca.pem: expected certificates in PEM"),
    ("client.pem", GOOD.chain, 9, "[pool web] tls-cert: $at/client.pem: expected a private key"),
    ("tls/a.pem", GOOD.chain[:-60] + GOOD.key, 16,
     "[http front] listen: tls: $at/tls/a.pem: expected a certificate (BEGIN CERTIFICATE), got "),
    ("www.pem", GOOD.chain + OTHER.issue("b").key, 17,
     "[http front] listen: tls: $at/www.pem: expected the key of its first certificate"),
    ("www.pem", None, 17, "[http front] listen: tls: $at/www.pem: cannot be read: no such file"),
    ("sorry", None, 20, "[http front] error-page 503: $at/sorry: cannot be read: no such file"),
    ("bad", "a" * 70000, 21, "[http front] error-page 502: $at/bad: expected at most 65536 bytes"),
    ("tcp.pem", "", 24, "[tcp relay] tls: $at/tcp.pem: expected a certificate"),
    ("zone", None, 28, "[dns example.test] zone: expected a file that can be read, got $at/zone"),
    ("zone", ZONE + "x A 1.2.3.400\n", 28,
     "[dns example.test] zone: $at/zone:7: expected an IPv4 address"),
    ("more", "y AAAA 1.2.3.4\n", 28, "[dns example.test] zone: $at/more:1: expected an IPv6 "),
    ("more", "mail CNAME x\n", 36,
     "[dns example.test] answers: mail.example.test.: expected no CNAME of its own"),
    ("keys", "key x", 29, "[dns example.test] tsig-file: $at/keys:1: expected"),
    ("keys", 'key "near" { algorithm hmac-sha256; secret "c2VjcmV0c2VjcmV0c2VjcmV0c2Vj"; };', 33,
     "[dns example.test] transfer: expected the name of a key in $at/keys, got 'far.'"),
    ("cookies", "0011\n", 30, "[dns example.test] cookie-secret-file: expected one or two lines"),
    ("password", "two\nlines\n", 43,
     "[anycast far] neighbors: password-file=$at/password: expected one line"),
)
"""A file, what it has, and the line of the site file with what is said of it."""


@cache
def makers() -> Makers:
    """What is installed, looked for once."""
    return installed()


class NamedFilesTestCase(SynchronousTestCase):
    """A directory with all of the files, sound."""

    def setUp(self) -> None:
        self.at = Path(self.mktemp()).absolute()
        (self.at / "tls").mkdir(parents=True)
        for name, content in FILES.items():
            self.put(name, content)
        self.site = self.at / "site.ini"
        self.put("site.ini", SITE)

    def filled(self, text: str) -> str:
        """`text` with the directory in it."""
        return Template(text).substitute(at=self.at)

    def put(self, name: str, content: str | bytes | None) -> None:
        """Write a file, or take it away."""
        path = self.at / name
        if content is None:
            path.unlink()
        elif isinstance(content, str):
            path.write_text(self.filled(content))
        else:
            path.write_bytes(content)

    def said(self, *, named: bool = True, known: Makers | None = None) -> list[str]:
        """What is wrong, without the site file's own path."""
        found = check(str(self.site), known or makers(), named=named)
        prefix = f"{self.site}:"
        for problem in found.problems:
            self.assertTrue(str(problem).startswith(prefix), problem)
        return [f"{str(each)[len(prefix):]} ({each.severity})" for each in found.problems]


class ReadingTests(NamedFilesTestCase):
    """Each kind's files."""

    def test_sound(self) -> None:
        """Of files that a start would use nothing is said."""
        self.assertEqual(self.said(), [])

    def test_paths(self) -> None:
        """It is known what the sections name, each path once, without reading it."""
        for name in FILES:
            self.put(name, None)
        found = check(str(self.site), makers(), named=False)
        self.assertEqual(paths(found.draft), tuple(f"{self.at}/{name}" for name in NAMED))
        self.assertEqual(found.problems, ())

    def test_faults(self) -> None:
        """Each fault is told at the line that names the file, with the file's own line if it has
        lines, and is an error."""
        for name, content, line, text in FAULTS:
            self.put(name, content)
            said = self.said()
            self.assertEqual(len(said), 1, (name, said))
            self.assertTrue(said[0].startswith(f"{line}: {self.filled(text)}"), said)
            self.assertTrue(said[0].endswith("(error)"), said)
            self.put(name, FILES[name])

    def test_all_at_once(self) -> None:
        """All of them are told at once, by line, those of the site file among them."""
        for name in ("city.mmdb", "ca.pem", "sorry", "bad", "zone", "password"):
            self.put(name, None)
        self.put("site.ini", SITE + "[http back]\nlisten = nowhere\npool = web\n[pool web2]\n")
        lines = [int(each.partition(":")[0]) for each in self.said()]
        self.assertEqual(lines, [2, 8, 20, 21, 28, 43, 45, 47])

    def test_not_asked_for(self) -> None:
        """Without the flag no named file is looked at."""
        self.put("ca.pem", None)
        self.assertEqual(self.said(named=False), [])

    def test_unreadable(self) -> None:
        """A file that this user may not read is told so, and so is what is no regular file."""
        os.mkfifo(self.at / "pipe")
        text = SITE.replace("$at/ca.pem", "$at/pipe").replace("$at/zone", "$at/tls")
        self.put("site.ini", text.replace("$at/sorry", "$at/pipe"))
        said = "\n".join(self.said())
        self.assertEqual(said.count("a pipe, a socket or a device"), 2, said)
        self.assertIn("28: [dns example.test] zone: expected a file that can be read", said)

    def test_unsound_section(self) -> None:
        """What a section names is not looked at while one of its options cannot be read."""
        self.put("site.ini", SITE.replace("pool = web\nerror", "pool = web\nrate = x\nerror"))
        self.put("sorry", None)
        self.put("password", None)
        said = self.said()
        self.assertEqual([each.partition(" ")[0] for each in said], ["20:", "44:"], said)

    def test_doubtful(self) -> None:
        """What a start would only warn of is a warning, and no more."""
        old = AUTHORITY.issue("www.example.test", expires=NOW - timedelta(days=1))
        self.put("www.pem", old.chain + old.key)
        self.put("tcp.pem", old.chain + old.key)
        self.put("more", "sub NS ns.sub\n")
        said = self.said()
        self.assertEqual([each.partition(" ")[0] for each in said], ["17:", "24:", "28:"], said)
        self.assertIn("expired on", said[0])
        self.assertIn("expected", said[2])
        self.assertTrue(all(each.endswith("(warning)") for each in said), said)

    def test_shared(self) -> None:
        """A database that several zones share is told of once; without a zone nobody reads it."""
        self.put("city.mmdb", None)
        self.put("site.ini", SITE + "[dns example.net]\nlisten = 127.0.0.1:9053\n")
        self.assertEqual(len(self.said()), 1)
        self.put("site.ini", "[site]\ngeo = $at/city.mmdb\n[pool plain]\n"
                             "servers = a 127.0.0.1:1\n[http a]\nlisten = 127.0.0.1:80\n"
                             "pool = plain\n")
        self.assertEqual(self.said(), [])

    def test_nothing_made(self) -> None:
        """Nothing is written: neither `state` nor what would be kept in it."""
        self.put("site.ini", SITE.replace("cookie-secret-file = $at/cookies\n", ""))
        before = sorted(self.at.rglob("*"))
        self.assertEqual(self.said(), [])
        self.assertEqual(sorted(self.at.rglob("*")), before)

    def test_no_option_forgotten(self) -> None:
        """Every option whose value is a path is among those that are read, or known not to be."""
        found = set()
        for section in makers().sections():
            for name, declared in section.options.items():
                if declared.parse is values.path and not declared.later:
                    found.add(f"{section.kind} {name}")
        self.assertEqual(found - {"site state"}, {
            "site geo", "pool tls-ca", "pool tls-cert", "http error-page", "dns zone",
            "dns tsig-file", "dns cookie-secret-file",
        })


@frozen
class NoteSettings:
    """A section of a third party's."""

    note: str | None = option(values.path, help="A file.")


def _files(settings: NoteSettings) -> Iterator[NamedFile]:
    if settings.note is not None:
        yield NamedFile(settings.note, "note")


NOTE = Section("note", NoteSettings, help="A file.", files=_files)


@implementer(IPlugin, IReadsFiles)
@frozen
class NoteMaker:
    """Finds fault with every file, or fails by itself."""

    kind: str = "note"
    section: Section = NOTE
    breaks: bool = False
    of: str = "note"

    def make(self, name: str, context: Any) -> Any:
        """Never."""
        raise AssertionError(name)

    def reading(self, sections: Mapping[str, Any], around: ISections) -> Iterator[Flaw | None]:
        """See `IReadsFiles`."""
        for name, settings in sections.items():
            if self.breaks:
                raise LookupError(name)
            yield None
            yield Flaw(f"{self.of}:{name}", "note", 0, f"{settings.note}: expected another")


@frozen
class OtherMaker:
    """One that reads nothing; `other` is how it is found."""

    kind: str = "note"
    section: Section = NOTE


breaking = NoteMaker(breaks=True)
note = NoteMaker()
astray = NoteMaker(of="nothing")
other = OtherMaker()


class SeamTests(NamedFilesTestCase):
    """Makers, ours and others'."""

    def known(self, name: str) -> Makers:
        """Those that are installed, and one of this module, found as a plugin's would be."""
        found = makers()
        mine = LazyBalancerMaker(f"{__name__}.{name}", kind="note")
        return evolve(found, balancers={**found.balancers, "note": mine})

    def test_interfaces(self) -> None:
        """All that read files keep to the interface, and so does what stands for others."""
        found = makers().balancers
        for kind in ("http", "tcp", "dns", "anycast"):
            verifyObject(IReadsFiles, found[kind])
        verifyObject(IReadsFiles, note)
        verifyObject(ISections, Around(None, {}))

    def test_third_party(self) -> None:
        """A third party's maker has its say, or none if it reads nothing."""
        self.put("site.ini", "[note a]\nnote = $at/zone\n[note b]\nnote = $at/more\n")
        self.assertEqual(self.said(known=self.known("note")), [
            f"2: [note a] note: {self.at}/zone: expected another (error)",
            f"4: [note b] note: {self.at}/more: expected another (error)",
        ])
        self.assertEqual(self.said(known=self.known("other")), [])

    def test_failing(self) -> None:
        """One that raises is told at its first section, and what others found is there as well."""
        self.put("sorry", None)
        self.put("site.ini", SITE + "[note a]\nnote = x\n")
        said = self.said(known=self.known("breaking"))
        self.assertEqual(len(said), 2)
        self.assertEqual(said[1], "44: [note a]: cannot read its files: LookupError: a (error)")
        said = self.said(known=self.known("astray"))
        self.assertIn("44: [note a]: cannot read its files: LookupError: expected the key", said[1])
