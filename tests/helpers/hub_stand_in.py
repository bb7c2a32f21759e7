"""A stand-in for the Hugging Face Hub on the loopback device: those of its endpoints that a push and a download use.

Small files are stored as git blobs, .onnx files by the protocol of Git LFS. Each commit is a new tree.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN, USER = "hf_right", "user"
COMMIT = re.compile(r"[0-9a-f]{40}")
GITATTRIBUTES = b"*.onnx filter=lfs diff=lfs merge=lfs -text\n"


@dataclass
class Repository:
    """`branches`: the commit of each. `trees`: the files of each commit. `gitignore`: patterns that a push skips."""

    private: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    trees: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gitignore: tuple[str, ...] = ()

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        number = hashlib.sha1(f"{branch}{len(self.trees)}".encode()).hexdigest()
        self.trees[number], self.branches[branch] = files, number
        return number

    def find(self, revision: str) -> str | None:
        return revision if revision in self.trees else self.branches.get(revision)


@dataclass
class Hub:
    """The state of the stand-in. `damaged`: names of files that arrive with other bytes."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    damaged: tuple[str, ...] = ()

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False) -> Repository:
        repository = self.repositories[name] = Repository(private=private)
        repository.commit("main", {".gitattributes": GITATTRIBUTES, **files})
        return repository

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        repository = self.repositories[name]
        return repository.trees[repository.branches[branch]]

    def environment(self, token: str | None = TOKEN) -> dict[str, str]:
        """Of a process that takes the stand-in for the Hub."""
        tokens = {} if token is None else {"HF_TOKEN": token}
        return {"HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", **tokens}


def git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def is_large(path: str) -> bool:
    return path.endswith(".onnx")


class Answers(BaseHTTPRequestHandler):
    """Answers one request."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: Any = None, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def missing(self, code: str, message: str = "not found") -> None:
        self.answer(404, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.handle_with("GET")

    def do_POST(self) -> None:
        self.handle_with("POST")

    def do_PUT(self) -> None:
        self.handle_with("PUT")

    def handle_with(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}")
        if method == "PUT":
            oid = path.rpartition("/")[2]
            self.hub.objects[oid] = body
            self.answer(200 if hashlib.sha256(body).hexdigest() == oid else 400)
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid credentials in Authorization header"})
        elif path == "/api/whoami-v2":
            self.answer(200, {"name": USER, "type": "user", "orgs": []})
        elif path == "/api/validate-yaml":
            self.validate(json.loads(body)["content"])
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            self.batch(json.loads(body))
        elif path == "/verify":
            self.answer(200)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(\w+)(?:/(.*))?)?", path):
            self.of_model(match[1], match[2], unquote(match[3] or "main"), body)
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(match[1], unquote(match[2]), unquote(match[3]))
        else:
            self.answer(501, {"error": f"the stand-in has no {path}"})

    def validate(self, content: str) -> None:
        """A part of what the Hub checks."""
        block = re.match(r"---\n(.*?)\n---\n", content, flags=re.DOTALL)
        data = yaml.safe_load(block[1]) if block else {}
        results = [result for model in data.get("model-index", []) for result in model["results"]]
        texts = [data.get("library_name", ""), *data.get("tags", []), *(each["dataset"]["type"] for each in results)]
        errors = [{"message": f"{text!r} must be a string"} for text in texts if not isinstance(text, str)]
        self.answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def create(self, wanted: dict[str, Any]) -> None:
        owner = wanted["organization"] or USER
        name = f"{owner}/{wanted['name']}"
        url = {"url": f"{self.hub.url}/{name}", "name": name}
        if name in self.hub.repositories:
            self.answer(409, {**url, "error": "You already created this model repo"})
        elif owner != USER:
            self.answer(403, {"error": "You don't have the rights to create a model under this namespace"})
        else:
            self.hub.add(name, {}, private=wanted.get("visibility") == "private" or bool(wanted.get("private")))
            self.answer(200, url)

    def batch(self, wanted: dict[str, Any]) -> None:
        objects: list[dict[str, Any]] = [{"oid": each["oid"], "size": each["size"]} for each in wanted["objects"]]
        for each in objects:
            if each["oid"] not in self.hub.objects:
                upload = {"href": f"{self.hub.url}/objects/{each['oid']}"}
                each["actions"] = {"upload": upload, "verify": {"href": f"{self.hub.url}/verify"}}
        self.answer(200, {"transfer": "basic", "objects": objects})

    def of_model(self, name: str, what: str | None, revision: str, body: bytes) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self.missing("RepoNotFound", "Repository not found")
        commit = repository.find(revision)
        if what == "branch":
            repository.branches.setdefault(revision, repository.branches["main"])
            return self.answer(200)
        if commit is None:
            return self.missing("RevisionNotFound", f"Invalid rev id: {revision}")
        files = repository.trees[commit]
        match what:
            case None | "revision":
                info = {"id": name, "modelId": name, "sha": commit, "private": repository.private, "tags": []}
                self.answer(200, {**info, "siblings": [{"rfilename": path} for path in files]})
            case "tree":
                self.answer(200, [entry(path, content) for path, content in sorted(files.items())])
            case "preupload":
                self.answer(200, {"files": [
                    {
                        "path": each["path"], "uploadMode": "lfs" if is_large(each["path"]) else "regular",
                        "shouldIgnore": any(fnmatch(each["path"], pattern) for pattern in repository.gitignore),
                        "oid": git_hash(files[each["path"]]) if each["path"] in files else None,
                    }
                    for each in json.loads(body)["files"]
                ]})  # fmt: skip
            case "commit":
                self.commit(name, repository, revision, [json.loads(line) for line in body.splitlines()])
            case _:
                self.answer(501, {"error": f"the stand-in has no {what}"})

    def commit(self, name: str, repository: Repository, branch: str, lines: list[dict[str, Any]]) -> None:
        files = dict(repository.trees[repository.branches[branch]])
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header" if value.get("parentCommit", repository.branches[branch]) != repository.branches[branch]:
                    return self.answer(412, {"error": "A commit has happened since. Please refresh and try again."})
                case "deletedFile":
                    del files[value["path"]]
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
        files |= dict.fromkeys(self.hub.damaged, b"damaged")
        number = repository.commit(branch, files)
        self.answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{number}", "commitOid": number})

    def resolve(self, name: str, revision: str, path: str) -> None:
        repository = self.hub.repositories[name]
        commit = repository.find(revision)
        assert commit is not None
        content = repository.trees[commit][path]
        etag = hashlib.sha256(content).hexdigest() if is_large(path) else git_hash(content)
        self.answer(200, content, X_Repo_Commit=commit, ETag=f'"{etag}"')


def entry(path: str, content: bytes) -> dict[str, Any]:
    """A file in the listing of a tree."""
    lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    large = {"lfs": lfs} if is_large(path) else {}
    return {"type": "file", "path": path, "size": len(content), "oid": git_hash(content), **large}


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A stand-in that answers until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("AnswersOfOne", (Answers,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
