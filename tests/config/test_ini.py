"""The INI reader, and configparser as its oracle."""

from __future__ import annotations

from configparser import ConfigParser
from configparser import Error as OracleError

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.config import ini
from balancer.config.ini import RawFile

Values = dict[str, dict[str, list[str]]]


def values(file: RawFile) -> Values:
    """Title -> option -> non-blank lines, as ours read them."""
    return {s.title: {o.name: [t for _, t in o.lines] for o in s.options} for s in file.sections}


def oracle(text: str) -> Values:
    """The same as configparser reads it; raises its `Error` for what it refuses."""
    parser = ConfigParser(
        delimiters=("=",), comment_prefixes=("#",), interpolation=None, default_section="\0"
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as its manual says
    parser.read_string(text)
    return {
        " ".join(title.split()): {
            " ".join(option.split()): [line for line in value.split("\n") if line.strip()]
            for option, value in parser[title].items()
        }
        for title in parser.sections()
    }


def told(text: str) -> list[tuple[int, str]]:
    return [(problem.line, problem.text) for problem in ini.read(text).problems]


word = st.text("abcz019-_.", min_size=1, max_size=6)
value = st.text("ab1 =#[]:;%$\"'\t/,", max_size=12)
blank = st.sampled_from(["", " ", "\t", "# note", "  # note = 1", "#[x]", "\t#"])
deeper = st.builds(
    lambda lead, text: f"{lead}{text}", st.sampled_from([" ", "\t", "    "]), value
)


@st.composite
def well_formed(draw: st.DrawFn) -> str:
    """A file without repeats: sections, options, comments, blank and continuation lines."""
    lines: list[str] = draw(st.lists(blank, max_size=2))
    for kind, name in draw(st.lists(st.tuples(word, word), max_size=4, unique=True)):
        lines.append(f"[{kind} {name}]")
        for option in draw(st.lists(word, max_size=4, unique=True)):
            equals = draw(st.sampled_from(["=", " = ", "\t=", "= "]))
            lines.append(f"{option}{equals}{draw(value)}")
            lines.extend(draw(st.lists(st.one_of(deeper, blank), max_size=3)))
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines) + draw(st.sampled_from(["", "\n"]))


pieces = st.sampled_from(
    ["[a b]", "[a]", " [c d]", "x = 1", "  y = 2", "\tz", "  ", "", "# n", "  # n", "=", "u=v="]
)


class OracleTests(SynchronousTestCase):
    """configparser and `read` agree."""

    @settings(deadline=None, database=None, max_examples=15)
    @given(well_formed())
    def test_same_values(self, text: str) -> None:
        """A well-formed file gives the same sections, options and values, and no problem."""
        file = ini.read(text)
        self.assertEqual(file.problems, ())
        self.assertEqual(values(file), oracle(text.replace("\r\n", "\n")))

    @settings(deadline=None, database=None, max_examples=20)
    @given(st.lists(pieces, max_size=8).map("\n".join))
    def test_same_refusals(self, text: str) -> None:
        """Of any lines, what configparser refuses is a problem, and what it takes is the same."""
        file = ini.read(text)
        try:
            expected = oracle(text)
        except OracleError:
            self.assertTrue(file.problems, text)
        else:
            self.assertEqual(file.problems, ())
            self.assertEqual(values(file), expected)

    @settings(deadline=None, database=None, max_examples=15)
    @given(well_formed())
    def test_line_numbers(self, text: str) -> None:
        """Each line of a value ends what stands in the file at the number that it bears."""
        lines = text.replace("\r\n", "\n").split("\n")
        for section in ini.read(text).sections:
            self.assertEqual(lines[section.line - 1], f"[{section.title}]")
            for option in section.options:
                self.assertTrue(lines[option.line - 1].startswith(option.name))
                for number, part in option.lines:
                    self.assertTrue(lines[number - 1].strip().endswith(part))


