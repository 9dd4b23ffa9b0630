"""Every shipped recipe is bound and run with recorders in place of its primitives."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from f2_headers import raw_headers
from f2yaml.interpreter import registry
from f2yaml.interpreter.applies import check_applies
from f2yaml.interpreter.bind import Binder, bind_recipe
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import RecipeError, RequestError
from f2yaml.interpreter.events import FileWritten
from f2yaml.interpreter.fits import write_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import InMemory, Planes
from f2yaml.interpreter.plan import BoundStep, CallStep, PassStep, RequireStep
from f2yaml.interpreter.planning import bind
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.registry import AnyPrimitive, BetweenStreams, Group, PerFrame
from f2yaml.interpreter.resources import Finder
from f2yaml.interpreter.run import execute
from f2yaml.interpreter.settings import parse_overrides, parse_parameters
from f2yaml.schema.compose import load_recipe, shipped, shipped_root
from stubs import Library
from synthetic import frame, raw_frame

#: Primitives that make one frame of all.
STACKS = {"stackFrames", "stackDarks", "makeLampFlat"}

STANDARD = ["prepare", "addDQ", "ADUToElectrons", "addVAR", "nonlinearityCorrect"]
CALIBRATED = [*STANDARD, "darkCorrect", "flatCorrect"]
ALIGNED = [
    "adjustWCSToReference",
    "resampleToCommonFrame",
    "scaleCountsToReference",
    "stackFrames",
]
FIRST_MASKS = [
    "associateSky sky>sky",
    "skyCorrect sky>skysub",
    "detectSources skysub>skysub",
    "transferAttribute skysub>sky",
    "clearStream skysub>skysub",
]
FIRST_PASS = [
    "copyInputs main>flat_corrected",
    "separateSky main>main,sky",
    "? count(main) == count(flat_corrected)",
    *FIRST_MASKS,
    "associateSky main>main",
    "skyCorrect main>main",
    "detectSources main>main",
    "adjustWCSToReference main>main",
    "transferAttribute main>flat_corrected",
    "= main>inner",
    "resampleToCommonFrame inner>inner",
    "scaleCountsToReference inner>inner",
    "stackFrames inner>inner",
    "= inner>deep",
    "detectSources deep>deep",
    "transferObjectMask deep>flat_corrected",
    "copyInputs flat_corrected>main",
    "clearStream flat_corrected>flat_corrected",
]
LAST_PASS = [
    "separateSky main>main,sky",
    "associateSky main>main",
    "skyCorrect main>main",
    "detectSources main>main",
    "clearStream sky>sky",
    "adjustWCSToReference main>main",
    "resampleToCommonFrame main>main",
    "scaleCountsToReference main>main",
    "stackFrames main>main",
]


def on_main(names: Sequence[str]) -> list[str]:
    return [f"{name} main>main" for name in names]


#: What each recipe does, in order, and what it writes.
EXPECTED = {
    "makeProcessedDark": (on_main([*STANDARD, "stackDarks"]), ["S20200107S0001_dark.fits"]),
    "makeProcessedFlat": (
        on_main([*STANDARD, "makeLampFlat", "normalizeFlat", "thresholdFlatfield"]),
        ["S20200108S0001_flat.fits"],
    ),
    "makeProcessedBPM": (
        [
            *on_main(["prepare", "addDQ", "addVAR", "ADUToElectrons"]),
            "selectFromInputs main>darks",
            "selectFromInputs main>main",
            "stackFrames darks>dark",
            *on_main(["makeLampFlat", "normalizeFlat", "makeBPM"]),
        ],
        ["S20200108S0001_bpm.fits"],
    ),
    "makeSkyFlat": (
        [
            *on_main([*STANDARD, "darkCorrect"]),
            "stackFrames main>flat",
            "= flat>inner",
            "normalizeFlat inner>inner",
            "thresholdFlatfield inner>inner",
            "= inner>flat",
            "flatCorrectByStream main>flattened",
            "detectSources flattened>flattened",
            "dilateObjectMask flattened>flattened",
            "addObjectMaskToDQ flattened>flattened",
            "transferAttribute flattened>main",
            "clearStream flattened>flattened",
            "clearStream flat>flat",
            *on_main(["scaleByIntensity", "stackFrames"]),
            *on_main(["normalizeFlat", "thresholdFlatfield", "labelAsFlat"]),
        ],
        ["S20200104S0001_flat.fits"],
    ),
    "makeIRAFCompatible": (
        on_main(["makeIRAFCompatible"]),
        [f"S20200104S{n:04d}_irafCompatible.fits" for n in (1, 2, 3)],
    ),
    "alignAndStack": (
        on_main(["detectSources", *ALIGNED]),
        ["S20200104S0001_stack.fits"],
    ),
    "reduce": (
        [
            *on_main(CALIBRATED),
            "separateSky main>main,sky",
            *FIRST_MASKS,
            "associateSky main>main",
            "skyCorrect main>main",
            "detectSources main>main",
            "clearStream sky>sky",
            *on_main(ALIGNED),
        ],
        ["S20200104S0001_image.fits"],
    ),
    "checkWCS": (on_main(["checkWCS"]), []),
    "ultradeep": (
        [*on_main(CALIBRATED), *FIRST_PASS, *LAST_PASS],
        ["S20200104S0001_image.fits"],
    ),
    "ultradeep_part1": (
        on_main(CALIBRATED),
        [f"S20200104S{n:04d}_flatCorrected.fits" for n in (1, 2, 3)],
    ),
    "ultradeep_part2": (
        FIRST_PASS,
        [f"S20200104S{n:04d}_objmaskTransferred.fits" for n in (1, 2, 3)],
    ),
    "ultradeep_part3": (LAST_PASS, ["S20200104S0001_image.fits"]),
}


def inputs(name: str) -> list[Frame]:
    """Return three frames that a recipe is for."""
    kinds, label = {
        "makeProcessedDark": ("BBB", "20200107"),
        "makeProcessedFlat": ("CCC", "20200108"),
        "makeProcessedBPM": ("CCB", "20200108"),
    }.get(name, ("AAA", "20200104"))
    prepared = name in ("ultradeep_part2", "ultradeep_part3", "alignAndStack", "makeIRAFCompatible")
    made = []
    for n, kind in enumerate(kinds, 1):
        headers = raw_headers(kind, DHSLABEL=f"S{label}S{n:04d}")
        if prepared:
            headers.phu["PREPARE"] = headers.phu["GEM-TLM"] = "2020-01-05T00:00:00"
            headers.phu["ORIGNAME"] = headers.filename
        made.append(raw_frame(headers, np.full((4, 4), n)))
    return made


Call = tuple[str, dict[str, list[str]], Any, set[str]]


def outline(bound: Sequence[BoundStep]) -> list[str]:
    """Return the steps in short; the inner stream of an include is `inner`."""
    made = []
    for step in bound:
        match step:
            case CallStep():
                made.append(f"{step.primitive.name} {step.source}>{','.join(step.targets)}")
            case PassStep():
                made.append(f"= {step.source}>{step.target}")
            case RequireStep():
                made.append(f"? {step.condition.text}")
    return [re.sub(r"main\.\d+", "inner", line) for line in made]


def recorder(primitive: AnyPrimitive, calls: list[Call]) -> Callable[..., Any]:
    """Return a function that notes what it is given and does the least it can."""

    def note(frames: dict[str, list[str]], params: Any, resources: dict[str, Any]) -> None:
        calls.append((primitive.name, frames, params, set(resources)))

    def per_frame(frame: Frame, params: Any, **resources: Any) -> Frame:
        note({"from": [frame.root]}, params, resources)
        return frame

    def group(frames: Sequence[Frame], params: Any, **resources: Any) -> list[Frame]:
        note({"from": [f.root for f in frames]}, params, resources)
        return list(frames[:1] if primitive.name in STACKS else frames)

    def between(streams: Any, params: Any, **resources: Any) -> dict[str, Sequence[Frame]]:
        note({n: [f.root for f in s] for n, s in streams.items()}, params, resources)
        assert isinstance(primitive, BetweenStreams)
        if primitive.name == "clearStream":
            return {"from": []}
        kept = streams["to"] if primitive.updates else streams["from"]
        return dict.fromkeys(primitive.fills, kept)

    return {PerFrame: per_frame, Group: group, BetweenStreams: between}[type(primitive)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    registry.load()
    made: list[Call] = []
    stubs = {
        name: replace(p, function=recorder(p, made), check=None)
        for name, p in registry._REGISTRY.items()
    }
    monkeypatch.setattr(registry, "_REGISTRY", stubs)
    return made


@pytest.fixture
def library(tmp_path: Path) -> Library:
    path = tmp_path / "calibration.fits"
    held = InMemory(Planes(np.zeros((4, 4), np.float32)).freeze())
    write_frame(replace(frame(np.zeros((4, 4))), pixels=held), path)
    return Library({"processed_dark": path, "processed_flat": path})


def run(name: str, library: Library, folder: Path, *p: str, param: Sequence[str] = ()) -> Any:
    recipe = load_recipe(name)
    finder = Finder(library, {})  # type: ignore[arg-type]
    plan = bind(recipe, inputs(name), finder, parse_overrides(p), parse_parameters(param))
    writer = Writer(folder / "out")
    writer.check()
    events: list[Any] = []
    execution = execute(plan, Engine(), writer, events.append)
    return plan, execution, [e for e in events if isinstance(e, FileWritten)]


def test_every_shipped_recipe_is_tested() -> None:
    assert set(shipped()) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_steps_streams_and_products(
    name: str, calls: list[Call], library: Library, tmp_path: Path
) -> None:
    plan, _, files = run(name, library, tmp_path)
    steps, products = EXPECTED[name]
    assert outline(plan.steps) == steps
    assert [f.path.name for f in files] == products
    given: dict[str, list[list[str]]] = {}
    for step, frames, _, _ in calls:
        given.setdefault(step, []).append([root[-1] for root in frames["from"]])
    assert given == followed(steps)


def followed(steps: Sequence[str]) -> dict[str, list[list[str]]]:
    """Return the frames that each primitive gets, call by call, from the steps in short."""
    streams: dict[str, list[str]] = {"main": [*"123"]}
    given: dict[str, list[list[str]]] = {}
    for line in steps:
        name, _, rest = line.partition(" ")
        if name == "?":
            continue
        source, _, targets = rest.partition(">")
        frames = streams[source]
        if name != "=":
            single = isinstance(registry.find(name), PerFrame)
            given.setdefault(name, []).extend([[f] for f in frames] if single else [frames])
        if name in ("transferAttribute", "transferObjectMask"):
            continue
        made = [] if name == "clearStream" else frames[:1] if name in STACKS else frames
        streams.update(dict.fromkeys(targets.split(","), made))
    return given


@pytest.mark.parametrize("name", ["reduce", "ultradeep", "ultradeep_part3", "alignAndStack"])
def test_a_catalogue_adds_steps_at_the_end(name: str) -> None:
    bound = Binder(load_recipe(name), (), {"catalog": "stars.csv"}).bind()
    without = EXPECTED[name][0]
    added = [
        "addReferenceCatalog",
        "detectSources",
        "measureIQ",
        "determineAstrometricSolution",
        "measureCC",
    ]
    assert outline(bound) == [*without, *on_main(added)]
    solution = bound[-2]
    assert isinstance(solution, CallStep)
    assert solution.params.fallback == "header"


def test_calibration_products_are_stored_under_their_type(
    calls: list[Call], library: Library, tmp_path: Path
) -> None:
    kinds = {}
    for name in EXPECTED:
        _, _, files = run(name, library, tmp_path / name)
        kinds[name] = {f.kind for f in files}
    assert kinds == {
        "makeProcessedDark": {"processed_dark"},
        "makeProcessedFlat": {"processed_flat"},
        "makeProcessedBPM": {"processed_bpm"},
        "makeSkyFlat": {"processed_flat"},
        "makeIRAFCompatible": {""},
        "alignAndStack": {""},
        "reduce": {"processed_science"},
        "checkWCS": set(),
        "ultradeep": {"processed_science"},
        "ultradeep_part1": {""},
        "ultradeep_part2": {""},
        "ultradeep_part3": {"processed_science"},
    }


def test_what_each_step_of_ultradeep_is_given(
    calls: list[Call], library: Library, tmp_path: Path
) -> None:
    run("ultradeep", library, tmp_path, param=["dilation=4", "time=300", "min_skies=5"])
    by_name: dict[str, list[Call]] = {}
    for call in calls:
        by_name.setdefault(call[0], []).append(call)
    assert by_name["darkCorrect"][0][3] == {"dark", "allows"}
    assert by_name["flatCorrect"][0][3] == {"flat", "allows"}
    assert by_name["stackFrames"][0][3] == {"engine"}
    assert by_name["addDQ"][0][2].add_illum_mask is True
    three = [f"S20200104S{n:04d}" for n in (1, 2, 3)]
    assert {tuple(c[1]) for c in by_name["associateSky"]} == {("sky", "from")}
    assert [(c[2].time, c[2].min_skies) for c in by_name["associateSky"]] == [(300.0, 5)] * 3
    masks = [(c[2].mask_objects, c[2].dilation) for c in by_name["skyCorrect"]]
    assert masks == [(False, 2.0), (True, 4.0), (True, 4.0)]
    assert [c[2].attribute for c in by_name["transferAttribute"]] == ["OBJMASK", "wcs"]
    (transfer,) = by_name["transferObjectMask"]
    assert transfer[1] == {"from": three[:1], "to": three}
    assert [c[1]["from"] for c in by_name["stackFrames"]] == [three, three]


def test_the_recipes_differ_where_they_should(
    calls: list[Call], library: Library, tmp_path: Path
) -> None:
    run("makeProcessedDark", library, tmp_path)
    assert [c[2].add_illum_mask for c in calls if c[0] == "addDQ"] == [False] * 3
    calls.clear()
    run("checkWCS", library, tmp_path, param=["limit=2.5"])
    assert [c[2].limit_arcsec for c in calls] == [2.5]


def test_ultradeep_is_its_three_parts_in_turn() -> None:
    def steps(name: str) -> list[tuple[str, Any]]:
        bound = bind_recipe(load_recipe(name))
        params = [s.params if isinstance(s, CallStep) else None for s in bound]
        return list(zip(outline(bound), params, strict=True))

    parts = [s for n in (1, 2, 3) for s in steps(f"ultradeep_part{n}")]
    assert steps("ultradeep") == parts


@pytest.mark.parametrize("last", [1, -1])  # -1: as many frames of the target as skies
def test_ultradeep_stops_where_some_frames_are_sky_only(
    last: int, calls: list[Call], library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def apart(streams: Any, params: Any) -> dict[str, Sequence[Frame]]:
        return {"objects": streams["from"][:last], "skies": streams["from"][1:]}

    monkeypatch.setitem(
        registry._REGISTRY,
        "separateSky",
        replace(registry._REGISTRY["separateSky"], function=apart),
    )
    with pytest.raises(RequestError, match="ultradeep needs every frame on target"):
        run("ultradeep", library, tmp_path)
    assert not any((tmp_path / "out").iterdir())


def test_building_blocks_are_sound_on_their_own() -> None:
    for path in sorted((shipped_root() / "base").glob("*.yaml")):
        recipe = load_recipe(path)
        assert recipe.doc
        given = {"catalog": "stars.csv"} if "catalog" in recipe.parameters else {}
        binder = Binder(recipe, (), given)  # on_sky does nothing without
        with suppress(RecipeError):
            assert binder.bind()
        found = [p.what for p in binder.problems]
        # some read the stream `sky`, which their user fills
        assert [what for what in found if "reads the stream `sky`" not in what] == []


@pytest.mark.parametrize("mode", ["ql", "qa"])
def test_recipes_of_the_quick_modes_are_sound(mode: str) -> None:
    found = sorted((shipped_root() / mode).glob("*.yaml"))
    assert found
    for path in found:
        assert bind_recipe(load_recipe(path))


@pytest.mark.parametrize("name", EXPECTED)
def test_every_recipe_says_what_it_is_for(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.doc
    assert recipe.applies_to is not None
    check_applies(recipe, inputs(name))
    for output in recipe.outputs.values():
        assert output.doc
    for parameter in recipe.parameters.values():
        assert parameter.doc
