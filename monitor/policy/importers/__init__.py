"""Rule files of other projects as packs of ours: ``docs/importing.md``."""

from monitor.policy.importers.atr import import_files as import_atr
from monitor.policy.importers.report import FileReport, Imported, Remark, Result, TestReport

__all__ = ["FileReport", "Imported", "Remark", "Result", "TestReport", "import_atr"]
