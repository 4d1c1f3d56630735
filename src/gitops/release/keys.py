"""The keys of environments: how an environment signs its verdicts, and how everybody else verifies them.

A signature is the one that `git tag -s` makes with `gpg.format ssh` and an Ed25519 key, and
`environments/<env>/verifiers` has the format of ssh-keygen, so `git verify-tag` reads both. They are made and
verified here, without a process for each tag, and on a machine without ssh-keygen.
"""

import base64
import binascii
import hashlib
import os
import re
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gitops import atomic
from gitops.errors import KeyFileError, ParseError
from gitops.release import environments
from gitops.text import parse

VARIABLE = "VISAGE_VERIFIER_KEY"
"""The file of the private key of the environment that a process belongs to."""
FILE = "verifiers"

_TYPE = b"ssh-ed25519"
_NAMESPACE, _HASH = b"git", b"sha512"
_MAGIC = b"SSHSIG"
_CERTIFICATE = b"-cert-"
_OTHER_CONTENT = "its signature is not one of its content"
_HEAD = _MAGIC + struct.pack(">I", 1)
_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----"
_WIDTH = 70
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_LARGEST_LIST, _MOST_KEYS = 16_384, 32
_LARGEST_KEY = 4096
_OTHERS = 0o077
_PRINCIPAL = re.compile(r"[\x21-\x7e]{1,200}")


class PrivateKey:
    """The private key of an environment. Its text form never shows the key."""

    def __init__(self, content: bytes, name: str) -> None:
        """Read a key in the format of OpenSSH, without a passphrase.

        Args:
            content: The content of the file.
            name: The name of the file in errors.

        Raises:
            KeyFileError: If it is not such a key.

        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key

        try:
            key = load_ssh_private_key(content, password=None)
        except (TypeError, ValueError, UnsupportedAlgorithm) as error:
            raise KeyFileError(name, "not a private key of OpenSSH without a passphrase", _REMEDY) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(name, "not an Ed25519 key", _REMEDY)
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()
        """The public half: 32 bytes."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key in a file that only its owner may read.

        Raises:
            KeyFileError: If there is no such file, others may read it, or it is not a key.

        """
        name = str(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                content = file.read(_LARGEST_KEY + 1) if stat.S_ISREG(status.st_mode) else None
        except OSError as error:
            raise KeyFileError(name, str(error.strerror), _REMEDY) from error
        if content is None:
            raise KeyFileError(name, "not a regular file", _REMEDY)
        if status.st_mode & _OTHERS & ~stat.S_IRGRP:
            # Kubernetes gives a mounted secret to the pod's own group.
            raise KeyFileError(name, "other users may read it", f"run chmod 600 {name}")
        return cls(content, name)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Return the key in a file that only its owner can read. Generate it if there is no such file.

        Raises:
            KeyFileError: If the file is not a key.

        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        if not path.exists():
            content = Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
            )
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            atomic.write(path, content, mode=0o600)
        return cls.load(path)

    @classmethod
    def of_process(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the key of the environment that this process belongs to.

        Raises:
            KeyFileError: If the process was started without one, or the file is not a key.

        """
        if not environ.get(VARIABLE):
            raise KeyFileError(VARIABLE, "not set: this environment cannot sign its verdicts", _REMEDY)
        return cls.load(Path(environ[VARIABLE]))

    def __repr__(self) -> str:
        return f"<PrivateKey of {fingerprint(self.public)}>"

    def line(self, environment: str) -> bytes:
        """Return the line of the public half for `environments/<env>/verifiers`."""
        encoded = base64.b64encode(_public_blob(self.public)).decode()
        return f'{environment}@visage namespaces="git" {_TYPE.decode()} {encoded}\n'.encode()

    def sign(self, payload: bytes) -> bytes:
        """Return the signature of a tag, armored, as git appends it to the tag's message."""
        signature = _pack(_TYPE) + _pack(self._key.sign(_signed(payload)))
        blob = b"".join(
            (
                _HEAD,
                *map(_pack, (_public_blob(self.public), _NAMESPACE, b"", _HASH, signature)),
            )
        )
        encoded = base64.b64encode(blob)
        lines = [encoded[start : start + _WIDTH] + b"\n" for start in range(0, len(encoded), _WIDTH)]
        return b"".join((_BEGIN, *lines, _END, b"\n"))


