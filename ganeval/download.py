"""Files from the network: fetched once, announced, verified, and put in place atomically."""

from __future__ import annotations

import contextlib
import hashlib
import http
import http.client
import logging
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from tqdm import tqdm

from ganeval.errors import WeightsError
from ganeval.parsing.variables import flag

Notify = Callable[[str], None]

MIRROR_VARIABLE = "GANEVAL_MIRROR"
TIMEOUT = 30.0  # seconds without a single byte
_LOCK_TIMEOUT = 3600.0  # seconds to wait while another process fetches the same file
_BLOCK = 1 << 20
_logger = logging.getLogger("ganeval")


def is_offline() -> bool:
    """Whether ``GANEVAL_OFFLINE`` switches downloads off: it is set, and neither empty nor 0, false, no or off."""
    return flag("GANEVAL_OFFLINE")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 lower-case hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    bytes: int | None,
    what: str,
    licence: str | None = None,
    notify: Notify | None = None,
    allow_http: bool = False,
) -> Path:
    """Make sure that ``target`` is the file at ``url``; download it only if it is not there yet.

    The download goes to a hidden name in the target's folder and takes the target's name after its size and all 64
    digits of its hash were checked. After any failure, an interrupt included, an earlier file stays. What was received
    of a file of known hash stays under the hidden name, and the next call goes on from there. Of several threads and
    processes that ask for one file, one downloads it.

    ``GANEVAL_MIRROR`` is the address of a folder that is asked first for files of known hash, by the last part of
    ``url``. The variables of proxies (``https_proxy``, ``no_proxy``, ...) are respected.

    Args:
        url: http or https.
        target: where the file belongs; its folder is made if needed.
        sha256: expected hash. None: the first hash is written to ``<target>.sha256``, and later calls expect it.
        bytes: expected size, if known.
        what: how messages call the file, for instance "Inception-v3 weights of FID".
        licence: part of the announcement.
        notify: receives the announcement and other one-line notes. By default the ``ganeval`` logger warns with them,
            which Python shows on stderr.
        allow_http: fetch a file of unknown hash over http too. Without a hash, only https shows that the file was not
            replaced on the way.

    Raises:
        WeightsError: no network, GANEVAL_OFFLINE, an http address and no known hash, a refused or broken transfer, or
            a file of another size or hash.
    """
    note = notify or _logger.warning  # without any set-up, Python shows warnings on stderr and drops the rest
    if _is_right(target, sha256, what, note):
        return target
    if is_offline():
        state = "is not the right file" if target.is_file() else "is not there"
        raise WeightsError(
            f"{what}: {target} {state}, and nothing is downloaded because GANEVAL_OFFLINE is set. "
            f"Fetch {url} on another machine and put it there (SHA-256 {sha256 or 'not published'})."
        )
    if not url.startswith(("http://", "https://")):
        raise WeightsError(f"Cannot fetch {what}: {url} is not an http or https address.")
    secure = not allow_http and (sha256 or recorded_hash(target)) is None
    if secure and not url.startswith("https://"):
        raise WeightsError(_insecure(url, what))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target, what, note):
            if not _is_right(target, sha256, what, note):
                _download(url, target, sha256 or recorded_hash(target), bytes, what, licence, note, secure=secure)
                if sha256 is None:
                    _record(target, what, note)
    except OSError as error:
        raise WeightsError(
            f"Cannot write {what} to {target}: {error.strerror or error}. Free some space there, or choose a folder "
            f"that you may write to (TORCH_HOME for weights)."
        ) from error
    return target


def _is_right(target: Path, sha256: str | None, what: str, note: Notify) -> bool:
    """Whether the file is there with the expected hash, if one is known."""
    if not target.is_file():
        return False
    expected = sha256 or recorded_hash(target)
    if expected is None:
        _record(target, what, note)
        return True
    return sha256_of(target) == expected


def _sidecar(target: Path) -> Path:
    return target.with_name(target.name + ".sha256")


def recorded_hash(target: Path) -> str | None:
    """The hash of an earlier download, in the format of the sha256sum command."""
    try:
        word = _sidecar(target).read_text("utf-8").split(maxsplit=1)[0].lower()
    except (OSError, UnicodeDecodeError, IndexError):
        return None
    return word if len(word) == 64 and set(word) <= set("0123456789abcdef") else None


def _record(target: Path, what: str, note: Notify) -> None:
    digest = sha256_of(target)
    message = f"{what}: no published hash is known, so {target} is unverified (SHA-256 {digest})."
    note(message)
    if recorded_hash(target) != digest:
        with contextlib.suppress(OSError):  # a read-only folder: the file serves all the same
            _sidecar(target).write_text(f"{digest}  {target.name}\n", "utf-8")


def _download(
    url: str,
    target: Path,
    sha256: str | None,
    size: int | None,
    what: str,
    licence: str | None,
    note: Notify,
    *,
    secure: bool,
) -> None:
    """Download from the mirror, if there is one and the hash is known, then from ``url``, until one gives the file."""
    addresses = [url]
    if sha256 is not None and (mirror := os.environ.get(MIRROR_VARIABLE, "").strip()):
        addresses.insert(0, f"{mirror.rstrip('/')}/{PurePosixPath(urlsplit(url).path).name}")
    if not addresses[0].startswith(("http://", "https://")):
        raise WeightsError(f"{MIRROR_VARIABLE} is {mirror!r}; expected an http or https address of a folder.")
    terms = f", licence {licence}" if licence else ""
    for address in addresses:
        length = f"{_megabytes(size)}, " if size else ""
        note(f"Fetching {what} ({length}{address}{terms}) to {target}")
        try:
            _download_from(address, target, sha256, size, what, note, secure=secure)
            return
        except WeightsError as error:
            if address == url:
                raise
            note(f"the mirror did not serve {what}: {error}")


