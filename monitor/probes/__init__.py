"""Activation probes: what a local model's activations say of a subcall's text, beside what its trace says.

``words`` has the types that everything else speaks in. Nothing outside of this package imports torch, and nothing in it is
imported by a run to which no probe is attached. See docs/design/probes.md.
"""
