"""Commands that use bundles: predict, verify."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.timing.limits import MOST_THREADS
from compress.common.errors import UserError
from compress.common.escaping import json_line
from pocketbert.cli_parts.options import (
    AsJson,
    BundleFolder,
    examples,
    stderr_console,
)
from pocketbert.cli_parts.trusted_signers import (
    IdentityIssuer,
    RootFiles,
    SignatureFile,
    SignersIdentity,
    SignersKey,
    trusted_signer,
)

if TYPE_CHECKING:
    from export.bundle.runtime import Classifier

PANEL = "Models and bundles"
commands = typer.Typer()


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        'pocketbert predict runs/reviews/bundles/fp32 "a warm and lovely film" "a dull plot"',
        "pocketbert predict runs/reviews/bundles/fp32 --input texts.txt > predictions.jsonl",
        "cat texts.txt | pocketbert predict runs/reviews/bundles/fp32 | head -1",
        "pocketbert predict runs/reviews/bundles/fp32 reviews.csv --prefix predicted_ --output answers.parquet",
        """echo '{"text": "a warm film"}' | pocketbert predict runs/reviews/bundles/fp32 --json-lines --top-k 2""",
        'pocketbert predict runs/reviews/bundles/fp32 -- "- a text that begins with a dash"',
    ),
)
def predict(
    bundle: BundleFolder,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Texts, or with --output a table [default: the lines of standard input]",
            show_default=False,
        ),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Second text, for a bundle of a pair task; one per TEXT, in the same order; with --output its column",
        ),
    ] = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="File with one text per line, or a pair separated by a tab; - for standard input",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the table with new columns to this .csv, .tsv, .jsonl or .parquet; repeat the command after a "
            "stop to continue",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text", metavar="COLUMN", help="Text column of the table [default: text, sentence, or the only one]"
        ),
    ] = None,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Lines are JSON objects with the key text, and pair for pairs")
    ] = False,
    top_k: Annotated[int | None, typer.Option(min=1, metavar="K", help="Also give the K most probable labels")] = None,
    prefix: Annotated[str, typer.Option(help="For the names of new columns or keys, such as predicted_")] = "",
    encoding: Annotated[str, typer.Option(help="Encoding of the lines or the table, such as cp1252")] = "utf-8",
    threads: Annotated[
        int | None, typer.Option(min=1, max=MOST_THREADS, help="Threads [default: one per physical core]")
    ] = None,
) -> None:
    """Print the prediction of a bundle for each text, one JSON line per text, or write those for a table to a file."""
    from pocketbert.standalone import predict_texts

    if output is not None:
        tables = [*([] if input_file is None else [input_file]), *map(Path, texts or [])]
        if json_lines:
            raise UserError(f"--output {output}: writes a table; leave out --json-lines")
        if len(tables) != 1:
            raise UserError(f"--output {output}: got {len(tables)} tables; expected one")
        if len(pair or []) > 1 or (pair and text is None):
            raise UserError("--pair: expected one column, the second text; --text names the first")
        _predict_table(
            bundle,
            threads,
            table=tables[0],
            output=output,
            text=[name for name in (text, *(pair or [])) if name is not None],
            encoding=encoding,
            top_k=top_k,
            prefix=prefix,
        )
        return
    if text is not None:
        raise UserError("--text: names a column of a table; name the file to write with --output")
    for table in texts or []:
        if Path(table).suffix.lower() in predict_texts.NOT_LINES and os.path.isfile(table):  # noqa: PTH113 (Path.is_file raises)
            raise UserError(f"{table}: a file, not a text; name the file for its predictions with --output")
    if json_lines and texts:
        raise UserError(f"--json-lines: reads lines; got {len(texts)} TEXT as well")
    if input_file is not None and texts:
        raise UserError(f"--input {input_file}: got {len(texts)} TEXT as well; give texts or --input, not both")
    if pair and not texts:
        raise UserError("--pair: give one --pair for each TEXT; in a file, a tab separates the two texts of a line")
    classifier = predict_texts.load_bundle(bundle, num_threads=threads)
    if texts:
        given = predict_texts.rows_of_arguments(texts, pair or [], takes_pairs=classifier.takes_pairs)
        _print_lines(predict_texts.predictions(classifier, given, rows_per_call=len(given), top_k=top_k, prefix=prefix))
        _print_truncated(classifier, len(given))
        return
    path = None if input_file in (None, Path("-")) else input_file
    if path is None and sys.stdin is not None and sys.stdin.isatty():
        print("reading one text per line; end with Ctrl-D", file=sys.stderr)
    name = "standard input" if path is None else str(path)
    with predict_texts.open_lines(path, encoding=encoding, are_json=json_lines) as lines:
        rows = predict_texts.rows_of_lines(
            lines, classifier, name=name, encoding=encoding, are_json=json_lines, top_k=top_k, prefix=prefix
        )
        per_call = 1 if path is None else predict_texts.ROWS_PER_CALL
        num_rows = _print_lines(
            predict_texts.predictions(classifier, rows, rows_per_call=per_call, top_k=top_k, prefix=prefix)
        )
    _print_truncated(classifier, num_rows)


def _predict_table(bundle: Path, threads: int | None, **request: Any) -> None:
    from pocketbert.standalone.predict_texts import load_bundle
    from pocketbert.table_predictions.predict_rows import TableRequest, predict_rows

    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # nothing forks here
    predict_rows(load_bundle(bundle, num_threads=threads), TableRequest(**request), stderr_console())


def _print_truncated(classifier: "Classifier", num_rows: int) -> None:
    from export.bundle.predict_command import truncation_remark

    if classifier.num_truncated and num_rows:
        print(truncation_remark(classifier, num_rows), file=sys.stderr)


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples("pocketbert verify runs/reviews/bundles/fp32", "pocketbert verify bundles/signed --key public.pem"),
)
def verify(
    bundle: BundleFolder,
    key: SignersKey = None,
    certificate_chain: RootFiles = None,
    identity: SignersIdentity = None,
    identity_issuer: IdentityIssuer = None,
    signature: SignatureFile = None,
    as_json: AsJson = False,
) -> None:
    """Check that a bundle has exactly its files, unchanged, and repeat its golden examples.

    This detects damage. Only a signature proves who made the bundle, because whoever changes a file can write new
    checksums. With --key, the signature is checked first, before anything is loaded.
    """
    trusted = trusted_signer(key, certificate_chain, identity, identity_issuer)
    if trusted is None and signature is not None:
        raise UserError(f"--signature {signature}: name the signer too, with --key, --certificate-chain or --identity")
    checked = None
    if trusted is not None:
        from export.provenance.signatures import verify_signature

        checked = verify_signature(bundle, trusted, signature)
    from export.bundle.listed_files import SIGNATURE
    from export.bundle.verification import verify_bundle
    from pocketbert.cli_parts import bundle_text

    verified = verify_bundle(bundle)
    if checked is None and os.path.lexists(bundle / SIGNATURE):
        verified.warnings.append(f"{bundle / SIGNATURE}: not checked; name the signer's public key with --key")
    if as_json:
        print(json.dumps({**vars(verified), "signature": None if checked is None else str(checked)}))
    else:
        bundle_text.verified(bundle, verified, signature=checked)
    if verified.failures:
        raise UserError("\n".join(verified.failures))


def _print_lines(predictions: Iterable[Mapping[str, Any]]) -> int:
    """Print one JSON line per prediction; return how many. Stops quietly if a pipe is closed, as `head` does: 0."""
    num_rows = 0
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8 in every locale
    try:
        for num_rows, prediction in enumerate(predictions, start=1):  # noqa: B007 (returned)
            print(json_line(prediction), flush=True)
    except OSError as error:  # BrokenPipeError, or a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it at exit
        if not isinstance(error, BrokenPipeError):
            raise
        return 0
    return num_rows
