"""Probes attached to real runs: scored after the answer, before it is judged, recorded, and never in a run's way."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: make probes")

from monitor.errors import CatalogError, ProbeError
from monitor.models.scripted import ScriptedModel
from monitor.records import Outcome, Status, VerdictValue
from monitor.settings import Settings
from tests.orchestrate.conftest import Desk, desk, policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.probes.sidecar import Calibration
    from monitor.records import ProbeScore
    from tests.probes.attached.conftest import Make

__all__ = ["desk", "policy"]
pytestmark = pytest.mark.embedded
ANSWER = "Oslo is in Norway, é𝄞."


def scripted(answer: str = ANSWER) -> ScriptedModel:
    return ScriptedModel([answer])


def only(desk: Desk) -> ProbeScore:
    (subcall,) = desk.subcalls()
    assert subcall.judgement is not None
    (score,) = subcall.judgement.probes
    return score


def test_a_score_stands_beside_the_findings_with_its_mode_and_tokens(desk: Desk, probe: Make) -> None:
    folder = probe()
    result = desk.run("single", scripted(), probes=[str(folder)])
    assert result.outcome is Outcome.OK
    (subcall,) = desk.subcalls()
    assert subcall.call.probes == ("sample",)
    score = only(desk)
    assert not score.applies or score.mode, score.cause
    assert (score.probe, score.mode, score.surface, score.fpr) == ("sample", "reader", "output", None)
    assert score.score is not None
    assert score.cause == "the probe is not calibrated"
    tokens = score.tokens
    assert tokens is not None
    assert subcall.observation is not None
    read = "".join(ANSWER[start:end] for start, end in dict.fromkeys(zip(tokens.starts, tokens.ends, strict=True)))
    assert ANSWER.endswith(read), "all but the first token that the model reads"
    assert tokens.scores
    assert abs(float(np.mean(tokens.scores)) - score.score) < 1e-3, "the mean of its tokens, as its pooling says"
    top = max(zip(tokens.scores, tokens.starts, strict=True))[1]
    assert any(span.start <= top < span.end for span in score.evidence)
    finding = next(one for one in subcall.judgement.findings if one.check == "probe")  # type: ignore[union-attr]
    assert (finding.status, finding.cause) == (Status.NOT_APPLICABLE, "the probe is not calibrated")


def test_the_run_says_which_probe_it_had(desk: Desk, probe: Make) -> None:
    from monitor.store import Store

    folder = probe()
    desk.run("single", scripted(), probes=[str(folder)])
    with Store.open(desk.db) as store:
        (ref,) = store.runs()[0].start.probes
    assert (ref.name, ref.ref, ref.model, ref.forced) == ("sample", str(folder), "embedded", ())
    assert ref.artefact == only(desk).artefact


@pytest.mark.parametrize(("shift", "status", "fpr"), [(-5.0, Status.MATCH, 1 / 101), (5.0, Status.NO_MATCH, 1.0)])
def test_a_calibrated_probe_speaks_at_its_rate(
    desk: Desk, probe: Make, calibrated: Callable[..., Calibration], *, shift: float, status: Status, fpr: float
) -> None:
    desk.run("single", scripted(), probes=[str(probe("first"))])
    value = only(desk).score
    assert value is not None
    near = np.linspace(value + shift - 1, value + shift + 1, 100)
    desk.run("single", scripted(), probes=[str(probe("second", calibrations=(calibrated(near),)))])
    score = only(desk)
    assert score.fpr == pytest.approx(fpr)
    assert score.rate is not None
    assert score.rate <= 0.05
    assert score.rate_low is not None
    assert score.rate_high is not None
    assert score.rate_low <= score.rate <= score.rate_high
    (subcall,) = desk.subcalls()
    assert subcall.judgement is not None
    finding = next(one for one in subcall.judgement.findings if one.check == "probe")
    assert finding.status is status
    assert bool(finding.evidence) is (status is Status.MATCH)


@pytest.mark.parametrize(
    ("name", "surface", "known"),
    [
        ("harmless", "output", True),
        ("harmless", "reasoning", False),
        ("role clerk", "output", True),
        ("role other", "output", False),
    ],
)
def test_a_rate_holds_for_its_surface_and_its_role_only(
    desk: Desk, probe: Make, calibrated: Callable[..., Calibration], *, name: str, surface: str, known: bool
) -> None:
    calibration = calibrated(np.linspace(-9, 9, 100), name, surface)
    desk.run("single", scripted(), probes=[str(probe(calibrations=(calibration,)))])
    score = only(desk)
    assert (score.fpr is not None) is known
    if not known:
        assert score.cause
        assert score.threshold is None


def test_a_rule_says_reasoning_clean_but_probe_hot_and_withholds(
    desk: Desk, probe: Make, calibrated: Callable[..., Calibration], tmp_path: Path
) -> None:
    pack = tmp_path / "hot.yaml"
    pack.write_text(
        """pack: test
