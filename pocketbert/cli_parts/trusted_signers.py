"""The options of `verify` that say whose signature counts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.common.errors import UserError

if TYPE_CHECKING:
    from export.provenance.signatures import Identity, PublicKey, RootCertificates

SignersKey = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="Public key of the signer, PEM; also checks the signature")
]
RootFiles = Annotated[
    list[Path] | None,
    typer.Option("--certificate-chain", metavar="FILE", help="Root certificates, PEM, instead of a key; repeatable"),
]
SignersIdentity = Annotated[
    str | None,
    typer.Option("--identity", metavar="NAME", help="Identity of a signer with Sigstore, such as an e-mail address"),
]
IdentityIssuer = Annotated[
    str | None, typer.Option("--identity-issuer", metavar="URL", help="Who certified the identity to Sigstore")
]
SignatureFile = Annotated[
    Path | None,
    typer.Option("--signature", metavar="FILE", help="The signature [default: .model.sig in the bundle]"),
]


def trusted_signer(
    key: Path | None, certificate_chain: list[Path] | None, identity: str | None, issuer: str | None
) -> "PublicKey | RootCertificates | Identity | None":
    """The signer whom the options of `verify` trust; None without such options. Raises UserError."""
    given = {"--key": key, "--certificate-chain": certificate_chain or None, "--identity": identity}
    named = [option for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise UserError(f"{' and '.join(named)}: expected one of them")
    if (identity is None) != (issuer is None):
        raise UserError("--identity and --identity-issuer: expected both, or neither")
    if not named:
        return None
    from export.provenance.signatures import Identity, PublicKey, RootCertificates

    if key is not None:
        return PublicKey(key=key)
    if certificate_chain:
        return RootCertificates(files=certificate_chain)
    assert identity is not None and issuer is not None
    return Identity(identity=identity, issuer=issuer)
