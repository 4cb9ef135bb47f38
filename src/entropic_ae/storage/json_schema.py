"""Validation of JSON files: an error names the place of the damage."""

from __future__ import annotations

from typing import Any

from entropic_ae.errors import InputError

__all__ = ["check", "shown"]

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", None: "null"}


def check(value: Any, spec: Any, where: str) -> None:
    """Raise InputError if a value does not match a specification; the message names the place.

    >>> check({"seed": "one"}, {"seed": int}, "run.json")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: run.json is damaged: seed is 'one', expected a whole number; create it again.
    """
    if fault := _fault(value, spec, ""):
        raise InputError(f"{where} is damaged: {fault}; create it again.")


def _fault(value: Any, spec: Any, place: str) -> str | None:
    """Return a description of the first fault, or None."""
    if isinstance(spec, tuple):
        faults = [_fault(value, one, place) for one in spec]
        return None if None in faults else faults[0]
    if isinstance(spec, dict) and isinstance(value, dict):
        return _fault_of_dictionary(value, spec, place)
    if isinstance(spec, list) and isinstance(value, list) and len(spec) in (1, len(value)):
        wanted = spec if len(spec) > 1 else spec * len(value)
        pairs = enumerate(zip(value, wanted, strict=True))
        return next((f for i, (one, kind) in pairs if (f := _fault(one, kind, f"{place}[{i}]"))), None)
    if _is(value, spec):
        return None
    return f"{place or 'it'} is {shown(value)}, expected {_expected(spec)}"


def _fault_of_dictionary(value: dict[str, Any], spec: dict[str, Any], place: str) -> str | None:
    start = f"{place}." if place else ""
    if "*" in spec:
        pairs = value.items()
        return next((f for name, one in pairs if (f := _fault(one, spec["*"], start + _printable(name)))), None)
    for key, kind in spec.items():
        name = key.removesuffix("?")
        if name in value:
            if fault := _fault(value[name], kind, start + name):
                return fault
        elif name == key:
            return f"{start}{name} is missing"
    return None


def _is(value: Any, spec: Any) -> bool:
    if isinstance(spec, dict | list):
        return False
    if spec is None or isinstance(value, bool):
        return value is spec or (spec is bool and isinstance(value, bool))
    return isinstance(value, (int, float) if spec is float else spec)


def _expected(spec: Any) -> str:
    if isinstance(spec, dict):
        return "a dictionary"
    if isinstance(spec, list):
        return f"a list of {len(spec)}" if len(spec) > 1 else "a list"
    return _NAMES[spec]


def _printable(name: str) -> str:
    return name if name.isprintable() and len(name) <= 80 else shown(name)


def shown(value: Any, most: int = 40) -> str:
    """Return a value from a file for use in a message: short and on one line, whatever it contains.

    >>> shown("eae"), shown([1.0]), shown([[[]]]), shown("a" * 100, most=10)
    ("'eae'", '[1.0]', 'a list', "'aaaaaa...")
    """
    # containers are not printed: they may be nested too deep
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict | list) for v in value)):
        return "a dictionary" if isinstance(value, dict) else "a list"
    text = repr(value[: most + 1] if isinstance(value, str | list) else value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
