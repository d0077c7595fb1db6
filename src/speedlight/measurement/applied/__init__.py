"""Techniques applied for real to a module, with the libraries people use, and run beside the module without them.

    method.py       what applying a technique is, and where methods are filed by the technique's name
    blocks.py       the repeated blocks of a module
    kernels.py, formats.py, layers.py, tokens.py, steps.py
                    the methods by what they change
    elsewhere.py    techniques that cannot be applied here, and why
    beside.py       both run in turn; outputs compared

Applying a technique runs the model's code and the library's; a model is only run because the user named it.
"""
