"""The command line: ``monitor``. One module for each group of commands; arguments in, text out.

Importing this package loads neither a database nor a model: commands import what they need when they run.
"""

from monitor.cli.app import app, main

__all__ = ["app", "main"]
