"""The reference manual, made from declarations."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.reference import Chapter, markdown
from tests.config.samples import LATER, POOL, SITE, WEB

PAGE = """\
## `[pool NAME]`

Servers.

### `servers`

Who.

- Expects a server such as 'a weight=2'.
- One a line, and as many lines as are needed.
- Required.

### `rise`

Passed checks until it is up.

- Default: `2`.

### `check`

How health is asked.

- Expects some text.
- Default: `tcp`.

## Checks

### `none`

Asks nothing.
"""


class ReferenceTests(SynchronousTestCase):
    """`markdown`"""

    def test_page(self) -> None:
        """Each option has its help, what it expects, and its default; chapters follow."""
        page = markdown([POOL], [Chapter("Checks", (("none", "Asks nothing."),))])
        self.assertTrue(page.startswith("# The site file\n"))
        self.assertEqual(page[page.index("## `[pool") :], PAGE)

    def test_kinds_of_options(self) -> None:
        """Units, keys and options that have no default are told."""
        page = markdown([SITE, WEB])
        self.assertIn("## `[site]`\n", page)
        self.assertIn("or 5m.\n- Unit: s.\n- Default: `60s`.\n", page)
        self.assertIn("### `error-page KEY`\n", page)
        self.assertIn("- May stand once for each KEY.\n", page)
        self.assertIn("- Default: not set.\n", page)

    def test_later(self) -> None:
        """What is not built has no entry of its own: one list names it."""
        page = markdown([LATER, WEB])
        self.assertNotIn("### `hedge`", page)
        self.assertNotIn("## `[dns", page)
        self.assertTrue(
            page.endswith("\n- `[dns NAME]`: A zone.\n- `[web NAME]`: `hedge`, `control`\n"), page
        )
        self.assertNotIn("Not in this version", markdown([POOL]))

    def test_same_each_time(self) -> None:
        """The same declarations give the same page, with one blank line between blocks."""
        page = markdown([SITE, POOL, WEB, LATER])
        self.assertEqual(page, markdown([SITE, POOL, WEB, LATER]))
        self.assertNotIn("\n\n\n", page)
        self.assertTrue(page.endswith("\n") and not page.endswith("\n\n"))
