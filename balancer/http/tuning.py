"""
What the options of a section become in its `Front`: readers and lines of heads, times, rates.

Nothing here holds a connection or a listener: a `Front` is written into, and the next request goes
by it.
"""

from __future__ import annotations

from functools import partial

from balancer.http.front import UNLIMITED, Front
from balancer.http.head import RequestReader, ResponseReader
from balancer.http.settings import HttpSettings
from balancer.limit.rates import Rates


def tune(front: Front, settings: HttpSettings) -> None:
    """Put those settings in force that need nothing opened."""
    _take_heads(front, settings)
    _take_limits(front, settings)
    front.set_timeouts(settings.head_timeout, settings.idle_timeout, settings.response_timeout)


def _take_heads(front: Front, settings: HttpSettings) -> None:
    cut = {name.lower().encode() for name in settings.remove_request_header}
    cut |= {field.name.lower().encode() for field in settings.set_request_header}
    if settings.request_id is not None:
        cut.add(settings.request_id.lower().encode())
    front.new_reader = partial(
        RequestReader, settings.max_head, settings.max_fields, cut, settings.forwarded
    )
    front.reader = front.new_reader()
    cut = {name.lower().encode() for name in settings.remove_response_header}
    cut |= {field.name.lower().encode() for field in settings.set_response_header}
    front.new_answer_reader = partial(ResponseReader, remove=cut)
    front.answer_reader = front.new_answer_reader()
    front.forwarded = settings.forwarded
    front.request_id = None
    if settings.request_id is not None:
        front.request_id = settings.request_id.encode()
    front.request_lines = b"".join(field.line for field in settings.set_request_header)
    front.set_answer_lines(b"".join(field.line for field in settings.set_response_header))


def _take_limits(front: Front, settings: HttpSettings) -> None:
    rate, rates = settings.rate, front.rates
    front.max_body = UNLIMITED if settings.max_body is None else settings.max_body
    if rate is None:
        front.rates = None
    elif rates is None or (rates.rate, rates.burst) != (rate.rate, rate.burst):
        front.rates = Rates(rate.rate, rate.burst)
    front.proxies = settings.trusted_proxies
    front.limited = front.rates is not None or bool(front.proxies)
