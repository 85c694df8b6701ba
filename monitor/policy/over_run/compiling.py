"""From a rule over a run as it is written to a rule at work; what is wrong with it on the way, with its place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monitor.errors import Fault
from monitor.policy.fields import FIELDS, field_named
from monitor.policy.names import suggestion
from monitor.policy.over_run import run_examples
from monitor.policy.over_run.run_rules import RunRule, run_rule_hash, window_of
from monitor.policy.over_run.timeline import Window
from monitor.policy.readings import FieldType
from monitor.policy.run_schema import FOUND, STAND_INS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from monitor.policy.files import LoadedPack
    from monitor.policy.readings import Field
    from monitor.policy.rules import Rule
    from monitor.policy.schema import RunRuleFile
    from monitor.strict_yaml import Node


def faults_in(node: Node, path: str) -> Iterator[Fault]:
    """What is wrong with one rule over a run, beside what its types forbid: its fields and its tests."""
    tests = node.get("tests")
    for test in tests.items() if tests else []:
        for mark, problem, fix in run_examples.faults(test):
            yield Fault(path, mark.line, mark.column, problem, fix)
    yield from _joined_faults(node, path)
    correlation = node.get("correlation")
    if correlation is None or not isinstance(correlation.value, dict):
        return
    named = correlation.get("group-by")
    for item in named.items() if named else []:
        yield from _field_faults(item, path, numbers=False)
    value = correlation.get("field")
    kind = correlation.get("type")
    if value:
        yield from _field_faults(value, path, numbers=kind is not None and kind.value == "value_sum")


def _joined_faults(node: Node, path: str) -> Iterator[Fault]:
    """What is wrong with the fields of ``tree`` and ``taint``."""
    for kind, keys in _FIELDS_OF.items():
        joined = node.get(kind)
        if joined is None or not isinstance(joined.value, dict):
            continue
        for key in keys:
            named = joined.get(key)
            for item in named.items() if named else []:
                if key == "same" or item.value == FOUND:
                    yield from () if item.value == FOUND else _field_faults(item, path, numbers=False)
                else:
                    yield from _text_faults(item, path)
    tree = node.get("tree")
    what = tree.get("what") if tree and isinstance(tree.value, dict) else None
    if what:
        yield from _field_faults(what, path, numbers=False)
    share = tree.get("share") if tree and isinstance(tree.value, dict) else None
    field = share.get("field") if share and isinstance(share.value, dict) else None
    if field:
        yield from _field_faults(field, path, numbers=True)


def _text_faults(node: Node, path: str) -> Iterator[Fault]:
    faults = list(_field_faults(node, path, numbers=False))
    yield from faults
    field = field_named(node.value) if isinstance(node.value, str) and not faults else None
    if field is not None and field.type is not FieldType.TEXT:
        problem = f"`{node.value}` holds no text."
        fix = "Name fields of texts, such as `output` or `prompt`."
        yield Fault(path, node.mark.line, node.mark.column, problem, fix)


_FIELDS_OF = {"tree": ("same", "unsaid-in"), "taint": ("from", "into")}


def _field_faults(node: Node, path: str, *, numbers: bool) -> Iterator[Fault]:
    name = node.value
    if not isinstance(name, str):
        return
    field = field_named(name, FieldType.NUMBER if numbers else FieldType.TEXT)
    if field is None:
        yield Fault(path, node.mark.line, node.mark.column, f"there is no field `{name}`.", suggestion(name, FIELDS))
    elif numbers and field.type is not FieldType.NUMBER:
        problem = f"`{name}` is no number, and cannot be summed."
        yield Fault(path, node.mark.line, node.mark.column, problem, "Count its values with `type: value_count`.")


def stranger_faults(pack: LoadedPack, rules: Mapping[str, object], run_rules: Mapping[str, object]) -> Iterator[Fault]:
    """Rules that a correlation joins and that are not there. ``rules`` and ``run_rules`` are known by name."""
    for index, rule in enumerate(pack.metadata.run_rules):
        for steps, name in _named(rule):
            mark = pack.root.place(["run_rules", index, *steps])
            if name in STAND_INS and rule.correlation is None:
                if name in rules:
                    problem = f"`{name}` is a word here, and the name of a rule as well."
                    yield Fault(pack.path, mark.line, mark.column, problem, "Give the rule another name.")
            elif name in run_rules:
                problem = f"`{name}` is a rule over a run itself, and only rules over one subcall can be joined."
                yield Fault(pack.path, mark.line, mark.column, problem, "Name the rules that it joins.")
            elif name not in rules:
                problem = f"there is no rule `{name}` in the packs that are loaded."
                fix = f"Load its pack as well (`includes`). {suggestion(name, rules)}"
                yield Fault(pack.path, mark.line, mark.column, problem, fix)


def _named(rule: RunRuleFile) -> Iterator[tuple[list[str | int], str]]:
    """The rules that a rule joins, each with the keys on the way to its name."""
    if rule.correlation:
        for key, names in (("rules", rule.correlation.rules), ("without", rule.correlation.without)):
            for number, name in enumerate(names):
                yield ["correlation", key, number], name
    elif rule.tree:
        yield ["tree", "this"], rule.tree.this
        if rule.tree.relation:
            yield ["tree", rule.tree.relation.replace("_", "-")], rule.tree.other
    elif rule.taint:
        yield ["taint", "source"], rule.taint.source
        yield ["taint", "sink"], rule.taint.sink


def compiled(
    pack: LoadedPack, changed: Mapping[str, tuple[RunRuleFile, str]], rules: Mapping[str, Rule]
) -> list[RunRule]:
    """The rules over a run of a pack without faults. ``changed`` has those that a site overrides, with the source, by id;
    ``rules`` are those over one subcall, as they are at work, by name.
    """
    nodes = pack.root.get("run_rules")
    return [
        _compiled(pack, node, *changed.get(written.id, (written, "")), rules)
        for written, node in zip(pack.metadata.run_rules, nodes.items() if nodes else [], strict=True)
    ]


def _compiled(pack: LoadedPack, node: Node, written: RunRuleFile, source: str, rules: Mapping[str, Rule]) -> RunRule:
    tests = node.get("tests")
    return RunRule(
        written=written,
        pack=pack.metadata.pack,
        pack_version=pack.metadata.version,
        path=pack.path,
        line=node.mark.line,
        rule_hash=run_rule_hash(written, [rules[name].rule_hash for name in written.parts if name in rules]),
        test_lines=tuple(test.mark.line for test in tests.items()) if tests else (),
        overridden_by=source,
        **_at_work(written),
    )


def rewritten(rule: RunRule, written: RunRuleFile) -> RunRule:
    """The rule as if ``written``, which names the same fields and rules or fewer, stood in its place. It keeps its hash."""
    return replace(rule, written=written, **_at_work(written))


def _at_work(written: RunRuleFile) -> dict[str, Any]:
    """What of a rule at work follows from how it is written alone."""
    correlation, tree, taint = written.correlation, written.tree, written.taint
    window, value = Window(), None
    same: Sequence[str] = tree.same if tree else ()
    texts: Sequence[str] = tree.unsaid_in if tree else taint.into if taint else ()
    if correlation:
        window, same = window_of(correlation), correlation.group_by
        is_sum = correlation.type == "value_sum"
        value = _field(correlation.field, FieldType.NUMBER if is_sum else FieldType.TEXT) if correlation.field else None
    elif tree and tree.share:
        value = _field(tree.share.field, FieldType.NUMBER)
    return {
        "parts": written.parts,
        "fields": tuple(map(_field, same)),
        "value": value,
        "window": window,
        "what": _field(tree.what) if tree and tree.what else None,
        "texts": tuple(map(_field, texts)),
        "marks": tuple(_field(name) for name in taint.from_ if name != FOUND) if taint else (),
    }


def _field(name: str, type_: FieldType = FieldType.TEXT) -> Field:
    field = field_named(name, type_)
    assert field is not None, "the file has no faults"
    return field
