"""Faults inside FITS files: cut off, flipped, keywords and values, pixels, extensions."""

from __future__ import annotations

import struct

from faults.making import (
    CARD,
    HUGE_FRAME,
    Corpus,
    announcing,
    as_floats,
    axes,
    both,
    card,
    card_at,
    header,
    header_end,
    image,
    long_header,
    named,
    patched,
    pixels,
    spans,
    sparse,
    value,
    written,
)


def cut_off(c: Corpus) -> None:
    c.kind = "cut off"
    inside, cut = "ends inside the primary header", "ends inside the header of an extension"
    for name, size in (("one-byte", 1), ("in-first-card", 40), ("after-a-card", 80)):
        c.add(f"cut-{name}", lambda g, n=size: g[:n], "is not a FITS file" if size < 9 else inside)
    c.add("cut-in-header", lambda g: g[:7000], inside)
    c.add("cut-between-blocks", lambda g: g[:5760], inside)
    c.add("cut-before-header-padding", lambda g: g[: card_at(g, "END", 0) + 80], inside)
    c.add("cut-header-short-by-one", lambda g: g[: spans(g)[0] - 1], inside)
    c.add("cut-after-header", lambda g: g[: spans(g)[0]], "has no image extension")
    c.add("cut-in-word-xtension", lambda g: g[: spans(g)[0] + 4], "has no image extension")
    c.add("cut-in-extension-header", lambda g: g[: spans(g)[0] + 1000], cut)
    c.add("cut-between-extension-blocks", lambda g: g[: spans(g)[0] + 2880], cut)
    c.add("cut-extension-header-by-one", lambda g: g[: spans(g)[1] - 1], cut)
    for name, size in (
        ("before-data", 0),
        ("after-one-byte", 1),
        ("after-a-row", 512),
        ("in-data", 30001),
        ("at-a-block", 2880 * 10),
        ("data-short-by-one", 65535),
    ):
        c.run_only(f"cut-{name}", lambda g, n=size: g[: spans(g)[1] + n], "it is truncated: ")
    c.harmless("cut-in-padding", lambda g: g[:-100])
    c.add("cut-front", lambda g: g[2880:], "is not a FITS file")
    c.add("cut-middle", lambda g: g[:2880] + g[5760:14400] + g[17280:], "")


def flipped(c: Corpus) -> None:
    c.kind = "flipped bits and bytes"
    c.add("flip-first-byte", patched(0, b"\xd3"), "is not a FITS file")
    c.add("flip-simple", patched(0, b"TIMPLE"), "is not a FITS file")
    c.add("flip-simple-to-false", card("SIMPLE", f"SIMPLE  = {'F':>20s}"), "")
    c.add("flip-keyword", patched(80 * 20 + 1, b"\xc1"), "no printable ASCII character")
    c.add("flip-in-comment", patched(80 * 20 + 60, b"\x80"), "no printable ASCII character")
    c.add("flip-end", lambda g: g.replace(b"END     ", b"ENE     ", 1), "")
    c.add("flip-xtension", lambda g: g.replace(b"XTENSION", b"YTENSION", 1), "has no image ext")
    c.add("flip-image", lambda g: g.replace(b"'IMAGE   '", b"'IMAGF   '", 1), "has no image ext")
    c.add("flip-quote", card("OBJECT", "OBJECT  = 'Dark    "), "")
    c.run_only("flip-equals", card("EXPTIME", "EXPTIME :                  5.0"), "")
    c.add("zeros-in-header", patched(2880, bytes(2880)), "")
    c.add("zeros-from-the-start", lambda g: bytes(len(g)), "is not a FITS file")
    c.add("header-of-another-byte-order", lambda g: _swapped(g[:14400]) + g[14400:], "is not a FI")
    c.add("lines-for-cards", lambda g: _lines(g), "")
    c.harmless("flip-in-data", patched(5001, b"\x01", data=True))
    c.harmless("flip-in-padding", patched(65540, b"\xff", data=True))
    c.run_only("garbage-behind", lambda g: g + b"\xde\xad" * 1440, "goes on behind")


def _swapped(content: bytes) -> bytes:
    pairs = bytearray(content)
    pairs[::2], pairs[1::2] = content[1::2], content[::2]
    return bytes(pairs)


def _lines(content: bytes) -> bytes:
    """Return the file as an editor leaves it: cards without their blanks, a newline behind each."""
    end = header_end(content)
    cards = [content[at : at + CARD].rstrip() for at in range(0, end, CARD)]
    return b"\n".join(cards) + content[end:]


