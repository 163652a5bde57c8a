"""Which files belong together: SHA-256 of the parts of a fit, kept in its JSON files and compared when they are read.

``model.json`` has those of what makes the model: the weights and the cocktail. ``run.json`` has those of the rest, which tells about the fit and holds
times, so that one seed gives one ``model.json``. Both have the hash of their own content. They find damage and parts of different fits, not forgery: whoever
can write the files can write the hashes.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from temperance.core.errors import DataError
from temperance.core.files import read_whole
from temperance.core.schema import Check, UnfitError, mapping, parse, record, text
from temperance.job.folder import place_of

OWN, PARTS = "sha256", "parts"
MOST_JSON = 1 << 28
_SEAL: dict[str, Check] = {OWN: text(64), PARTS: mapping(text(64), 100)}
_AGAIN = "Copy the folder again, or fit the model again."


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sealed(data: Mapping[str, Any], parts: Mapping[str, bytes], indent: int | None = None) -> str:
    """JSON text of ``data`` with the hashes of other parts and its own."""
    whole = {**data, PARTS: {name: digest(content) for name, content in parts.items()}}
    return json.dumps({**whole, OWN: _own(whole)}, indent=indent, allow_nan=False)


def with_part(data: Mapping[str, Any], name: str, content: bytes) -> str:
    """JSON text of sealed ``data`` in which one part has another content, and the others have the hashes that they had."""
    whole = {key: value for key, value in data.items() if key != OWN} | {PARTS: {**data.get(PARTS, {}), name: digest(content)}}
    return json.dumps({**whole, OWN: _own(whole)}, indent=1, allow_nan=False)


def _own(data: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in data.items() if key != OWN}
    return digest(json.dumps(rest, sort_keys=True, allow_nan=False, separators=(",", ":")).encode())


def read_json(path: Path) -> dict[str, Any]:
    """An object of a JSON file, of which the hash of its own content is right, if it has one.

    Raises:
        DataError: no ordinary file, no JSON, or changed since it was written.
    """
    try:
        found = parse(read_whole(path, MOST_JSON))
        if not isinstance(found, dict):
            raise UnfitError("the file", "an object", found)
        if OWN in found:
            record(_SEAL, others=True)(found, "")
    except (OSError, ValueError) as error:
        raise DataError(f"Expected JSON in {str(path)!r}, got something else: {reason(error)}. {_AGAIN}") from None
    if OWN in found and _own(found) != found[OWN]:
        raise DataError(f"Expected {str(path)!r} as the fit wrote it, got a file that was changed or damaged since: its SHA-256 differs. {_AGAIN}")
    return found


def reason(error: Exception) -> str:
    """Why a file cannot be read, in one line."""
    if isinstance(error, OSError):
        return {errno.ELOOP: "it is a link, and none is followed"}.get(error.errno or 0, error.strerror or str(error))
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def quoted(value: object) -> str:
    """Text of a file that may come from anybody, for a message: short, and nothing in it moves the cursor."""
    return ascii(str(value)[:200])[1:-1]


def check_part(owner: Mapping[str, Any], name: str, content: bytes, path: Path) -> None:
    """Compare a part with its hash in the file that has it; files of earlier versions have none.

    Raises:
        DataError: it is another one.
    """
    if name in owner.get(PARTS, {}) and owner[PARTS][name] != digest(content):
        raise DataError(f"Expected {str(path)!r} as the fit wrote it, got a file of another fit or a damaged one: its SHA-256 differs. {_AGAIN}")


def read_part(folder: Path, name: str, check: Check) -> dict[str, Any]:
    """``summary.json`` or ``run.json`` of a fit, as it was written.

    Raises:
        DataError: not there, changed, of another fit, or with other fields.
    """
    path = place_of(folder, name)
    found = read_json(path)
    run = place_of(folder, "run.json")
    if name != run.name and run.exists():
        check_part(read_json(run), name, read_whole(path, MOST_JSON), path)
    return fitting(found, check, path)


def fitting(found: Any, check: Check, path: Path) -> Any:
    """The value, if it passes the check.

    Raises:
        DataError: it does not.
    """
    try:
        check(found, "")
    except (UnfitError, RecursionError) as error:
        raise DataError(f"Expected {str(path)!r} as `temperance fit` writes it, got other fields: {reason(error)}. Fit the model again.") from None
    return found


def contents(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Those parts of a folder that are there."""
    return {name: read_whole(folder / name) for name in names if (folder / name).exists()}
