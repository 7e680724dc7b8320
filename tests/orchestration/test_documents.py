"""The text of a description, and where in it things are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysys_orch.errors import ConfigError
from pysys_orch.orchestration.documents import (
    ENDINGS,
    Document,
    Made,
    TextDocument,
    TextError,
    name_of,
)

Write = Callable[..., TextDocument]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes a text, as it is, and gives its document."""

    def write(text: str | bytes, name: str = "t.orch.json") -> TextDocument:
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return TextDocument(file)

    return write


def refused(text: str | bytes, write: Write, name: str = "t.orch.json") -> str:
    """Return what is said of a text, without its file, and check that it is there."""
    with pytest.raises(TextError) as failure:
        write(text, name).parse()
    words = str(failure.value)
    assert words.startswith(f"{name}:{failure.value.place}: ")
    assert failure.value.file.name == name
    return words.removeprefix(f"{name}:")


# JSON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ('\ufeff{"a": 1}', {"a": 1}),
        ('{"a": 1} // the end', {"a": 1}),
        ('// first\n{"a": 1}', {"a": 1}),
        ('{/* one\n * two */"a": 1}', {"a": 1}),
        ('{"a": [1, 2,], "b": {"c": 3,},}', {"a": [1, 2], "b": {"c": 3}}),
        ('{"a": 1, // why\n}', {"a": 1}),
        ('{"a": 1 /* why */ , /* and */ }', {"a": 1}),
        ('{\r\n\t"a":\t1, // why\r\n\t"b": 2\r\n}\r\n', {"a": 1, "b": 2}),
        ('{"a": "/* no */ // none"} //', {"a": "/* no */ // none"}),
        ('{"a": "http://b/c",}', {"a": "http://b/c"}),
        ('{"a": "\\"// no", /**/ "b,": ",]"}', {"a": '"// no', "b,": ",]"}),
        ('{"a": "\\\\"} // "', {"a": "\\"}),
        ('["a,", ",}", /* "x */ "b"]', ["a,", ",}", "b"]),
        ("1", 1),
    ],
)
def test_json_may_be_commented(text: str, expected: object, write: Write) -> None:
    """Editors call it JSON with comments; what is in a text stays there."""
    assert write(text).parse() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: is empty"),
        (" \n\t", "1:1: is empty"),
        ("\ufeff", "1:1: is empty"),
        ("// nothing\n/* at\nall */\n", "1:1: is empty"),
        (
            '{"a": 1,\n "b": [1, 2',
            "2:12: ends too early: expecting ',' delimiter",
        ),
        ('{"a": 1,\n "b"', "2:5: ends too early: expecting ':' delimiter"),
        ('{"a": 1,\n  "b', "2:3: is no JSON: unterminated string"),
        ('{"a": 1 // "\n  "b": 2}', "2:3: is no JSON: expecting ',' delimiter"),
        ('{"a": 1 /* so', "1:9: is no JSON: expecting ',' delimiter"),
        ('{\t"a": tru}', "1:8: is no JSON: expecting value"),
        ("{'a': 1}", "1:2: is no JSON: expecting property name enclosed in double q"),
        ("[1] 2", "1:5: is no JSON: extra data"),
        ('{"a": "b\tc"}', "1:9: is no JSON: invalid control character"),
        ("\ufeff[,]", "1:2: is no JSON: expecting value"),
        ('{"a":,}', "1:6: is no JSON: expecting value"),
        ("[" * 100_000, "1:1: is nested too deeply"),
        ("[1,\n " + "9" * 10_000 + "]", "2:2: has a number that is too long"),
        ("\r\n\r\n  nonsense\r\n", "3:3: is no JSON: expecting value"),
    ],
)
def test_what_is_no_json_is_refused_where_it_begins_to_be_none(
    text: str, expected: str, write: Write
) -> None:
    """With the line and column of the file, comments or not."""
    assert refused(text, write).startswith(expected.removesuffix(" double q"))


def test_a_comma_has_to_be_after_something(write: Write) -> None:
    """Who leaves a value out is told so."""
    for text in ("[,]", "{,}", "[1,,]", "[1,,2]", '{"a": 1,,}', "[[],,]"):
        assert "is no JSON: " in refused(text, write)


