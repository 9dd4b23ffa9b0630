"""The expression language: what each form means, and what is refused."""

from __future__ import annotations

import datetime as dt

import pytest
from f2yaml.schema.predicate import (
    MAX_DEPTH,
    And,
    Compare,
    Count,
    Literal,
    Name,
    Not,
    Or,
    Param,
    Truth,
    check_names,
    evaluate,
    names,
    parse,
    transform,
)
from f2yaml.schema.problems import Place, RequestError
from hypothesis import given
from hypothesis import strategies as st

FRAME: dict[str, object] = {
    "exposure_time": 5.04,
    "filter_name": "K-red",
    "object": "NGC 1",
    "read_mode": "1",
    "gain": [4.44],
    "section": [1, 2, 3],
    "ut_date": dt.date(2020, 1, 7),
    "ut_time": dt.time(13, 0, 0, 500_000),
    "ut_datetime": dt.datetime(2020, 1, 7, 13, 0, 0, 500_000),
    "effective_wavelength": None,
    "phu.LNRS": 1,
    "phu.DATE-OBS": "2020-01-07",
    "phu.NOTE": "5.0 about",
    "phu.EXPTIME": 5.04,
    "hdr.NAXIS1": 2048,
    "tag.DARK": False,
    "tag.SIDEREAL": True,
    "$two_pass": True,
    "$reach": 6.0,
    "count:main": 3,
    "count:sky": 2,
}


def tolerant(name: str, op: str, left: object, right: object) -> bool | None:
    """Exposure times within 1 %, as the observer's descriptors have it."""
    if name == "exposure_time" and op == "==" and isinstance(left, float):
        assert isinstance(right, int | float)
        return abs(left - right) <= 0.01 * right
    return None


def holds(text: str) -> bool:
    return evaluate(parse(text), FRAME.__getitem__, compare=tolerant)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the table "Improve on" of spec/cli.md 3.4
        ("exposure_time == 5", True),
        ("exposure_time == 6", False),
        ("exposure_time=5", True),
        ("ut_datetime>='2020-01-07 13:00:00'", True),
        ("ut_datetime>='2020-01-07T13:00:00'", True),
        (r"ut_datetime>='2020-01-07\x2013:00:00'", True),
        ("ut_datetime<'2020-01-07 13:00:00'", False),
        ("ut_time>'13:00'", True),
        ("ut_time<='13:00'", False),
        ("ut_time=='13:00:00.5'", True),
        ("ut_date=='20200107'", True),
        ("ut_date==20200107", True),
        ("ut_date=='20200108'", False),
        ("(filter_name=='K-red')", True),
        ("(filter_name=='Y')", False),
        ("(exposure_time==5.04)", True),
        ("(ut_date=='2020-01-07')", True),
        ("not filter_name=='dark'", True),
        ("not filter_name=='K-red'", False),
        ("exposure_time>0 and (filter_name=='Y' or filter_name=='K-red')", True),
        ("exposure_time>0 and (filter_name=='Y' or filter_name=='J')", False),
        ("effective_wavelength>2e-6", False),
        ("effective_wavelength<=2e-6", False),
        ("ad.phu['LNRS']==1", True),
        ('ad.phu["LNRS"] == 2', False),
        ("ad.phu.get('LNRS')<3", True),
        ("ad.phu.get( 'LNRS' )>3", False),
        ("'SIDEREAL' in ad.tags", True),
        ("'DARK' in ad.tags", False),
        ("'DARK' not in ad.tags", True),
        ("SIDEREAL in tags", True),
        ("ad.exposure_time()>5", True),
        ("True", True),
        ("false", False),
        # bare text, lists, patterns, either side
        ("filter_name==K-red", True),
        ("filter_name == Open&K-red_G0815", False),
        ("filter_name!=K-red", False),
        ("'K-red' == filter_name", True),
        ("6 > exposure_time", True),
        ("6 <= exposure_time", False),
        ("5 < exposure_time <= 6", True),
        ("5 < exposure_time < 5.01", False),
        ("filter_name in [Y, K-red]", True),
        ("filter_name in ('Y', 'J')", False),
        ("filter_name not in [Y, J,]", True),
        ("exposure_time in [2, 5]", True),
        ("filter_name ~ K*", True),
        ("filter_name ~ k*", False),
        ("filter_name ~ '[JK]-red'", True),
        ("object == 'NGC 1'", True),
        ("exposure_time == phu.EXPTIME", True),
        # missing values
        ("effective_wavelength is none", True),
        ("effective_wavelength is not None", False),
        ("exposure_time is none", False),
        ("effective_wavelength != 5", False),
        ("not effective_wavelength == 5", True),
        # lists of one element, and longer ones
        ("gain==[4.44]", True),
        ("gain==4.44", True),
        ("gain>4", True),
        ("section==[1, 2, 3]", True),
        ("section==[1, 2]", False),
        ("section!=[1, 2]", True),
        ("section==1", False),
        # text and numbers
        ("read_mode=='1'", True),
        ("read_mode==1", True),
        ("read_mode==1.0", True),
        ("read_mode==2", False),
        ("exposure_time<'6'", True),
        # dates and times, bare and mixed with header text
        ("ut_datetime >= 2020-01-07 13:00", True),
        ("ut_datetime > 2020-01-07T13:00:00.6", False),
        ("ut_datetime == 2020-01-07", True),
        ("ut_datetime > 2020-01-07", False),
        ("2020-01-06 < ut_date", True),
        ("phu.DATE-OBS >= 2020-01-07", True),
        ("phu.DATE-OBS > '2020-01-07'", False),
        # header keywords may hold anything: what does not compare is unequal
        ("phu.NOTE > 4", False),
        ("phu.NOTE != 4", True),
        ("hdr.NAXIS1 == big", False),
        ("hdr.NAXIS1 != big", True),
        # tags, parameters, counts
        ("tag.SIDEREAL and not tag.DARK", True),
        ("$two_pass", True),
        ("not $two_pass or exposure_time < $reach", True),
        ("count(main) == count(sky)", False),
        ("count( main )>2", True),
        ("((exposure_time))==5", True),
    ],
)
def test_meaning(text: str, expected: bool) -> None:
    assert holds(text) is expected


