"""Methods on activations: the probe itself, refitted with every choice inside of the training rows, and layer 0."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