version: 1.0.0
rules:
  - title: The probe is hot and the text says nothing
    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a11
    name: hot
    level: high
    detection:
      hot: {probe.sample.fpr|lte: 0.05}
      said: {output|contains: alarm}
      condition: hot and not said
"""
    )
    folder = probe(calibrations=(calibrated(np.full(100, -99.0)),))
    result = desk.run("single", scripted(), probes=[str(folder)], policies=[str(pack)])
    assert result.outcome is Outcome.BLOCKED
    assert result.verdict.catches == ("hot",)
    plain = desk.run("single", scripted(), policies=[str(pack)])
    assert plain.outcome is Outcome.OK, "without the probe the rule does not apply"


def test_without_policies_a_probe_makes_nothing_measured(desk: Desk, probe: Make) -> None:
    result = desk.run("single", scripted(), probes=[str(probe())], policies=[])
    assert result.verdict.value is VerdictValue.UNMEASURED


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"surface": "reasoning"}, "there is no reasoning"),
        ({"surface": "tool"}, "there is no tool"),
        ({"role": "another"}, "it is for the role another"),
    ],
)
def test_where_there_is_nothing_to_read_it_does_not_apply(
    desk: Desk, probe: Make, changes: dict[str, Any], cause: str
) -> None:
    desk.run("single", scripted(), probes=[str(probe(**changes))])
    score = only(desk)
    assert (score.applies, score.score, score.cause) == (False, None, cause)


def test_a_cap_on_tokens_is_recorded(desk: Desk, probe: Make) -> None:
    desk.run("single", scripted("word " * 500), probes=[str(probe(max_tokens=64))])
    score = only(desk)
    assert score.tokens is not None
    assert len(score.tokens.scores) == 63
    assert score.unread > 400


def test_a_probe_of_another_model_is_unknown_and_the_run_goes_on(desk: Desk, probe: Make) -> None:
    from monitor.probes.artefact import read_sidecar, save_sidecar

    folder = probe()
    sidecar = read_sidecar(folder)
    save_sidecar(folder, sidecar.model_copy(update={"model": sidecar.model.model_copy(update={"weights": "0" * 64})}))
    result = desk.run("single", scripted(), probes=[str(folder)])
    assert result.outcome is Outcome.OK
    assert result.verdict.value is VerdictValue.UNMEASURED
    assert result.verdict.outages == ("sample",)
    score = only(desk)
    assert score.score is None
    assert "is not of this model: weights" in score.cause


def test_an_artefact_that_is_damaged_after_it_was_attached_is_unknown(desk: Desk, probe: Make) -> None:
    folder = probe()
    content = bytearray((folder / "probe.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "probe.safetensors").write_bytes(content)
    desk.run("single", scripted(), probes=[str(folder)])
    assert only(desk).score is None
    assert "damaged" in only(desk).cause


def test_nothing_is_spent_where_a_probe_cannot_be_attached(desk: Desk, probe: Make, tmp_path: Path) -> None:
    from monitor.probes.sidecar import Alarm

    with pytest.raises(CatalogError, match="no probe named 'trut'"):
        desk.run("single", scripted(), probes=["trut"])
    with pytest.raises(CatalogError, match="no probe file"):
        desk.run("single", scripted(), probes=[str(tmp_path / "nowhere")])
    alarmed = probe("alarmed", alarms=(Alarm(kind="inversion", message="AUROC 0.1 on negations"),))
    with pytest.raises(ProbeError, match=r"AUROC 0\.1 on negations\. To attach it all the same.*--force-probes"):
        desk.run("single", scripted(), probes=[str(alarmed)])
    first, second = probe("one"), probe("two", called="one")
    with pytest.raises(ProbeError, match="two probes are called 'one'"):
        desk.run("single", scripted(), probes=[str(first), str(second)])
    assert desk.stores_nothing()
    result = desk.run("single", scripted(), probes=[str(alarmed), str(first)], force_probes=True)
    assert result.outcome is Outcome.OK
    from monitor.store import Store

    with Store.open(desk.db) as store:
        forced = [ref.forced for ref in store.runs()[0].start.probes]
    assert forced == [("inversion: AUROC 0.1 on negations",), ()]


def test_a_role_attaches_its_own_probes(desk: Desk, probe: Make, tmp_path: Path) -> None:
    probe("of_role")
    recipe = tmp_path / "clerks.py"
    recipe.write_text(
        "async def clerks(ctx, task):\n"
        "    first = await ctx.call('watched', task=task)\n"
        "    second = await ctx.call('unwatched', task=task)\n"
        "    return first.text + second.text\n"
    )
    roles = tmp_path / "roles"
    roles.mkdir()
    for name, probes in (("watched", "\nprobes: [../of_role]"), ("unwatched", "")):
        (roles / f"{name}.md").write_text(f"---\nname: {name}\ndescription: a clerk{probes}\n---\nAnswer.\n")
    result = desk.run(str(recipe), ScriptedModel([ANSWER, ANSWER]))
    assert result.outcome is Outcome.OK, result.error
    by_role = {subcall.call.role: subcall for subcall in desk.subcalls()}
    assert by_role["watched"].call.probes == ("of_role",)
    assert [score.score is not None for score in by_role["watched"].judgement.probes] == [True]  # type: ignore[union-attr]
    assert by_role["unwatched"].judgement.probes == ()  # type: ignore[union-attr]


def test_settings_attach_probes(desk: Desk, probe: Make) -> None:
    desk.run("single", scripted(), settings=Settings(db=desk.db, probes=[str(probe())]))
    assert only(desk).score is not None


def test_the_same_text_has_the_same_score_in_a_resumed_run(desk: Desk, probe: Make, policy: Callable[..., str]) -> None:
    """A resume attaches the run's own probes again, and scores nothing that is judged already."""
    from monitor.orchestrate.run import resume_sync
    from monitor.store import Store

    folder = probe()
    failing = ScriptedModel([RuntimeError("an outage")])
    result = desk.run("single", failing, probes=[str(folder)])
    assert result.outcome is Outcome.FAILED
    again = resume_sync(result.run_id, db=desk.db, model=scripted(), retry_failed=True)
    assert again.outcome is Outcome.OK
    with Store.open(desk.db) as store:
        run = store.runs()[0]
        subcalls = store.subcalls(run.start.run_id)
    assert run.resumes[0].probes == run.start.probes
    assert [len(one.judgement.probes) for one in subcalls] == [1] * len(subcalls)  # type: ignore[union-attr]