class ReadTests(SynchronousTestCase):
    """What `read` makes of single things."""

    def test_continuation(self) -> None:
        """Comments and blank lines within a value are left out and counted."""
        text = "[a b]\nx = 1\n  2\n# no\n\n   # no\n\t3\ny =\n  4\n"
        (section,) = ini.read(text).sections
        self.assertEqual(section.options[0].lines, ((2, "1"), (3, "2"), (7, "3")))
        self.assertEqual((section.options[1].line, section.options[1].lines), (8, ((9, "4"),)))

    def test_brackets_in_continuation(self) -> None:
        """An indented IPv6 address is a line of the value, not a section."""
        (section,) = ini.read("[a]\nlisten =\n  [::1]:80\n  [::]\n").sections
        self.assertEqual(section.options[0].lines, ((3, "[::1]:80"), (4, "[::]")))

    def test_byte_order_mark(self) -> None:
        """A mark at the start is dropped; elsewhere it is an invisible character and refused."""
        self.assertEqual(told("\ufeff[a]\n"), [])
        self.assertEqual(
            told("[a]\n\ufeffx = 1\n"),
            [(2, "expected plain text, got the character U+FEFF in column 1")],
        )

    def test_line_ends(self) -> None:
        """CRLF ends a line; a lone CR does not, even in a comment that would hide the rest."""
        self.assertEqual(values(ini.read("[a]\r\nx = 1\r\n")), {"a": {"x": ["1"]}})
        self.assertEqual(
            told("# old\r[a]\rx = 1"),
            [(1, "expected plain text, got the character U+000D in column 6")],
        )

    def test_not_utf8(self) -> None:
        """A byte that is not UTF-8 is named with its line and column."""
        text = ini.decode(b"[a]\nx = caf\xe9\ny = caf\xc3\xa9\n")
        self.assertEqual(told(text), [(2, "expected UTF-8 text, got the byte 0xe9 in column 8")])

    def test_control_characters(self) -> None:
        """NUL and its like are refused wherever they stand, and one fault is one problem."""
        for text in ("[a\0]\nx = 1\n", "[a]\nx\0 = 1\n  2\n", "[a]\nx = 1\n  \0\n", "# \0\n"):
            self.assertEqual(len(told(text)), 1, text)

    def test_repeated_section(self) -> None:
        """Both lines are named, blanks within the brackets make no other section."""
        file = ini.read("[a b]\n[c]\n[a  b]\nx = 1\n")
        self.assertEqual(
            [(p.line, p.section, p.text) for p in file.problems],
            [(3, "a b", "section repeated; it already stands in line 1")],
        )
        self.assertEqual([section.repeats for section in file.sections], [0, 0, 1])

    def test_repeated_option(self) -> None:
        """Both lines are named, the first value counts, and the second swallows its lines."""
        file = ini.read("[a]\nx = 1\ny = 2\nx = 3\n  4\n")
        self.assertEqual(
            [(p.line, p.option, p.text) for p in file.problems],
            [(4, "x", "option repeated; it already stands in line 2")],
        )
        self.assertEqual(values(file), {"a": {"x": ["1"], "y": ["2"]}})

    def test_before_any_section(self) -> None:
        """Text before the first section is a problem, with all lines that belong to it."""
        expected = "expected a section such as [http web] before any option, got 'x = 1'"
        self.assertEqual(told("x = 1\n  2\n[a]\n"), [(1, expected)])

    def test_no_equals_sign(self) -> None:
        """A line without '=' is a problem; its continuation lines are not told again."""
        expected = [(2, "expected 'name = value', got 'listen 1.2.3.4:80'")]
        self.assertEqual(told("[a]\nlisten 1.2.3.4:80\n  1.2.3.4:81\n"), expected)

    def test_no_name(self) -> None:
        """A value needs a name."""
        self.assertEqual(told("[a]\n = 1\n"), [(2, "expected a name before '=', got '= 1'")])

    def test_damaged_headers(self) -> None:
        """A header that is none is one problem: its options are not told of, nor given away."""
        for header in ("[", "[]", "[ ]", "[a", "[a]]", "[[a]", "[a] # note", "[a] = 1", "[a] b"):
            text = f"[z]\n{header}\nx = 1\nx = 2\n"
            with_its_own = [line for line, problem in told(text) if "alone on its line" in problem]
            self.assertEqual(with_its_own, [2], header)
            self.assertEqual(values(ini.read(text)), {"z": {}})

    def test_bounds(self) -> None:
        """Files, lines and the list of problems are bounded, each with a problem that says so."""
        self.assertIn("at most 16384 characters", told("[a]\nx = " + "y" * 20_000)[0][1])
        self.assertIn("at most 8388608 characters", told("#" * (ini.MAX_TEXT + 1))[0][1])
        many = told("[a]\n" + "x\n" * 3000)
        self.assertEqual(len(many), ini.MAX_PROBLEMS + 1)
        self.assertIn("too many problems", many[-1][1])

    def test_quoted(self) -> None:
        """What is quoted is cut at 80 characters and shows controls as escapes."""
        self.assertEqual(ini.quoted("a'b"), "'a'b'")
        self.assertEqual(ini.quoted("a\nb\x1b"), "'a\\nb\\x1b'")
        self.assertEqual(ini.quoted("x" * 81), "'" + "x" * 77 + "...'")