def axes_and_types(c: Corpus) -> None:
    c.kind = "absurd size or type of pixels"
    for text in ("0", "7", "24", "-16", "128", "99999999999", "'32'", "T", "32.5", ""):
        name = {"": "blank", "'32'": "text"}.get(text, text.replace(".", "p"))
        c.add(f"bitpix-{name}", value("BITPIX", text, 1), "")
    c.add("bitpix-of-the-primary", value("BITPIX", "0"), "")
    c.add("bitpix-64", value("BITPIX", "64", 1), "", seen=False)
    c.harmless("naxis-2", value("NAXIS", "2", 1))
    for text in ("-1", "0", "1", "4", "999", "1000000000", "'three'", "2.5", "NaN", "T"):
        name = text.strip("'").lower().replace(".", "p")
        c.add(f"naxis-{name}", value("NAXIS", text, 1), "")
    c.add("naxis-missing", card("NAXIS", None, 1), "")
    for text in ("0", "-128", "1", "129", "70000", "2147483648", "9223372036854775807", "1E300"):
        c.add(f"naxis1-{text}", value("NAXIS1", text, 1), "", seen=text in ("-128", "1E300"))
    long = "9" * 60
    c.run_only("naxis1-of-60-digits", card("NAXIS1", f"NAXIS1  = {long}", 1), "")
    c.add("naxis1-text", value("NAXIS1", "'many'", 1), "")
    c.add("naxis1-infinite", value("NAXIS1", "INF", 1), "")
    c.add("naxis2-missing", card("NAXIS2", None, 1), "")
    c.add("naxis1-twice", value("NAXIS1", "64", 1, instead="AMPDAC32"), "")
    c.run_only("naxis3-two", value("NAXIS3", "2", 1), "")
    c.put("naxis-huge-and-sparse", sparse(HUGE_FRAME, 20160 + 40000 * 40000 * 4), "", seen=False)
    c.put("primary-announces-an-exabyte", written(announcing(10**18)), "")
    c.put("primary-announces-more-than-a-number", written(announcing(10**19)), "")
    c.add("pcount-negative", value("PCOUNT", "-1", 1), "")
    c.add("pcount-huge", value("PCOUNT", "4000000000", 1), "")
    c.add("gcount-zero", value("GCOUNT", "0", 1), "")
    c.add("gcount-text", value("GCOUNT", "'one'", 1), "")
    c.run_only("bscale-zero", value("BSCALE", "0.0", 1, instead="AMPDAC01"), "")
    c.run_only("bzero-text", value("BZERO", "'none'", 1, instead="AMPDAC01"), "")
    c.run_only("bscale-infinite", value("BSCALE", "1E999", 1, instead="AMPDAC01"), "")


def missing(c: Corpus) -> None:
    c.kind = "missing keyword"
    c.run_only("no-exptime", card("EXPTIME", None), "has no keyword EXPTIME")
    c.run_only("no-lnrs", card("LNRS", None), "has no keyword LNRS")
    c.run_only("no-instrume", card("INSTRUME", None), "INSTRUME is missing, not F2")
    # a dark by its filter; one coadd; DATE and MJD-OBS stand in; LNRS decides; UTSTART stands in
    for key in ("OBSTYPE", "COADDS", "DATE-OBS", "READMODE"):
        c.harmless(f"no-{key.lower()}", card(key, None))
    c.harmless("no-ut", both(card("UT", None), card("TIME-OBS", None)))
    dates = ("DATE-OBS", "DATE", "UT", "TIME-OBS", "MJD-OBS", "UTSTART")
    c.run_only("no-date-at-all", both(*(card(k, None) for k in dates)), "")
    science = ("FILTER", "FILTER1", "FILTER2")
    c.run_only("no-filter", both(*(card(k, None) for k in science)), "", frame="science", status=2)
    c.run_only("no-poffset", card("POFFSET", None), "", frame="science")
    c.run_only("no-crval1", card("CRVAL1", None, 1), "", frame="science")
    c.run_only("no-cd", card("CD1_2", None, 1), "", frame="science")
    c.run_only("no-ctype", card("CTYPE1", None, 1), "", frame="science")
    c.run_only("no-crpix2", card("CRPIX2", None, 1), "", frame="science")


def contradictory(c: Corpus) -> None:
    c.kind = "wrong or contradictory keyword"
    for name, key, text, more in (
        ("exptime-negative", "EXPTIME", "-5.0", {}),
        ("exptime-zero", "EXPTIME", "0.0", {}),
        ("exptime-text", "EXPTIME", "'five'", {}),
        ("exptime-flag", "EXPTIME", "T", {}),
        ("exptime-a-year", "EXPTIME", "3.2E7", {}),
        ("exptime-of-others", "EXPTIME", "2.0", {}),
        ("lnrs-three", "LNRS", "3", {}),
        ("lnrs-fraction", "LNRS", "1.5", {}),
        ("lnrs-against-readmode", "LNRS", "8", {}),
        ("readmode-unknown", "READMODE", "'Twilight'", {"status": 0}),
        ("coadds-zero", "COADDS", "0", {}),
        ("coadds-negative", "COADDS", "-1", {}),
        ("instrument-gnirs", "INSTRUME", "'GNIRS   '", {}),
        ("instrument-number", "INSTRUME", "2", {}),
        ("obstype-mask", "OBSTYPE", "'MASK    '", {}),
        ("date-no-date", "DATE-OBS", "'yesterday'", {"status": 0}),
        ("date-31-june", "DATE-OBS", "'2020-06-31'", {"status": 0}),
        ("date-year-10000", "DATE-OBS", "'10000-01-01'", {"status": 0}),
        ("ut-25-hours", "UT", "'25:00:00.0'", {"status": 0}),
        ("filter-not-of-f2", "FILTER2", "'U_G0308 '", {"frame": "science", "status": 2}),
        ("grism-in-the-beam", "GRISM", "'JH_G5801'", {"frame": "science", "status": 2}),
        ("poffset-text", "POFFSET", "'left'", {"frame": "science"}),
        ("poffset-a-degree", "POFFSET", "3600.0", {"frame": "science"}),
        ("pa-text", "PA", "'north'", {"status": 0, "frame": "science"}),
    ):
        c.run_only(name, value(key, text), "", **more)
    twice = value("EXPTIME", "2.0", instead="CHA_PID")
    c.run_only("exptime-twice", twice, "")
    for name, key, text in (
        ("crval-beyond", "CRVAL1", "1E30"),
        ("crval-of-another-field", "CRVAL1", "200.0"),
        ("crval-text", "CRVAL2", "'south'"),
        ("cd-singular", "CD1_2", "0.0"),
        ("cd-a-degree-a-pixel", "CD1_2", "1.0"),
        ("ctype-tnx", "CTYPE1", "'RA---TNX'"),
        ("crpix-far-off", "CRPIX1", "1E12"),
    ):
        c.run_only(name, value(key, text, 1), "", frame="science")


