"""Signals, and standard streams that are closed, full or without a reader."""

import signal
import subprocess
import sys

import pytest

DOZE = (
    "import sys, time\n"
    "from pocketbert.cli import app\n"
    "@app.app.command()\n"
    "def doze():\n"
    "    try:\n"
    "        print('ready', flush=True)\n"
    "        time.sleep(60)\n"
    "    finally:\n"
    "        print('cleaned up', flush=True)\n"
    "        {cleanup}\n"
    "sys.argv = ['pocketbert', 'doze']\n"
    "from pocketbert.__main__ import main\n"
    "main()\n"
)


def start(code: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=receive_signals,
    )


def receive_signals() -> None:
    """Undo what the parent ignores: background jobs ignore SIGINT, and nohup ignores SIGHUP."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("SIGINT", 130, ""),
        ("SIGTERM", 143, "error: stopped by SIGTERM\n"),
        ("SIGHUP", 129, "error: stopped by SIGHUP\n"),
    ],
)
def test_a_signal_ends_a_command_with_the_code_that_shells_expect(name, code, message):
    process = start(DOZE.format(cleanup=""))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.Signals[name])
    assert process.communicate(timeout=60) == ("cleaned up\n", message)
    assert process.returncode == code


def test_a_second_ctrl_c_during_cleanup_prints_no_traceback():
    process = start(DOZE.format(cleanup="time.sleep(60)"))
    for line in ("ready\n", "cleaned up\n"):
        assert process.stdout.readline() == line
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors and process.returncode == 130


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_during_an_import_ends_the_process_without_a_traceback(tmp_path, name):
    (tmp_path / "slow_module.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    process = start(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom pocketbert import shell\n"
        "shell.raise_on_signals()\nimport slow_module\n"
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.Signals[name])
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors and process.returncode == 128 + signal.Signals[name]


@pytest.mark.parametrize(
    ("arguments", "code", "errors"),
    [
        ("recipes <&- >&- 2>&-", 0, ""),
        ("recipes >/dev/full", 2, "No space left on device"),
        ("nothing 2>/dev/full", 2, ""),
        ("schema | true", 0, ""),
    ],
)
def test_streams_that_cannot_be_used_end_in_one_line_at_most(arguments, code, errors):
    command = f"{sys.executable} -m pocketbert {arguments}; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == code and errors in result.stderr and result.stderr.count("\n") <= 1


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    code = (
        "import sys\nfrom pocketbert import shell\nshell.open_closed_streams()\n"
        f"sys.exit(open({str(tmp_path / 'file')!r}, 'w').fileno() < 3)\n"
    )
    (tmp_path / "script.py").write_text(code)
    command = f"{sys.executable} {tmp_path / 'script.py'} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 0
