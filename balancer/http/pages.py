"""
Error pages in files of the operator's.
"""

from __future__ import annotations

from balancer.http.answers import MAX_PAGE, Answer, page
from balancer.interfaces import PrepareError
from balancer.wire.regular import open_regular


def read_page(code: int, name: str) -> Answer:
    """The page of the file `name` for errors `code`. Raises PrepareError."""
    try:
        with open_regular(name) as file:
            body = file.read(MAX_PAGE + 1)
    except OSError as error:
        msg = f"error-page {code}: cannot read {name}: {error.strerror or error}"
        raise PrepareError(msg) from error
    if len(body) > MAX_PAGE:
        msg = f"error-page {code}: expected at most {MAX_PAGE} bytes, got more in {name}"
        raise PrepareError(msg)
    return page(code, body, name)