def _download_from(
    url: str, target: Path, sha256: str | None, size: int | None, what: str, note: Notify, *, secure: bool
) -> None:
    """Receive the file, check it, and put it in place.

    A transfer that breaks off goes on where it stopped as long as it makes progress, in a later call too. Only a file
    of known hash is continued: nothing else shows that both halves are of one file.
    """
    part = target.with_name(f".{target.name}.part")
    if sha256 is None:
        part.unlink(missing_ok=True)
    if size and (free := shutil.disk_usage(target.parent).free) < size - _length(part):
        raise WeightsError(
            f"{what} needs {_megabytes(size)} in {target.parent}, which has {_megabytes(free)} free. Free some space."
        )
    resumed = _length(part) > 0
    try:
        while True:
            before = _length(part)
            try:
                _transfer(url, part, size, what, note, secure=secure)
                break
            except WeightsError as error:
                if sha256 is None or _length(part) <= before:
                    raise
                note(f"{error} Trying to go on after {_megabytes(_length(part))}.")
                resumed = True
        digest = sha256_of(part)
        if sha256 not in (None, digest):
            part.unlink()
            if resumed:  # its first half may be another file's
                note(f"{what}: the continued file is not the expected one; starting over")
                _download_from(url, target, sha256, size, what, note, secure=secure)
                return
            raise WeightsError(_another_file(url, target, digest, str(sha256), what))
        os.replace(part, target)
    finally:
        if sha256 is None:
            part.unlink(missing_ok=True)


def _another_file(url: str, target: Path, digest: str, expected: str, what: str) -> str:
    advice = "it may have been replaced on the way; try another network"
    if recorded_hash(target) == expected:
        advice = f"if you want the new file, remove {_sidecar(target)} and try again"
    return (
        f"The download of {what} is not the expected file: {url} gave SHA-256 {digest}, expected {expected}. "
        f"Nothing was changed; {advice}."
    )


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _transfer(url: str, part: Path, size: int | None, what: str, note: Notify, *, secure: bool) -> None:
    """Receive what ``part`` lacks of the file, or all of it where the server cannot send the rest alone.

    Raises:
        WeightsError: no answer, or the file is shorter or longer than it should be.
    """
    start, spoken = _length(part), time.monotonic()
    if start and start == size:
        return
    headers = {"User-Agent": "ganeval", **({"Range": f"bytes={start}-"} if start else {})}
    opener = urllib.request.build_opener(*([_SecureRedirects(what)] if secure else []))
    with contextlib.ExitStack() as stack:
        with _network(url, what):
            try:
                answer = stack.enter_context(opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT))
            except urllib.error.HTTPError as error:
                if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # the part is too long
                    part.unlink(missing_ok=True)
                raise
        start = start if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        header = answer.headers.get("Content-Length", "")
        total = size or (start + int(header) if header.isdigit() else None)
        stream = stack.enter_context(part.open("ab" if start else "wb"))
        bar = stack.enter_context(tqdm(total=total, initial=start, desc=what, unit="B", unit_scale=True, disable=None))
        received = start
        while total is None or received <= 2 * total + _BLOCK:  # an endless answer; its size is the error
            with _network(url, what):
                block = answer.read(_BLOCK)
            if not block:
                break
            stream.write(block)
            received += len(block)
            bar.update(len(block))
            if bar.disable and time.monotonic() - spoken > 30:  # no terminal: a plain line instead of the bar
                spoken = time.monotonic()
                note(f"{what}: {_megabytes(received)}" + (f" of {_megabytes(total)}" if total else ""))
    if total is not None and received != total:
        fault = "was cut short" if received < total else "is too long"
        if received > total:
            part.unlink()
        raise WeightsError(
            f"The download of {what} {fault}: {received} bytes from {url}, expected {total}. "
            f"Nothing was changed; try again."
        )


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects that stay on https.

    Args:
        what: how messages call the file.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def redirect_request(self, *args: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*args)
        if request is not None and request.type != "https":
            raise WeightsError(_insecure(request.full_url, self._what))
        return request


@contextlib.contextmanager
def _network(url: str, what: str) -> Iterator[None]:
    """Every fault of the network is a WeightsError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise WeightsError(
            f"Cannot fetch {what}: {url} answered {error.code} {error.reason}. Try again later, or fetch it elsewhere."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise WeightsError(
            f"Cannot fetch {what} from {url}: {reason}. Check the network and its proxy, or fetch it elsewhere."
        ) from error


@contextlib.contextmanager
def _locked(target: Path, what: str, note: Notify) -> Iterator[None]:
    path = target.with_name(f".{target.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        note(f"{what}: another process is fetching the same file; waiting for it")
        try:
            lock.acquire(timeout=_LOCK_TIMEOUT)
        except Timeout as error:
            raise WeightsError(
                f"Another process has been fetching {what} for an hour. If there is none, remove {path} and try again."
            ) from error
    try:
        yield
    finally:
        # A process that waits on the removed name finds the file in place, or fetches it once more: never half a file.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def _insecure(url: str, what: str) -> str:
    return (
        f"Cannot fetch {what}: {url} is an http address and no hash of the file is known, so nothing would show that "
        "the file was replaced on the way. To fetch it nevertheless, allow http: `ganeval stats fetch NAME "
        "--allow-http` (allow_http=True)."
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
