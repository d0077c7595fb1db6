"""The event loop. Everything here is plain arithmetic on arrays, so that numba compiles it and Python runs it alike.

Records are rows of arrays and their fields columns with names (:mod:`.columns`): a compiled function takes a handful of arrays
instead of objects, and a request's fields lie in one cache line.
"""