def test_precedence_or_and_not_comparison() -> None:
    tree = parse("a==1 or not b==2 and c==3")
    one, two, three = (
        Compare("==", Name(n), Literal(v, str(v))) for n, v in (("a", 1), ("b", 2), ("c", 3))
    )
    assert tree == Or((one, And((Not(two), three))))


def test_order_of_and_and_or_does_not_depend_on_blanks() -> None:
    assert parse("a==1 and b==2") == parse("  a  ==  1   and\n b==2 ")


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("__import__('pathlib').Path('x').touch()is None", 1, "`__import__` cannot be called"),
        ("exposure_time.__class__ == 1", 1, "`exposure_time.__class__` is not a name"),
        ("exposure_time == f(1)", 18, "`f` cannot be called"),
        ("exposure_time == [x for x in y]", 21, "a list is not closed"),
        ("lambda: 3", 1, "`lambda:` is not a name"),
        ("", 1, "the expression is empty"),
        ("   ", 4, "the expression is empty"),
        ("exposure_time and", 18, "something is missing at the end"),
        ("exposure_time ==", 17, "something is missing at the end"),
        ("exposure_time == and", 18, "`and` stands where a value is expected"),
        ("(exposure_time == 5", 1, "a parenthesis is not closed"),
        ("exposure_time == 5)", 19, "`)` is not expected here"),
        ("object == NGC 1", 15, "`1` is not expected here"),
        ("exposure_time == 5 AND x == 1", 20, "`AND` is not expected here"),
        ("filter_name==Y&exposure_time==5", 29, "`==` follows a complete comparison"),
        ("exposure_time**2 == 4", 1, "`exposure_time**2` is not a name"),
        ("filter_name == 'K", 16, "a quote is not closed"),
        ("filter_name in Y", 16, "`in` is not followed by a list"),
        ("filter_name in []", 16, "the list is empty"),
        ("filter_name in [[Y]]", 17, "a list holds no list"),
        ("filter_name in [Y", 16, "a list is not closed"),
        ("phu.X == none", 10, "`none` cannot be compared"),
        ("5", 1, "`5` alone is neither true nor false"),
        ("count(main)", 1, "`count(main)` alone is neither true nor false"),
        ("'a' == 'b'", 1, "the comparison has a constant on each side"),
        ("1 in [1, 2]", 6, "the comparison has a constant on each side"),
        ("ut_date == 2020-13-01", 12, "`2020-13-01` is not a date or time"),
        ("ut_time > 25:00", 11, "`25:00` is not a date or time"),
        ("exposure_time is 5", 18, "`is` is followed by something else than `none`"),
        ("5 is none", 10, "a constant or a count is never missing"),
        ("${two_pass}", 1, "`$` is not followed by a name"),
        ("count(5) > 1", 1, "`count` takes the name of one stream"),
        ("count(main.1) > 1", 1, "`count` takes the name of one stream"),
        ("5 in tags", 1, "what stands before `in tags` is not a tag"),
    ],
)
def test_refusals_point_at_the_character(text: str, column: int, what: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(text)
    (problem,) = caught.value.problems
    assert problem.what == what
    assert problem.why
    assert problem.fix
    assert isinstance(problem.where, Place)
    assert problem.where.column == column
    assert problem.where.text == text


def test_message_in_full() -> None:
    with pytest.raises(RequestError) as caught:
        parse("phu.X == none")
    assert str(caught.value) == (
        "expression:1:10: `none` cannot be compared\n"
        "    1 | phu.X == none\n"
        "      |          ^^^^\n"
        "  why:  a comparison with a missing value is false, whatever the other side\n"
        "  fix:  ask with `is none`, or quote the word if text is meant"
    )


def test_place_inside_a_document() -> None:
    line = "  - require: 'count(main) =='"
    where = Place("r.yaml", 7, 14, 16, line)
    with pytest.raises(RequestError) as caught:
        parse("count(main) ==", where=where)
    assert caught.value.problems[0].where == Place("r.yaml", 7, 29, 1, line)


def test_place_of_folded_text_is_that_of_the_value() -> None:
    where = Place("r.yaml", 7, 14, 1, "  - require: >-")
    with pytest.raises(RequestError) as caught:
        parse("count(main) ==", where=where)
    assert caught.value.problems[0].where == where


@pytest.mark.parametrize("text", ["(" * 60 + "a==1" + ")" * 60, "not " * 60 + "a==1"])
def test_nesting_is_limited(text: str) -> None:
    with pytest.raises(RequestError, match="more than 50 parentheses or negations"):
        parse(text)


def test_nesting_up_to_the_limit_is_read() -> None:
    deep = "(" * MAX_DEPTH + "a==1" + ")" * MAX_DEPTH
    assert parse(deep) == parse("a==1")


def test_length_is_limited() -> None:
    assert isinstance(parse("a==" + "x" * 4093), Compare)
    with pytest.raises(RequestError, match="the expression has 4097 characters"):
        parse("a==" + "x" * 4094)


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        (
            "exposure_time == 5s",
            "`exposure_time` (5.04) cannot be compared with `5s`",
            "write a number without unit",
        ),
        (
            "ut_date == yesterday",
            "`ut_date` (2020-01-07) cannot be compared with `yesterday`",
            "write it as 2020-01-07, or compare `ut_datetime`",
        ),
        (
            "ut_date == 2020-01-07 13:00",
            "`ut_date` (2020-01-07) cannot be compared with `2020-01-07 13:00`",
            "write it as 2020-01-07, or compare `ut_datetime`",
        ),
        (
            "ut_time > 5",
            "`ut_time` (13:00:00.500000) cannot be compared with `5`",
            "write it as 13:00:00, or compare `ut_datetime`",
        ),
        (
            "section > 1",
            "`section` ([1, 2, 3]) cannot be compared with `1`",
            "compare it with a list, as in [1, 2]",
        ),
        (
            "object < 5",
            "`object` (NGC 1) cannot be compared with `5`",
            "compare it with a value of its own kind",
        ),
        (
            "$two_pass == 5",
            "`$two_pass` (True) cannot be compared with `5`",
            "write true or false",
        ),
    ],
)
def test_kinds_that_do_not_compare(text: str, what: str, fix: str) -> None:
    with pytest.raises(RequestError) as caught:
        holds(text)
    assert (caught.value.problems[0].what, caught.value.problems[0].fix) == (what, fix)