@pytest.mark.sqlite("reads the file; tests/store reads the view on both")
def test_scores_can_be_asked_for_by_sql(desk: Desk, probe: Make) -> None:
    desk.run("single", scripted(), probes=[str(probe())])
    with sqlite3.connect(desk.db.removeprefix("sqlite:///")) as database:
        (row,) = database.execute(
            "SELECT probe, score, fpr, mode, surface, applies, evidence FROM probe_scores"
        ).fetchall()
    score = only(desk)
    assert row[:6] == ("sample", score.score, None, "reader", "output", 1)
    assert json.loads(row[6])[0]["surface"] == "output"


def test_the_embedded_models_own_activations_are_scored_over_the_ids_that_it_wrote(desk: Desk, probe: Make) -> None:
    thinking = probe("thoughts", format="chat", surface="reasoning", max_tokens=2048)
    short = probe("answers", format="chat", max_tokens=64)
    folders = [str(thinking), str(short)]
    result = desk.run("answer", "embedded", "What is the capital of France?", probes=folders)
    assert result.outcome is Outcome.OK, result.error
    (subcall,) = desk.subcalls()
    assert subcall.judgement is not None
    assert subcall.observation is not None
    thoughts, answers = subcall.judgement.probes
    assert (thoughts.mode, thoughts.surface, thoughts.cause) == ("own", "reasoning", "the probe is not calibrated")
    assert thoughts.tokens is not None
    reasoning = subcall.observation.reasoning.text
    assert (min(thoughts.tokens.starts), max(thoughts.tokens.ends)) == (0, len(reasoning))
    assert answers.score is None
    assert answers.cause == "no token of the output was read", "its cap ends within the prompt"


def test_an_answer_that_another_model_wrote_is_only_read(desk: Desk, probe: Make) -> None:
    desk.run("single", scripted(), probes=[str(probe(format="chat", max_tokens=2048))])
    score = only(desk)
    assert (score.mode, score.surface) == ("reader", "output")
    assert score.cause == "the record has no token ids; the probe is not calibrated"
    assert score.tokens is not None
    assert min(score.tokens.starts) == 0
    assert max(score.tokens.ends) == len(ANSWER)


def test_a_rate_of_another_role_says_whose_it_is(
    desk: Desk, probe: Make, calibrated: Callable[..., Calibration]
) -> None:
    calibration = calibrated(np.linspace(-9, 9, 100), "role other")
    desk.run("single", scripted(), probes=[str(probe(calibrations=(calibration,)))])
    assert only(desk).cause == "calibrated on role other, and this is role clerk (reader)"
