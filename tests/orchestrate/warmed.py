"""For a fork server to import beforehand: see ``killed.warm``."""

from tests.orchestrate.killed import warm

warm()
