"""Tags of an F2 file, as rules over its primary header (spec: instrument, section 2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from f2yaml.interpreter.errors import NotSupported
from f2yaml.interpreter.f2.values import number, raw, text
from f2yaml.interpreter.headers import Headers
from f2yaml.schema.problems import RequestError, did_you_mean

if TYPE_CHECKING:
    from astropy.io.fits import Header

Condition = Callable[["Header"], bool]


def _set(tags: str) -> frozenset[str]:
    return frozenset(tags.split())


@dataclass(frozen=True, slots=True)
class TagRule:
    """Propose `tags` when a condition holds (spec: instrument, section 2.1).

    `blocks`: tags that no later rule may add. `blocked_by`: void if any of these is set already.
    `if_present`: needs all of these to be set already. A rule that would add one blocked tag is
    dropped whole.
    """

    tags: frozenset[str]
    when: Condition
    blocks: frozenset[str] = frozenset()
    blocked_by: frozenset[str] = frozenset()
    if_present: frozenset[str] = frozenset()


def _rule(
    tags: str, when: Condition, *, blocks: str = "", blocked_by: str = "", if_present: str = ""
) -> TagRule:
    return TagRule(_set(tags), when, _set(blocks), _set(blocked_by), _set(if_present))


# conditions ---------------------------------------------------------------------------------
def _starts(header: Header, keys: Iterable[str], *beginnings: str) -> bool:
    return any((text(header, key) or "").startswith(beginnings) for key in keys)


def _equals(header: Header, keys: Iterable[str], *values: str) -> bool:
    return any(text(header, key) in values for key in keys)


def _any_key(header: Header, *keys: str) -> bool:
    return any(key in header for key in keys)


def _filled(header: Header, key: str) -> bool:
    return text(header, key) is not None


def _key_contains(header: Header, part: str) -> bool:
    return any(part in key for key in header)


def _site(header: Header, *names: str) -> bool:
    return (text(header, "OBSERVAT") or "").lower() in names


def _gemini(header: Header) -> bool:
    sites = {"gemini-north", "gemini-south"}
    return any((text(header, key) or "").lower() in sites for key in ("OBSERVAT", "TELESCOP"))


def _grism_in(header: Header) -> bool:
    return _starts(header, ("GRISM", "GRISMPOS"), "JH", "HK", "R3K")


def _slit_in(header: Header) -> bool:
    return _equals(header, ("DECKER", "DCKERPOS"), "Long_slit") or bool(
        re.match(r".?pix-slit", text(header, "MOSPOS") or "")
    )


def _mos_in(header: Header) -> bool:
    return _equals(header, ("DECKER", "DCKERPOS"), "mos") or _starts(header, ("MOSPOS",), "mos")


def _open_grism(header: Header) -> bool:
    return _equals(header, ("GRISM", "GRISMPOS"), "Open")


def _twilight(header: Header) -> bool:
    return (text(header, "OBJECT") or "").lower() == "twilight"


def _tracked(header: Header) -> bool:
    return _equals(header, ("FRAME", "TRKFRAME"), "FK5", "APPT")


def _rates_zero(header: Header) -> bool:
    return number(header, "RATRACK") == 0.0 and number(header, "DECTRACK") == 0.0


def _azel(header: Header) -> bool:
    return _equals(header, ("FRAME",), "AZEL_TOPO")


def _lamp(header: Header, *names: str, shutter: str = "") -> bool:
    lamp = text(header, "GCALLAMP") or ""
    right = lamp in names or lamp.startswith("QH")
    return right and (not shutter or text(header, "GCALSHUT") == shutter)


def _no_lamp(header: Header) -> bool:
    # The literal mark matters here: a lamp wheel that says so, behind a closed shutter.
    return (
        str(raw(header, "GCALLAMP") or "").strip() == "No Value"
        and text(header, "GCALSHUT") == "CLOSED"
    )


def _processed(header: Header) -> bool:
    return _any_key(header, *(f"PROC{n}" for n in _PROC), "GBIAS", "GIFLAT", "GIFRINGE")


_PROC: Final = ("DARK", "FLAT", "ARC", "BIAS", "FRNG", "PNHL", "STND", "ILLM")

# rules --------------------------------------------------------------------------------------
F2_RULES: Final[tuple[TagRule, ...]] = (
    _rule("F2", lambda h: True),
    _rule(
        "DARK CAL",
        lambda h: (
            text(h, "OBSTYPE") == "DARK"
            or _starts(h, ("FILTER1", "FILTER2", "FILT1POS", "FILT2POS"), "DK")
        ),
        blocks="IMAGE SPECT",
    ),
    _rule("IMAGE", _open_grism),
    _rule("LS SPECT", lambda h: _slit_in(h) and _grism_in(h)),
    _rule("LS THRUSLIT", lambda h: _slit_in(h) and not _grism_in(h), if_present="IMAGE"),
    _rule("MOS SPECT", lambda h: _mos_in(h) and _grism_in(h)),
    _rule("MOS THRUSLIT", lambda h: _mos_in(h) and not _grism_in(h), if_present="IMAGE"),
    _rule("ARC CAL", lambda h: text(h, "OBSTYPE") == "ARC"),
    _rule("FLAT CAL", lambda h: text(h, "OBSTYPE") == "FLAT"),
    _rule("TWILIGHT CAL", lambda h: _twilight(h) and not _open_grism(h), blocks="FLAT"),
    _rule("TWILIGHT CAL", lambda h: _twilight(h) and _open_grism(h)),
    _rule("POL", lambda h: _starts(h, ("DISPERSR",), "DISP_WOLLASTON")),
    _rule("SPECT IFU", lambda h: _starts(h, ("DISPERSR",), "DISP_PRISM")),
    _rule("STANDARD CAL", lambda h: _filled(h, "PROCSTND")),
)

GEMINI_RULES: Final[tuple[TagRule, ...]] = (
    _rule("GEMINI", _gemini),
    _rule("SOUTH", lambda h: _site(h, "gemini-south")),
    _rule("NORTH", lambda h: _site(h, "gemini-north")),
    _rule("ACQUISITION", lambda h: _equals(h, ("OBSCLASS",), "acq", "acqCal")),
    _rule("AZEL_TARGET AT_ZENITH", lambda h: _azel(h) and number(h, "AIRMASS") == 1.0),
    _rule("AZEL_TARGET", lambda h: _azel(h) and number(h, "AIRMASS") != 1.0),
    _rule("SIDEREAL", lambda h: _tracked(h) and _rates_zero(h)),
    _rule("NON_SIDEREAL", lambda h: _tracked(h) and not _rates_zero(h)),
    _rule("GCALFLAT FLAT CAL", lambda h: _lamp(h, "IRhigh")),
    _rule(
        "GCAL_IR_ON LAMPON",
        lambda h: _lamp(h, "IRhigh", "IRlow", shutter="OPEN"),
        blocked_by="PROCESSED",
    ),
    _rule(
        "GCAL_IR_OFF LAMPOFF",
        lambda h: _lamp(h, "IRhigh", "IRlow", shutter="CLOSED"),
        blocked_by="PROCESSED PINHOLE",
    ),
    _rule("GCAL_IR_OFF LAMPOFF", _no_lamp, blocked_by="PROCESSED"),
    _rule("NODCHOP", lambda h: text(h, "DATATYPE") == "marked-nodandchop"),
    _rule(
        "BPM CAL PROCESSED",
        lambda h: _any_key(h, "BPMASK", "PROCBPM"),
        blocks="IMAGE SPECT NON_SIDEREAL AZEL_TARGET GCALFLAT LAMPON GCAL_IR_ON GCAL_IR_OFF DARK",
    ),
    _rule("MASK", lambda h: (text(h, "OBSTYPE") or "").upper() == "MASK", blocks="IMAGE SPECT"),
    _rule("RAW", lambda h: "GEM-TLM" not in h),
    _rule("PREPARED", lambda h: is_prepared(h)),
    _rule("UNPREPARED", lambda h: not is_prepared(h)),
    _rule("OVERSCAN_TRIMMED", lambda h: _key_contains(h, "TRIMOVER")),
    _rule("OVERSCAN_SUBTRACTED", lambda h: _key_contains(h, "SUBOVER")),
    _rule("PROCESSED", _processed),
    _rule(
        "PROCESSED_SCIENCE PROCESSED",
        lambda h: text(h, "OBSTYPE") == "OBJECT" and _any_key(h, "PROCSCI", "GMOSAIC"),
        blocks="RAW",
    ),
    _rule("FRINGE CAL", lambda h: _any_key(h, "GIFRINGE", "PROCFRNG")),
    _rule("EXTRACTED", lambda h: "EXTRACT" in h),
    _rule("TELLURIC CAL", lambda h: _filled(h, "PROCTELL")),
)

#: Every tag that a rule can give; OBSMODE can add others, for instruments that have it.
ALL_TAGS: Final[frozenset[str]] = frozenset().union(*(r.tags for r in (*F2_RULES, *GEMINI_RULES)))


def precedence(rule: TagRule) -> tuple[int, bool, bool]:
    """Return the key by which rules are asked in order: those that block others come first."""
    return -len(rule.blocks), bool(rule.blocked_by), bool(rule.if_present)


def _observing_mode(phu: Header) -> list[TagRule]:
    """Return the rule for OBSMODE, whose tags are its value: the one rule that is not constant."""
    mode = (text(phu, "OBSMODE") or "").upper()
    if not mode:
        return []
    return [_rule(mode if mode == "IMAGE" else f"{mode} SPECT", lambda h: True)]


def is_f2(phu: Header) -> bool:
    """Whether the header names F2 as the instrument (``Flam`` in files from before 2010)."""
    return (text(phu, "INSTRUME") or "").upper() in ("F2", "FLAM")


def is_prepared(phu: Header) -> bool:
    """Whether the file has been through prepare; the same as having the tag PREPARED."""
    return _key_contains(phu, "PREPAR")


def tags_of(phu: Header) -> frozenset[str]:
    """Return the tags of a file.

    Parameters
    ----------
    phu : Header
        Primary header. Missing keywords only mean that a rule does not apply.

    Returns
    -------
    frozenset of str
        Empty for a file that is neither from F2 nor from Gemini.
    """
    if is_f2(phu):
        rules = [*F2_RULES, *GEMINI_RULES, *_observing_mode(phu)]
    elif _gemini(phu):
        rules = [*GEMINI_RULES, *_observing_mode(phu)]
    else:
        return frozenset()
    rules.sort(key=precedence)
    tags: set[str] = set()
    blocked: set[str] = set()
    for rule in rules:
        if rule.tags & blocked or rule.blocked_by & tags or not rule.if_present <= tags:
            continue
        if rule.when(phu):
            tags |= rule.tags
            blocked |= rule.blocks
    return frozenset(tags)


def check_known(tags: Iterable[str]) -> None:
    """Raise `RequestError` for tags that no rule gives; case matters."""
    unknown = sorted(set(tags) - ALL_TAGS)
    if unknown:
        hints = [h for h in (did_you_mean(tag, ALL_TAGS) for tag in unknown) if h]
        raise RequestError(
            f"unknown tag{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}",
            "no file can have it, so the selection would be empty",
            " ".join(hints) or f"tags are {', '.join(sorted(ALL_TAGS))}",
        )


# what can be reduced ------------------------------------------------------------------------
REFUSED: Final[dict[str, str]] = {
    "SPECT": "a spectrum",
    "POL": "polarimetry",
    "IFU": "an integral-field frame",
    "MASK": "a mask design, not an exposure",
}
WARNED: Final[dict[str, str]] = {
    "ACQUISITION": "an acquisition image; it would be reduced as science",
    "THRUSLIT": "an image taken through a slit or mask; most of the field is dark",
}


def refuse_or_warn(headers: Headers) -> list[str]:
    """Refuse what f2yaml does not reduce; return warnings for what may be a mistake.

    An image through a slit or mask carries LS or MOS together with IMAGE and THRUSLIT: it gives a
    warning, a spectrum is refused.

    Raises
    ------
    NotSupported
        Another instrument, or a file tagged SPECT, LS, MOS, IFU, POL or MASK.
    """
    phu, name = headers.phu, headers.filename
    where = name or None
    if not is_f2(phu):
        instrument = text(phu, "INSTRUME") or "missing"
        raise NotSupported(
            f"INSTRUME is {instrument}, not F2",
            "f2yaml knows the detector and the optics of FLAMINGOS-2 only",
            "take the file out of the list",
            where,
        )
    tags = tags_of(phu)
    kinds = [words for tag, words in REFUSED.items() if tag in tags]
    if not kinds and tags & {"LS", "MOS"} and "THRUSLIT" not in tags:
        kinds = ["a long-slit or multi-object frame"]
    if kinds:
        raise NotSupported(
            f"it is {kinds[0]} (tags {' '.join(sorted(tags))})",
            "f2yaml reduces images",
            "take the file out of the list; DRAGONS reduces F2 long-slit spectra",
            where,
        )
    return [f"{name}: it is {words}" for tag, words in WARNED.items() if tag in tags]
