"""Commands about the origin of a bundle: sign, sbom, push."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from compress.common.errors import UserError
from pocketbert.cli_parts.options import AsJson, BundleFolder, examples, print_result

PANEL = "Deploy"
PASSWORD = "POCKETBERT_KEY_PASSWORD"  # an environment variable: other users can see the arguments of a process
commands = typer.Typer()


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert sign bundles/fp32 --key key.pem",
        "pocketbert sign bundles/fp32 --key key.pem --signature fp32.sig",
    ),
)
def sign(
    bundle: BundleFolder,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"Private EC key, PEM; the password of an encrypted one is in {PASSWORD}"),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate of the key, PEM; verifiers then trust its root")
    ] = None,
    certificate_chain: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Certificates between --certificate and its root, PEM; repeatable"),
    ] = None,
    sigstore: Annotated[
        bool, typer.Option("--sigstore", help="Sign with an identity instead of a key: of a CI job, or from a browser")
    ] = False,
    signature: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the signature here [default: .model.sig in the bundle]")
    ] = None,
) -> None:
    """Sign all files of a bundle, so that others can verify who made it. Needs pocketbert[sign]."""
    from export.provenance.signatures import Keyless, PrivateKey, sign_bundle
    from pocketbert.cli_parts import printing

    if (key is None) == (not sigstore):
        raise UserError("sign: expected either --key FILE or --sigstore")
    if certificate is None and certificate_chain:
        raise UserError("--certificate-chain: needs --certificate, the certificate of the key itself")
    if certificate is not None and key is None:
        raise UserError("--certificate: needs --key, its private key")
    password = os.environb.get(PASSWORD.encode()) if os.supports_bytes_environ else None
    signer = (
        Keyless(interactive=sys.stdin is not None and sys.stdin.isatty())
        if key is None
        else PrivateKey(key=key, password=password or None, certificate=certificate, chain=certificate_chain or [])
    )
    printing.print_line(f"{bundle}: signed; the signature is {sign_bundle(bundle, signer, signature)}")


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert sbom runs/reviews/bundles/fp32",
        "pocketbert sbom runs/reviews/bundles/fp32 --output fp32.cdx.json",
    ),
)
def sbom(
    bundle: BundleFolder,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it here, and leave the bundle alone [default: BUNDLE/sbom.cdx.json]"),
    ] = None,
) -> None:
    """Write the bill of materials of a bundle: its files, packages, recipe and data, as CycloneDX. Sign afterwards.

    Needs pocketbert[sign].
    """
    from compress.common.files import write_text
    from export.provenance.bill_of_materials import add_bill, bill_of_materials
    from pocketbert.cli_parts import printing

    if output is None:
        printing.print_line(f"{add_bill(bundle)}: written, and listed in SHA256SUMS")
        return
    if os.path.lexists(output):
        raise UserError(f"{output}: already exists; remove it, or choose another --output")
    write_text(output, bill_of_materials(bundle))
    printing.print_line(f"{output}: written")


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples("pocketbert push bundles/signed USER/reviews-fp32 --private"),
)
def push(
    bundle: BundleFolder,
    repository: Annotated[str, typer.Argument(metavar="REPO", help="Repository on the Hugging Face Hub: USER/NAME")],
    private: Annotated[bool, typer.Option("--private", help="Create a private repository")] = False,
    revision: Annotated[str | None, typer.Option(metavar="BRANCH", help="Push to this branch [default: main]")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete other files of the repository, and overwrite another model")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a bundle, and push its files and its signature to a repository on the Hugging Face Hub."""
    from export.bundle.verification import verify_bundle
    from export.provenance.hub import push_bundle
    from pocketbert.cli_parts import bundle_text

    failures = verify_bundle(bundle).failures
    if failures:
        raise UserError("\n".join(failures))
    pushed = push_bundle(bundle, repository, private=private, revision=revision, replace=replace)
    print_result(pushed, as_json, bundle_text.pushed)
