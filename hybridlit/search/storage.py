"""Where a study is kept, and whether it is the study that the recipe describes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
)

__all__ = ["default_storage", "folder_of", "open_storage", "open_study", "quiet"]

_SETTINGS = "settings"
_JOURNAL = "journal:///"
_TRIES = 4
"""How often a database is tried that others may begin at the same moment."""


def folder_of(name: str) -> Path:
    """Return the folder of a study, for all that it leaves.

    Raises:
        ValueError: If its name is that of no folder.
    """
    if set(name) & set("/\\") or not name.strip(". "):
        raise ValueError(f"the name of a study must be that of a folder, got {name!r}")
    return Path("runs", "search", name)


def default_storage(name: str, shared: bool = False) -> str:
    """Return the URL of the file of a study: a database, or a journal that machines can share.

    SQLite relies on locks that a network's file system may not have. A journal that is there is
    gone on with.
    """
    journal = folder_of(name) / "study.journal"
    if shared or journal.exists():
        return f"{_JOURNAL}{journal.as_posix()}"
    return f"sqlite:///{(folder_of(name) / 'study.db').as_posix()}"


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Open a storage of Optuna.

    Args:
        url: `sqlite:///FILE` on a disk of this machine, `journal:///FILE` on one that several
            machines share, or the URL of a database, such as `postgresql://...`. Folders of files
            are made.

    Raises:
        ValueError: If it cannot be opened.
    """
    if url.startswith(_JOURNAL):
        path = Path(url.removeprefix(_JOURNAL))
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return JournalStorage(JournalFileBackend(str(path)))
        except ValueError as error:
            raise ValueError(f"storage {url!r} cannot be opened: it is no journal") from error
    options: dict[str, Any] = {}
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        options = {"engine_kwargs": {"connect_args": {"timeout": 60}}}  # seconds, for other writers
    for left in reversed(range(_TRIES)):
        try:
            return RDBStorage(url, **options)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ValueError(f"storage {url!r} cannot be opened: {_first_line(error)}") from None
        except (IntegrityError, OperationalError) as error:
            if not left:
                raise ValueError(f"storage {url!r} fails: {_first_line(error)}") from error
            time.sleep(1)  # another worker may have made a table just now
        except DatabaseError as error:  # such as a file of another kind
            raise ValueError(f"storage {url!r} cannot be opened: {_first_line(error)}") from None
    raise AssertionError


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def open_study(
    name: str,
    storage: optuna.storages.BaseStorage,
    directions: list[StudyDirection],
    settings: Mapping[str, Any],
) -> optuna.Study:
    """Open a study, or begin it.

    Args:
        name: Its name.
        storage: Where it is.
        directions: Of its objectives.
        settings: All that its trials depend on, as plain values.

    Raises:
        ValueError: If it was begun with other settings; the message names what differs.
    """
    given = json.loads(json.dumps(settings))  # as it comes back
    names = optuna.get_all_study_names(storage)
    if name in names:
        study = optuna.load_study(study_name=name, storage=storage)
        known = study.user_attrs.get(_SETTINGS)
        if known is not None:
            _refuse_changes(name, known, given)
            return study
    try:
        study = optuna.create_study(
            study_name=name, storage=storage, directions=directions, load_if_exists=True
        )
    except ValueError as error:  # one of another making
        raise ValueError(f"the study {name!r} cannot be gone on with: {error}") from None
    study.set_user_attr(_SETTINGS, given)
    return study


@contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna say what is wrong, and nothing else."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _refuse_changes(name: str, known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    before, now = _flat(known), _flat(given)
    changes = [
        f"{key} {'is new' if key not in before else f'was {before[key]!r}'}, "
        f"{'is gone' if key not in now else f'is {now[key]!r}'}"
        for key in sorted(before.keys() | now.keys())
        if key not in before or key not in now or before[key] != now[key]
    ]
    if changes:
        more = f", and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise ValueError(
            f"the study {name!r} was begun with other settings: {'; '.join(changes[:3])}{more}: "
            "put them back, or begin another study with another name or storage"
        )


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{path}.")
        else:
            found[path] = value
    return found
