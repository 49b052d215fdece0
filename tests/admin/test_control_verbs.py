"""What each verb takes, and whom it asks."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.admin.control_lines import Request
from balancer.admin.control_verbs import NOT_BUILT, VERBS, Desk, events_since, find
from balancer.interfaces import Followed, IOperator, ISite, NotDone, Published
from tests.admin.world import FakeOperator, FakeSite, event


class Verbs(SynchronousTestCase):
    """Requests asked at a desk."""

    def setUp(self) -> None:
        """A desk with nothing on it."""
        self.site, self.operator = FakeSite(), FakeOperator()
        self.desk = Desk(self.site, self.operator, lambda: 12.5)

    def ask(self, verb: str, **fields: Any) -> Any:
        """The verb's result."""
        request = Request(verb, fields)
        found = find(request)
        return found.ask(self.desk, found.read(request))

    def refused(self, verb: str, **fields: Any) -> str:
        """Why not; the operator has not heard of it."""
        error = self.assertRaises(NotDone, self.ask, verb, **fields)
        self.assertEqual(self.operator.asked, [])
        return str(error)

    def test_fakes(self) -> None:
        """The fakes have what the seams ask for."""
        verifyObject(ISite, self.site)
        verifyObject(IOperator, self.operator)

    def test_operator(self) -> None:
        """Each verb of the operator's is one call with what was given."""
        self.assertEqual(self.successResultOf(self.ask("check", file="/a")), {"done": True})
        self.ask("plan", file="/b")
        self.ask("reload")
        self.ask("drain", server="web/a")
        self.ask("ready", server="site")
        self.ask("maint", server="web/a")
        self.ask("weight", server="web/a", weight=0)
        self.assertEqual(
            self.operator.asked,
            [
                ("check", "/a"), ("plan", "/b"), ("reload",), ("drain", "web/a"),
                ("ready", "site"), ("maintain", "web/a"), ("weigh", "web/a", 0),
            ],
        )

    def test_status(self) -> None:
        """Status is the snapshot's, and the clock by which servers changed."""
        status = self.ask("status")
        self.assertEqual((status["site"]["name"], status["now"]), ("test", 12.5))

    def test_explain(self) -> None:
        """A question about HTTP or DNS comes from this machine unless it says otherwise."""
        self.ask("explain", kind="http", question={"method": "GET", "url": "http://x/"})
        self.ask("explain", kind="tcp", name="echo", question={"from": "[::1]:9"})
        self.ask("explain", kind="dns", name="www.x.test", question={"type": "A"})
        self.ask("explain", kind="subdomains", name="www", question={})
        self.ask("explain", kind="ecmp", name="out", question={})
        self.assertEqual(
            self.operator.asked,
            [
                ("explain", "http", "",
                 {"method": "GET", "url": "http://x/", "from": "127.0.0.1"}),
                ("explain", "tcp", "echo", {"from": "[::1]:9"}),
                ("explain", "dns", "www.x.test", {"type": "A", "from": "127.0.0.1"}),
                ("explain", "subdomains", "www", {}),
                ("explain", "ecmp", "out", {}),
            ],
        )

    def test_explain_misasked(self) -> None:
        """A question that lacks something says what."""
        self.assertIn("'url'", self.refused("explain", kind="http", question={"method": "GET"}))
        self.assertIn("'from'", self.refused("explain", kind="tcp", name="x", question={}))
        self.assertIn("name", self.refused("explain", kind="udp", question={"from": "::1"}))
        self.assertIn("domain name", self.refused("explain", kind="dns", question={"type": "A"}))
        self.assertIn("'type'", self.refused("explain", kind="dns", name="x", question={}))
        self.assertIn("question", self.refused("explain", kind="http", question=[]))
        self.assertIn("question", self.refused("explain", kind="http", question={"url": 1}))
        self.assertIn("http, tcp, udp", self.refused("explain", kind="smtp", question={}))
        self.assertIn("name", self.refused("explain", kind="tcp", name=1, question={}))

    def test_not_in_this_version(self) -> None:
        """Verbs and fields of the contract that are not built say so."""
        for verb in NOT_BUILT:
            self.assertEqual(self.refused(verb), f"{verb}: not in this version")
        self.assertIn("not in this version", self.refused("reload", **{"confirm-within": "1m"}))

    def test_unknown(self) -> None:
        """An unknown verb is told which one was meant."""
        self.assertIn("did you mean 'status'?", self.refused("stauts"))
        self.assertIn("expected one of", self.refused("x" * 60000))

    def test_fields(self) -> None:
        """Fields that lack, that are too many, or of another type are refused."""
        self.assertIn("'server'", self.refused("drain"))
        self.assertIn("got 'sever'", self.refused("drain", sever="web/a"))
        self.assertIn("no fields", self.refused("reload", file="/x"))
        for server in (None, 1, "", ["web/a"], "x" * 1000):
            self.assertIn("POOL/NAME", self.refused("drain", server=server))
        for path in ("relative", "", "/a\0b", "/\ud800", 1):
            self.assertIn("absolute path", self.refused("check", file=path))
        for weight in (True, -1, 1.5, "1", None):
            self.assertIn("whole number", self.refused("weight", server="web/a", weight=weight))
        self.assertIn("true or false", self.refused("events", follow=1))

    def test_any_file_name(self) -> None:
        """A file name that is no UTF-8 passes as Python spells it."""
        self.ask("check", file="/caf\udce9")
        self.assertEqual(self.operator.asked, [("check", "/caf\udce9")])

    def test_events(self) -> None:
        """The kept events come as a list, ready for JSON."""
        self.site.kept = [event(1), event(2)]
        self.assertEqual(
            self.ask("events", follow=False, since=1),
            {
                "events": [
                    {
                        "id": 2, "at": 1002.0, "pool": "web", "server": "web/a",
                        "event": "WentDown", "text": "web/a went down: refused",
                    }
                ]
            },
        )
        self.assertEqual(len(self.ask("events", follow=False)["events"]), 2)

    def test_event_of_a_balancer(self) -> None:
        """What a balancer did names it, and the event that led to it."""
        self.site.kept = [event(1), Published(2, 9.0, "", Followed("ecmp:out", "has no route", 1))]
        self.assertEqual(self.ask("events", follow=False, since=1)["events"], [{
            "id": 2, "at": 9.0, "pool": "", "server": "", "event": "Followed",
            "text": "ecmp:out has no route (after event 1)", "balancer": "ecmp:out", "cause": 1,
        }])

    def test_events_of_another_life(self) -> None:
        """Who asks by a number of before a restart gets all that is kept since."""
        self.site.kept = [event(1), event(2)]
        self.assertEqual([each.id for each in events_since(self.site, 2)], [])
        self.assertEqual([each.id for each in events_since(self.site, 900)], [1, 2])
        self.assertEqual(events_since(FakeSite(), 900), ())

    def test_log(self) -> None:
        """Only verbs that change something are worth a line in the log."""
        self.assertEqual(
            {name for name, verb in VERBS.items() if verb.changes},
            {"reload", "drain", "ready", "maint", "weight"},
        )
