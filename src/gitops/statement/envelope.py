"""An envelope: a statement with the signature of an environment.

The format is DSSE (Dead Simple Signing Envelope 1.0). The signature is the one by which the environment
signs its verdicts, and the same keys count. The signed bytes begin with the name DSSEv1, so nobody can
use the signature for a tag of git, or that of a tag here.
"""

import base64
import binascii
import json
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gitops.errors import ParseError, StatementError
from gitops.release.keys import KeyList, PrivateKey, fingerprint
from gitops.text import parse

TYPES = {"slsa": "application/vnd.in-toto+json", "cyclonedx": "application/vnd.cyclonedx+json"}
LARGEST = 8_000_000
_LIMITS = parse.Limits(size=LARGEST, depth=6, values=100)
_Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=LARGEST)]


class Signature(BaseModel):
    """One signature, and the fingerprint of its key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keyid: str = Field(max_length=200)
    sig: _Base64


class Envelope(BaseModel):
    """A statement and its signatures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    payload_type: str = Field(alias="payloadType", max_length=200)
    payload: _Base64
    signatures: tuple[Signature, ...] = Field(min_length=1, max_length=10)

    @classmethod
    def sign(cls, statement: dict[str, Any], form: str, key: PrivateKey) -> Self:
        """Sign a statement of a form, a key of TYPES."""
        kind, content = TYPES[form], encoded(statement)
        signature = Signature(
            keyid=fingerprint(key.public),
            sig=base64.b64encode(key.sign(_signed(kind, content))).decode(),
        )
        return cls(payloadType=kind, payload=base64.b64encode(content).decode(), signatures=(signature,))

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read an envelope.

        Raises:
            StatementError: if it is not valid.

        """
        try:
            return cls.model_validate(parse.json_value(content, _LIMITS))
        except ParseError as error:
            raise StatementError(f"the envelope is not valid: {error}") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "content"
            raise StatementError(f"the envelope is not valid: {where}: {first['msg']}") from error

    def __str__(self) -> str:
        return json.dumps(self.model_dump(by_alias=True), indent=1)

    def verify(self, statement: dict[str, Any], form: str, listed: KeyList) -> None:
        """Require that it carries a statement, signed by a listed key.

        Args:
            statement: The statement as this repository makes it.
            form: Its form, a key of TYPES.
            listed: The keys that count.

        Raises:
            StatementError: with the reason where it does not.

        """
        if self.payload_type != TYPES[form]:
            raise StatementError(f"the envelope carries {self.payload_type[:80]}, and not {TYPES[form]}")
        try:
            content = base64.b64decode(self.payload, validate=True)
        except binascii.Error as error:
            raise StatementError("the envelope is not valid: its payload is not base64") from error
        reasons: list[str] = []
        for signature in self.signatures:
            try:
                made = base64.b64decode(signature.sig, validate=True)
            except binascii.Error:
                reasons.append("its signature is not base64")
                continue
            reason = listed.objection(_signed(self.payload_type, content), made)
            if reason is None:
                break
            reasons.append(reason)
        else:
            raise StatementError(f"no signature of the envelope counts: {reasons[0]}")
        if content != encoded(statement):
            raise StatementError("the envelope is signed, but carries another statement than this commit's")


def encoded(statement: dict[str, Any]) -> bytes:
    """Return a statement as the bytes that are signed: equal statements, equal bytes."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _signed(kind: str, content: bytes) -> bytes:
    """Return the pre-authentication encoding of DSSE."""
    return b" ".join((b"DSSEv1", b"%d" % len(kind.encode()), kind.encode(), b"%d" % len(content), content))
