"""Labels: what they mean for each status, whose count, and what several people come to."""

from __future__ import annotations

import pytest

from monitor.audit.reviews import Labels, Precision, make_review
from monitor.errors import ConfigError
from monitor.records import Finding, Label, RuleRef, Status, StoredReview

RUN, SPAN = "ab" * 16, "cd" * 8
FINDING = Finding(check="rule", name="r", status=Status.MATCH, rule_id="id", rule_hash="h1")


def reviews(*said: tuple[str, str, str]) -> list[StoredReview]:
    """One for each (who, label, rule hash)."""
    return [
        StoredReview(
            id=f"{number:016x}",
            run_id=RUN,
            review=make_review(SPAN, FINDING.model_copy(update={"rule_hash": version}), label, why="w", by=by),
        )
        for number, (by, label, version) in enumerate(said)
    ]


@pytest.mark.parametrize(
    ("status", "label", "is_there"),
    [
        ("match", "true", True),
        ("match", "false", False),
        ("match", "unsure", None),
        ("no_match", "true", False),
        ("no_match", "false", True),
        ("no_match", "unsure", None),
        ("unknown", "true", True),
        ("unknown", "false", False),
        ("not_applicable", "true", True),
        ("not_applicable", "false", False),
    ],
)
def test_what_a_label_says_of_the_subcall(status: str, label: str, is_there: bool | None) -> None:
    finding = FINDING.model_copy(update={"status": Status(status)})
    review = make_review(SPAN, finding, label, why="w", by="ann")
    assert review.is_there is is_there
    opinion = Labels([StoredReview(id="1" * 16, run_id=RUN, review=review)]).about(RUN, SPAN, finding)
    assert opinion
    assert (opinion.is_there, opinion.word(finding.status)) == (is_there, label)


@pytest.mark.parametrize(
    ("said", "word", "people"),
    [
        ([("ann", "true", "h1")], "true", 1),
        ([("ann", "true", "h1"), ("ann", "false", "h1")], "false", 1),
        ([("ann", "true", "h1"), ("bob", "true", "h1")], "true", 2),
        ([("ann", "true", "h1"), ("bob", "false", "h1")], "disputed", 2),
        ([("ann", "true", "h1"), ("bob", "unsure", "h1")], "true", 2),
        ([("ann", "unsure", "h1"), ("bob", "unsure", "h1")], "unsure", 2),
        ([("ann", "true", "h1"), ("bob", "false", "h1"), ("bob", "true", "h1")], "true", 2),
    ],
)
def test_the_last_label_of_each_person_counts(said: list[tuple[str, str, str]], word: str, people: int) -> None:
    opinion = Labels(reviews(*said)).about(RUN, SPAN, FINDING)
    assert opinion
    assert (opinion.word(Status.MATCH), len(opinion.reviews), opinion.other_version) == (word, people, False)


def test_labels_of_another_version_count_where_there_are_no_others() -> None:
    labels = Labels(reviews(("ann", "false", "h1"), ("bob", "true", "h2")))
    of_this = labels.about(RUN, SPAN, FINDING)
    assert of_this
    assert (of_this.word(Status.MATCH), of_this.other_version) == ("false", False)
    newer = RuleRef(name="renamed", rule_id="id", rule_hash="h3", pack="p")
    of_others = labels.about(RUN, SPAN, newer)
    assert of_others
    assert (of_others.word(Status.MATCH), of_others.other_version) == ("disputed", True)
    assert labels.about(RUN, SPAN, newer.model_copy(update={"rule_id": "another"})) is None
    assert labels.about(RUN, "0" * 16, FINDING) is None


def test_without_labels_nothing_is_measured() -> None:
    precision = Precision()
    precision.count(None)
    assert (precision.share, precision.interval, precision.unlabelled) == (None, None, 1)


def test_each_match_counts_once_and_who_cannot_tell_is_counted_apart() -> None:
    precision = Precision()
    for said in (
        [("ann", "true", "h1"), ("bob", "true", "h1"), ("cy", "true", "h1")],
        [("ann", "false", "h1")],
        [("ann", "true", "h1"), ("bob", "false", "h1")],
        [("ann", "unsure", "h1")],
        [("ann", "true", "h0")],
    ):
        precision.count(Labels(reviews(*said)).about(RUN, SPAN, FINDING))
    assert (precision.right, precision.wrong, precision.disputed, precision.unsure) == (2, 1, 1, 1)
    assert (precision.other_version, precision.labelled, precision.people) == (1, 3, {"ann", "bob", "cy"})
    assert precision.share == pytest.approx(2 / 3)


@pytest.mark.parametrize(("why", "by", "says"), [(" ", "ann", "say why"), ("w", " ", "say who")])
def test_a_label_has_a_reason_and_a_name(why: str, by: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_review(SPAN, FINDING, Label.TRUE, why=why, by=by)


def test_hostile_reasons_are_escaped_once() -> None:
    assert make_review(SPAN, FINDING, Label.TRUE, why="a\0b", by="\ud800").why == "a␛0000b"
