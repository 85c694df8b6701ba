"""Traces that other programs stored, taken through the one door afterwards: ``monitor ingest``.

A reader of each format (``swe_agent``, ``magentic_one``, ``chat``, ``inspect_log``) turns a file into ``Trace``s, and
judges nothing; ``sources`` tells the formats apart by what is in a file; ``taking`` takes each trace through the door. What
a trace does not say is not said for it: no thought, no usage, no model is made up.
"""
