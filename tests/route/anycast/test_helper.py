"""The socket's end: who may come, and which helper is ours."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.interfaces import PrepareError
from balancer.route.anycast import protocol
from balancer.route.anycast.frames import Frame, Heard, Hello, Neighbor, Quit, Wish, decode, encode
from balancer.route.anycast.helper import Helper, socket_name
from balancer.route.anycast.protocol import MAX_LINKS, Link
from tests.route.anycast.stations import FakeSocket, Reactor, Transport

TOKEN = "ours"


class HelperTestCase(SynchronousTestCase):
    """A socket, and what its owner is told."""

    token = TOKEN

    def setUp(self) -> None:
        """Make it, and listen."""
        self.uid = 0
        self.patch(protocol, "uid_of", lambda transport: self.uid)
        self.reactor = Reactor()
        self.sockets: list[FakeSocket] = []
        self.told: list[object] = []
        self.helper = self.make(self.bind)
        self.helper.open()
        self.helper.listen(self.reactor)

    def make(self, bind: Any) -> Helper:
        """A helper's socket."""
        return Helper("name", self.token, bind, lambda: self.told.append("came"),
                      self.told.append, lambda: self.told.append("went"))

    def bind(self, name: str) -> Any:
        """Bind nothing."""
        self.sockets.append(FakeSocket())
        return self.sockets[-1]

    def come(self, token: str = TOKEN) -> Link:
        """Somebody connects, and says who he is if he may."""
        link: Link = self.reactor.factory.buildProtocol(None)
        transport = Transport()
        transport.link = link
        link.makeConnection(transport)
        if not transport.aborted:
            link.dataReceived(encode(Hello(50, 40, token)))
        return link

    def heard(self, link: Link) -> list[Frame]:
        """What was sent there since it was asked last."""
        lines = link.transport.value().decode().splitlines()
        link.transport.clear()
        return [decode(line) for line in lines]


class HelperTests(HelperTestCase):
    """The helper of our own ExaBGP."""

    def test_life(self) -> None:
        """It comes, speaks, is spoken to, and goes."""
        self.assertEqual((False, None), (self.helper.connected, self.helper.pid))
        self.helper.tell(Quit())
        link = self.come()
        self.assertEqual((True, 50), (self.helper.connected, self.helper.pid))
        link.dataReceived(encode(Heard(3)))
        self.helper.tell(Wish(1, 2.0, {}))
        self.assertEqual([Wish(1, 2.0, {})], self.heard(link))
        link.connectionLost()
        self.assertEqual(["came", Heard(3), "went"], self.told)
        self.assertEqual((False, None), (self.helper.connected, self.helper.pid))

    def test_full_pipe(self) -> None:
        """While it does not read, frames do not gather: it gets the latest one then."""
        link = self.come()
        link.pauseProducing()
        for serial in range(4):
            self.helper.tell(Wish(serial, 2.0, {}))
        self.assertEqual([], self.heard(link))
        link.resumeProducing()
        self.assertEqual([Wish(3, 2.0, {})], self.heard(link))

    def test_orphan(self) -> None:
        """The helper of another balancer's ExaBGP is told to quit, and is not listened to."""
        orphan = self.come("other")
        self.assertEqual([Quit()], self.heard(orphan))
        orphan.dataReceived(encode(Neighbor("10.9.0.2", "up")))
        self.helper.tell(Wish(1, 2.0, {}))
        orphan.connectionLost()
        self.assertEqual(([], [], False), (self.told, self.heard(orphan), self.helper.connected))

    def test_orphan_beside_ours(self) -> None:
        """An orphan takes nobody's place, before or after."""
        self.come("other")
        link = self.come()
        orphan = self.come("other")
        self.helper.tell(Wish(1, 2.0, {}))
        self.assertEqual(([Wish(1, 2.0, {})], [Quit()]), (self.heard(link), self.heard(orphan)))

    def test_second(self) -> None:
        """The latest is the one; the one before is hung up on, and its end ends nothing."""
        first, second = self.come(), self.come()
        self.assertEqual((True, False), (first.transport.aborted, second.transport.aborted))
        self.told.clear()
        first.connectionLost()
        first.dataReceived(encode(Heard(1)))
        self.assertEqual(([], True), (self.told, self.helper.connected))

    def test_strangers(self) -> None:
        """Who may not speak to us is hung up on, and so is who comes on top of many, and who says
        what is no frame."""
        self.uid = 12345
        self.assertTrue(self.come().transport.aborted)
        self.uid = 0
        for _ in range(MAX_LINKS):
            self.assertFalse(self.come("other").transport.aborted)
        self.assertTrue(self.come("other").transport.aborted)
        link = self.reactor.factory.links[0]
        link.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(link.transport.aborted)
        self.assertEqual([], self.told)

    def test_hang_up(self) -> None:
        """At the end all are sent away, ours and others."""
        links = [self.come("other"), self.come()]
        self.helper.deafen()
        self.helper.hang_up()
        self.assertEqual([True, True], [each.transport.disconnecting for each in links])

    def test_nobody_to_kill(self) -> None:
        """Without a helper there is none to end."""
        self.assertFalse(self.helper.kill())


class ExternalTests(HelperTestCase):
    """The helper of an operator's ExaBGP."""

    token = ""

    def test_any_word(self) -> None:
        """It has no word of ours to say."""
        self.come("whatever")
        self.assertEqual((["came"], True), (self.told, self.helper.connected))


class SocketTests(HelperTestCase):
    """The socket itself."""

    def test_name(self) -> None:
        """It goes by the state directory, and by the section where that has its own."""
        names = {socket_name("/a", ""), socket_name("/b", ""), socket_name("/a", "web")}
        self.assertEqual(3, len(names))
        self.assertEqual(socket_name("/a", ""), socket_name("/a", ""))
        self.assertTrue(socket_name("/a", "web").endswith("-web"))

    def test_bound_twice(self) -> None:
        """A socket that another balancer has is an error, with what to do."""
        def refuse(name: str) -> Any:
            raise OSError(98, "Address already in use")
        error = self.assertRaises(PrepareError, self.make(refuse).open)
        self.assertIn("set state in [site]", str(error))

    def test_opened_once(self) -> None:
        """It is bound once, whether somebody listens there or not, and closed when it is of no
        use."""
        self.helper.open()
        self.assertEqual(1, len(self.sockets))
        other = self.make(self.bind)
        other.open()
        other.open()
        other.close()
        self.assertEqual([True], [each.closed for each in self.sockets[1:]])

    def test_again(self) -> None:
        """After its end it can be opened anew."""
        self.helper.deafen()
        self.helper.open()
        self.helper.listen(self.reactor)
        self.come()
        self.assertEqual((2, ["came"]), (len(self.sockets), self.told))
