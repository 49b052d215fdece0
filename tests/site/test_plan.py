"""A site file held against itself: references, claims, checks, and what is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from balancer.config.schema import Claim, Reference, Section, option
from balancer.config.values import Endpoint, Misspelt, NotBuilt, Unreadable, listen_endpoint, name
from balancer.interfaces import IBalancer, IBalancerMaker, ICheck, ICheckMaker, IContext
from balancer.site.plan import BadSite, Makers, Plan
from balancer.site.reading import read


@frozen
class GateSettings:
    """A kind for these tests: it listens, and sends to a pool."""

    listen: tuple[Endpoint, ...] = option(listen_endpoint, lines=True, help="Where.")
    pool: str | None = option(name, help="Whither.")


def _references(settings: GateSettings) -> Iterable[Reference]:
    if settings.pool is not None:
        yield Reference("pool", settings.pool, "pool")


def _claims(settings: GateSettings) -> Iterable[Claim]:
    for index, where in enumerate(settings.listen):
        yield Claim("tcp", where.host, where.port, "listen", index)


@implementer(IPlugin, IBalancerMaker)
class GateMaker:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.section = Section(
            kind=kind,
            settings=GateSettings,
            help="For tests.",
            references=_references,
            claims=_claims,
        )

    def make(self, name: str, context: IContext) -> IBalancer:
        raise AssertionError("a plan makes nothing")


@implementer(IPlugin, ICheckMaker)
class WordCheck:
    """A check that takes the word `good` and nothing else."""

    name = "tcp"
    help = "good"

    def parse(self, words: Sequence[str]) -> Callable[[IContext], ICheck]:
        if "tls" in words:
            raise NotBuilt("tls")
        if "god" in words:
            raise Misspelt("good", "god", ("good",))
        if words and list(words) != ["good"]:
            raise Unreadable("good")
        return lambda context: context  # type: ignore[return-value]  # never called here


MAKERS = Makers(
    {kind: GateMaker(kind) for kind in ("gate", "dns", "udp", "anycast")},
    {"tcp": WordCheck()},
    {"kind bad": "does not import from bad.maker: ImportError: no rope", "check http": "no rope"},
)

SOUND = """
[pool app]
servers = a 127.0.0.1:1
[gate front]
listen = 127.0.0.1:80
pool = app
"""


def plan(text: str) -> Plan:
    return read(text, "s.ini", MAKERS)


class Sound(SynchronousTestCase):
    """A sound file becomes a plan."""

    def test_pools_of_a_balancer(self) -> None:
        """A balancer's plan names the pools that it uses and the listeners that it claims."""
        front = plan(SOUND).balancers[0]
        self.assertEqual(front.key, "gate:front")
        self.assertEqual(front.pools, ("app",))
        self.assertEqual([(claim.host, claim.port) for claim in front.claims], [("127.0.0.1", 80)])

    def test_site_by_default(self) -> None:
        """A file without [site] has the defaults, and the admin's listener is claimed."""
        made = plan(SOUND)
        self.assertEqual(made.site.drain_timeout, 30.0)
        self.assertIn(("127.0.0.1", 9180), [(claim.host, claim.port) for claim in made.claims])

    def test_admin_off(self) -> None:
        """`admin = off` claims nothing."""
        made = plan("[site]\nadmin = off\n" + SOUND)
        self.assertEqual([claim.port for claim in made.claims], [80])

    def test_check_none(self) -> None:
        """`check = none` makes no check."""
        made = plan(SOUND.replace("127.0.0.1:1\n", "127.0.0.1:1\ncheck = none\n"))
        self.assertIsNone(made.pools[0].check)

    def test_default_check(self) -> None:
        """A pool without `check` is checked by tcp."""
        self.assertIsNotNone(plan(SOUND).pools[0].check)

    def test_default_check_of_datagrams(self) -> None:
        """A pool that only udp uses is not checked by tcp: its servers are trusted, with a warning;
        not so when it says what to check, or when another kind uses it too."""
        text = SOUND.replace("gate", "udp")
        made = plan(text)
        self.assertIsNone(made.pools[0].check)
        self.assertIn("s.ini:2: [pool app]: its servers are taken to be up", str(made.warnings[0]))
        self.assertEqual(plan(text.replace(":1\n", ":1\ncheck = none\n")).warnings, ())
        both = plan(text + "[gate too]\nlisten = 127.0.0.1:81\npool = app\n")
        self.assertIsNotNone(both.pools[0].check)

    def test_watched(self) -> None:
        """Who only watches a pool asks nothing of its servers: they are as the others need them,
        and checked by tcp where there are no others."""
        watching = "[anycast far]\nlisten = 127.0.0.1:82\npool = app\n"
        made = plan(SOUND.replace("gate", "udp") + watching)
        self.assertIsNone(made.pools[0].check)
        self.assertEqual(1, len(made.warnings))
        portless = SOUND.replace("gate", "dns").replace("127.0.0.1:1\n", "127.0.0.1\n")
        self.assertIsNone(plan(portless + watching).pools[0].check)
        self.assertIsNotNone(plan(SOUND.replace("gate", "anycast")).pools[0].check)
        self.assertEqual((), plan(SOUND.replace("gate", "anycast")).warnings)

    def test_tls_for_datagrams(self) -> None:
        """Servers with TLS are not for a kind that has none."""
        text = SOUND.replace("gate", "udp").replace("127.0.0.1:1\n", "127.0.0.1:1 tls\n")
        bad = self.assertRaises(BadSite, plan, text)
        self.assertIn("s.ini:3: [pool app] servers: expected no tls, since a [udp]", str(bad))

    def test_empty(self) -> None:
        """An empty file is a site without balancers."""
        self.assertEqual(plan("").balancers, ())

    def test_unused_pool(self) -> None:
        """A pool that no section uses is a warning with its line, not an error."""
        made = plan(SOUND + "[pool idle]\nservers = a 127.0.0.1:2\n")
        self.assertEqual(
            [str(warning) for warning in made.warnings],
            ["s.ini:7: [pool idle]: no section uses this pool"],
        )


