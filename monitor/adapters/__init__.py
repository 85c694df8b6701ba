"""Adapters: calls that other frameworks' agents make, taken through the one door.

Each translates what its framework hands over and gets back into records, and back; none judges. ``observing`` has what
they share: a run around foreign code, and the way of one call through the door, from any thread and any event loop.
"""
