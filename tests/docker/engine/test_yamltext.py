"""Tests of how YAML is read with its places, and changed in place."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine import yamltext
from pysys_orch.docker.engine.yamltext import (
    Document,
    Draft,
    Pairs,
    flow,
    quoted,
    word,
)
from pysys_orch.errors import ConfigError

PRINTABLE = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), PRINTABLE),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(PRINTABLE, inner, max_size=3)
    ),
    max_leaves=9,
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Draw a document in which parts are shared by anchors, one inside the other."""
    shared = draw(VALUES)
    both = [shared, {"again": shared, "own": draw(VALUES)}]
    value = {"a": both, "b": shared, "c": {"d": both}, "e": draw(VALUES)}
    return yaml.safe_dump(
        value,
        default_flow_style=draw(st.sampled_from([None, True, False])),
        allow_unicode=draw(st.booleans()),
        sort_keys=False,
    )


@given(documents())
def test_what_is_written_on_one_line_means_the_same(text: str) -> None:
    """Aliases can be written out without a change of meaning."""
    line = flow(Document(text, name="f").root.content)
    assert "\n" not in line
    assert yaml.safe_load(line) == yaml.safe_load(text)


@given(documents())
def test_without_changes_a_document_stays_as_it_is(text: str) -> None:
    """Nothing is written anew."""
    assert Draft(Document(text, name="f")).written() == text


@given(documents(), PRINTABLE)
def test_a_change_touches_nothing_else(text: str, new: str) -> None:
    """What a replaced part was shared with keeps its meaning."""
    document = Document(text, name="f")
    draft = Draft(document)
    place = document.root.get("a")
    assert place is not None
    draft.replace(place, quoted(new))
    expected = yaml.safe_load(text) | {"a": new}
    assert yaml.safe_load(draft.written()) == expected


@given(documents())
def test_another_parser_sees_the_same_places(text: str) -> None:
    """Where PyYAML has no C library, the result is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yamltext, "_LOADER", yaml.SafeLoader)
        slow = Document(text, name="f")
    fast = Document(text, name="f")
    assert [(each.start, each.begin, each.end) for each in slow.homes] == [
        (each.start, each.begin, each.end) for each in fast.homes
    ]
    assert flow(slow.root.content) == flow(fast.root.content)


@given(st.text())
def test_any_text_is_read_or_refused_on_one_line(text: str) -> None:
    """Nothing but ConfigError comes out, and PySys can show it."""
    try:
        Document(text, name="my.yml")
    except ConfigError as failure:
        message = str(failure)
    else:
        return
    assert message.startswith("my.yml")
    assert "\n" not in message


@given(PRINTABLE)
def test_a_quoted_text_means_itself(text: str) -> None:
    """Any character survives, and so does what looks like a number or a truth."""
    assert yaml.safe_load(quoted(text)) == text
    assert yaml.safe_load(word(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [b: ]\nc: }", "f.yml, line 2, column 4: did not find"),
        ("a: b\n c: d", "f.yml, line 2, column 3: mapping values are not allowed"),
        ("a: b\n---\nc: d", "f.yml, line 2, column 1: a second document begins"),
        ("a: b\nb: c\na: d\n", "f.yml, line 3, column 1: the key 'a' is already"),
        ("x: {a: &x b, 'a': c}", "f.yml, line 1, column 14: the key 'a' is already"),
        ("a: *b", "f.yml, line 1, column 4: no anchor above is called 'b'"),
        ("a: &b [*b]", "f.yml, line 1, column 8: no anchor above is called 'b'"),
        ("- a", "f.yml: a compose file is a mapping"),
        ("", "f.yml: a compose file is a mapping"),
        ("a: \x07", "f.yml: "),
        ("a: \ud800", "f.yml: "),
    ],
)
def test_an_error_says_where(text: str, expected: str) -> None:
    """Name of the file, line, column and the problem, on one line."""
    with pytest.raises(ConfigError) as caught:
        Document(text, name="f.yml")
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b", "a: N"),
        ("a: b # c\n", "a: N # c\n"),
        ("a: &x b\nc: *x\n", "a: &x N\nc: b\n"),
        ("a: !t b\n", "a: !t N\n"),
        ("a: &x !!str # c\n  b\n", "a: &x !!str # c\n  N\n"),
        ("a:\nb: c\n", "a: N\nb: c\n"),
        ("a: &x\nb: *x\n", "a: &x N\nb: null\n"),
        ("a: |\n  b\n\n# c\nd: e\n", "a: N\n\n# c\nd: e\n"),
        ("a: b\n  c # d\n", "a: N # d\n"),
        ("a:\r\n  'b'\r\nc: d\r\n", "a:\r\n  N\r\nc: d\r\n"),
        ("\ufeffa: b\n", "\ufeffa: N\n"),
        ('{"a": "b", "c": 1}', '{"a": N, "c": 1}'),
        ("x: &x b\na: *x\n", "x: &x b\na: N\n"),
        ("a: [b, {c: d}] # e\n", "a: N # e\n"),
        ("a:\n- b # c\n-  c: d # e\n\nf: g\n", "a:\n N # e\n\nf: g\n"),
        ("ü: 😀\na: b\n", "ü: 😀\na: N\n"),
        ("%YAML 1.1\n--- # x\na: b\n...\n", "%YAML 1.1\n--- # x\na: N\n...\n"),
    ],
)
def test_a_value_is_replaced_where_it_stands(text: str, expected: str) -> None:
    """Anchors, tags, comments and line endings stay."""
    document = Document(text, name="f")
    draft = Draft(document)
    place = document.root.get("a")
    assert place is not None
    draft.replace(place, "N")
    assert draft.written() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2 # c\nd: 3\n", "a: 1\nd: 3\n"),
        ("b: 2", None),
        ("b: >\n  2\n\nd: 3\n", "\nd: 3\n"),
        ("{a: 1, b: 2, d: 3}", "{a: 1, d: 3}"),
        ("{a: 1, b: 2}", "{a: 1}"),
        ("  b: 2 # c\n  d: 3\n", "  \n  d: 3\n"),
        ("b: &x 2\r\nd: [*x]\r\n", "d: [2]\r\n"),
    ],
)
def test_a_pair_is_removed_with_its_line(text: str, expected: str | None) -> None:
    """What remains is valid, or the mistake is reported as one of the package's."""
    document = Document(text, name="f")
    draft = Draft(document)
    assert isinstance(document.root.content, Pairs)
    pair = document.root.content.own("b")
    assert pair is not None
    draft.remove_pair(document.root.content, pair)
    if expected is None:
        with pytest.raises(RuntimeError, match="became invalid"):
            draft.written()
    else:
        assert draft.written() == expected


def test_changes_that_contradict_each_other_are_reported() -> None:
    """A mistake in the package never makes a wrong file."""
    document = Document("a: {b: c}", name="f")
    draft = Draft(document)
    for place in (document.root.get("a"), document.root.get("a", "b")):
        assert place is not None
        draft.replace(place, "x")
    with pytest.raises(RuntimeError, match="two changes meet"):
        draft.written()


def test_merges_are_resolved_as_yaml_says() -> None:
    """Own keys come first, then the first of the merged mappings."""
    text = (
        "x: &x {a: x, b: x, c: x}\ny: &y {<<: *x, b: y}\nz: &z {c: z, d: z}\n"
        "all:\n  <<: [*y, *z]\n  e: own\n  d: !reset null\n"
    )
    place = Document(text, name="f").root.get("all")
    assert place is not None
    values = {key: each.text for key, each in place.values().items()}
    assert values == {"a": "x", "b": "y", "c": "x", "e": "own"}