class Unsound(SynchronousTestCase):
    """What is wrong between sections is told with its line, all at once."""

    def told(self, text: str) -> list[str]:
        """The errors of `text`."""
        bad = self.assertRaises(BadSite, plan, text)
        return [str(problem) for problem in bad.problems if problem.severity == "error"]

    def test_unknown_pool(self) -> None:
        """A pool that no one defined is told with the name that was meant."""
        self.assertEqual(
            self.told(SOUND.replace("pool = app", "pool = ap")),
            [
                "s.ini:6: [gate front] pool: expected the name of a [pool NAME] section, "
                "got 'ap'; did you mean 'app'?"
            ],
        )

    def test_broken_pool_is_not_missing(self) -> None:
        """A pool with an error of its own is not told as missing too."""
        errors = self.told(SOUND.replace("127.0.0.1:1", "127.0.0.1:x"))
        self.assertEqual(len(errors), 1, errors)
        self.assertIn("s.ini:3: [pool app] servers: ", errors[0])

    def test_listener_twice(self) -> None:
        """Two sections on one listener: the second is told where the first is."""
        self.assertEqual(
            self.told(SOUND + "[gate back]\nlisten = 127.0.0.1:80\n"),
            [
                "s.ini:8: [gate back] listen: expected a listener of its own, got 127.0.0.1:80, "
                "which [gate front] has at line 5"
            ],
        )

    def test_listener_twice_in_one_section(self) -> None:
        """One section may not claim a listener twice either."""
        text = SOUND.replace("listen = ", "listen =\n    127.0.0.1:80\n    ")
        self.assertIn("which [gate front] has at line 6", self.told(text)[0])

    def test_wildcard_covers(self) -> None:
        """A wildcard covers every address of its family on that port, and of no other."""
        errors = self.told(SOUND + "[gate b]\nlisten = 0.0.0.0:80\n[gate c]\nlisten = [::]:80\n")
        self.assertEqual(len(errors), 1, errors)
        self.assertIn("[gate b]", errors[0])

    def test_admin_is_a_listener(self) -> None:
        """The admin's address is taken like any other."""
        errors = self.told(SOUND + "[site]\nadmin = 127.0.0.1:80\n")
        self.assertIn("which [gate front] has at line 5", errors[0])

    def test_default_admin_is_a_listener(self) -> None:
        """So is the admin's default address, in a file without [site]."""
        errors = self.told(SOUND.replace("127.0.0.1:80", "127.0.0.1:9180"))
        self.assertEqual(
            errors,
            [
                "s.ini:5: [gate front] listen: expected a listener of its own, got "
                "127.0.0.1:9180, which [site] has by default; set its admin"
            ],
        )

    def test_datagrams_to_a_unix_socket(self) -> None:
        """A server on a unix socket cannot be in a pool that a [udp] section uses."""
        text = SOUND.replace("a 127.0.0.1:1", "a unix:/run/x")
        self.assertEqual(
            self.told(text.replace("[gate", "[udp")),
            [
                "s.ini:3: [pool app] servers: expected an address, since a [udp] section uses this "
                "pool, got 'unix:/run/x'"
            ],
        )
        plan(text)

    def test_dns_may_share(self) -> None:
        """Sections of [dns] share a listener."""
        self.assertEqual(
            len(plan("[dns a]\nlisten = 127.0.0.1:53\n[dns b]\nlisten = 127.0.0.1:53\n").claims), 3
        )

    def test_port_0_is_nobodys(self) -> None:
        """Port 0 is another one each time."""
        made = plan("[gate a]\nlisten = 127.0.0.1:0\n[gate b]\nlisten = 127.0.0.1:0\n")
        self.assertEqual([claim.port for claim in made.claims], [9180, 0, 0])

    def test_checks(self) -> None:
        """A check's words are read by its maker, and its complaints bear the line."""
        cases = {
            "tcp god": "[pool app] check: expected good, got 'god'; did you mean 'good'?",
            "tcp bad": "[pool app] check: expected good, got 'tcp bad'",
            "tcp tls": "[pool app] check: not in this version, got 'tls'",
            "tpc": "[pool app] check: expected none or tcp, got 'tpc'; did you mean 'tcp'?",
            "agent 1": "[pool app] check: not in this version, got 'agent'",
            "none port=1": "[pool app] check: expected none alone, got 'none port=1'",
            "http GET /": "[pool app] check: the check 'http' cannot be used: no rope",
            "tcp port=0": "[pool app] check: expected a whole number from 1 to 65535, got",
            "tcp port=1 port=2": "[pool app] check: expected port= once, got 'port=2'",
            'tcp "good': "[pool app] check: expected a closing quote, got",
        }
        for words, told in cases.items():
            text = SOUND.replace("127.0.0.1:1\n", f"127.0.0.1:1\ncheck = {words}\n")
            errors = self.told(text)
            self.assertEqual(len(errors), 1, errors)
            self.assertIn(f"s.ini:4: {told}", errors[0])

    def test_kind_that_does_not_import(self) -> None:
        """A section of a kind that does not import is told the reason; others are read."""
        errors = self.told(SOUND + "[bad x]\nfoo = 1\n")
        self.assertEqual(
            errors,
            [
                "s.ini:7: [bad x]: the kind 'bad' does not import from bad.maker: "
                "ImportError: no rope"
            ],
        )

    def test_kind_of_a_later_version(self) -> None:
        """A kind of the contract that is not built says so."""
        self.assertEqual(self.told("[policy x]\n"), ["s.ini:1: [policy x]: not in this version"])

    def test_all_at_once(self) -> None:
        """Every error comes at once, in the order of lines."""
        errors = self.told(
            "[pool a]\nservers = x\n[gaet b]\n[gate c]\npool = none-such\nlisen = 1\n"
        )
        self.assertEqual([error.split(":")[1] for error in errors], ["2", "3", "5", "6"])


