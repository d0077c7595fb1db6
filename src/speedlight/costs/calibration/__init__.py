"""What measurements add to physics: fitted efficiencies of a cost family's terms, with their intervals.

A kernel's time is built from *terms* physics names (seconds of the matrix unit, of a memory tier, of a launch …). A fit
bends each term by a smooth log-efficiency, a sum of small tables over coordinates that never contain a rate (sizes, waves,
bytes over cache), so that a faster part can never make a prediction slower. See :mod:`.model` for the formula,
:mod:`.samples` for how tables and kernels are looked at in the same way, and :mod:`speedlight.costs.refit` for the fitting.
"""
