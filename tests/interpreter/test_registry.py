"""Primitives are declared once; everything else is read from the declaration."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from f2yaml.interpreter import registry
from f2yaml.interpreter.errors import RecipeError
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.registry import (
    AnyPrimitive,
    BetweenStreams,
    Group,
    Params,
    PerFrame,
    find,
    primitives,
)
from f2yaml.interpreter.resources import DERIVED, FROM_RUNNER, KINDS
from pydantic import ValidationError

#: Spec, primitives 17.1: suffix, time stamps, whether a second run is refused. Departures: prepare
#: stamps its parts and is guarded itself; addVAR is guarded by its stamp; makeLampFlat and
#: scaleByIntensity stamp what they do.
SPECIFIED = {
    "prepare": (
        "_prepared",
        ("PREPARE", "VALDATA", "SDZSTRUC", "SDZHDRSG", "SDZHDRSI", "SDZWCS"),
        True,
    ),
    "checkWCS": ("", (), False),
    "addDQ": ("_dqAdded", ("ADDDQ",), True),
    "ADUToElectrons": ("_ADUToElectrons", ("ADUTOELE",), True),
    "addVAR": ("_varAdded", ("ADDVAR",), True),
    "nonlinearityCorrect": ("_nonlinearityCorrected", ("LINCORR",), True),
    "darkCorrect": ("_darkCorrected", ("DARKCORR",), True),
    "flatCorrect": ("_flatCorrected", ("FLATCORR",), True),
    "stackDarks": ("_stack", ("STACKFRM",), False),
    "makeLampFlat": ("_lampstack", ("STACKFRM",), False),
    "normalizeFlat": ("_normalized", ("NORMLIZE",), True),
    "thresholdFlatfield": ("_thresholdFlatfielded", ("TRHFLAT",), True),
    "separateSky": ("_skySeparated", ("SEPSKY",), False),
    "associateSky": ("_skyAssociated", ("ASSOCSKY",), False),
    "skyCorrect": ("_skyCorrected", ("SUBSKY",), False),
    "detectSources": ("_sourcesDetected", ("DETECSRC",), False),
    "dilateObjectMask": ("_objmaskDilated", ("DLOBJMSK",), False),
    "transferObjectMask": ("_objmaskTransferred", (), False),
    "transferAttribute": ("_attributeTransferred", (), False),
    "adjustWCSToReference": ("_wcsCorrected", ("CORRWCS",), False),
    "resampleToCommonFrame": ("_align", ("ALIGN",), False),
    "scaleCountsToReference": ("_countsScaled", ("SCALEOBJ",), False),
    "stackFrames": ("_stack", ("STACKFRM",), False),
    "scaleByIntensity": ("_scaled", ("SCALEINT",), False),
    "addIllumMaskToDQ": ("_illumMaskAdded", ("ADILLMSK",), True),
    "makeBPM": ("_bpm", ("BPMASK",), False),
    "addObjectMaskToDQ": ("_objectMaskAdded", (), False),
    "stackSkyFrames": ("_skyStacked", ("STACKFRM",), False),
    "subtractSky": ("_skySubtracted", ("SUBSKY",), True),
    "stackFlats": ("_stack", ("STACKFRM",), False),
    "addReferenceCatalog": ("_refcatAdded", ("ADDRECAT",), False),
    "determineAstrometricSolution": ("_astrometryCorrected", ("ASTRMTRY",), False),
    "measureBG": ("_bgMeasured", ("MEASREBG",), False),
    "measureIQ": ("_iqMeasured", ("MEASREIQ",), False),
    "measureCC": ("_ccMeasured", ("MEASRECC",), False),
    "makeIRAFCompatible": ("_irafCompatible", ("IRAFCOMP",), False),
    "flatCorrectByStream": ("_flatCorrected", ("FLATCORR",), False),  # ours, as those below
    "labelAsFlat": ("", ("SKYFLAT",), False),
    "addLatencyToDQ": ("_latencyAdded", ("ADLATNCY",), False),
    "copyInputs": ("", (), False),
    "clearStream": ("", (), False),
    "selectFromInputs": ("", (), False),
}
EVERY = [pytest.param(p, id=p.name) for p in primitives()]


def test_suffixes_and_stamps_are_those_of_the_specification() -> None:
    made = {p.name: (p.suffix, p.stamps, bool(p.guard)) for p in primitives()}
    assert len(made) >= 26
    assert made == {name: SPECIFIED.get(name) for name in made}


def test_a_guard_is_the_first_stamp() -> None:
    assert find("prepare").guard == "PREPARE"
    assert find("addDQ").guard == "ADDDQ"
    assert find("stackFrames").guard == ""


@pytest.mark.parametrize("primitive", EVERY)
def test_every_primitive_says_what_it_does_and_where_that_is_from(primitive: AnyPrimitive) -> None:
    assert re.fullmatch(r"[A-Z].*\.", primitive.summary)
    assert "\nReferences\n----------\n" in primitive.doc
    assert "Spec: primitives" in primitive.doc
    if "raise " in primitive.summary:
        assert "\nRaises\n------\n" in primitive.doc


@pytest.mark.parametrize("primitive", EVERY)
def test_every_parameter_says_what_it_means(primitive: AnyPrimitive) -> None:
    assert (primitive.params.__doc__ or "").startswith("Parameters of ``")
    for name, info in primitive.params.model_fields.items():
        assert info.description, name


@pytest.mark.parametrize("primitive", EVERY)
def test_defaults_are_values_that_would_be_accepted(primitive: AnyPrimitive) -> None:
    fields = primitive.params.model_fields
    given = {n: i.get_default() for n, i in fields.items() if not i.is_required()}
    if len(given) == len(fields):
        assert primitive.params(**given) == primitive.params()
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        primitive.params(**given, no_such_parameter=1)


@pytest.mark.parametrize("primitive", EVERY)
def test_every_resource_can_be_found(primitive: AnyPrimitive) -> None:
    for name in primitive.resources:
        if name not in FROM_RUNNER and name not in DERIVED:
            kind = KINDS[name]
            assert kind.parameter in primitive.params.model_fields


def test_what_a_primitive_needs_is_read_from_its_signature() -> None:
    assert find("darkCorrect").resources == ("dark", "allows")
    assert find("addDQ").resources == ("bpm", "user_bpm", "illum_mask")
    assert find("makeLampFlat").resources == ("dark", "engine", "allows")
    assert find("addVAR").resources == ()
    assert find("stackFrames").params.__name__ == "StackFrames"
    assert find("stackFrames").family == "stack"


def test_kinds() -> None:
    kinds = {p.name: type(p) for p in primitives()}
    assert kinds["prepare"] is PerFrame
    assert kinds["stackFrames"] is Group
    assert kinds["skyCorrect"] is BetweenStreams
    detect, check, transfer = map(find, ("detectSources", "checkWCS", "transferObjectMask"))
    assert isinstance(detect, PerFrame)
    assert isinstance(check, Group)
    assert check.headers_only
    assert isinstance(transfer, BetweenStreams)
    assert transfer.updates
    separate = find("separateSky")
    assert isinstance(separate, BetweenStreams)
    assert separate.fills == ("objects", "skies")


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(RecipeError, match=r"no primitive `stackFrame`.*") as error:
        find("stackFrame")
    assert "did you mean `stackFrames`?" in str(error.value)
    with pytest.raises(RecipeError, match="`f2yaml show` lists all primitives"):
        find("xyz")


class Twice(Params):
    """Parameters of ``twice``."""

    by: int = 2


def twice(frames: Sequence[Frame], params: Twice, *, engine: object = None) -> list[Frame]:
    """Return every frame twice."""
    return [*frames, *frames]


def test_a_declaration_returns_the_function_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", {})
    declared = registry.group("twice", suffix="_twice", stamps=("A", "B"), guard=True)(twice)
    assert declared is twice
    made = registry._REGISTRY["twice"]
    assert (made.params, made.resources, made.guard) == (Twice, ("engine",), "A")
    assert made.summary == "Return every frame twice."


def test_two_primitives_of_one_name_are_our_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    with pytest.raises(RuntimeError, match="two primitives are called stackFrames"):
        registry.group("stackFrames")(twice)


def test_parameters_are_strict_and_frozen() -> None:
    with pytest.raises(ValidationError, match="should be a valid integer"):
        Twice(by="3")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="frozen"):
        Twice().by = 3  # type: ignore[misc]