# YAML


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {on: success, off: no}", {"a": {"on": "success", "off": "no"}}),
        ("a: 12:30", {"a": "12:30"}),
        ("a: 2024-02-29", {"a": "2024-02-29"}),
        ("a: [yes, NO, y]", {"a": ["yes", "NO", "y"]}),
        ("a: [true, False, null, ~, ]", {"a": [True, False, None, None]}),
        ("a: [1, -2, 010, +3]", {"a": [1, -2, 10, 3]}),
        ("a: [1.5, .5, 1e3, 2., -1.5E-1]", {"a": [1.5, 0.5, 1000.0, 2.0, -0.15]}),
        ("a: [1_000, 0x10, 0o7, 1.2.3]", {"a": ["1_000", "0x10", "0o7", "1.2.3"]}),
        ("a: '1'\nb: 90s", {"a": "1", "b": "90s"}),
        ("# why\na: 1 # so\n", {"a": 1}),
        ("\ufeffa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("a: =", {"a": "="}),
        (
            "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}",
            {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}},
        ),
        ('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
    ],
)
def test_yaml_says_what_it_looks_like(
    text: str, expected: object, write: Write
) -> None:
    """No word of everyday life is a truth value, no time of day a number."""
    assert write(text, "t.orch.yaml").parse() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: is empty"),
        ("# nothing\n# at all", "1:1: is empty"),
        (
            "a: [1,\nb: {",
            "2:5: is no YAML: expected the node content, but found '<stream end>'",
        ),
        ("a: 1\n\tb: 2", "2:1: is no YAML: "),
        ("a: 1\n---\nb: 2", "2:1: is no YAML: but found another document"),
        ("a: *x", "1:4: is no YAML: found undefined alias 'x'"),
        ("a: &x [1, *x]", "1:4: is no YAML: something is a part of itself"),
        ("a:\n  !!int x", "2:3: is no YAML: this is no int"),
        ("a: !!bool x", "1:4: is no YAML: this is no bool"),
        ("a: !!float x", "1:4: is no YAML: this is no float"),
        ("a: !!timestamp x", "1:4: is no YAML: could not determine a constructor"),
        ("a: !!python/name:os.system x", "1:4: is no YAML: could not determine"),
        ("? [a]\n: b", "1:3: is no YAML: found unhashable key"),
        ("? {a: 1}\n: b", "1:3: is no YAML: found unhashable key"),
        ("<<: 5", "1:5: is no YAML: expected a mapping or list of mappings"),
        ("a: " + "9" * 10_000, "1:4: is no YAML: this is no int"),
        ("[" * 100_000, "1:1: is nested too deeply"),
        ("ab\nc: \x07", "2:4: is no YAML: it has the character '\\x07'"),
    ],
)
def test_what_is_no_yaml_is_refused_where_it_begins_to_be_none(
    text: str, expected: str, write: Write
) -> None:
    """Nor is what only Python would understand."""
    assert refused(text, write, "t.orch.yaml").startswith(expected)


# Files


@pytest.mark.parametrize("name", ["t.orch.json", "t.orch.yaml"])
def test_what_is_not_utf8_is_refused(name: str, write: Write, tmp_path: Path) -> None:
    """The message names the file, and the byte."""
    with pytest.raises(ConfigError) as failure:
        write(b'{"a": "\xe4"}', name)
    assert str(failure.value) == (
        f"{tmp_path / name} is not UTF-8: invalid continuation byte at byte 7"
    )


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A folder, for example, or nothing at all."""
    for file in (tmp_path, tmp_path / "none.orch.json"):
        with pytest.raises(ConfigError, match="cannot be read: "):
            TextDocument(file)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.orch.json", "a"),
        ("a.b.orch.yaml", "a.b"),
        ("a.orch.yml", "a"),
        (".orch.json", None),
        ("a.json", None),
        ("orch.json", None),
        ("a.orch.json.bak", None),
    ],
)
def test_a_description_is_known_by_its_name(name: str, expected: str | None) -> None:
    """Other files are of no interest, whatever is in them."""
    assert name_of(Path("folder", name)) == expected


def test_what_was_made_has_no_places() -> None:
    """There is no file either."""
    document: Document = Made()
    assert (document.place(("events", 0)), document.file) == (None, None)
    assert document.name == "the description"


# Places


WHERE = """{ // why
\t"a": 1,
  "b" : [ 10, {"c": "x // y",
    "d": {"e": []}}, /* z */ [ [ 11 ] ] ], "f":
      true,
  "\\u0067": "\u2028\x7f\x85\\/", "h": 1}
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), "1:1"),
        (("a",), "2:2"),
        (("b",), "3:3"),
        (("b", 0), "3:11"),
        (("b", 1), "3:15"),
        (("b", 1, "c"), "3:16"),
        (("b", 1, "d"), "4:5"),
        (("b", 1, "d", "e"), "4:11"),
        (("b", 2), "4:30"),
        (("b", 2, 0, 0), "4:34"),
        (("f",), "4:44"),
        (("g",), "6:3"),
        (("h",), "6:22"),
        # What is not there is where it should be.
        (("b", 1, "z"), "3:15"),
        (("b", 9), "3:3"),
        (("b", 0, "c", 0), "3:11"),
        (("z",), "1:1"),
    ],
)
def test_everything_has_its_place(
    path: tuple[str | int, ...], place: str, write: Write
) -> None:
    """Line and column as an editor shows them, from 1."""
    document = write(WHERE)
    document.parse()
    assert str(document.place(path)) == place


