"""Lengths of time on the command line: ``90d``, ``12h``, ``30m``, ``10s``."""

from datetime import timedelta

from monitor.errors import ConfigError

__all__ = ["parse_duration"]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOST_DAYS = 36_500


def parse_duration(text: str) -> timedelta:
    """Read a whole number and its unit. Raises ConfigError."""
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isascii() and number.isdecimal() and len(number) < 10:
        found = timedelta(**{_UNITS[unit]: int(number)})
        if found <= timedelta(days=_MOST_DAYS):
            return found
    raise ConfigError(f"{text!r}: expected a length of time such as 90d, 12h or 30m (s, m, h, d, w)")