class Servers(SynchronousTestCase):
    """The lines of `servers`, and the values of a pool."""

    def test_every_word(self) -> None:
        """Weight, backup, max-connections and disabled are read."""
        text = SOUND.replace("127.0.0.1:1", "[::1]:1 weight=3 backup max-connections=7 disabled")
        server = plan(text).pools[0].settings.servers[0]
        self.assertEqual(
            (server.name, str(server.endpoint), server.weight, server.backup),
            ("a", "[::1]:1", 3, True),
        )
        self.assertEqual((server.max_connections, server.disabled), (7, True))

    def test_refused(self) -> None:
        """What a server's line may not say is an error in that line."""
        for words, told in {
            "a": "expected NAME ADDRESS:PORT",
            "a 127.0.0.1": "expected",
            "a 127.0.0.1:0": "expected",
            "a/b 127.0.0.1:1": "expected a name",
            "a 127.0.0.1:1 weight=-1": "expected weight= and a whole number",
            "a 127.0.0.1:1 wieght=1": "did you mean 'weight='?",
            "a 127.0.0.1:1 place=x": "expected the name of a [place NAME] section, got 'x'",
            "a 127.0.0.1:1 place=": "expected place= and a name",
            "a 127.0.0.1:1 tls=yes": "expected",
            "a 127.0.0.1:1 sni=a.test": "expected tls beside sni=",
            "a 127.0.0.1:1 tls sni=a_b..test": "expected sni= and a host name",
            "a 127.0.0.1:1 tls sni=127.0.0.1": "expected sni= and a host name",
            "a unix:/s tls": "expected sni=NAME",
            "a 127.0.0.1:1 backup backup": "expected backup once",
        }.items():
            bad = self.assertRaises(BadSite, plan, SOUND.replace("a 127.0.0.1:1", words))
            self.assertIn("s.ini:3: [pool app] servers: ", str(bad))
            self.assertIn(told, str(bad))

    def test_same_name_twice(self) -> None:
        """A server's name stands once in a pool."""
        text = SOUND.replace("servers = ", "servers =\n  a 127.0.0.1:9\n  ")
        bad = self.assertRaises(BadSite, plan, text)
        self.assertIn("s.ini:5: [pool app] servers: ", str(bad))

    def test_algorithms(self) -> None:
        """Each algorithm is read, with its argument where it takes one."""
        for words, key in {
            "maglev": ("maglev", ""),
            "header:X-User": ("header", "X-User"),
            "ewma": ("ewma", ""),
        }.items():
            text = SOUND.replace("127.0.0.1:1\n", f"127.0.0.1:1\nalgorithm = {words}\n")
            algorithm = plan(text).pools[0].settings.algorithm
            self.assertEqual((algorithm.name, algorithm.argument), key)
        for words in ("header", "maglev:x", "roundrobin"):
            text = SOUND.replace("127.0.0.1:1\n", f"127.0.0.1:1\nalgorithm = {words}\n")
            self.assertRaises(BadSite, plan, text)

    def test_eject(self) -> None:
        """`5 in 10s for 30s` is read, and off is none."""
        text = SOUND.replace("127.0.0.1:1\n", "127.0.0.1:1\neject = 5 in 10s for 30s\n")
        eject = plan(text).pools[0].settings.eject
        assert eject is not None
        self.assertEqual((eject.failures, eject.window, eject.duration), (5, 10.0, 30.0))
        for words in ("5 in 10 for 30", "0 in 1s for 1s", "5 in 10s"):
            self.assertRaises(BadSite, plan, text.replace("5 in 10s for 30s", words))
