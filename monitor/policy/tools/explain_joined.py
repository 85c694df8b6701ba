"""Why a rule over the tree or over taint does not match at a subcall, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.policy.run_schema import NEGATIVE
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.policy.run_schema import TaintFile, TreeFile


def missing_in_tree(tree: TreeFile, parts: Mapping[str, Status]) -> str:
    """``parts`` is what the parts of the rule say of the subcall."""
    if tree.share is not None:
        share = tree.share
        return (
            f"no branch that it is in has spent {share.gte:.0%} of the run's `{share.field}` so far, and at least "
            f"{share.least:g}"
        )
    this, relation = f"`{tree.this}`", tree.relation.removeprefix("without_")
    other = f"`{tree.other}`"
    if tree.relation in NEGATIVE:
        if parts[tree.this] is not Status.MATCH:
            return f"it is no {this}"
        return f"{_article(relation)} that is {other} was judged before it began"
    same = f" with the same {' and '.join(f'`{name}`' for name in tree.same)}" if tree.same else ""
    if tree.unsaid_in:
        what = f"its `{tree.what}`" if tree.what else f"what {this} found"
        said = " or ".join(f"`{name}`" for name in tree.unsaid_in)
        return f"there is no {relation} before it that is {other}, or one said {what} in {said}"
    roles = []
    if parts[tree.this] is Status.MATCH:
        roles.append(f"no {relation} that is {other}{same} was judged until now")
    if parts[tree.other] is Status.MATCH and (tree.other != tree.this or not roles):
        roles.append(f"nothing that is {this} and has it as its {relation}{same} was judged until now")
    return "; ".join(roles)


def _article(relation: str) -> str:
    return f"{'an' if relation == 'ancestor' else 'a'} {relation}"


def missing_in_taint(taint: TaintFile, parts: Mapping[str, Status]) -> str:
    """The same for taint."""
    if parts[taint.sink] is not Status.MATCH:
        return f"it is no `{taint.sink}`: what it says may be marked, and nothing is looked for in it"
    into = " or ".join(f"`{name}`" for name in taint.into)
    return (
        f"no {taint.least} codepoints in a row of what a `{taint.source}` said before it began, and that it did not have "
        f"anyway, stand in {into}"
    )
