"""Denoisers and autoencoders as diffusers configures them (``_class_name``): exact layer by layer.

``pieces`` and ``convolutions`` are the vocabulary; each other module builds the blocks of one lineage. A builder is a
function ``(config, ctx, shared) -> Built``.
"""
