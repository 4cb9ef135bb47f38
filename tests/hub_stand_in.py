"""A stand-in for the Hugging Face Hub: the few endpoints of its HTTP interface that pushing and loading use."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_owner"


class Repository:
    """Branches, each a list of commits; a commit is a dictionary of files."""

    def __init__(self, private):
        self.private = private
        self.branches = {"main": [{".gitattributes": b""}]}
        self.messages = []

    def commits(self):
        return {self.sha(files): files for commits in self.branches.values() for files in commits}

    @staticmethod
    def sha(files):
        digest = hashlib.sha1()
        for name, content in sorted(files.items()):
            digest.update(name.encode() + b"\0" + content + b"\0")
        return digest.hexdigest()

    def files(self, revision):
        return self.branches[revision][-1] if revision in self.branches else self.commits().get(revision)


class Hub:
    """``with Hub() as hub``: serves at ``hub.url``; ``hub.requests`` lists what was asked."""

    def __init__(self):
        self.repositories = {}
        self.requests = []
        self.large = {}
        self.broken = False
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def put(self, repo, files):
        """Let a stranger make a public repository of these files."""
        repository = self.repositories[repo] = Repository(private=False)
        repository.branches["main"].append({".gitattributes": b"", **files})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status=200, content=None, headers=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code=None):
        self.answer(status, {"error": code or "no"}, {"X-Error-Code": code} if code else {})

    def handle_any(self):  # noqa: PLR0911
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        if self.hub.broken:
            return self.refuse(500)
        self.owner = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        parts = path.strip("/").split("/")
        if path == "/api/validate-yaml":
            return self.answer(content={"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if self.command == "PUT" and parts[0] == "large":
            self.hub.large[parts[1]] = body
            return self.answer(content={})
        if path.endswith(".git/info/lfs/objects/batch"):
            return self.batch(json.loads(body))
        api = parts[:2] == ["api", "models"]
        if not api and "resolve" not in parts:
            return self.refuse(404)
        name = "/".join(parts[2:4] if api else parts[:2])
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self.owner):
            return self.refuse(404 if self.owner else 401, "RepoNotFound")
        if self.command == "POST" and not self.owner:
            return self.refuse(403)
        if not api:
            return self.resolve(repository, parts[3], "/".join(parts[4:]))
        what, rest = (parts[4], "/".join(parts[5:])) if len(parts) > 4 else ("revision", "main")
        return getattr(self, f"do_{what.replace('-', '_')}")(name, repository, rest, body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def create(self, wanted):
        if not self.owner:
            return self.refuse(401)
        name = f"{wanted['organization']}/{wanted['name']}"
        there = name in self.hub.repositories
        if not there:
            self.hub.repositories[name] = Repository(
                wanted.get("visibility") == "private" or wanted.get("private")
            )
        return self.answer(409 if there else 200, {"url": f"{self.hub.url}/{name}"})

    def batch(self, wanted):
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/large/{one['oid']}"}}}
            for one in wanted["objects"]
        ]
        self.answer(content={"transfer": "basic", "objects": objects})

    def do_branch(self, name, repository, rest, body):  # noqa: ARG002
        if rest in repository.branches:
            return self.refuse(409)
        repository.branches[rest] = list(repository.branches["main"])
        return self.answer(content={})

    def do_revision(self, name, repository, rest, body):  # noqa: ARG002
        files = repository.files(rest)
        if files is None:
            return self.refuse(404, "RevisionNotFound")
        siblings = [{"rfilename": file} for file in files]
        return self.answer(content={"id": name, "sha": repository.sha(files), "siblings": siblings, "tags": []})

    def do_tree(self, name, repository, rest, body):  # noqa: ARG002
        files = repository.files(rest)
        if files is None:
            return self.refuse(404, "RevisionNotFound")
        return self.answer(
            content=[
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
            ]
        )

    def do_preupload(self, name, repository, rest, body):  # noqa: ARG002
        mode = {True: "lfs", False: "regular"}
        files = [
            {"path": one["path"], "uploadMode": mode[one["path"].endswith(".safetensors")], "shouldIgnore": False}
            for one in json.loads(body)["files"]
        ]
        return self.answer(content={"files": files})

    def do_commit(self, name, repository, rest, body):
        lines = [json.loads(line) for line in body.splitlines()]
        files = dict(repository.files(rest))
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        repository.branches[rest].append(files)
        sha = repository.sha(files)
        return self.answer(content={"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha})

    def resolve(self, repository, revision, path):
        files = repository.files(revision)
        if files is None or path not in files:
            return self.refuse(404, "EntryNotFound")
        etag = hashlib.sha256(files[path]).hexdigest()
        return self.answer(
            content=files[path], headers={"ETag": f'"{etag}"', "X-Repo-Commit": repository.sha(files)}
        )
