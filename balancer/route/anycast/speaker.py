"""
The helper beside ExaBGP, as far as it decides: what to say next, and what to believe.

ExaBGP acknowledges without saying what, and not in order, so one command is in flight and no more.
It keeps routes when its helper dies, so a new helper first reads which ones there are. And nobody
but this knows that the balancer is gone: when no wish came for `lease` seconds, it withdraws all.

Pure, and stdlib only. `now` is monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from balancer.route.anycast import lines
from balancer.route.anycast.frames import Frame, Heard, Key, Neighbor, Report, Wish
from balancer.route.anycast.lines import Done, Kept, Leaving, Refused, Route, Said, Session

LISTENING: Final = "listening"
"""Says nothing: what comes may answer a helper that died."""
READING: Final = "reading"
"""Asked which routes there are."""
IDLE: Final = "idle"
"""Nothing in flight."""
ASKING: Final = "asking"
"""A command is in flight."""
LEAVING: Final = "leaving"
"""Asked ExaBGP to stop, or told that it does: nothing is said any more."""

TABLE: Final = {
    (LISTENING, "due"): READING,
    (READING, "done"): IDLE,
    (READING, "refused"): LISTENING,
    (IDLE, "asked"): ASKING,
    (IDLE, "read again"): READING,
    (IDLE, "quit"): LEAVING,
    (ASKING, "done"): IDLE,
    (ASKING, "refused"): IDLE,
    (LISTENING, "leaving"): LEAVING,
    (READING, "leaving"): LEAVING,
    (IDLE, "leaving"): LEAVING,
    (ASKING, "leaving"): LEAVING,
}
"""Every way from one phase to the next. What is not here changes nothing."""

QUIET: Final = 0.1
"""Seconds until the first command: ExaBGP answers within milliseconds, and an answer to a helper
that died would be taken for ours."""

ANSWER_WITHIN: Final = 5.0
"""Seconds after which an answer is late. It is waited for all the same: a second command in flight
would make both answers worthless."""

RETRY_AFTER: Final = 1.0
"""Seconds until what was refused is asked for again: a neighbor may come into the configuration."""

ORPHAN_AFTER: Final = 60.0
"""Seconds without a wish after which a spawned ExaBGP ends: nobody will stop it otherwise."""

RETIRES_AFTER: Final = 1.0
"""Seconds from the word that nobody takes over until ExaBGP ends: withdrawals are acknowledged in
milliseconds, and ExaBGP and routers take their time to send and obey them."""

MAX_NEIGHBORS: Final = 64
"""Neighbors whose states are kept: a site's upstreams and route servers are a handful."""

_STRANGE: Final = " is not among the prefixes that its configuration lets the helper announce"

Settle = Callable[[bool], None]


