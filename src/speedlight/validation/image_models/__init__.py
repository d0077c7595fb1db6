"""Image models measured whole (vision_throughput): what was asked, what kernels that makes, fits of those kernels.

::

    questions.py   rows of the table → questions: model, size, precision, layout, stack, machine, batches
    observed.py    questions → their kernels with analytic costs, kept on disk so that a pass can be resumed
    fitting.py     kernels and times → parts, errors of models and devices left out, intervals
    __main__.py    refits and writes the fit file
"""
