"""Small changes to what stands under ``tree`` and ``taint``, each of which a good set of tests should notice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.policy.run_schema import ANY, FOUND, LEAST, NEGATIVE, POSITIVE, SMALLEST_LEAST, STAND_INS

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_LEAST = 1_000
_NEARLY_NOTHING = math.ulp(0.0)
_OTHER_RELATION = {
    "parent": {
        "ancestor": "a run in which it has such an ancestor that is not right above (`expect: no_match`)",
        "child": "the run turned round, with the other one below (`expect: no_match`)",
    },
    "ancestor": {"parent": "a run in which it has such an ancestor that is not right above (`expect: match`)"},
    "child": {"parent": "the run turned round, with the other one above (`expect: no_match`)"},
    "sibling": {"parent": "a run in which such a one stands right above, and not beside (`expect: no_match`)"},
    "without-parent": {
        "without-ancestor": "a run in which it has such an ancestor that is not right above (`expect: match`)",
        "parent": "a run in which such a parent was judged before (`expect: no_match`), and one without",
    },
    "without-ancestor": {
        "without-parent": "a run in which it has such an ancestor that is not right above (`expect: no_match`)",
        "ancestor": "a run in which such an ancestor was judged before (`expect: no_match`), and one without",
    },
    "without-sibling": {
        "sibling": "a run in which such a sibling was judged before (`expect: no_match`), and one without"
    },
}
"""What each relation is made, and what test would notice that."""
_ALL_OF_IT = ["data", "written"]


class Change(NamedTuple):
    """A change of one key. ``place`` is where it stands below the rule's kind; ``kind`` is what the changed rule has
    (``correlation``, ``tree``, ``taint``), and ``form`` what stands there.
    """

    name: str
    place: list[str | int]
    what: str
    advice: str
    kind: str
    form: dict[str, Any]


def tree_changes(form: dict[str, Any]) -> Iterator[Change]:
    """The relation made another, or not asked for; each part made ``any``; each field of ``same`` and ``unsaid-in``
    dropped, and ``what``; each number of ``share`` left out, and what just reaches it made too little.
    """
    relation = next((key for key in _relations() if key in form), "")
    rest = {key: value for key, value in form.items() if key != relation}
    for other, missing in _OTHER_RELATION.get(relation, {}).items():
        what, advice = f"turning `{relation}` into `{other}`", f"add {missing}."
        changed = {**rest, other: form[relation]}
        yield Change("relation", [relation], what, advice, "tree", changed)
    yield from _apart(form, relation)
    yield from _parts(form, ("this", relation) if relation else ("this",), "tree")
    for key in ("same", "unsaid-in"):
        yield from _fields(form, key, "tree")
    if "what" in form:
        advice = "add a run in which what `this` found was said, and what the field holds was not."
        yield Change("field", ["what"], "leaving `what` out", advice, "tree", _without(form, "what"))
    for key in ("gte", "least") if "share" in form else ():
        value = form["share"][key]
        advice = f"add a run that has too little for `{key}` alone (`expect: no_match`)."
        yield _share(form, key, _NEARLY_NOTHING, f"leaving `{key}` of `share` out", advice)
        advice = f"add a run that stands exactly at `{key}` (`expect: match`)."
        yield _share(form, key, math.nextafter(value, math.inf), f"asking for more than `{key}` of `share`", advice)


def taint_changes(form: dict[str, Any]) -> Iterator[Change]:
    """Each part made ``any``; each field of ``from`` and ``into`` dropped, ``found`` made all that there is; ``least``
    halved and doubled.
    """
    yield from _parts(form, ("source", "sink"), "taint")
    for key in ("from", "into"):
        yield from _fields(form, key, "taint")
    if form.get("from") == [FOUND]:
        advice = (
            f"add a run in which something else of what `{form['source']}` matches gets there (`expect: no_match`)."
        )
        what = "marking all that is read and written, and not what was `found`"
        yield Change("field", ["from"], what, advice, "taint", {**form, "from": _ALL_OF_IT})
    least = form.get("least", LEAST)
    if least // 2 >= SMALLEST_LEAST:
        advice = f"add a run in which {least // 2} to {least - 1} codepoints get there (`expect: no_match`)."
        yield Change("least", ["least"], "halving `least`", advice, "taint", {**form, "least": least // 2})
    if 2 * least <= _LONGEST_LEAST:
        advice = f"add a run in which {least} to {2 * least - 1} codepoints get there (`expect: match`)."
        yield Change("least", ["least"], "doubling `least`", advice, "taint", {**form, "least": 2 * least})


def _relations() -> Iterator[str]:
    for key in (*POSITIVE, *NEGATIVE):
        yield key.replace("_", "-")


def _apart(form: dict[str, Any], relation: str) -> Iterator[Change]:
    """The rule without its relation, where a correlation of its parts says that."""
    this, other = form["this"], form.get(relation)
    if this in STAND_INS or form.keys() - {"this", relation}:
        return
    if relation.startswith("without-"):
        advice = f"add a run in which it is there (`expect: no_match`): a `{other}` that was judged before."
        changed = {"type": "event_count", "rules": [this], "condition": {"gte": 1}}
        yield Change("relation", [relation], f"leaving `{relation}` out", advice, "correlation", changed)
    elif other not in {*STAND_INS, this, None}:
        advice = f"add a run that has both, and not as {relation} (`expect: no_match`)."
        changed = {"type": "temporal", "rules": [this, other]}
        what = f"asking for both in the run, whether `{relation}` or not"
        yield Change("relation", [relation], what, advice, "correlation", changed)


def _parts(form: dict[str, Any], keys: tuple[str, ...], kind: str) -> Iterator[Change]:
    for key in keys:
        if form[key] != ANY:
            advice = f"add a run in which all else holds, and `{form[key]}` does not match (`expect: no_match`)."
            if key.startswith("without-"):
                advice = "add a run in which another one is there (`expect: match`)."
            yield Change(
                "part", [key], f"turning `{form[key]}` of `{key}` into `any`", advice, kind, {**form, key: ANY}
            )


def _fields(form: dict[str, Any], key: str, kind: str) -> Iterator[Change]:
    """Each field dropped; the last one with its key, where a rule without that can be written."""
    for number, name in enumerate(form.get(key, [])):
        rest = [other for place, other in enumerate(form[key]) if place != number]
        changed = {**form, key: rest} if rest else _without(form, key, *(["what"] if key == "unsaid-in" else []))
        advice = f"add a run in which `{name}` decides."
        yield Change("field", [key, number], f"dropping `{name}` from `{key}`", advice, kind, changed)


def _without(form: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in form.items() if key not in keys}


def _share(form: dict[str, Any], key: str, value: float, what: str, advice: str) -> Change:
    return Change("share", ["share", key], what, advice, "tree", {**form, "share": {**form["share"], key: value}})
