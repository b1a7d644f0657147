"""The programs that jax has compiled, in a folder that many processes use at once, some of which are killed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import jax

from harness import files

try:
    from jax._src import compilation_cache
    from jax._src.compilation_cache_interface import CacheInterface

    _ORIGINAL = compilation_cache.get_file_cache
except (ImportError, AttributeError):  # not public, so another jax may have it elsewhere
    CacheInterface = object
    _ORIGINAL = None


class Programs(CacheInterface):  # type: ignore[misc] # `object` or a class of jax
    """As jax's own cache, but a file is there whole or not at all, and may be removed by others at any time.

    jax writes its files in place. Of a process that is killed, half a file could be left, which jax would neither read
    nor write again.
    """

    def __init__(self, folder: str) -> None:
        self._path = Path(folder)

    def get(self, key: str) -> bytes | None:
        """The program with that key; None if it is not there."""
        path = self._path / key
        try:
            program = path.read_bytes()
            os.utime(path)  # those used least recently are removed first
        except OSError:
            return None
        return program

    def put(self, key: str, value: bytes) -> None:
        """Keep a program, unless the disk is full or the folder is gone."""
        path = self._path / key
        with contextlib.suppress(OSError):
            if not path.exists():
                files.write(path, value)


def keep_whole() -> None:
    """Let jax keep its programs as described above, or not at all where it has no place for that."""
    if _ORIGINAL is None:
        jax.config.update("jax_enable_compilation_cache", False)
    else:
        compilation_cache.get_file_cache = _get_file_cache


def _get_file_cache(path: str) -> tuple[Any, str]:
    return Programs(path), path
