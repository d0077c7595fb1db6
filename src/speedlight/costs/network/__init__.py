"""Messages over nested networks: where a group's ranks stand, what an algorithm sends over each link, which one runs.

=============== =================================================================================
module          question
=============== =================================================================================
footprint       how many ranks of the group share a box, a leaf switch, a torus dimension …
levels          what one rank's share of those links carries a second, and what lies on the way
routing         how much of the traffic the busiest of several links gets
algorithms      bytes and dependent messages of ring, tree, hierarchy, one shot, switch reduction …
libraries       which algorithms and protocols a library has, and what share of a link each reaches
choose          the algorithm of least time, its seconds on every link, and the least any could take
=============== =================================================================================

Pure functions over floats or arrays; what a topology *is* stands in :mod:`speedlight.hardware.machine`.
"""
