"""The questions that rules put to a judge, between what was observed and what the rules say of it.

    while a rule depends on an answer:  fence the record ─ ask (a subcall of the monitor's) ─ check the answer

The judge itself is handed in: a callable that makes the model call and pays for it from the monitor's own budget. Its
answers become part of the record, so that evaluating the rules stays pure, and gives the same again from what is stored.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from monitor.canonical import canonical_text
from monitor.errors import BudgetExceeded, StoreError
from monitor.policy.judges.answers import ANSWER_SCHEMA, answer_of
from monitor.policy.judges.fence import ask
from monitor.policy.judges.quotable import narrowed
from monitor.records import JudgeAnswer, Record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from monitor.policy import PolicySet
    from monitor.policy.judges.fence import Asked
    from monitor.policy.judges.question import Question
    from monitor.records import Call, Message, Observation, StoredSubcall

MAX_REMEMBERED = 4_096
"""How many answers a run keeps, to ask nothing twice."""


class Judge(Protocol):
    """A model that answers questions about subcalls, with the budget that pays for it."""

    @property
    def model(self) -> str:
        """The model's name, as the record has it."""
        ...

    @property
    def max_shown(self) -> int:
        """How many codepoints of a record it can be shown."""
        ...

    async def __call__(
        self,
        about: Call,
        question: str,
        messages: Sequence[Message],
        schema: dict[str, Any],
        through: Callable[[Call, Callable[[], Awaitable[Observation]]], Awaitable[StoredSubcall]],
        *,
        narrowed: dict[str, Any] | None = None,
    ) -> StoredSubcall:
        """Ask once, in a subcall below ``about`` that is stored by ``through``; its output is JSON of ``schema``.

        ``narrowed`` is the same schema with less in it, for a model that decodes by a grammar; it is not to be shown.

        Raises:
            BudgetExceeded: the monitor's own budget has no room for it; nothing was asked.
            StoreError: it could not be recorded.
        """
        ...


class Judging:
    """Asks what the rules of one run need. What was answered about the same texts is not asked again."""

    def __init__(self, judge: Judge, rules: Sequence[PolicySet]) -> None:
        self._judge = judge
        self._rules = [one for one in rules if one.asks]
        self._known: OrderedDict[str, asyncio.Future[JudgeAnswer]] = OrderedDict()

    async def answers(
        self,
        record: Record,
        through: Callable[[Call, Callable[[], Awaitable[Observation]]], Awaitable[StoredSubcall]],
    ) -> tuple[JudgeAnswer, ...]:
        """The record's answers, with those that the rules depend on, each asked for once.

        A judge that fails gives an answer that says so. Raises StoreError.
        """
        while needed := dict.fromkeys(question for rules in self._rules for question in rules.questions(record)):
            new = await asyncio.gather(*(self.ask_one(one, record, through) for one in needed), return_exceptions=True)
            for one in new:
                if isinstance(one, BaseException):
                    raise one
            answers = (*record.answers, *(one for one in new if isinstance(one, JudgeAnswer)))
            record = Record.trusted(
                call=record.call, observation=record.observation, probes=record.probes, answers=answers
            )
        return record.answers

    async def ask_one(
        self,
        question: Question,
        record: Record,
        through: Callable[[Call, Callable[[], Awaitable[Observation]]], Awaitable[StoredSubcall]],
    ) -> JudgeAnswer:
        """One answer, from the model or from what it said before. It raises nothing but StoreError."""
        asked = ask(question, record, limit=self._judge.max_shown)
        if asked is None:
            return JudgeAnswer(judge=question.name, question_hash=question.hash, applies=False)
        key = _key(asked, self._judge.model)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            answer = await asyncio.shield(known)
            if answer.answer is not None:
                return answer.model_copy(update={"judge": question.name, "is_cached": True})
        mine: asyncio.Future[JudgeAnswer] = asyncio.get_running_loop().create_future()
        self._known[key] = mine
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        try:
            answer = await self._asked(asked, record.call, through)
        except BaseException:
            answer = JudgeAnswer(judge=question.name, question_hash=question.hash, cause="the judge was cut off")
            raise
        finally:
            mine.set_result(answer)
            if answer.answer is None and self._known.get(key) is mine:
                del self._known[key]  # a failure may be of the moment
        return answer

    async def _asked(
        self,
        asked: Asked,
        call: Call,
        through: Callable[[Call, Callable[[], Awaitable[Observation]]], Awaitable[StoredSubcall]],
    ) -> JudgeAnswer:
        question = asked.question
        try:
            subcall = await self._judge(
                call, question.text, asked.messages, ANSWER_SCHEMA, through, narrowed=narrowed(asked)
            )
            assert subcall.observation is not None
            return answer_of(asked, subcall.observation, model=self._judge.model, span_id=subcall.call.span_id)
        except BudgetExceeded as exc:
            limits = ", ".join(dict.fromkeys(one.limit for one in exc.exceeded))
            cause = f"the judge's budget is spent ({limits})"
        except StoreError:
            raise
        except Exception as exc:  # noqa: BLE001 - what breaks in a judge is an answer that could not be had
            cause = f"the judge failed ({type(exc).__name__})"
        return JudgeAnswer(judge=question.name, question_hash=question.hash, model=self._judge.model, cause=cause)


def _key(asked: Asked, model: str) -> str:
    """What an answer depends on. It is never written down: a hash of a short secret could be guessed back."""
    shown = [[passage.surface, passage.text] for passage in asked.passages]
    content = canonical_text([model, asked.question.hash, shown, list(asked.cut)])
    return hashlib.sha256(content.encode()).hexdigest()
