"""Activation probes: what a local model's activations say of a subcall's text, beside what its trace says.

``words`` has the types that everything else speaks in; ``Prober`` is all that a run knows of probes. Importing this package
imports neither torch nor numpy, and nothing in it is loaded by a run to which no probe is attached. See
docs/design/probes.md.
"""

from monitor.probes.attached import Prober

__all__ = ["Prober"]
