"""Files that lie where others may have put something: read only if they are files, and written whole or not at all.

A folder may be a stranger's. In the place of a file it may hold a pipe, which nobody writes to, a device without an
end, or a link to a file that is not ours.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError

#: The most bytes of a file of text that is read, JSON among them.
LARGEST_TEXT = 1 << 28
#: The most characters of a file's name that stand in the name of the new file that takes its place.
_READABLE = 80


def opened(path: Path) -> BinaryIO:
    """Open a file to read it.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no regular file.
    """
    # Without O_NONBLOCK a pipe that nobody writes to would be waited for.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("it is no regular file")
    return open(handle, "rb")


def read(path: Path, most: int = LARGEST_TEXT) -> bytes:
    """What a file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, or has more than so many bytes.
    """
    with opened(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most} bytes")
    return data


def read_text(path: Path, most: int = LARGEST_TEXT) -> str:
    """What a file of UTF-8 holds, with its line ends as they are. Raises as `read` does."""
    return read(path, most).decode("utf-8")


def bytes_on_disk(stream: BinaryIO) -> int:
    """The bytes of a file without its holes: a file of a few kilobytes may claim to have gigabytes of zeros."""
    handle = stream.fileno()
    size, position, found = os.fstat(handle).st_size, 0, 0
    while position < size:
        try:
            start = os.lseek(handle, position, os.SEEK_DATA)
        except OSError:  # there is nothing but a hole from here on
            break
        position = os.lseek(handle, start, os.SEEK_HOLE)
        found += position - start
    return found


@contextlib.contextmanager
def made(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yields the path of a new file, which takes the place of `path` at the end.

    A file at that place is replaced, and so is a link: what it leads to stays as it is. Devices and pipes below `/dev`,
    such as `/dev/stdout`, are yielded themselves.

    Raises:
        OSError: the file cannot be written. Its `filename` is `path`.
        HarnessError: there is a folder, a pipe or a device at the place of the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_stream(path):
            yield path
            return
        mode = _mode_of_what_is_replaced(path)
        new = path.with_name(f".{path.name[:_READABLE]}-{secrets.token_hex(4)}")
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
        try:
            if mode is not None:
                os.chmod(new, mode)
            yield new
            os.replace(new, path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, see `made`."""
    with made(path) as place:
        place.write_bytes(data)


def check_inside(folder: Path, *places: Path) -> None:
    """Check that what is written below a folder stays there.

    Raises:
        HarnessError: one of the places in it is, or lies behind, a link that leads outside.
    """
    real = os.path.realpath(folder)
    for place in places:
        if os.path.commonpath([real, os.path.realpath(place)]) != real:
            raise HarnessError(
                f"{str(place)!r} leads out of {str(folder)!r}, to {os.path.realpath(place)!r}, by a link. Nothing is "
                "written through it. Remove the link, or name another folder."
            )


def _is_stream(path: Path) -> bool:
    """Whether a path names what the system keeps for devices and open files, and not a file in a folder."""
    folder = os.path.realpath(path.parent)
    return folder == "/dev" or folder.startswith("/proc/")


def _mode_of_what_is_replaced(path: Path) -> int | None:
    """The permissions of the file at a place; None where there is none, or a link."""
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found):
        return None
    if not stat.S_ISREG(found):
        raise HarnessError(f"{str(path)!r} is no file, and is not replaced by one. Name another place.")
    return stat.S_IMODE(found)
