"""The options of `[dns ZONE]`: what they take, and what is said to what they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import read
from balancer.config.values import NotBuilt, Unreadable
from balancer.dns.settings import DNS
from balancer.dns.values import (
    AnswerLine,
    Peers,
    absolute,
    answer_line,
    domain,
    key_name,
    mailbox,
    peers_line,
    secondary_line,
    whole_seconds,
)
from tests.dns.zones import n

PARSERS: list[Callable[[str], Any]] = [
    absolute, answer_line, domain, key_name, mailbox, peers_line, secondary_line, whole_seconds,
    *(each.parse for each in DNS.options.values()),
]
WORDS = st.sampled_from([
    "www", "@", "*", "pool=web", "policy=geo", "max=0", "ttl=5m", "when-down=all", "https=http:a",
    "https=", "key=", "key=k", "key=\\", "192.0.2.0/24", "::/0", "[::1]:53", "2001:db8::1",
    "127.0.0.1", "\\", "\\0", "\\256", "off", "none", "", "a@b", "30s", "1.5s", "a..b", "unix:/x",
])
TEXTS = st.one_of(st.text(max_size=30), st.lists(WORDS, max_size=4).map(" ".join))

HEAD = "[pool web]\nservers = a 127.0.0.1\n"


def problems(*lines: str) -> list[str]:
    """What is said to a section of these lines, without where it stands."""
    listen = () if lines[0].startswith("listen") else ("listen = 127.0.0.1:53",)
    text = "\n".join(["[dns example.test]", *listen, *lines, ""])
    return [f"{each.option}: {each.text}" for each in read(text, "f", [DNS]).problems]


class ParserTests(SynchronousTestCase):
    """Single values."""

    @examples(max_examples=20, deadline=None)
    @given(TEXTS)
    def test_any_text(self, text: str) -> None:
        """Whatever the text, it is a value or not one, and that is said."""
        for parser in PARSERS:
            try:
                str(parser(text))
            except (Unreadable, NotBuilt) as error:
                self.assertTrue(str(error), text)

    def test_answers(self) -> None:
        """A line with all that it may have, and what it is without."""
        self.assertEqual(
            answer_line("www pool=web policy=geo max=3 ttl=1m when-down=nodata https=http:front"),
            AnswerLine("www", "web", "geo", 3, 60, "nodata", "http:front"))
        for policy, most in (("all", 1000), ("round-robin", 1000), ("geo", 1000), ("weighted", 1),
                             ("failover", 1)):
            self.assertEqual(answer_line(f"www pool=web policy={policy}").most, most)
        self.assertEqual(answer_line("www pool=web policy=weighted max=2").most, 2)
        self.assertEqual(AnswerLine("WWW", "web").key(n("@")), n("www"))
        self.assertEqual(str(answer_line("www pool=web policy=geo")), "www pool=web policy=geo")

    def test_peers(self) -> None:
        """Networks, and a key's name in lower case with its dot."""
        found = peers_line("192.0.2.0/24 key=K.example ::1")
        assert isinstance(found, Peers)
        self.assertEqual(str(found), "192.0.2.0/24 ::1/128 key=k.example.")
        self.assertIsNone(peers_line("none"))

    def test_secondaries(self) -> None:
        """An address with a port, or with 53."""
        for text, told in (("192.0.2.1", "192.0.2.1:53"), ("192.0.2.1:5353", "192.0.2.1:5353"),
                           ("[2001:db8::1]", "[2001:db8::1]:53"),
                           ("[2001:db8::1]:54 key=K", "[2001:db8::1]:54 key=k.")):
            self.assertEqual(str(secondary_line(text)), told)
        for text in ("", "example.org", "unix:/x", "192.0.2.1 other", "key=k", "192.0.2.1:0x"):
            self.assertRaises(Unreadable, secondary_line, text)


class SectionTests(SynchronousTestCase):
    """What an operator is told."""

    def test_problems(self) -> None:
        """Each says what was expected, what came, and what was probably meant."""
        for line, told in (
            ("answers = www", "answers: expected NAME pool=POOL and its options, such as "
             "'www pool=web policy=geo', got 'www'"),
            ("answers = www policy=all", "answers: expected pool=POOL after the name, "
             "got 'www policy=all'"),
            ("answers = www pool=web policy=geoo", "answers: expected policy= and one of all, "
             "round-robin, weighted, geo or failover, got 'policy=geoo'"),
            ("answers = www pool=web max=0", "answers: expected max= and a whole number from 1 to "
             "1000, got 'max=0'"),
            ("answers = www pool=web ttl=500ms", "answers: expected ttl= and a duration of whole "
             "seconds such as 30s, got 'ttl=500ms'"),
            ("answers = www pool=web https=front", "answers: expected https= and http:NAME, got "
             "'https=front'"),
            ("answers = a..b pool=web", "answers: expected labels of 1 to 63 bytes, got 'a..b'"),
            ("ttl = 1.5s", "ttl: expected a duration of whole seconds such as 30s, got '1.5s'"),
            ("contact = a.b@example.org", "contact: expected a mailbox as a domain name such as "
             "hostmaster.example.org, got 'a.b@example.org'; did you mean "
             "'a\\.b.example.org'?"),
            ("rate-limit = 0", "rate-limit: expected a whole number from 1 to 1000000, or off, "
             "got '0'"),
            ("rate-limit-slip = 11", "rate-limit-slip: expected a whole number from 0 to 10, "
             "got '11'"),
            ("transfer = ::/0 key=", "transfer: expected the name of a key, got '::/0 key='"),
            ("transfer = ::/0 key=k", "transfer: expected tsig-file beside key=, got none"),
            ("notify = 192.0.2.1 key=k", "notify: expected tsig-file beside key=, got none"),
            ("notify = example.org", "notify: expected an IP address, with a port or without, "
             "got 'example.org'"),
            ("listen = 127.0.0.1:0", "listen: expected a port above 0: UDP and TCP need the same"),
            ("nss = a", "nss: unknown option 'nss'; did you mean 'ns'?"),
        ):
            self.assertIn(told, problems(line))

    def test_good(self) -> None:
        """All options at once are no problem."""
        self.assertEqual(problems(
            "ns = ns1\n  ns2.example.", "contact = a.b", "zone = z", "ttl = 5m",
            "answers = www pool=web\n  * pool=web", "rate-limit = 10", "rate-limit-slip = 0",
            "rate-limit-exempt = ::1 10.0.0.0/8", "transfer = ::/0 key=k\n  10.0.0.0/8",
            "notify = 192.0.2.1", "tsig-file = k", "cookie-secret-file = c", "access-log = -",
        ), [])
