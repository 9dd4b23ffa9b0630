"""The YAML loader: values, places, and every trap that it closes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from f2yaml.schema.problems import Place, Problem, RecipeError
from f2yaml.schema.reading import MAX_BYTES
from f2yaml.schema.source import Source, load, scalar
from hypothesis import example, given, settings
from hypothesis import strategies as st


def read(text: str) -> Source:
    return load("t.yaml", text)


def refused(text: str) -> list[tuple[str, str]]:
    """Return (line:column, what) of each problem."""
    with pytest.raises(RecipeError) as caught:
        read(text)
    out = []
    for problem in caught.value.problems:
        assert isinstance(problem.where, Place)
        assert problem.why
        assert problem.fix
        out.append((f"{problem.where.line}:{problem.where.column}", problem.what))
    return out


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:30:45", "12:30:45"),
        ("1e3", 1000.0),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("no", "no"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("2020-01-07", "2020-01-07"),
        ("'5'", "5"),
        ('"true"', "true"),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3),
        ("+3", 3),
        ("-.inf", -math.inf),
        (".inf", math.inf),
        ("$name", "$name"),
        ("! 5", "5"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = read(f"a: {text}").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_nan() -> None:
    assert math.isnan(read("a: .nan").value["a"])


def test_on_is_a_key_like_any_other() -> None:
    assert read("on: 1\nyes: 2").value == {"on": 1, "yes": 2}


def test_scalar_is_public_and_refuses_what_it_cannot_hold() -> None:
    assert scalar("2.5") == 2.5
    with pytest.raises(ValueError, match="is too large"):
        scalar("1e999")


TRAPS = [
    ("a: 1\nb: 2\na: 3", ("3:1", "key `a` is repeated")),
    ("a: {x: 1, x: 2}", ("1:11", "key `x` is repeated")),
    ("<<: {a: 1}", ("1:1", "merge keys (`<<`) are not allowed")),
    ("a: !!int 5", ("1:4", "tag `!!int` is not allowed")),
    ("a: !run rm", ("1:4", "tag `!run` is not allowed")),
    ("a: !!python/object/apply:os.system [ls]",
     ("1:4", "tag `!!python/object/apply:os.system` is not allowed")),
    ("5: a", ("1:1", "`5` is not text")),
    ("true: a", ("1:1", "`true` is not text")),
    ("null: a", ("1:1", "`null` is not text")),
    ("? [a]\n: b", ("1:3", "this key is not text")),
    ("a: 1\n---\nb: 2", ("2:1", "a second document begins here")),
    ("a:\n\tb: 1", ("2:1", "a tab stands here")),
    ("a:\tb", ("1:3", "a tab stands here")),
    ("%YAML 1.1\n---\na: 1", ("1:1", "a %YAML directive asks for another version")),
    ("a: b\x00", ("1:5", "character U+0000 is not allowed")),
    ("a: \x1b[31m", ("1:4", "character U+001B is not allowed")),
    ("a: \ud800", ("1:4", "character U+D800 is not allowed")),
    ('a: "\\ud800"', ("1:4", "half a character")),
    ('a: "\\U00110000"', ("1:5", "not YAML: no such character")),
    ("a: *x", ("1:4", "anchor `x` is not defined before this")),
    ("a: &x [*x]", ("1:8", "anchor `x` contains this alias")),
    ("a: 1e999", ("1:4", "the number is too large")),
    ("a: " + "9" * 41, ("1:4", "the number has more than 40 digits")),
    ("{x: ${a}}", ("1:6", "not YAML: expected ',' or '}', but got '{'")),
    ("a: b: c", ("1:5", "not YAML: mapping values are not allowed here")),
    ("a: 'x", ("1:4", "not YAML: found unexpected end of the file")),
    ("a: @x", ("1:4", "not YAML: found character '@' that cannot start any token")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), TRAPS)
def test_traps(text: str, problem: tuple[str, str]) -> None:
    assert refused(text) == [problem]


def test_all_faults_of_a_document_are_listed() -> None:
    assert [place for place, _ in refused("a: 1\na: 2\n5: 3\nb: !x 4\n<<: {}\n")] == [
        "4:4",
        "2:1",
        "3:1",
        "5:1",
    ]


def test_message_in_full() -> None:
    with pytest.raises(RecipeError) as caught:
        read("name: a\nsteps: []\nname: b\n")
    assert str(caught.value) == (
        "t.yaml:3:1: key `name` is repeated\n"
        "    3 | name: b\n"
        "      | ^^^^\n"
        "  why:  it stands in line 1 already; only one could count\n"
        "  fix:  remove one of them"
    )


def test_braces_around_a_reference_get_advice() -> None:
    with pytest.raises(RecipeError) as caught:
        read("{x: ${a}}")
    assert caught.value.problems[0].fix == "write a reference as `$name`, without braces"


def test_aliases_repeat_values() -> None:
    source = read("a: &x {k: [1]}\nb: *x\n")
    assert source.value == {"a": {"k": [1]}, "b": {"k": [1]}}
    assert str(source.place(("b", "k", 0))) == "t.yaml:1:12"


def test_aliases_that_explode_are_stopped() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for n in range(1, 10):
        text += f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]\n"
    assert refused(text) == [("1:37", "the document has more than 10000 values")]


def test_many_values_are_stopped_before_they_are_all_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("f2yaml.schema.source.MAX_NODES", 100)
    text = "\n".join(f"k{i}: v" for i in range(99))
    assert len(read(text).value) == 99
    # the syntax error at the end is never reached
    text = "\n".join(f"k{i}: v" for i in range(110)) + "\n]"
    assert refused(text) == [("100:6", "the document has more than 100 values")]


@pytest.mark.parametrize(("text", "column"), [("[" * 200, 61), ("- " * 200, 121)])
def test_depth_is_limited(text: str, column: int) -> None:
    assert refused(text) == [(f"1:{column}", "more than 60 levels inside each other")]


def test_depth_through_aliases_is_limited() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100))
    assert "more than 60 levels inside each other" in dict(refused(text)).values()


def test_tab_in_a_comment_is_harmless() -> None:
    assert read("a: 1 #\tnote\n#\tnote").value == {"a": 1}


def test_empty_document() -> None:
    source = read("")
    assert source.value is None
    assert source.place(("x",)) == Place("t.yaml", 1, 1)


TEXT = "steps:\n  - {do: prepare, with: {n: 2}}\n  - do: 'addDQ'\n"


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        (("steps",), True, (1, 1, 5)),
        (("steps", 0), False, (2, 5, 27)),
        (("steps", 0, "do"), False, (2, 10, 7)),
        (("steps", 0, "do"), True, (2, 6, 2)),
        (("steps", 0, "with", "n"), False, (2, 29, 1)),
        (("steps", 1, "do"), False, (3, 9, 7)),
        (("steps", 1, "id"), False, (3, 5, 1)),  # missing: the mapping it should be in
        (("steps", 7), True, (2, 3, 1)),
    ],
)
def test_places(path: tuple[str | int, ...], key: bool, expected: tuple[int, int, int]) -> None:
    place = read(TEXT).place(path, key=key)
    assert (place.line, place.column, place.width) == expected
    assert place.text == TEXT.split("\n")[expected[0] - 1]


def test_places_after_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: [x]\r\n")
    place = load(file, name="r").place(("b", 0))
    assert (place.line, place.column, place.text) == (2, 5, "b: [x]")


def test_control_characters_and_long_lines_do_not_reach_the_terminal() -> None:
    with pytest.raises(RecipeError) as caught:
        read("a: \x1b[31m")
    assert "\x1b" not in str(caught.value)
    with pytest.raises(RecipeError) as caught:
        read("a: 1\na: " + "x" * 5000)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("data", "line", "column", "what", "shown"),
    [
        (b"a: 1\nb: caf\xe9\n", 2, 7, "byte 0xe9 is not UTF-8", "b: café"),
        ("a: \u00e9\nb: \u00e9".encode() + b"\xff", 2, 5, "byte 0xff is not UTF-8", "b: éÿ"),
    ],
)
def test_wrong_encoding(
    tmp_path: Path, data: bytes, line: int, column: int, what: str, shown: str
) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(data)
    with pytest.raises(RecipeError) as caught:
        load(file, name="r.yaml")
    (problem,) = caught.value.problems
    assert (problem.what, problem.where) == (what, Place("r.yaml", line, column, 1, shown))


def test_utf_16_is_named(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes("a: 1".encode("utf-16"))
    with pytest.raises(RecipeError, match=r"r\.yaml is encoded as UTF-16"):
        load(file, name="r.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "ultradeep.yaml").write_text("a: 1")
    with pytest.raises(RecipeError) as caught:
        load(tmp_path / "ultradep.yaml", name="ultradep.yaml")
    assert caught.value.problems[0].what == "ultradep.yaml: no such file"
    assert caught.value.problems[0].fix == "did you mean `ultradeep.yaml`?"
    with pytest.raises(RecipeError, match="is not a file"):
        load(tmp_path)
    with pytest.raises(RecipeError, match="cannot be read"):
        load("x" * 5000 + ".yaml")
    with pytest.raises(RecipeError, match=r"a\?b: no such file"):
        load("a\0b")


def test_large_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(RecipeError, match="larger than 1000000 bytes"):
        load(file)


pieces = st.sampled_from(
    [
        *"ab:\n[]{},'\"|>#%$5~\t\r\\\u2028é",
        ": ",
        "  ",
        "- ",
        "&x ",
        "*x",
        "!t ",
        "? ",
        "<<",
        "---\n",
    ]
)


def load_or_problems(text: str) -> list[Problem]:
    """Return the problems of a text; any exception but a RecipeError fails the test."""
    try:
        read(text)
    except RecipeError as error:
        return list(error.problems)
    return []


@settings(max_examples=300)
@given(st.lists(pieces, max_size=25).map("".join) | st.text(max_size=80))
@example("a: \U0010ffff")
@example("- &x\n- *x\n")
def test_any_text_gives_values_or_a_recipe_error(text: str) -> None:
    for problem in load_or_problems(text):
        assert problem.what
        assert problem.why
        assert problem.fix


@given(st.binary(max_size=60))
def test_any_bytes_give_values_or_a_recipe_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_bytes(data)
    try:
        source = load(file)
    except RecipeError as error:
        source = None
        shown = str(error)
    assert source is None or source.path == file
    assert source is not None or "why:" in shown


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(categories=["L", "N", "P", "S"]) | st.just(" ")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc<$on", min_size=1, max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(plain)
def test_json_means_the_same(value: object) -> None:
    assert read(json.dumps(value, ensure_ascii=False)).value == value
