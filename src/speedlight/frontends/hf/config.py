"""Reads what a Hugging Face repository says of a model: ``config.json`` and its companions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._foundation.errors import BadFile, BadInput
from ..._foundation.files import parse_json, read_text

MOST_LAYERS = 10_000  # layers are listed one by one before they are folded
_TEXT_KEYS = ("text_config", "llm_config", "language_config", "thinker_config")


class Config(Mapping[str, Any]):
    """A configuration with checked reads: a field that is missing or nonsensical is named in the message.

    Multi-modal configurations nest the language model under ``text_config`` (or ``llm_config``, ``language_config``);
    :meth:`text` gives that part, falling back to the outer fields.
    """

    def __init__(self, data: Mapping[str, Any], where: str = "config.json") -> None:
        if not isinstance(data, Mapping):
            raise BadFile(f"{where} holds a {type(data).__name__}", expected="a JSON object")
        self._data = data
        self.where = where

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    @property
    def model_type(self) -> str:
        value = self.get("model_type", self.get("_class_name"))  # diffusers names a class instead
        if value is None:
            return ""
        if not isinstance(value, str):
            raise BadInput(f"{self.where}: model_type is {value!r}", expected="a string")
        return value

    def text(self) -> Config:
        """The language model's part of a multi-modal configuration; the configuration itself where it is none."""
        for key in _TEXT_KEYS:
            inner = self.get(key)
            if isinstance(inner, Mapping):
                outer = {
                    k: v for k, v in self._data.items() if not isinstance(v, Mapping) or k == "quantization_config"
                }
                return Config({**outer, **inner}, self.where).text()
        return self

    def part(self, name: str) -> Config:
        """A nested object (``vision_config``); a missing one is an empty configuration that names itself in errors."""
        value = self.get(name)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise BadInput(f"{self.where}: {name} is {_shown(value)}", expected="an object")
        return Config(value, f"{self.where}: {name}")

    def bad(self, field: str, expected: str, hint: str = "") -> BadInput:
        """The error for a field that came with an unusable value."""
        return BadInput(f"{self.where}: {field} is {_shown(self.get(field))}", expected=expected, hint=hint)

    def stated(self, *names: str) -> str | None:
        """The first of these fields that is there and not null."""
        return next((n for n in names if self.get(n) is not None), None)

    def integer(self, *names: str, default: int | None = None, least: int = 1, most: int = 10**8) -> int:
        """The first of these fields that is set, as an integer in ``least … most``; ``default`` None means required."""
        name = self.stated(*names)
        if name is None:
            if default is None:
                raise BadInput(
                    f"{self.where}: the field {' or '.join(names)} is missing",
                    expected=f"it, for model_type {self.model_type!r}",
                )
            return default
        value = self[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.bad(name, "an integer")
        if value != int(value):
            raise self.bad(name, "an integer")
        if value < least:
            raise self.bad(name, f"at least {least}")
        if value > most:
            raise self.bad(name, f"at most {most}")
        return int(value)

    def number(self, name: str, default: float) -> float:
        value = self.get(name, default)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.bad(name, "a number")
        return float(value)

    def flag(self, *names: str, default: bool = False) -> bool:
        name = self.stated(*names)
        if name is None:
            return default
        if not isinstance(self[name], (bool, int)):
            raise self.bad(name, "true or false")
        return bool(self[name])

    def word(self, *names: str, default: str = "") -> str:
        for name in names:
            value = self.get(name)
            if isinstance(value, str):
                return value
        return default

    def layers(self, *names: str, default: int | None = None) -> int:
        """The number of layers (``num_hidden_layers`` and its older names)."""
        return self.integer(*(names or ("num_hidden_layers", "n_layer", "n_layers", "num_layers")),
                            default=default, most=MOST_LAYERS)  # fmt: skip

    def per_layer(self, name: str, count: int, allowed: Sequence[Any] = (), spare: int = 0) -> list[Any] | None:
        """A list with one entry a layer, or None where it is not given.

        Args:
            name: the field.
            count: layers.
            allowed: the entries understood; empty for any.
            spare: further entries that may follow (multi-token-prediction layers), dropped.
        """
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)):
            raise self.bad(name, f"a list of {count} entries, one a layer")
        if not count <= len(value) <= count + spare:
            raise BadInput(
                f"{self.where}: {name} has {len(value)} entries", expected=f"{count}, one for each hidden layer"
            )
        for index, entry in enumerate(value):
            if allowed and entry not in allowed:
                raise BadInput(
                    f"{self.where}: {name}[{index}] is {_shown(entry)}",
                    expected="one of " + ", ".join(str(a) for a in allowed),
                )
        return list(value[:count])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def read_config(path: Path) -> Config:
    """``config.json`` (or a folder holding one) with its companion files merged in.

    ``hf_quant_config.json`` beside it is kept under the key ``hf_quant_config``; ``generation_config.json`` says nothing
    about speed and is not read. Records of configuration facts (``{"source", "grade", "config"}``) are read too.

    Raises:
        BadFile: if there is no such file, or it holds no JSON object.
    """
    folder = path if path.is_dir() else path.parent
    file = path / "config.json" if path.is_dir() else path
    data = parse_json(read_text(file, "model configuration", limit=16 * 2**20), str(file))
    if isinstance(data, Mapping) and isinstance(data.get("config"), Mapping):
        data = data["config"]
    if not isinstance(data, Mapping):
        raise BadFile(f"{file} holds a {type(data).__name__}", expected="a JSON object describing a model")
    merged = dict(data)
    quant = folder / "hf_quant_config.json"
    if file.name == "config.json" and quant.is_file():
        merged.setdefault("hf_quant_config", parse_json(read_text(quant, "quantisation"), str(quant)))
    return Config(merged, str(file))