@dataclass(frozen=True)
class KeyList:
    """The public keys that sign for an environment, and the lines of the list that are not such keys."""

    keys: frozenset[bytes] = frozenset()
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read `environments/<env>/verifiers`. A line that is not an Ed25519 key counts for nothing."""
        try:
            lines = parse.text(content, _LARGEST_LIST).split("\n")
        except ParseError as error:
            return cls(problems=(str(error),))
        keys: set[bytes] = set()
        problems: list[str] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            key = _public_key(line)
            if key is None:
                problems.append(f'line {number}: not `<name> [namespaces="git"] ssh-ed25519 <key>`')
            elif len(keys) >= _MOST_KEYS:
                problems.append(f"line {number}: more than {_MOST_KEYS} keys")
            else:
                keys.add(key)
        return cls(frozenset(keys), tuple(problems))

    def objection(self, payload: bytes, signature: bytes) -> str | None:
        """Return the reason why a signature is not one by a key of this list, or None if it is."""
        parts = _parts(signature)
        if parts is None:
            return "its signature is not one that git makes with an Ed25519 key"
        public, made = parts
        if public not in self.keys:
            return f"the key {fingerprint(public)} that signed it is not listed"
        return None if _fits(public, made, payload) else _OTHER_CONTENT


def path_of(environment: str) -> str:
    """Return the path of the list of an environment's keys in the repository."""
    return environments.path_of(environment, FILE)


def fingerprint(public: bytes) -> str:
    """Return the fingerprint of a public key, as ssh-keygen prints it."""
    digest = base64.b64encode(hashlib.sha256(_public_blob(public)).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def signer(signature: bytes) -> str | None:
    """Return the fingerprint of the Ed25519 key that an armored signature names, valid or not, or None."""
    parts = _parts(signature)
    return fingerprint(parts[0]) if parts else None


def signers_objection(payload: bytes, signature: bytes, signers: bytes) -> str | None:
    """Return the reason why no key of `allowed_signers` can have made an armored signature, or None.

    No process is started, so only signatures by Ed25519 keys are verified. The others are claims.
    """
    blob = _blob(signature)
    key = next(_unpack(blob.removeprefix(_HEAD)), b"") if blob else b""
    if not key:
        return "it is not signed with an SSH key"
    certificate = _CERTIFICATE in next(_unpack(key), b"") and b"cert-authority" in signers
    if not certificate and base64.b64encode(key) not in signers.split():
        return "it has no valid signature of a listed signer (its key is not listed)"
    parts = _parts(signature)
    return _OTHER_CONTENT if parts and not _fits(*parts, payload) else None


def _fits(public: bytes, made: bytes, payload: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(made, _signed(payload))
    except (InvalidSignature, ValueError):
        return False
    return True


def _public_key(line: str) -> bytes | None:
    fields = line.split()
    if len(fields) > 1 and fields[1] == 'namespaces="git"':
        del fields[1]
    if len(fields) < 3 or not _PRINCIPAL.fullmatch(fields[0]) or fields[1] != _TYPE.decode():
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return _public_of(blob)


def _public_of(blob: bytes) -> bytes | None:
    fields = list(_unpack(blob))
    if len(fields) != 2 or fields[0] != _TYPE or len(fields[1]) != _KEY_BYTES:
        return None
    return fields[1]


def _blob(signature: bytes) -> bytes | None:
    body, end, rest = signature.removeprefix(_BEGIN).partition(_END)
    if not signature.startswith(_BEGIN) or not end or rest.strip(b"\n"):
        return None
    encoded = body.replace(b"\n", b"")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    if base64.b64encode(blob) != encoded:
        return None  # the last digit has bits that are not part of the blob
    return blob if blob.startswith(_HEAD) else None


def _parts(signature: bytes) -> tuple[bytes, bytes] | None:
    """Return the public key and the Ed25519 signature in an armored signature, or None."""
    blob = _blob(signature)
    fields = list(_unpack(blob.removeprefix(_HEAD))) if blob else []
    if len(fields) != 5 or fields[1:4] != [_NAMESPACE, b"", _HASH]:
        return None
    made = list(_unpack(fields[4]))
    public = _public_of(fields[0])
    if public is None or len(made) != 2 or made[0] != _TYPE or len(made[1]) != _SIGNATURE_BYTES:
        return None
    return public, made[1]


def _signed(payload: bytes) -> bytes:
    return _MAGIC + b"".join(map(_pack, (_NAMESPACE, b"", _HASH, hashlib.sha512(payload).digest())))


def _public_blob(public: bytes) -> bytes:
    return _pack(_TYPE) + _pack(public)


def _pack(field: bytes) -> bytes:
    return struct.pack(">I", len(field)) + field


def _unpack(blob: bytes) -> Iterator[bytes]:
    """Yield the fields of a blob, and an empty one more where it is cut off, which no caller expects."""
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            yield b""
            yield b""
            return
        yield blob[4 : 4 + size]
        blob = blob[4 + size :]


_REMEDY = "make one: .venv/bin/gitops keys create ENV"