def test_places_in_yaml(write: Write) -> None:
    """Of what is merged, it is where that is from."""
    text = (
        "base: &b\n  x: 1\n  y: 2\nlist:\n- <<: *b\n  y: 3\n- *b\n"
        "- <<: [*b, {z: 5}]\n- {k: 1}\n"
    )
    document = write(text, "t.orch.yaml")
    document.parse()
    paths: dict[tuple[str | int, ...], str] = {
        ("base",): "1:1",
        ("base", "x"): "2:3",
        ("list", 0): "5:3",
        ("list", 0, "x"): "2:3",
        ("list", 0, "y"): "6:3",
        ("list", 1, "y"): "3:3",
        ("list", 2, "z"): "8:13",
        ("list", 3, "k"): "9:4",
    }
    assert {path: str(document.place(path)) for path in paths} == paths


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("t.orch.json", '{"a": 1,\n "a": 2}', [((), "a", "2:2")]),
        (
            "t.orch.json",
            '{"a": [{"b": 1, "c": 2,\n  "d": 3}], // why\n "a": {"d": 1, "d": 2}}',
            [((), "a", "3:2"), (("a",), "d", "3:16")],
        ),
        ("t.orch.json", '{"a": {"a": 1}, "b": {"a": 1}}', []),
        ("t.orch.json", '{"a": 1, "\\u0061": 1}', [((), "a", "1:10")]),
        ("t.orch.yaml", "a: 1\nb: {c: 1, c: 1}\na: 2", None),
        ("t.orch.yaml", "a: &x {b: 1}\nc: {<<: *x, b: 2}\nd: *x", []),
    ],
)
def test_what_is_said_twice_is_found(
    name: str,
    text: str,
    expected: list[tuple[tuple[str | int, ...], str, str]] | None,
    write: Write,
) -> None:
    """Only one of them would count, and nobody would notice."""
    document = write(text, name)
    document.parse()
    if expected is None:
        expected = [((), "a", "3:1"), (("b",), "c", "2:11")]
    assert [(*each, str(place)) for *each, place in document.twice()] == expected


# Whatever it is


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def walk(said: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of all that is in something."""
    found = [path]
    if isinstance(said, dict):
        for key, value in said.items():
            found += walk(value, (*path, key))
    if isinstance(said, list):
        for at, value in enumerate(said):
            found += walk(value, (*path, at))
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_places_are_those_of_the_text(
    tmp_path: Path, said: object, indent: int | str | None, ascii_only: bool
) -> None:
    """Whatever is in it: at each of them, the key or the value begins."""
    text = json.dumps(said, indent=indent, ensure_ascii=ascii_only)
    (tmp_path / "t.orch.json").write_text(text, encoding="utf-8", newline="")
    document = TextDocument(tmp_path / "t.orch.json")
    assert document.parse() == said
    assert list(document.twice()) == []
    lines = text.split("\n")
    for path in walk(said):
        place = document.place(path)
        assert place is not None
        rest = "\n".join(
            [lines[place.line - 1][place.column - 1 :], *lines[place.line :]]
        )
        value = said
        for step in path:
            value = value[step]  # type: ignore[index] # where it leads to
        shown = path[-1] if path and isinstance(path[-1], str) else value
        if isinstance(shown, dict | list):
            assert rest[0] == ("{" if isinstance(shown, dict) else "[")
        else:
            assert rest.startswith(json.dumps(shown, ensure_ascii=ascii_only))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary()
    | st.text().map(str.encode)
    | st.text('{}[]:,"\\/*1a\n &?!-#').map(str.encode),
    st.sampled_from(ENDINGS),
)
def test_no_text_ends_in_a_traceback(tmp_path: Path, text: bytes, ending: str) -> None:
    """It says something, or what is wrong with it."""
    file = tmp_path / f"t{ending}"
    file.write_bytes(text)
    try:
        document = TextDocument(file)
        document.parse()
    except ConfigError as failure:
        words = str(failure)
    else:
        words = f"is at {document.place(())}"
        list(document.twice())
    assert "\n" not in words
