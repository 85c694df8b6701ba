"""Spans as they come, over OTLP/HTTP: kept on the disk before they are acknowledged, recorded when their place is known.

``app`` answers requests, ``wire`` reads and writes what is in them, ``receiving`` puts spans into the store's inbox,
``recording`` takes them from there through the door, ``server`` runs all of it.
"""
