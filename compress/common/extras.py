"""How to install an extra of this package from where the package itself came."""

import json
import shlex
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

PACKAGE = "pocketbert"


def install_command(extra: str) -> str:
    """The pip command for an extra, such as `pip install '/home/me/pocketbert[serve]'`.

    Names the place that pip recorded when it installed this package (PEP 610): a folder, a file or a repository. For
    a package of the index, and for a place that is gone, it is `pip install 'pocketbert[serve]'`.
    """
    with suppress(
        PackageNotFoundError, OSError, ValueError, KeyError, TypeError, AttributeError
    ):  # no such record, or damaged
        record = json.loads(distribution(PACKAGE).read_text("direct_url.json") or "{}")
        if "vcs_info" in record:
            requirement = f"{PACKAGE}[{extra}] @ {record['vcs_info']['vcs']}+{record['url']}"
            return f"pip install {shlex.quote(requirement)}"
        url = urlsplit(record["url"])
        place = Path(url2pathname(url.path))
        if url.scheme == "file" and place.exists():
            editable = "-e " if record.get("dir_info", {}).get("editable") else ""
            return f"pip install {editable}{shlex.quote(f'{place}[{extra}]')}"
    return f"pip install '{PACKAGE}[{extra}]'"
