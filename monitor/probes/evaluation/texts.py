"""Baselines that read the text alone: words, characters, length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.evaluation.base import Bools, Floats, Ints

MOST_FEATURES = 20_000
_WORDS = {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"}
_CHARACTERS = {"analyzer": "char_wb", "ngram_range": (2, 5)}
STRENGTH = 10.0
"""C of the logistic regression on TF-IDF. Its rows have length 1, so that little is to be held down."""


@dataclass(frozen=True, slots=True, eq=False)
class TfIdf:
    """Logistic regression on TF-IDF of n-grams (Salton and Buckley, Information Processing & Management 24, 1988).

    N-grams are counted once. For each fit the 20,000 that are most frequent **in its training rows** are kept, and their
    weights and the regression are fitted on these rows.
    """

    name: str
    counts: Any
    learns: bool = True

    def scores(self, labels: Bools, groups: Ints, train: Ints, test: Ints) -> Floats:
        """See ``base.Method``."""
        known = self.counts[train]
        often = np.asarray(known.sum(axis=0)).ravel()
        kept = np.sort(np.argsort(-often, kind="stable")[:MOST_FEATURES])
        kept = kept[often[kept] > 0]
        if not len(kept):
            return np.zeros(len(test))
        weigh = TfidfTransformer(sublinear_tf=True)
        model = LogisticRegression(C=STRENGTH, solver="liblinear", max_iter=200)
        model.fit(weigh.fit_transform(known[:, kept]), labels[train])
        return np.asarray(model.decision_function(weigh.transform(self.counts[test][:, kept])))


def words(texts: Sequence[str]) -> TfIdf:
    """Words and pairs of words, in lower case."""
    return TfIdf("word TF-IDF", _count(texts, _WORDS))


def characters(texts: Sequence[str]) -> TfIdf:
    """Two to five characters inside of words, blanks at their ends included."""
    return TfIdf("character TF-IDF", _count(texts, _CHARACTERS))


def _count(texts: Sequence[str], how: dict[str, Any]) -> Any:
    try:
        return CountVectorizer(lowercase=True, dtype=np.float64, **how).fit_transform(texts).tocsr()
    except ValueError:  # no n-gram in any text: nothing to go by
        from scipy.sparse import csr_matrix  # noqa: PLC0415 - for texts without a word only

        return csr_matrix((len(texts), 1))


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Logistic regression on a few numbers of each row, standardised by the training rows. ``values``: (rows, numbers).

    With ``binned`` each number is also cut at the deciles of the training rows, so that a middle length can stand out too.
    """

    name: str
    values: Floats
    binned: bool = False
    learns: bool = field(default=True)

    def scores(self, labels: Bools, groups: Ints, train: Ints, test: Ints) -> Floats:
        """See ``base.Method``."""
        spread = self.values[train].std(axis=0)
        kept = spread > 0
        if not kept.any():
            return np.zeros(len(test))
        values = (self.values[:, kept] - self.values[train][:, kept].mean(axis=0)) / spread[kept]
        parts = [values]
        if self.binned:
            for column in values.T:
                cuts = np.unique(np.quantile(column[train], np.arange(1, 10) / 10))
                parts.append(np.eye(len(cuts) + 1)[np.searchsorted(cuts, column)])
        columns = np.concatenate(parts, axis=1)
        model = LogisticRegression(C=STRENGTH, max_iter=500).fit(columns[train], labels[train])
        return np.asarray(model.decision_function(columns[test]))


def length(texts: Sequence[str], tokens: Sequence[int] | Floats) -> Columns:
    """Characters, words and tokens, as logarithms of one more than their number, and their deciles."""
    counts = [[len(text), len(text.split()), float(count)] for text, count in zip(texts, tokens, strict=True)]
    return Columns("length", np.log1p(np.array(counts, dtype=np.float64)), binned=True)
