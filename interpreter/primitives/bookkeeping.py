"""Streams: copying, clearing, choosing, and carrying attributes between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.registry import Params, Reported, Streams, between_streams, group
from pydantic import Field


class CopyInputs(Params):
    """Parameters of ``copyInputs``: none."""


@group("copyInputs", headers_only=True)
def copy_inputs(frames: Sequence[Frame], params: CopyInputs) -> list[Frame]:
    """Give the frames of a stream a second name; frames never change, so nothing is copied.

    References
    ----------
    Spec: primitives, section 12.
    """
    return list(frames)


class ClearStream(Params):
    """Parameters of ``clearStream``: none."""


@between_streams("clearStream", fills=("from",), headers_only=True)
def clear_stream(streams: Streams, params: ClearStream) -> Streams:
    """Forget the frames of a stream, so that their memory is free.

    References
    ----------
    Spec: primitives, section 12.
    """
    return {"from": []}


class SelectFromInputs(Params):
    """Parameters of ``selectFromInputs``."""

    tags: list[str] = Field(description="keep frames that have one of these tags")


@group("selectFromInputs", headers_only=True)
def select_from_inputs(frames: Sequence[Frame], params: SelectFromInputs) -> list[Frame]:
    """Keep the frames that have one of the tags.

    References
    ----------
    Spec: primitives 7.6.
    """
    return [frame for frame in frames if frame.tags & set(params.tags)]


class TransferAttribute(Params):
    """Parameters of ``transferAttribute``."""

    attribute: Literal["wcs", "OBJMASK", "OBJCAT", "mask"] = Field(
        description="what is carried: world coordinates, object mask, source table or DQ plane"
    )


@between_streams("transferAttribute", suffix="_attributeTransferred", updates=True)
def transfer_attribute(streams: Streams, params: TransferAttribute) -> Reported:
    """Carry an attribute of the frames of one stream to the frames of another.

    Parameters
    ----------
    streams : ``from`` with one frame, or as many as ``to``; ``to`` with the frames that get it
    params : TransferAttribute

    Raises
    ------
    TooFewFrames
        The numbers do not fit.
    FrameMismatch
        A frame lacks the attribute, or frames of different exposures would be paired.

    References
    ----------
    Spec: primitives, section 12. Frames are paired by exposure, and what DRAGONS only warns about
    is an error.
    """
    sources, targets = streams["from"], streams["to"]
    if not targets or len(sources) not in (1, len(targets)):
        raise TooFewFrames(
            f"transferAttribute has {len(sources)} frames to take from and {len(targets)} to give",
            "it needs one, or the same number",
            "check `from` and `to` of the step",
        )
    by_root = {frame.root: frame for frame in sources}
    made = []
    for target in targets:
        source = sources[0] if len(sources) == 1 else by_root.get(target.root)
        if source is None:
            raise FrameMismatch(
                f"transferAttribute: {target.name} has no counterpart",
                "attributes are carried between frames of the same exposure",
                "check `from` and `to` of the step",
            )
        made.append(_carry(source, target, params.attribute))
    return Reported({"to": made})


def _carry(source: Frame, target: Frame, attribute: str) -> Frame:
    if attribute == "wcs":
        # How they were found goes with them.
        found = {key: source.phu.get(key) for key in ("WCSDX", "WCSDY", "ALIGNBY")}
        told = {key: value for key, value in found.items() if value is not None}
        return target.with_wcs(source.wcs).with_cards(phu=told)
    if attribute == "OBJCAT" and source.objcat is not None:
        return replace(target, objcat=source.objcat)
    plane = {"OBJMASK": "objmask", "mask": "mask"}.get(attribute, "")
    if not plane or not source.has(plane):
        raise FrameMismatch(
            f"transferAttribute: {source.name} has no {attribute}",
            "later steps rely on it",
            "run the step that makes it (detectSources makes OBJMASK and OBJCAT) before",
        )
    return target.with_(**{plane: getattr(source, plane)})
