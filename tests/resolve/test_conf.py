"""resolv.conf and the hosts file, as an operator writes them."""

from __future__ import annotations

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

from balancer.resolve.conf import Conf, addresses_of, read_conf, read_hosts

CONF = """\
# made by hand
nameserver 192.0.2.53
nameserver 2001:db8::53   ; the other
nameserver nonsense
domain lost.test
search Corp.Test. lab.test
options ndots:2 timeout:1 attempts:3 rotate timeout:x
"""

HOSTS = """\
127.0.0.1 localhost
192.0.2.1\tapp.test app   # the first
2001:db8::1 App.Test
192.0.2.1 app.test
nonsense app.test
192.0.2.9
"""


class ConfTests(SynchronousTestCase):
    """How resolvers are asked."""

    def test_conf(self) -> None:
        """Servers, search list and options are read; what cannot be read is passed over."""
        self.assertEqual(
            read_conf(CONF),
            Conf((("192.0.2.53", 53), ("2001:db8::53", 53)), ("corp.test", "lab.test"), 2, 1.0, 3),
        )

    def test_empty(self) -> None:
        """Without a server the one on this machine is asked (resolv.conf(5))."""
        self.assertEqual(read_conf("").servers, (("127.0.0.1", 53),))

    def test_bounds(self) -> None:
        """Options are capped, and neither list is without end."""
        conf = read_conf(
            "options ndots:99 timeout:999 attempts:99\n"
            + "nameserver 192.0.2.1\n" * 99 + "search " + "a.test " * 99
        )
        self.assertEqual((conf.ndots, conf.timeout, conf.attempts), (15, 30.0, 5))
        self.assertEqual((len(conf.servers), len(conf.search)), (8, 6))

    def test_candidates(self) -> None:
        """A name with a dot is asked for as it is, one without behind each domain first."""
        conf = Conf(search=("a.test", "b.test"))
        self.assertEqual(conf.candidates("www.test"), ("www.test",))
        self.assertEqual(conf.candidates("www"), ("www.a.test", "www.b.test", "www"))
        self.assertEqual(conf.candidates("www."), ("www",))
        more = Conf(search=("a.test",), ndots=2)
        self.assertEqual(more.candidates("www.x"), ("www.x.a.test", "www.x"))

    @given(strategies.text("nameserver searchoptions:0123.\n\t;#", max_size=60))
    def test_noise(self, text: str) -> None:
        """Any text is a configuration with somebody to ask."""
        self.assertTrue(read_conf(text).servers)


class HostsTests(SynchronousTestCase):
    """Names that are not asked for."""

    def test_hosts(self) -> None:
        """A name has the addresses of all its lines, each once, in any case of letters."""
        hosts = read_hosts(HOSTS)
        self.assertEqual(addresses_of("app.test", hosts), ("192.0.2.1", "2001:db8::1"))
        self.assertEqual(addresses_of("app", hosts), ("192.0.2.1",))
        self.assertEqual(addresses_of("app.test.", hosts), ("192.0.2.1", "2001:db8::1"))
        self.assertEqual(addresses_of("192.0.2.9", hosts), ())

    @given(strategies.text(max_size=60))
    def test_noise(self, text: str) -> None:
        """Any text is a hosts file, and no name of it has anything but addresses."""
        hosts = read_hosts(text)
        for name in hosts:
            for address in addresses_of(name, hosts):
                self.assertTrue("." in address or ":" in address)
