"""What a reload changes is told in the words of the site file."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer import tap
from balancer.site.diff import MOST_SHOWN, changes
from balancer.site.reading import read

POOL = "[pool web]\nservers = a 192.0.2.1:80\n"
FRONT = "[http front]\nlisten = 192.0.2.80:80\n"
ANSWER = "routes = -> respond 200 hello\n"


class WordsTests(SynchronousTestCase):
    """Options of the kinds that come with the balancer."""

    def told(self, before: str, after: str) -> list[str]:
        """What a reload says, on its way there and back."""
        old, new = (read(text, "s.ini", tap.makers()) for text in (before, after))
        return [change.text() for way in ((old, new), (new, old)) for change in changes(*way)]

    def test_one_line(self) -> None:
        """A value is shown as it is written, and one that is not written as its default is."""
        self.assertEqual(
            self.told(FRONT + ANSWER, POOL + FRONT + "pool = web\nidle-timeout = 90s\n"),
            ["+ pool web",
             "~ http front: pool off -> web; routes \"-> respond 200 hello\" -> none; "
             "idle-timeout 60s -> 90s",
             "- pool web",
             "~ http front: pool web -> off; routes none -> \"-> respond 200 hello\"; "
             "idle-timeout 90s -> 60s"])

    def test_many_lines(self) -> None:
        """Of a value of many lines their number is shown."""
        many = "routes =\n    host=a.test -> respond 200 a\n    -> respond 404 none\n"
        self.assertEqual(self.told(FRONT + ANSWER, FRONT + many),
                         ["~ http front: routes \"-> respond 200 hello\" -> (2 lines)",
                          "~ http front: routes (2 lines) -> \"-> respond 200 hello\""])

    def test_long(self) -> None:
        """What is long is cut."""
        said = self.told(FRONT + ANSWER, FRONT + ANSWER.replace("hello", "x" * 200))[0]
        self.assertTrue(said.endswith('..."'))
        self.assertLess(len(said), 80 + MOST_SHOWN)

    def test_same_value(self) -> None:
        """What is only written otherwise is no change."""
        self.assertEqual(self.told(FRONT + ANSWER + "idle-timeout = 90s\n",
                                   FRONT + ANSWER + "idle-timeout = 90000ms\n"), [])