def no_numbers(c: Corpus) -> None:
    c.kind = "NaN and infinity"
    for name, key, text, hdu, frame in (
        ("exptime-nan", "EXPTIME", "NaN", 0, "dark"),
        ("exptime-nan-text", "EXPTIME", "'nan     '", 0, "dark"),
        ("exptime-infinite", "EXPTIME", "1E999", 0, "dark"),
        ("lnrs-infinite", "LNRS", "1E999", 0, "dark"),
        ("coadds-infinite", "COADDS", "1E999", 0, "dark"),
        ("crval-nan", "CRVAL1", "NaN", 1, "science"),
        ("crval-infinite", "CRVAL1", "1E999", 1, "science"),
        ("crpix-infinite", "CRPIX1", "-1E999", 1, "science"),
        ("cd-infinite", "CD1_2", "1E999", 1, "science"),
        ("poffset-infinite", "POFFSET", "1E999", 0, "science"),
    ):
        c.run_only(name, value(key, text, hdu), "", frame=frame)
    nan, infinite = struct.pack(">f", float("nan")), struct.pack(">f", float("inf"))
    even = "in every pixel"
    c.run_only("pixels-all-nan", pixels(-32, 4, nan), "has no pixel that is a number")
    c.run_only("pixels-all-infinite", pixels(-32, 4, infinite), "has no pixel that is a number")
    c.harmless(
        "pixels-some-nan",
        both(as_floats, patched(4000, nan * 50, data=True)),
    )
    c.run_only("pixels-of-1e300", pixels(-64, 8, struct.pack(">d", 1e300)), even)
    c.run_only("pixels-lowest-integer", pixels(32, 4, struct.pack(">i", -(2**31))), even)


def extensions(c: Corpus) -> None:
    c.kind = "headers and extensions without end"
    c.add("no-end", lambda g: g.replace(b"END     ", b"        "), "")
    c.add("no-end-and-long", lambda g: g[:2880] * 1200, "")
    c.add("header-of-100000-cards", long_header(100_000), "")
    c.harmless("header-of-10000-cards", long_header(10_000))
    c.add("10000-extensions", lambda g: g + image("MORE") * 10_000, "", seen=False)
    c.add("300-extensions-before", lambda g: g[:14400] + _table() * 300 + g[14400:], "")
    c.add(
        "image-in-the-primary", lambda g: header("SIMPLE  = T", *axes(32, 8, 8)) + bytes(2880), ""
    )
    c.add("table-only", lambda g: g[:14400] + _table(), "has no image extension")
    c.add("sci-twice", lambda g: named("SCI", image("SCI", 128))(g), "", seen=False)
    c.add("var-twice", lambda g: named("SCI", image("VAR", 128) * 2)(g), "", seen=False)
    c.add("var-of-another-size", lambda g: named("SCI", image("VAR", 64))(g), "", seen=False)
    c.add("dq-cut-off", lambda g: named("SCI", image("DQ", 128)[:9000])(g), "", seen=False)
    c.add("unnamed-twice", lambda g: g + g[14400:], "", seen=False)
    c.add("objcat-is-an-image", lambda g: named("SCI", image("OBJCAT"))(g), "", seen=False)
    c.add("history-is-an-image", lambda g: named("SCI", image("HISTORY"))(g), "", seen=False)
    c.add("extension-header-broken", lambda g: g + b"XTENSION" + b"\xff" * 5000, "", seen=False)


def _table() -> bytes:
    return header(
        "XTENSION= 'BINTABLE'", *axes(8, 4, 1), "PCOUNT  = 0", "GCOUNT  = 1", "TFIELDS = 1",
        "TFORM1  = '1J      '",
    ) + bytes(2880)  # fmt: skip
