"""
The reference manual as a manual page, in the macros of man(7) as groff_man(7) has them. Pure: it
renders what `reference.walk` gives, and knows no option's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from balancer.config.declare import Section
from balancer.config.reference import PREFACE, Block, Chapter, Items, Paragraph, Title, walk

_HEAD = """\
.\\" Made from the options' declarations by `make docs`; change those, not this page.
.TH SITE.INI 5 "" balancer "File formats"
.SH NAME
site.ini \\- what the balancer does
.SH DESCRIPTION
"""

_TAIL = """\
.SH SEE ALSO
.BR balancer (7),
.BR lbctl (1)
"""

_CODE = re.compile(r"`([^`]*)`")

_ESCAPES = {
    "\\": "\\e",
    # Written as they are, these come out as typographic signs, which cannot be pasted.
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
    '"': "\\(dq",
}


def page(sections: Sequence[Section], extra: Iterable[Chapter] = ()) -> str:
    """The whole page, site.ini(5)."""
    parts = [_HEAD, *_described()]
    for block in walk(sections, extra):
        parts.extend(_set(block))
    return "".join([*parts, _TAIL])


def _described() -> Iterator[str]:
    for number, text in enumerate(PREFACE):
        yield from ([".PP\n"] if number else [])
        yield _line(text)


def _set(block: Block) -> Iterator[str]:
    match block:
        case Title(2, text):
            yield f'.SH "{plain(text.replace("`", ""))}"\n'
        case Title(_, text):
            yield f".TP\n{inline(text)}\n"
        case Paragraph(text):
            yield _line(text)
        case Items(lines, sentences=True):
            yield ".IP\n" + _line(" ".join(f"{line}." for line in lines))
        case Items(lines):
            for line in lines:
                yield ".IP \\(bu 2\n" + _line(line)


def _line(text: str) -> str:
    """A paragraph on one line: roff fills it."""
    joined = inline(" ".join(text.split()))
    # A line that begins with one of these is a request.
    return ("\\&" if joined.startswith((".", "'")) else "") + joined + "\n"


def inline(text: str) -> str:
    """Markdown's code becomes bold."""
    parts = _CODE.split(text)
    return "".join(
        f"\\fB{code(part)}\\fR" if number % 2 else plain(part) for number, part in enumerate(parts)
    )


def code(text: str) -> str:
    """What is typed: its hyphens are minus signs, which are typed too."""
    return plain(text).replace("-", "\\-")


def plain(text: str) -> str:
    """Prose."""
    return "".join(_ESCAPES.get(each) or _ascii(each) for each in text)


def _ascii(each: str) -> str:
    return each if each.isascii() else f"\\[u{ord(each):04X}]"
