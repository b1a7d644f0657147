"""What was raised, in its own words, and the line that raised it: of the user, or of a package that is no framework."""

from __future__ import annotations

import inspect
import itertools
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from harness import backends
from harness.errors import message_of

#: The most characters of an error's message that are kept. All of it is in the case's output.
LONGEST = 2000
#: Packages whose own lines say nothing of the code under test.
_FRAMEWORKS = (*backends.NAMES, "keras", "jaxlib", "scipy", "optree", "h5py", "pytest")
#: The folder of this package.
_HARNESS = Path(__file__).resolve().parents[1]
#: What Keras puts after the reason when a layer raises.
_ARGUMENTS = re.compile(r"\n+Arguments received by .*", re.DOTALL)
#: What Keras puts, on a line of its own, before the reason.
_ENCOUNTERED = re.compile(r"(Exception encountered when calling .*)\.\n+")
#: What makes text bold or coloured in a terminal. Keras has it in what a layer's call raises.
_STYLE = re.compile(r"\x1b\[[\d;]*m")


def described(error: BaseException, root: Path) -> str:
    """An error's class and message and, on lines of their own, what it came from and where that was raised.

    Args:
        root: what paths are relative to.
    """
    error = _meant(error)
    first = _chain(error)[-1]
    text, where = _words(error), line_of(error, root)
    is_told = message_of(first) in message_of(error) or message_of(error) in message_of(first)
    text += "" if is_told else f"\n  which came from {_words(first)}"
    return text if where is None else f"{text}\n  at {where}"


def line_of(error: BaseException, root: Path) -> str | None:
    """The deepest line, as `file:line, in name`, that is not of a framework: of the error, or of what it came from.

    Where all lines are, as when Keras saves a layer, it is the class that they were dealing with; None where there is
    none.
    """
    stacks = [list(traceback.walk_tb(each.__traceback__))[::-1] for each in _chain(error)]
    for frame, line in itertools.chain.from_iterable(stacks):
        path = Path(frame.f_code.co_filename)
        if is_users(path):
            return f"{shown(path, root)}:{line}, in {frame.f_code.co_name}"
    for kind in _classes(frame for frame, _ in stacks[0]):
        try:
            path, (_, line) = Path(inspect.getfile(kind)), inspect.getsourcelines(kind)
        except (OSError, TypeError):
            continue
        if is_users(path):
            return f"{shown(path, root)}:{line}, in {kind.__name__}"
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """An error, what it was raised from or in the handling of, and so on."""
    chain = [error]
    while True:
        before = chain[-1].__context__ if chain[-1].__cause__ is None else chain[-1].__cause__
        if before is None or any(before is each for each in chain):  # by identity: an error may compare as it likes
            return chain
        chain.append(before)


def _meant(error: BaseException) -> BaseException:
    """The error, or the one that Keras failed to put its own words before, if that is why the error was raised.

    Keras makes a second error of the same class, with a longer message. Some classes are not made of one message.
    """
    for failed in reversed(_chain(error)):
        if failed.__context__ is not None and _raised_by_making_an_error(failed):
            return failed.__context__
    return error


def _raised_by_making_an_error(error: BaseException) -> bool:
    """Whether an exception was raised when Keras called another exception's class, in it or because it cannot be called
    so.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames:
        return False
    if frames[-1].f_code.co_name == "__init__" and isinstance(frames[-1].f_locals.get("self"), BaseException):
        return True
    keras = _folder_of("keras")
    by_keras = keras is not None and _is_within(Path(frames[-1].f_code.co_filename), [keras])
    return by_keras and isinstance(error, TypeError) and "__init__() missing" in message_of(error)


def _words(error: BaseException) -> str:
    text = _STYLE.sub("", f"{type(error).__name__}: {_ARGUMENTS.sub('', message_of(error))}").rstrip(": \n")
    text = re.sub(r"\n\s*\n", "\n", _ENCOUNTERED.sub(r"\1: ", text))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _classes(frames: Iterator[FrameType]) -> Iterator[type]:
    """The classes of what frames hold in their arguments and variables."""
    for frame in frames:
        if _is_within(Path(frame.f_code.co_filename), [_HARNESS]):
            return  # what called into the frameworks holds everything
        for value in frame.f_locals.values():
            if not isinstance(value, type) and type(value).__module__ != "builtins":
                yield type(value)


def is_users(path: Path) -> bool:
    """Whether a file is of the user, or of a package that is no framework."""
    packages = [folder for folder in map(_folder_of, _FRAMEWORKS) if folder is not None]
    if not path.exists() or _is_within(path, [_HARNESS, *packages]):
        return False
    return "site-packages" in path.parts or not _is_within(path, [Path(sysconfig.get_path("stdlib")).resolve()])


def _folder_of(package: str) -> Path | None:
    """Where a package lies that is imported; None if it is not."""
    file = getattr(sys.modules.get(package), "__file__", None)
    return None if file is None else Path(file).resolve().parent


def _is_within(path: Path, folders: list[Path]) -> bool:
    path = path.resolve()  # another environment reaches the harness through links
    return any(path.is_relative_to(folder) for folder in folders)


def shown(path: Path, root: Path) -> str:
    """A path relative to the root or, of what is installed, to where packages are."""
    if "site-packages" in path.parts:
        return Path(*path.parts[path.parts.index("site-packages") + 1 :]).as_posix()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
