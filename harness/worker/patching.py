"""How something of a library is replaced: for as long as a context is open."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

#: What stays replaced as long as this process lives: a worker and its children are made for one backend, and a child
#: for one request.
FOR_GOOD = contextlib.ExitStack()
atexit.register(FOR_GOOD.close)


@contextlib.contextmanager
def patched(owner: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Let `wrap(original)` stand for an attribute while the context is open.

    Args:
        owner: a module, or the class that defines the attribute.
    """
    original = getattr(owner, name)
    setattr(owner, name, wrap(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def where_defined(kind: type, name: str) -> Any:
    """The class that an attribute of another class is inherited from."""
    return next(base for base in kind.__mro__ if name in vars(base))
