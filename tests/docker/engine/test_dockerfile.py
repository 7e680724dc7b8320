"""Tests of how a Dockerfile is read and changed.

Every example that is not marked as odd was built by BuildKit once, after the
substitution and with labels.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.dockerfile import (
    base_images,
    canonical_reference,
    explain_unused,
    label_stages,
    substitute_images,
    why_rebuild,
)
from pysys_orch.errors import ConfigError

NEW = "test/mine:1"

LINES = st.sampled_from(
    [
        "FROM apama",
        "from --platform=$P apama As x",
        "FROM x",
        "FROM ${A:-apama}",
        "FROM \\",
        "FROM `",
        "  apama \\",
        "ARG A=apama B='x y",
        "# escape=`",
        "# a comment",
        "RUN <<EOF cat <<-'E F'",
        "EOF",
        "\tE F",
        'COPY --from="apama" <<A /x',
        "RUN --mount=type=bind,from=apama,target=/m \\",
        'ADD ["https://x", "/y"]',
        "ONBUILD COPY --from=apama a b",
        "${A:+",
        "",
    ]
)
TEXTS = st.one_of(
    st.text(),
    st.builds(
        str.join,
        st.sampled_from(["\n", "\r\n"]),
        st.lists(st.one_of(LINES, LINES, st.text(max_size=9)), max_size=12),
    ),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM apama", f"FROM {NEW}"),
        ("FROM apama:latest\n", f"FROM {NEW}\n"),
        ("FROM docker.io/library/apama\n", f"FROM {NEW}\n"),
        ("\tfrom  apama  As  x  \n", f"\tfrom  {NEW}  As  x  \n"),
        (
            "FROM --platform=linux/amd64 apama AS x",
            f"FROM --platform=linux/amd64 {NEW} AS x",
        ),
        ('FROM "apama"\n', f"FROM {NEW}\n"),
        ("\ufeffFROM apama\n", f"\ufeffFROM {NEW}\n"),
        ("#!/usr/bin/env x\nFROM apama\n", f"#!/usr/bin/env x\nFROM {NEW}\n"),
        ("FROM apama\r\nRUN a \\\r\n b\r\n", f"FROM {NEW}\r\nRUN a \\\r\n b\r\n"),
        (
            "FROM \\\n# why\n\n apama \\\n AS x\n",
            f"FROM \\\n# why\n\n {NEW} \\\n AS x\n",
        ),
        ("FROM apa\\ \t\n# why\nma AS x", f"FROM {NEW}\\ \t\n# why\n AS x"),
        ("\\\nFROM apama\n", f"\\\nFROM {NEW}\n"),
        ("# escape=`\nFROM `\napama\n", f"# escape=`\nFROM `\n{NEW}\n"),
        (
            "# Syntax = x\n#ESCAPE=`\nFROM `\napama",
            f"# Syntax = x\n#ESCAPE=`\nFROM `\n{NEW}",
        ),
        ("# x\n# escape=`\nFROM \\\napama\n", f"# x\n# escape=`\nFROM \\\n{NEW}\n"),
        ("FROM apama\nENV A=x\\\\\nRUN true\n", f"FROM {NEW}\nENV A=x\\\\\nRUN true\n"),
        (
            "FROM a\nRUN b \\\n# FROM x\nFROM apama",
            "FROM a\nRUN b \\\n# FROM x\nFROM apama",
        ),
    ],
)
def test_an_image_is_replaced_where_it_stands(text: str, expected: str) -> None:
    """Spacing, case, comments, continuations and line endings stay as they were."""
    assert substitute_images(text, {"apama": NEW}).text == expected


@pytest.mark.parametrize(
    "reference",
    ["apama:10", "my/apama", "apama-x", "localhost/apama", "apama@sha256:12", "APAMA"],
)
def test_only_the_same_reference_is_replaced(reference: str) -> None:
    """A name never matches a part of another one."""
    text = f"FROM {reference}\n"
    done = substitute_images(text, {"apama": NEW})
    assert (done.text, done.unused) == (text, ("apama",))


def test_tags_and_registries_are_part_of_the_name() -> None:
    """What is written out in full matches what is written out in full."""
    text = "FROM apama:10\nFROM r:5000/x/apama:10\nFROM apama\n"
    done = substitute_images(
        text, {"apama:10": "one", "r:5000/x/apama:10": "two", "apama:11": "three"}
    )
    assert done.text == "FROM one\nFROM two\nFROM apama\n"
    assert done.unused == ("apama:11",)
    assert done.references == ("apama:10", "r:5000/x/apama:10", "apama")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM busybox AS apama\nFROM apama\n", None),
        ("FROM busybox AS Apama\nCOPY --from=APAMA a b\n", None),
        ("FROM apama AS apama\nFROM apama\n", f"FROM {NEW} AS apama\nFROM apama\n"),
        ("ARG S=apama\nFROM x AS apama\nFROM $S\n", None),
        ("FROM x\nCOPY --from=apama a b\nFROM y AS apama\n", None),
        ("FROM apama\nFROM x AS apama\n", f"FROM {NEW}\nFROM x AS apama\n"),
    ],
)
def test_a_stage_is_no_image(text: str, expected: str | None) -> None:
    """A stage hides the image of its name: for FROM below it, for COPY everywhere."""
    assert substitute_images(text, {"apama": NEW}).text == (expected or text)


@pytest.mark.parametrize(
    "text",
    [
        "ARG BASE=apama\nFROM ${BASE}",
        "ARG BASE='apama'\nFROM $BASE",
        'ARG V=latest OTHER\nARG BASE="apama:$V"\nFROM ${BASE}',
        "ARG BASE=busybox\nARG BASE=apama\nFROM $BASE",
        "ARG BASE=busybox\narg GIVEN=busybox\nFROM $GIVEN",
        "ARG GIVEN\nFROM ${GIVEN}",
        "FROM ${BASE:-apama}",
        "FROM ${BASE-apama}",
        "ARG BASE=\nFROM ${BASE:-apama}",
        "ARG BASE=1\nFROM ${BASE:+apama}",
        "ARG B=a\nARG A=${B}pa\nFROM ${A:+${A}ma}",
        "FROM apama$UNSET",
        "FROM ${UNSET:+x}apama",
        "FROM ap\\ama",
        "FROM 'apama'",
    ],
)
def test_variables_are_resolved(text: str) -> None:
    """The variable of a FROM line gives way to the image that it would have named."""
    done = substitute_images(text, {"apama": NEW}, build_args={"GIVEN": "apama"})
    assert done.text == f"{text[: text.rindex('FROM')]}FROM {NEW}"
    assert [canonical_reference(name) for name in done.references] == [
        "docker.io/library/apama:latest"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "FROM $BASE\nARG BASE=apama\n",
        "FROM x\nARG BASE=apama\nFROM $BASE\n",
        "ARG BASE=\nFROM ${BASE-apama}\n",
        "ARG TARGETARCH\nFROM apama$TARGETARCH\n",
        "ARG A=$TARGETARCH\nFROM apama$A\n",
        "FROM $GIVEN\n",
        "FROM '$UNSET'apama\n",
        "FROM \\$UNSET\n",
    ],
)
def test_what_a_variable_cannot_stand_for_stays(text: str) -> None:
    """Only what is declared above the first FROM counts, as for the builder."""
    done = substitute_images(text, {"apama": NEW}, build_args={"GIVEN": "apama"})
    assert (done.text, done.unused) == (text, ("apama",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COPY --from=apama a b", f"COPY --from={NEW} a b"),
        ('COPY --link --from="apama" a b', f'COPY --link --from="{NEW}" a b'),
        ("COPY --from=ap\\\nama a b", f"COPY --from={NEW}\\\n a b"),
        ("COPY --from=0 a b", None),
        ("COPY a --from=apama b", None),
        ("COPY -- --from=apama b", None),
        ("COPY --from=a'pam'a a b", None),
        ("RUN --mount=from=apama,target=/m a", f"RUN --mount=from={NEW},target=/m a"),
        (
            "RUN --mount=target=/c --mount=type=bind,\\\nFROM=apama,target=/m a",
            f"RUN --mount=target=/c --mount=type=bind,\\\nFROM={NEW},target=/m a",
        ),
        (
            'RUN --mount="type=bind,from=apama" a',
            f'RUN --mount="type=bind,from={NEW}" a',
        ),
        ("RUN --mount=target=/from=apama a", None),
        ("RUN a --mount=from=apama", None),
        ("ONBUILD copy --from=apama a b", f"ONBUILD copy --from={NEW} a b"),
        ("ADD --from=apama a b", None),
    ],
)
def test_files_that_come_from_images(text: str, expected: str | None) -> None:
    """COPY --from and RUN --mount=from= name images too, as flags and nowhere else."""
    start = "FROM busybox\n"
    done = substitute_images(start + text, {"apama": NEW})
    assert done.text == start + (expected or text)
    assert bool(done.unused) is (expected is None)


@pytest.mark.parametrize(
    "text",
    [
        "RUN <<EOF\nFROM apama\nEOF\n",
        "RUN <<-EOF\n\tFROM apama\n\tEOF\n",
        "RUN cat <<A <<B > /x\nB\nA\nFROM apama\nB\n",
        "COPY <<\"E F\" <<'G' /d/\nFROM apama\nE F\nFROM apama\nG\n",
        "RUN cat 3<<EOF\nFROM apama\nEOF\n",
        "RUN cat <<EOF>/x\nEOF\nFROM apama\nEOF>/x\n",
        "RUN cat \\\n  <<EOF\nFROM apama \\\nEOF\n",
        "run <<EOF\r\nFROM apama\r\nEOF\r\n",
        "ONBUILD RUN <<EOF\nFROM apama\nEOF\n",
        "RUN <<EOF\n EOF\nFROM apama\n",
    ],
)
def test_a_here_document_holds_no_instructions(text: str) -> None:
    """What a script or a file says is not for the builder."""
    assert substitute_images(text, {"apama": NEW}).text == text
    done = substitute_images(f"{text}EOF\nFROM apama", {"apama": NEW})
    assert done.text == f"{text}EOF\nFROM {NEW}"


@pytest.mark.parametrize(
    "line",
    [
        'RUN ["cat", "<<EOF"]',
        "RUN echo \"<<EOF\" '<<EOF' \\<<EOF",
        "RUN true # don't <<EOF",
        "RUN cat<<EOF",
        "RUN cat <<<EOF",
        "ENV X=<<EOF",
        "# <<EOF",
    ],
)
def test_what_only_looks_like_a_here_document(line: str) -> None:
    """The instructions below such a line are instructions."""
    done = substitute_images(f"{line}\nFROM apama", {"apama": NEW})
    assert done.text == f"{line}\nFROM {NEW}"


@given(text=TEXTS, build_args=st.dictionaries(st.sampled_from("ABP"), st.text()))
def test_without_substitutions_a_text_stays_as_it_is(
    text: str, build_args: dict[str, str]
) -> None:
    """Whatever the text: Docker, not we, reports what is wrong with it."""
    assert substitute_images(text, {}, build_args=build_args).text == text
    assert label_stages(text, {}) == text
    why_rebuild(text)


@given(text=TEXTS)
def test_a_substitution_is_undone_by_its_reverse(text: str) -> None:
    """Nothing but references changes, and a new name is found like the old one."""
    new = "registry.example/x:1"
    once = substitute_images(text, {"apama": new})
    again = substitute_images(once.text, {new: "apama"})
    assert not again.unused or once.text == text
    assert substitute_images(again.text, {"apama": new}).text == once.text


@given(text=TEXTS)
def test_what_can_be_substituted_is_what_a_build_depends_on(text: str) -> None:
    """Both readings of a text agree on the images in it."""
    images = base_images(text)
    references = substitute_images(text, {}).references
    if images is not None:
        assert images == tuple(name for name in references if name != "scratch")


@pytest.mark.parametrize(
    ("text", "build_args", "expected"),
    [
        (
            "FROM a\nFROM b AS x\nFROM a\nFROM x\nCOPY --from=c d e\n",
            {},
            ("a", "b", "c"),
        ),
        ("FROM scratch\nRUN --mount=from=a,target=/m x\n", {}, ("a",)),
        ("ARG V=1\nFROM a:$V\n", {}, ("a:1",)),
        ("ARG V=1\nFROM a:$V\n", {"V": "2"}, ("a:2",)),
        ("FROM a:$V\n", {"V": "2"}, None),
        ("ARG V\nFROM a:$V\n", {}, None),
        ("FROM --platform=$BUILDPLATFORM a\n", {}, ("a",)),
        ("FROM a-$TARGETARCH\n", {}, None),
        ("FROM a-$TARGETARCH\n", {"TARGETARCH": "arm64"}, ("a-arm64",)),
        ("ARG V=1.2\nFROM a:${V%.*}\n", {}, None),
        ("FROM ${V:?is needed}\n", {}, None),
        ("FROM a\nCOPY --from=$V a b\n", {"V": "b"}, None),
        ("FROM a b\n", {}, None),
        ("FROM a\nCOPY --from=a'b'c d e\n", {}, ("a", "abc")),
        (
            "FROM r.example:5000/a/b:1@sha256:0a\n",
            {},
            ("r.example:5000/a/b:1@sha256:0a",),
        ),
        ("RUN true\n", {}, ()),
    ],
)
def test_base_images(
    text: str, build_args: dict[str, str], expected: tuple[str, ...] | None
) -> None:
    """All of them or None: a build is skipped only if each of them is known."""
    assert base_images(text, build_args) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nRUN b\n", 'FROM a\nLABEL k="v"\nRUN b\n'),
        ("FROM a", 'FROM a\nLABEL k="v"'),
        ("FROM a  \r\nRUN b\r\n", 'FROM a\r\nLABEL k="v"  \r\nRUN b\r\n'),
        ("FROM a \\\n AS b\nRUN c\n", 'FROM a \\\n AS b\nLABEL k="v"\nRUN c\n'),
        ("FROM a \\\n# the end\n", 'FROM a\nLABEL k="v" \\\n# the end\n'),
        ("FROM a\nFROM b\n", 'FROM a\nLABEL k="v"\nFROM b\nLABEL k="v"\n'),
        ("RUN <<E\nFROM a\nE\n", "RUN <<E\nFROM a\nE\n"),
    ],
)
def test_a_label_follows_each_from(text: str, expected: str) -> None:
    """Even an image that a build leaves half-way has an owner."""
    assert label_stages(text, {"k": "v"}) == expected


def test_a_label_keeps_its_value() -> None:
    """Quotes, variables and escape characters mean themselves."""
    labels = {"a.b/c-d": "q\" $x ${y} \\ ` '", "e": ""}
    assert label_stages("FROM a", labels) == (
        'FROM a\nLABEL a.b/c-d="q\\" \\$x \\${y} \\\\ ` \'" e=""'
    )
    assert label_stages("#escape=`\nFROM a", labels) == (
        '#escape=`\nFROM a\nLABEL a.b/c-d="q`" `$x `${y} \\ `` \'" e=""'
    )


@pytest.mark.parametrize(
    "label", [("a b", "c"), ("a=b", "c"), ("", "c"), ("a", "b\nc")]
)
def test_a_label_that_no_dockerfile_can_hold_is_refused(label: tuple[str, str]) -> None:
    """It would become another label, or another instruction."""
    with pytest.raises(ConfigError, match="label"):
        label_stages("FROM a", dict([label]))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ADD a /b", None),
        ("ADD a://b https:/c /d", None),
        ("ADD b-${V}.jar /c", None),
        ("COPY https://x /y", None),
        ("RUN wget https://x", None),
        ("RUN <<EOF\nADD https://x /y\nEOF", None),
        ("ADD --checksum=sha256:12 https://x /y", None),
        ("ADD https://x", None),
        ("ADD https://x /y", "ADD https://x fetches what may have changed"),
        ("add a \\\n http://x /y", "ADD http://x fetches what may have changed"),
        ('ADD "https://x" /y', "ADD https://x fetches what may have changed"),
        ('ADD ["https://x", "/y"]', "ADD https://x fetches what may have changed"),
        (
            "ADD git@x.y:z.git#v1 /y",
            "ADD git@x.y:z.git#v1 fetches what may have changed",
        ),
        ("ADD --chown=1 ssh://x/z /y", "ADD ssh://x/z fetches what may have changed"),
        ("ONBUILD ADD git://x /y", "ADD git://x fetches what may have changed"),
        ("ADD $URL /y", "ADD $URL may stand for something remote"),
        ("ADD https${X} /y", "ADD https${X} may stand for something remote"),
    ],
)
def test_why_a_build_cannot_be_skipped(line: str, reason: str | None) -> None:
    """What comes over the network may be new although the Dockerfile is not."""
    assert why_rebuild(f"FROM a\n{line}\n") == reason


def test_a_misspelt_substitution_is_explained() -> None:
    """The message shows what the file does name."""
    assert explain_unused("apma", ["busybox", "apama"]) == (
        "no FROM line names 'apma'; did you mean 'apama'?"
    )
    assert explain_unused("apama", ["busybox", "debian:12"]) == (
        "no FROM line names 'apama', only 'busybox', 'debian:12'"
    )
    assert explain_unused("apama", []) == (
        "no FROM line names 'apama', or any other image"
    )


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("a", "docker.io/library/a:latest"),
        ("library/a", "docker.io/library/a:latest"),
        ("index.docker.io/a:1", "docker.io/library/a:1"),
        ("b/a", "docker.io/b/a:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("r:5000/a", "r:5000/a:latest"),
        ("r.example/b/a@sha256:12", "r.example/b/a@sha256:12"),
    ],
)
def test_an_image_has_one_full_name(reference: str, expected: str) -> None:
    """Names are compared in full, as Docker completes them."""
    assert canonical_reference(reference) == expected
    assert canonical_reference(expected) == expected
