"""An attack as a page and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from monitor.audit.page.blocks import Drawn, Page, Points, Said, Section, Text, table
from monitor.audit.page.svg import Estimated, intervals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.audit.evaluation.attack import Attack, Survival
    from monitor.audit.evaluation.attack_probe import Noticed
    from monitor.audit.evaluation.intervals import Interval
    from monitor.audit.page.blocks import Block, Table

HOW = (
    "The attacker sees what the rules match in a bad record, writes those places otherwise, and tries again with another "
    "variant while the record is still caught, up to four times. A model under watch mostly has no such answer.",
    "Still caught: of the records that the rules caught before. What a technique could not change counts as caught.",
    "Whether a rewritten text still says what it said is not checked. What each technique keeps is said beside it.",
    "Intervals are at 95 %: Wilson's, with records as independent, and from drawing whole groups (rules, files) again.",
)
_SHOWN = 12


def attack_page(attacks: Sequence[Attack], command: str) -> Page:
    """The page. ``command`` is what made it."""
    sections = tuple(_section(one, number) for number, one in enumerate(attacks, 1))
    return Page("Rules against an attacker who knows them", (Text(f"Made by: {command}"), Points(HOW)), sections)


def _section(found: Attack, number: int) -> Section:
    said = (
        f"{found.targets:,} bad records, of which rules of level {found.level.value} and above catch {found.caught:,} "
        "before anything is rewritten."
    )
    rows = [
        Estimated(one.technique, one.share, one.interval.low, one.interval.high)
        for one in found.survivals
        if one.share is not None and one.interval
    ]
    alt = "Still caught: " + "; ".join(f"{row.name} {100 * (row.value or 0):.0f} %" for row in rows)
    blocks: list[Block] = [Text(said)]
    if rows:
        plot = intervals(f"attack-{number}", "What is still caught, by technique", alt, rows, x="share still caught")
        blocks += [Drawn(plot), survival_table(found.survivals), Text("What holds best and worst"), rules_table(found)]
    if found.noticed:
        blocks += [Text("The same records under a probe that the attacker does not know"), noticed_table(found.noticed)]
    return Section(Said(found.source), tuple(blocks))


def survival_table(found: Sequence[Survival]) -> Table:
    """Every technique."""
    rows = [
        [
            Said(one.technique),
            one.keeps,
            f"{one.caught} of {one.count}"
            + (f", {100 * one.share:.0f} %{_range(one.interval)}" if one.share is not None else ""),
            _range(one.by_group).strip(" ()") or "–",
            f"{one.unchanged}",
            Said(", ".join(f"{name} {count}" for name, count in one.rules)) if one.rules else "–",
        ]
        for one in found
    ]
    heads = [
        "technique",
        "what it keeps",
        "still caught",
        "by groups",
        "could not be changed",
        "rules that it sets off",
    ]
    return table(heads, rows)


def noticed_table(found: Sequence[Noticed]) -> Table:
    """What a probe says of the records that rules caught, before and after."""
    rows = []
    for one in found:
        shares = [
            one.missing or f"{hits} of {one.count}, {100 * hits / one.count:.0f} %{_range(one.interval(hits))}"
            for hits in (one.before, one.after, one.either)
        ]
        rows.append([Said(one.technique), Said(one.probe), *shares])
    return table(["technique", "probe", "noticed before", "noticed after", "by rules or probe after"], rows)


def rules_table(found: Attack) -> Table:
    """Of each group the targets that stay caught over all techniques: those that hold best, and worst."""
    held, count = Counter[str](), Counter[str]()
    for one in found.tried:
        held[one.target.group] += one.caught
        count[one.target.group] += 1
    ranked = sorted(count, key=lambda group: (-held[group] / count[group], group))
    shown = ranked if len(ranked) <= _SHOWN else [*ranked[: _SHOWN // 2], *ranked[-_SHOWN // 2 :]]
    rows = [
        [Said(group), f"{held[group]} of {count[group]}", f"{100 * held[group] / count[group]:.0f} %"]
        for group in shown
    ]
    return table(["group", "rewritten records still caught", "share"], rows)


def _range(found: Interval | None) -> str:
    return f" ({100 * found.low:.0f} to {100 * found.high:.0f})" if found else ""


def shape(attacks: Sequence[Attack]) -> dict[str, Any]:
    """Every figure, and every text that was rewritten, as JSON's types."""
    return {
        "attacks": [
            {
                "source": found.source,
                "level": found.level.value,
                "targets": found.targets,
                "caught_before": found.caught,
                "techniques": [
                    {
                        "name": one.technique,
                        "keeps": one.keeps,
                        "still_caught": one.caught,
                        "of": one.count,
                        "share": one.share,
                        "interval": _pair(one.interval),
                        "by_group": _pair(one.by_group),
                        "groups": one.groups,
                        "unchanged": one.unchanged,
                        "sets_off": dict(one.rules),
                    }
                    for one in found.survivals
                ],
                "probes": [
                    {
                        "probe": one.probe,
                        "technique": one.technique,
                        "of": one.count,
                        "before": None if one.missing else one.before,
                        "after": None if one.missing else one.after,
                        "rules_or_probe_after": None if one.missing else one.either,
                        "missing": one.missing or None,
                    }
                    for one in found.noticed
                ],
                "tried": [
                    {
                        "target": one.target.key,
                        "group": one.target.group,
                        "technique": one.technique,
                        "changed": one.changed,
                        "caught": one.caught,
                        "by": list(one.by),
                        "before": one.before,
                        "after": one.after,
                    }
                    for one in found.tried
                ],
            }
            for found in attacks
        ]
    }


def _pair(found: Interval | None) -> list[float] | None:
    return [found.low, found.high] if found else None
