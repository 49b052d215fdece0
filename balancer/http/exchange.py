"""
One proxied request as a state machine: which phase may follow which, and what becomes of a request
when something happens to it. Both are tables here, and no such decision may live anywhere else.

Pure: knows phases and happenings, no connection, server or clock. A client's connection has one
exchange at a time; on the way that all goes well the glue writes the phases itself (`FOLLOWS` says
which it may write, and the tests hold it to that), because a request has no time for a look-up.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

IDLE: Final = 0
"""Between requests."""

HEAD: Final = 1
"""A part of a head has come."""

QUEUED: Final = 2
"""Waits in the pool's queue for a server with room."""

CONNECTING: Final = 3
"""Begun on a server, whose connection is on its way."""

ASKED: Final = 4
"""The head has been sent, perhaps not yet all of the body. No final answer has begun."""

ANSWERING: Final = 5
"""The answer's head has been passed on; its body streams."""

TUNNEL: Final = 6
"""The protocol was switched: both connections carry bytes that are no longer HTTP."""

FULL: Final = 7
"""Between requests. The client does not read its answers, and gets no more before it does."""

CLOSING: Final = 8
"""Nothing more is read as a request; what is queued goes out, and the connection ends."""

NAMES: Final = (
    "idle", "head", "queued", "connecting", "asked", "answering", "tunnel", "full",
    "closing",
)
"""The phases in words, for status and messages."""

FOLLOWS: Final[dict[int, frozenset[int]]] = {
    # A request that comes in one piece goes from IDLE to where its server stands; one that we
    # answer ourselves (a redirect, 429, 503) is over at once.
    IDLE: frozenset((HEAD, QUEUED, CONNECTING, ASKED, IDLE, FULL, CLOSING)),
    HEAD: frozenset((QUEUED, CONNECTING, ASKED, IDLE, FULL, CLOSING)),
    QUEUED: frozenset((CONNECTING, ASKED, IDLE, FULL, CLOSING)),
    # A retry goes back to CONNECTING, or on to ASKED if the next server has a connection to spare.
    # It waits if all that are left are full.
    CONNECTING: frozenset((QUEUED, CONNECTING, ASKED, IDLE, FULL, CLOSING)),
    ASKED: frozenset((QUEUED, CONNECTING, ASKED, ANSWERING, TUNNEL, IDLE, FULL, CLOSING)),
    ANSWERING: frozenset((IDLE, FULL, CLOSING)),
    TUNNEL: frozenset((CLOSING,)),
    FULL: frozenset((IDLE, FULL, CLOSING)),
    CLOSING: frozenset((CLOSING,)),
}
"""Which phases may follow a phase."""

# What may happen.
TIMED_OUT: Final = "timed out"
"""Whom we wait for in this phase took too long: the client, the queue or the server."""

STALLED: Final = "client stalled"
"""The client stopped sending its body, or reading the answer."""

CLIENT_LEFT: Final = "client left"
REFUSED: Final = "refused"
"""The client broke the rules: a bad head, a bad chunk, a body that is too large."""

NO_SERVER: Final = "no server"
QUEUE_FULL: Final = "queue full"
NOT_CONNECTED: Final = "not connected"
CONNECT_TIMED_OUT: Final = "connect timed out"
SHORT: Final = "short of resources"
"""We ourselves are out of descriptors, ports or memory."""

SERVER_LEFT: Final = "server left"
BAD_ANSWER: Final = "bad answer"
STOPPED: Final = "stopped"
"""The balancer stops and waits no longer."""

# What is done about it.
CLOSE: Final = "close"
"""Close the client's connection and say nothing."""

ANSWER: Final = "answer"
"""Answer `status` ourselves."""

RETRY: Final = "retry"
"""Ask the next server, or answer `status` if `may_retry` says no."""

CUT: Final = "cut"
"""An answer has begun, so all that can be said is that it ends too early."""

DROP: Final = "drop"
"""The client is gone: free what it held."""


@frozen
class Outcome:
    """
    What is done, and HAProxy's two letters for the log: who ended it (C client, S server, P proxy,
    R resources, small c and s for their timeouts, K killed by the operator), and in which phase
    (R request, Q queue, C connect, H answer's head, D data, L last bytes, - none).

    `status` 0: the refusal knows it. `fault`: the server is to blame.
    """

    step: str
    status: int = 0
    letters: bytes = b"--"
    fault: bool = False