def test_a_name_that_is_no_yes_or_no() -> None:
    with pytest.raises(RequestError, match=r"`exposure_time` is 5.04, neither true nor false"):
        holds("exposure_time and true")


def test_nan_is_a_missing_value() -> None:
    tree = parse("exposure_time != 5")
    assert evaluate(tree, lambda _: 6.0)
    assert not evaluate(tree, lambda _: float("nan"))


def test_aware_times_are_taken_to_universal_time() -> None:
    chile = dt.timezone(dt.timedelta(hours=-3))
    taken = dt.datetime(2020, 1, 7, 10, 0, tzinfo=chile)
    assert evaluate(parse("ut_datetime == '2020-01-07 13:00'"), lambda _: taken)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("exposure_time <= 5", ("exposure_time", "<=", 5.04, 5)),
        ("5 <= exposure_time", ("exposure_time", ">=", 5.04, 5)),
        ("exposure_time == '5'", ("exposure_time", "==", 5.04, 5)),
        ("not (exposure_time != 5)", ("exposure_time", "!=", 5.04, 5)),
        ("exposure_time in [5]", ("exposure_time", "==", 5.04, 5)),
        ("gain == [4]", ("gain", "==", 4.44, 4)),
        ("filter_name ~ K*", ("filter_name", "~", "K-red", "K*")),
        ("read_mode == 1", ("read_mode", "==", "1", "1")),
        ("ut_date == '2020-01-08'", ("ut_date", "==", dt.date(2020, 1, 7), dt.date(2020, 1, 8))),
    ],
)
def test_what_a_comparer_is_given(text: str, call: tuple[object, ...]) -> None:
    seen: list[tuple[object, ...]] = []

    def note(*given: object) -> bool | None:
        seen.append(given)
        return None

    evaluate(parse(text), FRAME.__getitem__, compare=note)
    assert seen == [call]


