"""A multipart upload from the network to the disk, within all limits, and gone again when anything is wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from catenary.serve.problem import Problem
from catenary.serve.settings import Settings

__all__ = ["Form", "Part", "display_name", "free_space", "received"]

#: Bytes of a plain field, of the headers of a part, and of all that is not the content of a file.
FIELD, HEADERS, AROUND = 1 << 16, 1 << 13, 1 << 20
#: Files and fields of a request; a DICOM series is a file a slice.
PARTS = 4096
#: Bytes that are gathered before they are written; bytes between two looks at the free space.
CHUNK, LOOK = 1 << 20, 16 << 20
#: What is read and thrown away of a request that was refused, so that its sender gets to see why.
DRAIN, DRAIN_SECONDS = 64 << 20, 5.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """An uploaded file.

    Attributes:
        role: Name of its field.
        path: Where it lies, under a name of our own.
        name: What the client calls it, for display.
        size: Bytes.
    """

    role: str
    path: Path
    name: str
    size: int


@dataclass(kw_only=True)
class Form:
    """A request.

    Attributes:
        fields: Plain fields.
        files: Uploads in their order.
    """

    fields: dict[str, str] = field(default_factory=dict)
    files: list[Part] = field(default_factory=list)


def display_name(text: str) -> str:
    """A client's name for a file as it may be shown: without folders, control characters and excess.

    >>> display_name("../../etc/pass\\x00wd<b>.png"), display_name("C:\\\\photos\\\\eye.jpg"), display_name("")
    ('passwd<b>.png', 'eye.jpg', 'image')
    """
    last = re.split(r"[/\\]", text)[-1]
    shown = "".join(letter for letter in last if letter.isprintable()).strip(" .")
    return shown[:100] or "image"


def free_space(folder: Path, settings: Settings, wanted: int = 0) -> None:
    """Refuse what would fill the disk.

    Raises:
        Problem: 507.
    """
    free = shutil.disk_usage(folder).free
    if free - wanted < settings.reserve:
        raise Problem(
            507, f"the disk of the server has {free / 1e6:.0f} MB left, too few to take this; try again later"
        )


@contextlib.asynccontextmanager
async def received(request: Request, settings: Settings) -> AsyncIterator[Form]:
    """The form of a request; its files lie in a folder that is deleted when the block ends, so move what is kept.

    Raises:
        Problem: 400 for a broken form, 408 for a sender that went silent, 413 for too much, 415 for no form, 507 for a
            full disk.
        ClientDisconnect: The sender has gone.
    """
    folder = settings.data / "uploads" / secrets.token_hex(10)
    try:
        try:
            yield await _stored(request, settings, folder)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise Problem(507, "the disk of the server is full; try again later") from error
    except Problem as problem:
        problem.headers["connection"] = "close"  # what is left of the request is not waited for
        await _drain(request)
        raise
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _stored(request: Request, settings: Settings, folder: Path) -> Form:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Problem(415, "a job is sent as multipart/form-data with the fields model and image; see /docs")
    limit = settings.max_upload + AROUND
    stated = request.headers.get("content-length", "0")
    if not stated.isdigit():
        raise Problem(400, "the length of the request is no number; send it again")
    if int(stated) > limit:
        raise _too_large(int(stated), settings)
    settings.data.mkdir(parents=True, exist_ok=True)
    free_space(settings.data, settings, int(stated))
    folder.mkdir(parents=True)
    reader = _Reader(folder, options[b"boundary"])
    total = looked = 0
    try:
        stream = request.stream().__aiter__()
        while True:
            try:
                async with asyncio.timeout(settings.idle):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise Problem(408, f"nothing arrived for {settings.idle:.0f} s; send it again") from None
            total += len(chunk)
            if total > limit:
                raise _too_large(total, settings)
            if total - looked > LOOK:
                looked = total
                free_space(settings.data, settings)
            reader.feed(chunk)
            if reader.waiting > CHUNK:
                await asyncio.to_thread(reader.flush)
        await asyncio.to_thread(reader.flush)
        return reader.form()
    finally:
        reader.close()


def _too_large(size: int, settings: Settings) -> Problem:
    return Problem(
        413,
        f"the request has {size / 1e6:.0f} MB, more than the {settings.max_upload / 1e6:.0f} MB that are taken; send a "
        "smaller file",
    )


async def _drain(request: Request) -> None:
    """Read on for a moment: a connection that is closed on a sender tells it nothing."""
    read, started = 0, time.monotonic()
    with contextlib.suppress(ClientDisconnect, TimeoutError, RuntimeError):
        stream = request.stream().__aiter__()
        while read < DRAIN and time.monotonic() - started < DRAIN_SECONDS:
            try:
                async with asyncio.timeout(1.0):
                    read += len(await anext(stream))
            except StopAsyncIteration:
                return


class _Reader:
    """Takes the bytes of a form apart, and writes those of files to disk."""

    def __init__(self, folder: Path, boundary: bytes) -> None:
        self._folder = folder
        self._form = Form()
        self._file: BinaryIO | None = None
        self._queue: list[tuple[BinaryIO, list[bytes]]] = []
        self._parts = 0
        self._around = 0
        self._done = False
        self._reset()
        self.waiting = 0
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, chunk: bytes) -> None:
        """Take some bytes.

        Raises:
            Problem: They are no form, or too many parts of one.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Problem(400, f"the form is broken ({str(error)[:80]}); send it again") from error

    def flush(self) -> None:
        """Write what has gathered."""
        queue, self._queue, self.waiting = self._queue, [], 0
        for file, blocks in queue:
            if blocks:
                file.write(b"".join(blocks))
            else:
                file.close()

    def form(self) -> Form:
        """All of it.

        Raises:
            Problem: The form stopped short.
        """
        if not self._done:
            raise Problem(400, "the upload ended before its end; send it again")
        return self._form

    def close(self) -> None:
        """Close what is open."""
        for file, _ in self._queue:
            file.close()
        if self._file is not None:
            self._file.close()

    def _reset(self) -> None:
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._role, self._client, self._path = "", "", self._folder
        self._size = 0
        self._text = b""

    def _begin(self) -> None:
        self._reset()
        self._parts += 1
        if self._parts > PARTS:
            raise Problem(413, f"the form has more than {PARTS} parts; pack a series as one zip")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._count(end - start)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._count(end - start)

    def _count(self, length: int) -> None:
        self._around += length
        if len(self._name) + len(self._value) > HEADERS or self._around > AROUND:
            raise Problem(400, "the form has headers without end; send it again")

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise Problem(400, "a part of the form has no name; send it again")
        self._role = options[b"name"].decode("utf-8", "replace")[:64]
        if b"filename" in options:
            self._client = display_name(options[b"filename"].decode("utf-8", "replace"))
            self._path = self._folder / f"part{self._parts:04d}"
            self._file = self._path.open("wb")
            self.waiting += FIELD  # so that few files are open at a time

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._queue.append((self._file, [data[start:end]]))
            self.waiting += end - start
            self._size += end - start
            return
        self._text += data[start:end]
        self._count(end - start)
        if len(self._text) > FIELD:
            raise Problem(413, f"the field '{self._role}' has more than {FIELD} bytes; send files as files")

    def _end(self) -> None:
        if self._file is None:
            if self._role in self._form.fields:
                raise Problem(400, f"the field '{self._role}' stands twice in the form; send it once")
            self._form.fields[self._role] = self._text.decode("utf-8", "replace")
            return
        self._queue.append((self._file, []))
        self._file = None
        if self._size or self._client != "image":  # a browser sends an empty part for a file that nobody chose
            self._form.files.append(Part(role=self._role, path=self._path, name=self._client, size=self._size))

    def _finish(self) -> None:
        self._done = True