TABLE: Final[dict[tuple[int, str], Outcome]] = {
    (IDLE, TIMED_OUT): Outcome(CLOSE),
    (IDLE, CLIENT_LEFT): Outcome(DROP),
    (IDLE, REFUSED): Outcome(ANSWER, 0, b"PR"),
    (IDLE, NO_SERVER): Outcome(ANSWER, 503, b"SC"),
    (IDLE, QUEUE_FULL): Outcome(ANSWER, 503, b"PQ"),
    (IDLE, STOPPED): Outcome(CLOSE),
    (HEAD, TIMED_OUT): Outcome(ANSWER, 408, b"cR"),
    (HEAD, CLIENT_LEFT): Outcome(DROP, 400, b"CR"),
    (HEAD, REFUSED): Outcome(ANSWER, 0, b"PR"),
    (HEAD, NO_SERVER): Outcome(ANSWER, 503, b"SC"),
    (HEAD, QUEUE_FULL): Outcome(ANSWER, 503, b"PQ"),
    (HEAD, STOPPED): Outcome(CLOSE),
    (QUEUED, TIMED_OUT): Outcome(ANSWER, 503, b"sQ"),
    (QUEUED, CLIENT_LEFT): Outcome(DROP, 499, b"CQ"),
    (QUEUED, STOPPED): Outcome(ANSWER, 503, b"KQ"),
    (CONNECTING, NOT_CONNECTED): Outcome(RETRY, 502, b"SC", fault=True),
    (CONNECTING, CONNECT_TIMED_OUT): Outcome(RETRY, 502, b"sC", fault=True),
    (CONNECTING, SHORT): Outcome(ANSWER, 503, b"RC"),
    (CONNECTING, CLIENT_LEFT): Outcome(DROP, 499, b"CC"),
    (CONNECTING, STOPPED): Outcome(ANSWER, 503, b"KC"),
    (ASKED, SERVER_LEFT): Outcome(RETRY, 502, b"SH", fault=True),
    (ASKED, BAD_ANSWER): Outcome(ANSWER, 502, b"PH", fault=True),
    (ASKED, TIMED_OUT): Outcome(ANSWER, 504, b"sH", fault=True),
    (ASKED, STALLED): Outcome(ANSWER, 408, b"cD"),
    (ASKED, REFUSED): Outcome(ANSWER, 0, b"PD"),
    (ASKED, CLIENT_LEFT): Outcome(DROP, 499, b"CH"),
    (ASKED, STOPPED): Outcome(ANSWER, 503, b"KH"),
    (ANSWERING, SERVER_LEFT): Outcome(CUT, 0, b"SD", fault=True),
    (ANSWERING, BAD_ANSWER): Outcome(CUT, 0, b"PD", fault=True),
    (ANSWERING, TIMED_OUT): Outcome(CUT, 0, b"sD", fault=True),
    (ANSWERING, STALLED): Outcome(CUT, 0, b"cD"),
    (ANSWERING, REFUSED): Outcome(CUT, 0, b"PD"),
    (ANSWERING, CLIENT_LEFT): Outcome(DROP, 0, b"CD"),
    (ANSWERING, STOPPED): Outcome(CUT, 0, b"KD"),
    (TUNNEL, TIMED_OUT): Outcome(CUT, 0, b"cD"),
    (TUNNEL, CLIENT_LEFT): Outcome(DROP, 0, b"CD"),
    (TUNNEL, SERVER_LEFT): Outcome(CUT, 0, b"SD"),
    (TUNNEL, STOPPED): Outcome(CUT, 0, b"KD"),
    (FULL, TIMED_OUT): Outcome(CUT),
    (FULL, CLIENT_LEFT): Outcome(DROP),
    (FULL, STOPPED): Outcome(CUT),
    (CLOSING, TIMED_OUT): Outcome(CUT),
    (CLOSING, CLIENT_LEFT): Outcome(DROP),
    (CLOSING, STOPPED): Outcome(CUT),
}
"""All that may happen. 499 is nginx's code for a client that left; it is only logged."""

IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))
"""Methods that may be sent twice (RFC 9110 section 9.2.2)."""


def may_retry(happening: str, method: bytes, held: bool, tries: int, retries: int) -> bool:
    """
    Whether a request that had `tries` attempts may go to another server.

    `held`: all that was sent of it can be sent again. A server that was never reached has processed
    nothing, so any method may go on; one that closed without a byte of answer may have processed
    the request, so its method must be idempotent (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1).
    """
    if not held or tries > retries:
        return False
    return happening in (NOT_CONNECTED, CONNECT_TIMED_OUT) or (
        happening == SERVER_LEFT and method in IDEMPOTENT
    )
