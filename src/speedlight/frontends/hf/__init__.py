"""Hugging Face configurations → graphs.

``config.py`` reads files, ``quantization.py`` number formats; ``families`` map each ``model_type`` to an
:class:`~.arch.Arch` (architectures as composition: mixers, feed-forwards, norms); ``build.py`` turns that into a graph,
``load.py`` does all of it for a file, a folder of weights or a bundled model.
"""

from __future__ import annotations

from msgspec.structs import replace

from ..._foundation.errors import BadInput
from .arch import Arch
from .config import Config, read_config
from .quantization import formats_of


def architecture(config: Config) -> Arch:
    """The architecture a configuration describes; of a multi-modal one its language model.

    A ``model_type`` nobody registered is read by its field names, which the assumptions say.

    Raises:
        BadInput: naming the field that is missing, contradictory or nonsensical.
    """
    from .families import WHOLE, family_of

    if not config:
        raise BadInput(f"{config.where} holds no fields", expected="a model configuration with model_type")
    text = config.text()
    name = config.model_type
    if name in WHOLE:
        text = config
    function = family_of(name) or family_of(text.model_type)
    if function is None:
        from .families.generic import generic

        function = generic
    if (
        text is not config
        and text.model_type != name
        and family_of(name) is not None
        and family_of(text.model_type) is None
    ):
        text = Config({**text, "model_type": name}, config.where)
    try:
        arch = function(text)
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, ZeroDivisionError, OverflowError) as error:
        raise BadInput(
            f"{config.where}: a field has an unexpected form ({type(error).__name__}: {error})",
            expected=f"a configuration as model_type {name!r} writes it",
        ) from error
    if (text is config and config.get("vision_config") is None) or name in WHOLE:
        return arch
    return _beside(arch, config)


def _beside(arch: Arch, config: Config) -> Arch:
    """What a multi-modal model has beside its language model: counted where the tower is known, else said."""
    from .families.sights import sight_of
    from .families.towers import tower_weights

    sight, rest, said = sight_of(config)
    if sight is not None:
        return replace(arch, sight=sight, extra=(*arch.extra, *rest), assumptions=(*arch.assumptions, *said))
    extra, notes = tower_weights(config)
    return replace(arch, extra=(*arch.extra, *extra), assumptions=(*arch.assumptions, *notes))


__all__ = ["Arch", "Config", "architecture", "formats_of", "read_config"]
