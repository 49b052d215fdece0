"""What the sections that share one ExaBGP ask of it together."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast.members import NO_LEASE, Members
from tests.route.anycast.stations import KEY, SITE, Member

OTHER = SITE.replace("web]", "other]").replace("10.9.0.2", "10.9.0.3").replace("0.2.53", "0.2.54")
OTHER_KEY = ("10.9.0.3", "192.0.2.54/32")


class MembersTests(SynchronousTestCase):
    """Two sections."""

    def setUp(self) -> None:
        """Let them join."""
        self.one = Member()
        self.other = Member(f"{OTHER.replace('lease = 2s', 'lease = 1s')}bfd = 3x50ms\n")
        self.members = Members()
        self.members.join(self.one)
        self.members.join(self.other)

    def test_together(self) -> None:
        """The shortest lease, all routes, all prefixes, and the neighbors of those that ask for
        BFD."""
        self.assertEqual(1.0, self.members.lease)
        self.assertEqual({KEY, OTHER_KEY}, set(self.members.routes()))
        self.assertEqual([KEY[1], OTHER_KEY[1]], [str(each) for each in self.members.prefixes()])
        self.assertEqual(["10.9.0.3"], list(self.members.watched()))

    def test_leave(self) -> None:
        """Who leaves asks for nothing; without anybody there is a lease all the same."""
        self.members.leave(self.other)
        self.members.leave(self.other)
        self.assertEqual((2.0, {KEY}, {}), (
            self.members.lease, set(self.members.routes()), self.members.watched()))
        self.members.leave(self.one)
        self.assertEqual((False, NO_LEASE, {}), (
            bool(self.members), self.members.lease, self.members.routes()))

    def test_again(self) -> None:
        """Who joins again keeps its place."""
        self.members.join(self.one)
        self.assertEqual([self.one, self.other], list(self.members))

    def test_told(self) -> None:
        """All are told, also when one leaves meanwhile."""
        self.patch(self.one, "reported", lambda: self.members.leave(self.other))
        self.members.reported()
        self.members.lapsed(7.0)
        self.assertEqual((1, [7.0], []), (self.other.reports, self.one.lapses, self.other.lapses))
