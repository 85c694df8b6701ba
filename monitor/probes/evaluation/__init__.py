"""The honest report: what a probe tells, what plain baselines tell on the same split, and what it adds to reading the
trace.

Everything that is scored is a ``Method`` (``base``), so that the probe, each baseline, the null and the control task
are the same thing run on the same grouped split. docs/probe-evaluation.md has what each number means.
"""
