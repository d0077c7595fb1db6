"""The busiest of several equal links between two stages of switches.

Sprayed packets and planned flows spread evenly. Flows that a hash sends (ECMP) fall on links like balls into bins: of F flows on
U links the busiest gets E[max] of them, F/U on average. E[max] = Σ over m of 1 − P(no link has more than m), with loads taken as
independent Poisson numbers (Mitzenmacher and Upfal, "Probability and Computing", §5.4: exact to O(1/√F)).
"""

from __future__ import annotations

import numpy as np

from ..._foundation.arrays import Value

# Flows of one device: what a library opens at once over one port (NCCL: two channels of two queue pairs), assumed.
FLOWS = 4.0


def busiest(flows: Value, links: Value) -> Value:
    """E[load of the busiest link] over the mean load; 1 where there is one link.

    Args:
        flows: equal flows, at least 1.
        links: equal links, at least 1.
    """
    mean = np.maximum(np.asarray(flows, dtype=float), 1.0) / np.maximum(np.asarray(links, dtype=float), 1.0)
    bins = np.maximum(np.asarray(links, dtype=float), 1.0)
    top = int(np.max(np.ceil(mean + 12.0 * np.sqrt(mean) + 24.0)))
    chance = np.exp(-mean)  # of exactly m flows on a link
    below = chance.copy()
    expected = np.zeros(np.broadcast_shapes(mean.shape, bins.shape))
    for count in range(1, top + 1):
        expected = expected + 1.0 - below**bins  # P(max >= count)
        chance = chance * mean / count
        below = np.minimum(below + chance, 1.0)
    factor = np.where(bins > 1.0, np.minimum(np.maximum(expected / mean, 1.0), bins), 1.0)
    return factor if factor.ndim else float(factor)


def pressure(routing: str, devices: Value, uplinks: Value) -> Value:
    """How much more than its even share the busiest uplink of a leaf carries.

    Args:
        routing: ``hashed``, ``sprayed`` or ``planned``.
        devices: below the leaf, all sending.
        uplinks: of the leaf.
    """
    return busiest(FLOWS * devices, uplinks) if routing == "hashed" else 1.0
