"""A folder with the files that examples of commands name, and a way to run one example in it."""

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from export.provenance.signatures import PrivateKey, sign_bundle
from pocketbert.cli import app
from signing_keys import write_key_pair
from tiny_bert import rows

SHELL_OPERATORS = {"|", "<", ">", "&&", ";"}
RECIPE = """\
name: {name}
task: {{data: reviews.csv, max_length: 32}}
teacher: {{base: {base}}}
student: {{layers: 2, width: 16, ffn_width: 32, heads: 4}}
distill:
  general: {{corpus: task, max_length: 32}}
augment:
  masked_lm: {{train_head: {{corpus: task, max_length: 32}}}}
export: {{variants: [fp32]}}
bench: {{threads: 1, warm_up_s: 0.1}}
"""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def run_in_process(*arguments: object, folder: Path, environment: Mapping[str, str]) -> Finished:
    """Run `pocketbert` with these arguments in this process, which has loaded torch. `folder`: the working folder."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, environment),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        code = app.main([str(argument) for argument in arguments])
    return Finished(returncode=code, stdout=stdout.getvalue(), stderr=stderr.getvalue())


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """The folder, and the environment of the commands that run in it."""

    root: Path
    environment: Mapping[str, str]

    def run(self, line: str, added: Sequence[object] = ()) -> Finished:
        """Run a command line that begins with `pocketbert`, with more options at its end.

        A line with a pipe or a redirection runs in a shell; any other runs in this process, which has loaded torch.
        """
        words = [*shlex.split(line, comments=True), *map(str, added)]
        if SHELL_OPERATORS & set(words):
            return self._in_shell(line)
        assert words.pop(0) == "pocketbert", line
        with mock.patch("webbrowser.open", return_value=True):
            return run_in_process(*words, folder=self.root, environment=self.environment)

    def _in_shell(self, line: str) -> Finished:
        path = f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.root,
            env={**os.environ, **self.environment, "PATH": path},
            capture_output=True,
            text=True,
        )
        return Finished(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


def build_sandbox(root: Path, *, base: Path, teacher: Path, reviews: Path) -> Sandbox:
    """Fill a folder: tables, recipes, a model, a finished run, a copy of it, bundles, and keys.

    `base`: an encoder; `teacher`: a classifier, both Hugging Face folders. `reviews`: a table.
    """
    header, *lines = reviews.read_text(encoding="utf-8").splitlines()
    for name, part in {"reviews": lines, "dev": lines[:150], "train": lines[150:]}.items():
        (root / f"{name}.csv").write_text("\n".join([header, *part]) + "\n", encoding="utf-8")
    pairs = [(text, text[::-1], label) for text, label in rows(60)]
    tab_separated = ["\t".join(cells) for cells in (("question", "answer", "relevant"), *pairs)]
    (root / "pairs.tsv").write_text("\n".join(tab_separated) + "\n", encoding="utf-8")
    (root / "texts.txt").write_text("".join(f"{text}\n" for text, _ in rows(20)), encoding="utf-8")
    for name in ("reviews", "general"):
        (root / f"{name}.yaml").write_text(RECIPE.format(name=name, base=base), encoding="utf-8")
    shutil.copytree(teacher, root / "models" / "my-bert")
    script = root / "bin" / "pocketbert"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pocketbert "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    environment = {"POCKETBERT_CACHE": str(root / "cache"), "COLUMNS": "200"}
    sandbox = Sandbox(root=root, environment=environment)
    finished = sandbox.run("pocketbert run reviews.yaml", ["--smoke", "--output", "runs/reviews"])
    assert finished.returncode == 0, finished.stderr
    shutil.copytree(root / "runs" / "reviews", root / "runs" / "second-try", symlinks=True)
    shutil.copytree(root / "runs" / "reviews" / "bundles", root / "bundles")
    private, public = write_key_pair(root)
    public.rename(root / "public.pem")
    shutil.copytree(root / "bundles" / "fp32", root / "bundles" / "signed")
    sign_bundle(root / "bundles" / "signed", PrivateKey(key=private))
    return sandbox