class Speaker:
    """
    Feed it what ExaBGP says (`said`), what the balancer wants (`wish`, `quit`) and the time
    (`tick`); then take from `commands` what to write to ExaBGP and from `frames` what to tell.
    """

    def __init__(
        self, now: float, lease: float, only: Collection[str] = (), orphan: bool = False
    ) -> None:
        """`only`: the prefixes that are ours, if not all are. `orphan`: end an ExaBGP that nobody
        looks after."""
        self.phase = LISTENING
        self.told_to_leave = False
        """Whether ExaBGP said that it stops: its helper should, too."""
        self._only = frozenset(only)
        self._lease_until = now + lease
        self._orphan_at = now + lease + ORPHAN_AFTER if orphan else float("inf")
        self._due = now + QUIET
        self._serial = 0
        self._told_what = False  # whether a wish or the end of the lease says what to announce
        self._lapsed = False
        self._quitting = False
        self._wished: dict[Key, Route] = {}
        self._has: dict[Key, Route | None] = {}
        self._found: set[Key] = set()
        self._refused: dict[Key, float] = {}
        self._owed: dict[str, None] = {}
        self._asked_at = now
        self._late = False
        self._command = ""
        self._settle: Settle | None = None
        self._sessions: dict[str, Session] = {}
        self._fault = self._strange = ""
        self._commands: list[str] = []
        self._news: dict[str, None] = {}
        self._last_report: Report | None = None
        self._heard = False  # whether a wish came that was not answered yet

    # -- what happens

    def said(self, what: Said, now: float) -> None:
        """ExaBGP said something."""
        if isinstance(what, Leaving):
            self._go("leaving")
            self.told_to_leave = True
        elif isinstance(what, Session):
            self._session(what)
        elif isinstance(what, Kept) and self.phase == READING:
            key = (what.neighbor, what.prefix)
            if not self._only or what.prefix in self._only:
                self._found.add(key)
        elif isinstance(what, (Done, Refused)):
            self._answered(isinstance(what, Done), now)
        self.tick(now)

    def wish(self, wish: Wish, now: float) -> None:
        """The balancer says what is to be announced, and renews its lease."""
        for neighbor, _ in wish.routes:
            if neighbor not in self._sessions and not self._told_what:
                # It may have come up before this helper started; then it waits for its end-of-RIB.
                self._owed.setdefault(neighbor)
        self._heard = True
        self._lease_until = now + wish.lease
        if self._orphan_at != float("inf"):
            self._orphan_at = self._lease_until + ORPHAN_AFTER
        self._serial, self._lapsed, self._told_what = wish.serial, False, True
        self._wished = {
            key: route
            for key, route in wish.routes.items()
            if not self._only or route.prefix in self._only
        }
        strange = sorted({route.prefix for route in wish.routes.values()} - self._only)
        self._strange = f"{strange[0]}{_STRANGE}" if self._only and strange else ""
        self._refused = {key: at for key, at in self._refused.items() if key in self._wished}
        self.tick(now)

    def quit(self, now: float) -> None:
        """End ExaBGP with the routes that it has; whoever takes over announces them anew."""
        self._quitting = True
        self.tick(now)

    def retire(self, now: float) -> None:
        """Nobody renews the lease any more, nor takes over: withdraw all, and then end an ExaBGP
        that is ours. A wish that comes all the same counts."""
        self._lease_until = min(self._lease_until, now)
        if self._orphan_at != float("inf"):
            self._orphan_at = min(self._orphan_at, now + RETIRES_AFTER)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Time passed; say what there is to say. Harmless at any time."""
        if now >= self._lease_until and not self._lapsed:
            self._lapsed = self._told_what = True
            self._wished, self._refused = {}, {}
        if self.phase == LISTENING and now >= self._due:
            self._read(now)
        if self.phase in (READING, ASKING) and now >= self._asked_at + ANSWER_WITHIN:
            if not self._late:
                self._fault = f"ExaBGP has not answered {self._command!r} for {ANSWER_WITHIN:g} s"
            self._late = True
        if self.phase == IDLE:
            self._say_next(now)

    def deadline(self) -> float:
        """When `tick` is due at the latest."""
        # In flight, or leaving, an answer is waited for whatever the time: it may never come.
        times = [self._orphan_at if self.phase == IDLE else float("inf")]
        if not self._lapsed:
            times.append(self._lease_until)
        if self.phase == LISTENING:
            times.append(self._due)
        if self.phase in (READING, ASKING) and not self._late:
            times.append(self._asked_at + ANSWER_WITHIN)
        if self.phase == IDLE:
            times += self._refused.values()
        return min(times)

    # -- what comes of it

    def commands(self) -> list[str]:
        """Lines to write to ExaBGP; each is given once."""
        taken, self._commands = self._commands, []
        return taken

    def frames(self, everything: bool = False) -> list[Frame]:
        """What the balancer does not know yet, or all of it; and that its wishes are heard."""
        news = self._sessions if everything else self._news
        found: list[Frame] = [Neighbor(*self._sessions[each]) for each in news]
        self._news = {}
        report = self._report()
        if everything or report != self._last_report:
            found.append(report)
        self._last_report = report
        if self._heard:
            self._heard = False
            found.append(Heard(self._serial))
        return found

    def _report(self) -> Report:
        settled = self.phase == IDLE and self._told_what and not self._differs()
        fault = self._fault or self._strange
        return Report(self._serial, settled, self._lapsed, tuple(self._has), fault, self._late)

    # -- inside

    def _go(self, event: str) -> bool:
        phase = TABLE.get((self.phase, event))
        if phase is None:
            return False
        self.phase = phase
        return True

    def _session(self, what: Session) -> None:
        known = self._sessions.get(what.neighbor)
        if known is None and len(self._sessions) >= MAX_NEIGHBORS:
            return
        if what.state != "down" and known is not None and known.reason and not what.reason:
            # The last error stays to be seen until the session is up.
            what = what if what.state == "up" else what._replace(reason=known.reason)
        self._sessions[what.neighbor] = what
        self._news[what.neighbor] = None
        if what.state == "up":
            self._owed[what.neighbor] = None
        else:
            self._owed.pop(what.neighbor, None)

    def _answered(self, done: bool, now: float) -> None:
        reading = self.phase == READING
        if not self._go("done" if done else "refused"):
            return
        if self._late:
            self._late, self._fault = False, ""
        if not reading:
            settle, self._settle = self._settle, None
            if settle is not None:
                settle(done)
        elif done:
            self._has = {key: self._has.get(key) for key in sorted(self._found)}
            known = self._wished.keys() | self._has.keys()
            self._refused = {key: at for key, at in self._refused.items() if key in known}
        else:
            self._fault, self._due = f"ExaBGP refused {self._command!r}", now + RETRY_AFTER

    def _ask(self, command: str, now: float, settle: Settle | None = None) -> None:
        self._commands.append(command)
        self._command, self._asked_at, self._late = command, now, False
        self._settle = settle

    def _read(self, now: float) -> None:
        self._go("due" if self.phase == LISTENING else "read again")
        self._found = set()
        self._ask(lines.SHOW, now)

    def _differs(self) -> bool:
        return self._has != self._wished

    def _say_next(self, now: float) -> None:
        if self._quitting or now >= self._orphan_at:
            self._go("quit")
            self._ask(lines.SHUTDOWN, now)
            return
        if not self._told_what:
            return
        waiting = {key for key, at in self._refused.items() if at > now}
        gone = [key for key in self._has if key not in self._wished and key not in waiting]
        if gone:
            self._withdraw(gone, now)
            return
        for key, route in self._wished.items():
            if key not in waiting and self._has.get(key) != route:
                self._announce(key, route, now)
                return
        if self._owed and not waiting:
            neighbor = next(iter(self._owed))
            del self._owed[neighbor]
            self._go("asked")
            # Refused if its session is not up: then it is owed again when that comes up.
            self._ask(lines.end_of_rib(neighbor), now)

    def _withdraw(self, gone: list[Key], now: float) -> None:
        prefix = gone[0][1]
        keys = [key for key in gone if key[1] == prefix]

        def settle(done: bool) -> None:
            if done:
                for key in keys:
                    self._has.pop(key, None)
                    self._refused.pop(key, None)
            else:
                # No such neighbor any more, and so no route; or it is there, and asked for again.
                self._refused.update((key, now + RETRY_AFTER) for key in keys)
                self._has = dict.fromkeys(self._has)
                self._read(now)

        self._go("asked")
        self._ask(lines.withdraw([key[0] for key in keys], prefix), now, settle)

    def _announce(self, first: Key, route: Route, now: float) -> None:
        keys = [
            key
            for key, other in self._wished.items()
            if other == route and self._has.get(key) != route
        ]

        def settle(done: bool) -> None:
            for key in keys:
                self._refused.pop(key, None)
                if done:
                    self._has[key] = route
                else:
                    self._refused[key] = now + RETRY_AFTER
            if done:
                self._fault = ""
            else:
                self._fault = f"ExaBGP refused {self._command!r}"

        self._go("asked")
        self._ask(lines.announce([key[0] for key in keys], route), now, settle)
