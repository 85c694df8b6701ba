"""What is found, judged and decided of a trace."""

from __future__ import annotations

from typing import Literal

from monitor.records.probing import ProbeScore
from monitor.records.questions import JudgeAnswer
from monitor.records.trace import Call, FarSpan, Observation, Span
from monitor.records.words import Action, Choice, Frozen, Label, Level, Outcome, Status, Text, VerdictValue


class Record(Frozen):
    """The trace of one subcall: all that a check may see. ``probes`` has an entry for every probe that is attached,
    ``answers`` one for every question that a judge was asked about it.
    """

    call: Call
    observation: Observation
    probes: tuple[ProbeScore, ...] = ()
    answers: tuple[JudgeAnswer, ...] = ()


class Finding(Frozen):
    """What one check says of one record.

    ``action`` and ``on_unknown`` are the rule's; which of them applies follows from ``status`` (see ``actions``).
    ``evidence`` stands in the record itself; that of a rule over a run which stands in other subcalls of the run is
    ``elsewhere``, in the order in which they began.

    ``cause`` says why, for ``unknown`` and ``not_applicable``; it never quotes the record.

    ``shadow`` is true for a rule on trial (``status: test``): what it says is recorded, and has no part in any verdict or
    action. ``suppressed_by`` names the filter that holds a match to be harmless: it stays a match, and only logs.
    """

    check: Literal["rule", "budget", "probe"]
    name: str
    status: Status
    rule_id: str = ""
    rule_hash: str = ""
    pack: str = ""
    title: str = ""
    level: Level = Level.MEDIUM
    action: Action = Action.FLAG
    on_unknown: Action = Action.LOG
    evidence: tuple[Span, ...] = ()
    elsewhere: tuple[FarSpan, ...] = ()
    cause: str = ""
    shadow: bool = False
    suppressed_by: str = ""

    @property
    def speaks(self) -> bool:
        """Whether a person is told of it: a match or an unknown, but no match of an informational rule that only logs."""
        if self.status is Status.MATCH and self.check == "rule" and self.level is Level.INFORMATIONAL:
            return self.action is not Action.LOG
        return self.status in {Status.MATCH, Status.UNKNOWN}


class Verdict(Frozen):
    """The verdict, and how it came about. ``catches`` and ``outages`` name the findings behind it, apart."""

    value: VerdictValue
    catches: tuple[str, ...] = ()
    outages: tuple[str, ...] = ()
    applicable: int = 0
    unknown: int = 0
    not_applicable: int = 0
    note: str = ""


class Judgement(Frozen):
    """The payload of the ``judged`` event: findings, verdict, the action taken, and the outcome that follows from them.

    ``probes`` is what the probes that are attached to the subcall said of it, before the rules were evaluated, and
    ``answers`` what the judge answered to the questions that the rules depended on.

    Where a person is asked, the outcome is ``blocked``: what it is for as long as nobody has decided.
    """

    findings: tuple[Finding, ...] = ()
    verdict: Verdict
    action: Action = Action.LOG
    outcome: Outcome
    probes: tuple[ProbeScore, ...] = ()
    answers: tuple[JudgeAnswer, ...] = ()
    at: str = ""

    @property
    def asks_human(self) -> bool:
        """Whether an answer is there that waits for a person's decision."""
        return self.action is Action.ASK_HUMAN and self.outcome is Outcome.BLOCKED


class Decision(Frozen):
    """The payload of a ``decided`` event: what a person decided of a subcall that waited for them, and why.

    ``by`` is who it was, as they gave their name or as the operating system knows them. ``output`` is the answer that
    takes the place of the model's (choice ``modify`` only). ``via`` says where they were asked.
    """

    choice: Choice
    why: Text
    by: Text
    output: Text = ""
    via: Literal["command", "terminal", "call"] = "command"
    at: str = ""


class RedactedPlace(Frozen):
    """Texts of one subcall that were erased, by the names of their surfaces; of the run itself where ``span`` is empty."""

    span: str = ""
    surfaces: tuple[str, ...] = ()


class Redaction(Frozen):
    """The payload of a ``redacted`` event: texts that the run refers to were erased, and this stays in their place.

    ``texts`` are the commitments of those that were erased with it, ``places`` where in this run they stood. With ``whole``
    they are all that no other run needs, as a purge takes them, and ``places`` is empty. ``why`` and ``by`` are a person's.
    """

    whole: bool = False
    places: tuple[RedactedPlace, ...] = ()
    texts: tuple[str, ...] = ()
    why: Text
    by: Text
    at: str = ""


class Review(Frozen):
    """The payload of a ``reviewed`` event: what a person says of one finding on the subcall ``span`` of the same run.

    The finding is named by ``check``, ``name``, ``rule_id`` and ``rule_hash``, which together say which version of the rule
    it is of, and ``status`` is what it said. ``recorded`` is false where it is not in the subcall's judgement: the rule was
    evaluated afterwards, over what is stored. A review changes nothing of the subcall or of the run.
    """

    span: str
    check: Literal["rule", "budget", "probe"]
    name: str
    status: Status
    rule_id: str = ""
    rule_hash: str = ""
    pack: str = ""
    recorded: bool = True
    label: Label
    why: Text
    by: Text
    via: Literal["command", "terminal", "call"] = "command"
    at: str = ""

    @property
    def is_there(self) -> bool | None:
        """Whether what the rule looks for is there, as the reviewer sees it; None where they cannot tell.

        A ``match`` that is right found it, one that is wrong is a false alarm; a ``no_match`` that is wrong missed it. A
        finding that could not be evaluated claims nothing: its label is about the match that it might have been.
        """
        if self.label is Label.UNSURE:
            return None
        return (self.label is Label.TRUE) is not (self.status is Status.NO_MATCH)
