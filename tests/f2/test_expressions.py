"""Expressions on descriptors: the forms users write, tolerances and pretty names."""

from __future__ import annotations

import pytest
from f2_headers import raw_headers
from f2yaml.interpreter.expressions import matches, words
from f2yaml.schema.problems import RequestError


@pytest.mark.parametrize(
    ("kind", "expr", "expected"),
    [
        ("A", "exposure_time==5", True),
        ("A", "exposure_time == 5.04", True),
        ("A", "exposure_time=5", True),
        ("A", "(exposure_time==5.04)", True),
        ("A", "5 == exposure_time", True),
        ("A", "exposure_time in [2, 5]", True),
        ("A", "exposure_time>=5.01", False),
        ("A", "1 < exposure_time <= 5", True),
        ("A", "filter_name=='K-red'", True),
        ("A", "(filter_name=='K-red')", True),
        ("A", "filter_name==K-red", True),
        ("A", "filter_name!='H'", True),
        ("A", "filter_name ~ 'K*'", True),
        ("B", "not filter_name=='dark'", False),
        ("D", "exposure_time>0 and (filter_name=='Y' or filter_name=='K-red')", True),
        ("D", "filter_name=='YJH'", True),
        ("D", "filter_name!='YJH'", False),
        ("A", "effective_wavelength>2e-6", True),
        ("B", "effective_wavelength>2e-6", False),
        ("B", "effective_wavelength is none", True),
        ("A", "central_wavelength==2.20001e-6", True),
        ("A", "central_wavelength==2.2001e-6", False),
        ("A", "ut_date=='2020-01-04'", True),
        ("A", "ut_date=='20200104'", True),
        ("A", "ut_time>'06:30' and ut_time<'06:31:00.5'", True),
        ("B", "ut_datetime>='2020-01-07 13:00:00'", True),
        ("B", "ut_datetime>='2020-01-07T14:00:01'", False),
        ("A", "gain==[4.44]", True),
        ("A", "gain==4.44", True),
        ("A", "read_mode=='1'", True),
        ("A", "observation_class=='science'", True),
        ("A", "phu.LNRS == 1", True),
        ("A", "hdr.CTYPE1 == 'RA---TAN'", True),
        ("A", "hdr.OBJECT == 'Field-1'", True),
        ("B", "phu.POFFSET is none", True),
        ("B", "phu.FRAME is none", True),
        ("B", "phu.POFFSET < 0", False),
        ("A", "ad.phu.get('LNRS')<3", True),
        ("A", "'SIDEREAL' in ad.tags", True),
        ("A", "tag.IMAGE and not tag.CAL", True),
        ("A", "True", True),
    ],
)
def test_what_users_write(kind: str, expr: str, expected: bool) -> None:
    assert matches(raw_headers(kind), expr=expr) is expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(5.04, True), (5.05, True), (5.06, False), (4.94, False)]
)
def test_exposure_times_agree_within_a_percent_of_what_is_asked(
    seconds: float, expected: bool
) -> None:
    headers = raw_headers("A", EXPTIME=seconds)
    assert matches(headers, expr="exposure_time==5") is expected
    assert matches(headers, expr="not (exposure_time==5)") is not expected
    assert matches(headers, expr="exposure_time==5", strict=True) is False


def test_strict_takes_full_names() -> None:
    science = raw_headers("A")
    assert matches(science, expr="filter_name=='Open&K-red_G0815'", strict=True)
    assert not matches(science, expr="filter_name=='K-red'", strict=True)
    assert not matches(science, expr="filter_name=='Open&K-red_G0815'")


def test_tags() -> None:
    flat = raw_headers("D")
    assert matches(flat, tags=["FLAT", "LAMPON"], xtags=["PROCESSED"])
    assert not matches(flat, tags=["FLAT"], xtags=["LAMPON"])
    with pytest.raises(RequestError, match="did you mean `LAMPON`"):
        matches(flat, xtags=["LAMPONN"])


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        ("exposure_tme == 5", "did you mean `exposure_time`"),
        ("tag.DRAK", "did you mean `DARK`"),
        ("exposure_time ==", "expression:1"),
        ("__import__('pathlib').Path('x').touch()is None", "never run as a program"),
        ("count(main) > 3", "cannot be used here"),
        ("$dilation > 3", "cannot be used here"),
        ("exposure_time", "neither true nor false"),
    ],
)
def test_faulty_expressions(expr: str, reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        matches(raw_headers("A"), expr=expr)
    assert reason in caught.value.render()


def test_comma_lists() -> None:
    assert words("CAL, FLAT") == ("CAL", "FLAT")
    assert words(["CAL", "FLAT,DARK"]) == ("CAL", "FLAT", "DARK")
    assert words(None) == ()
    with pytest.raises(RequestError, match="empty entry"):
        words("CAL,,FLAT")
