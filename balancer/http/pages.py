"""
Error pages in files of the operator's.
"""

from __future__ import annotations

from balancer.config.schema import Finding
from balancer.http.answers import MAX_PAGE, Answer, page
from balancer.http.settings import HttpSettings
from balancer.wire.regular import open_regular


def read_pages(settings: HttpSettings) -> tuple[dict[int, Answer], list[Finding]]:
    """The pages by the codes of the errors that they are for, and what is wrong with the others."""
    pages, findings = {}, []
    for code, name in settings.error_page.items():
        try:
            pages[int(code)] = page(int(code), _read(name), name)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            text = f"{name}: cannot be read: {reason}; check the path and who may read it"
            findings.append((f"error-page {code}", 0, text))
        except ValueError as error:
            findings.append((f"error-page {code}", 0, f"{name}: {error}"))
    return pages, findings


def _read(name: str) -> bytes:
    """Raises OSError, and ValueError for more than a page may have."""
    with open_regular(name) as file:
        body = file.read(MAX_PAGE + 1)
    if len(body) > MAX_PAGE:
        msg = f"expected at most {MAX_PAGE} bytes, got more"
        raise ValueError(msg)
    return body
