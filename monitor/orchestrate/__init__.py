"""Recipes, roles and budgets: the one place that calls a model for a task.

``run`` starts and resumes runs; ``context`` is what a recipe works with; ``engine`` takes one bounded call from its
reservation to its released answer, ``subcall`` a recipe's, ``foreign_calls`` somebody else's program's; ``budget`` is the
accounting; ``attempts`` decides what follows a failed attempt.
"""