def test_names() -> None:
    tree = parse(
        "exposure_time == 5 and (phu.A is none or hdr.B < 1) and not tag.DARK "
        "and $two_pass and count(main) > 1 and filter_name in [J, phu.F]"
    )
    assert names(tree) == {
        "exposure_time",
        "phu.A",
        "hdr.B",
        "tag.DARK",
        "$two_pass",
        "count:main",
        "filter_name",
        "phu.F",
    }


def test_unknown_names_are_reported_with_the_nearest() -> None:
    with pytest.raises(RequestError) as caught:
        check_names(
            parse("exposure_tim == 5 and flter_name == Y"), ["exposure_time", "filter_name"]
        )
    first, second = caught.value.problems
    assert first.what == "`exposure_tim` is not a known name"
    assert first.fix == "did you mean `exposure_time`?"
    assert second.fix == "did you mean `filter_name`?"


def test_prefixes_can_be_withdrawn() -> None:
    tree = parse("phu.A == 1 and count(main) > 1 and $x")
    check_names(tree, [])
    with pytest.raises(RequestError) as caught:
        check_names(tree, [], prefixes=["phu."])
    assert [p.what for p in caught.value.problems] == [
        "`$x` cannot be used here",
        "`count(main)` cannot be used here",
    ]


def test_a_word_that_is_also_a_name_is_ambiguous() -> None:
    with pytest.raises(RequestError, match="`object` may be meant as text or as a name"):
        check_names(parse("filter_name == object"), ["filter_name", "object"])
    check_names(parse("filter_name == 'object'"), ["filter_name", "object"])


def test_known_names_stay_names_on_the_right() -> None:
    assert parse("a == b", known=["b"]) == Compare("==", Name("a"), Name("b"))
    assert parse("a == b") == Compare("==", Name("a"), Literal("b", "b"))


def test_transform_reaches_every_operand() -> None:
    tree = parse("count(main) > 1 and (not $x or count(main) in [1, 2]) and a is none")

    def change(operand: object) -> object:
        return Count("other") if isinstance(operand, Count) else operand

    changed = transform(tree, change)  # type: ignore[arg-type]
    assert names(changed) == {"count:other", "$x", "a"}
    assert names(tree) == {"count:main", "$x", "a"}


def test_nodes_do_not_depend_on_where_they_stand() -> None:
    assert Param("x", 3) == Param("x", 7)
    assert parse("  $x") == Truth(Param("x"))


TOKENS = [
    *(
        [
            "and",
            "or",
            "not",
            "in",
            "is",
            "none",
            "(",
            ")",
            "[",
            "]",
            ",",
            "==",
            "=",
            "!=",
            "<",
            "<=",
            ">",
            ">=",
            "~",
            "'x'",
            "y",
            "5",
            "2e-6",
            "2020-01-07",
            "13:00",
        ]
    ),
    *(
        [
            "a",
            "phu.X",
            "tag.D",
            "$p",
            "$",
            "count(",
            "count(main)",
            "ad.phu.get('X')",
            "ad.tags",
            "true",
            "&",
            "!",
            "{}",
            "é",
        ]
    ),
    '"y',
    "\\",
    "\x00",
]


def refusal(text: str) -> RequestError | None:
    """Parse and evaluate with values of every kind; any other exception fails the test."""
    try:
        tree = parse(text)
        for value in (None, 5.0, "x", [1, 2], dt.date(2020, 1, 7), True):
            assert evaluate(tree, lambda _, v=value: v) in (True, False)
    except RequestError as error:
        return error
    return None


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join) | st.text(max_size=60))
def test_any_text_gives_a_decision_or_a_request_error(text: str) -> None:
    error = refusal(text)
    assert error is None or all(p.what and p.why and p.fix for p in error.problems)


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["<", "<=", "==", "!="]))
def test_numbers_mean_what_they_say(number: float, op: str) -> None:
    expected = {"<": number > 1.5, "<=": number >= 1.5, "==": number == 1.5, "!=": number != 1.5}
    assert evaluate(parse(f"a {op} {number!r}"), lambda _: 1.5) is expected[op]


@given(st.text(max_size=20))
def test_quoted_text_survives(text: str) -> None:
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    assert evaluate(parse(f"object == {quoted}"), lambda _: text)
