"""What pydantic says of a policy file, in words for the person who wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from monitor.policy.names import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

_EMPTY = {
    "filters": "A set of filters has at least one.",
    "overrides": "A set of overrides has at least one.",
    "rules": "Name at least one rule.",
}


def in_plain_english(error: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """(what is wrong, what to do) for one of pydantic's errors in a file that should be a ``model``."""
    key = str(error["loc"][-1]) if error["loc"] else "the file"
    kind, context, found = error["type"], error.get("ctx", {}), error["input"]
    if kind == "missing":
        return f"`{key}` is missing.", "Add it."
    if kind == "extra_forbidden":
        return f"there is no key `{key}` here.", suggestion(key, _known_keys(error["loc"], model))
    if kind == "literal_error":
        choices = [word.strip(" '") for word in context["expected"].replace(" or ", ", ").split(",")]
        return f"`{key}` cannot be {_quoted(found)}.", suggestion(str(found), choices)
    if kind == "string_type":
        return f"`{key}` must be text, found {_quoted(found)}.", "Put it in quotes."
    if kind == "int_type":
        return f"`{key}` must be a whole number, found {_quoted(found)}.", "Leave quotes and points out."
    if kind in {"list_type", "dict_type", "model_type"}:
        shape = "a list (lines that begin with `- `)" if kind == "list_type" else "a map (lines of `key: value`)"
        return f"`{key}` must be {shape}.", "Check the indentation."
    if kind == "value_error":
        said = f"{context['error']}."
        return (said[0].upper() + said[1:] if _is_whole(error["loc"]) else f"`{key}`: {said}"), ""
    if kind == "string_pattern_mismatch":
        shape = _SHAPES.get(key, "lower-case letters, digits and `_`")
        return f"`{key}` must be {shape}, found {_quoted(found)}.", ""
    if kind == "string_too_short":
        required = _is_required(error["loc"], model)
        return f"`{key}` is empty.", "Write something." if required else "Write something, or leave the key out."
    if kind == "too_short":
        return f"`{key}` is an empty list.", _EMPTY.get(key, "Add something.")
    if kind == "too_long":
        many, most = context["actual_length"] or "more", context["max_length"]
        return f"`{key}` has {many:,} entries, and may have {most:,}.", "Make several files of it."
    return f"`{key}`: {error['msg']}.", ""


_SHAPES = {
    "version": "three numbers such as 1.0.0",
    "timespan": "a number from 1 on and `s`, `m`, `h` or `d` for what it counts, such as `10m`",
}


def _is_whole(loc: Sequence[int | str]) -> bool:
    """Whether the error is about a whole file, filter or override, and not about one of its keys."""
    return not loc or isinstance(loc[-1], int)


def _known_keys(loc: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    """The keys of the map in which ``loc``'s last step stands."""
    return list(_map_of(loc, model).model_fields)


def _is_required(loc: Sequence[int | str], model: type[BaseModel]) -> bool:
    """Whether the map in which ``loc``'s last step stands must have that key."""
    field = _map_of(loc, model).model_fields.get(str(loc[-1]))
    return field is not None and field.is_required()


def _map_of(loc: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel]:
    here = model
    for step in loc[:-1]:
        if isinstance(step, str) and step in here.model_fields:
            here = _model_in(here.model_fields[step].annotation) or here
    return here


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _quoted(found: object) -> str:
    return f"`{str(found)[:60]}`"
