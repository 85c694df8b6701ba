"""The report on a period: what was found, of whom, what it cost, what was not measured. For sending on."""
