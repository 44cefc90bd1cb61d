"""A hub in a thread of this process: the parts of Hugging Face's protocol that sending and fetching need."""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from huggingface_hub import ModelCardData, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

import unetkit
from unetkit.errors import ModelFileError, RemoteError, UsageError
from unetkit.run import Run

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Keeps the files of every repository in memory."""

    repositories: dict[str, dict[str, bytes]]
    protocol_version = "HTTP/1.0"  # a connection ends with its answer, so that the hub can fall silent

    def answer(self, code: int, content: object = None, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def own(self) -> str:
        return f"http://{self.headers['Host']}"

    def do_GET(self) -> None:
        words = self.path.split("?")[0].strip("/").split("/")
        name = "/".join(words[:2])
        if len(words) > 4 and words[2] == "resolve" and name in self.repositories:
            content = self.repositories[name].get("/".join(words[4:]))
            if content is not None:
                said = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
                return self.answer(200, content, **said)
            return self.answer(404, {}, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        return self.answer(404, {}, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        words = self.path.split("?")[0].strip("/").split("/")
        if self.headers.get("Authorization") != "Bearer secret":
            return self.answer(401, {"error": "no token"})
        if words[1:] == ["repos", "create"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name in self.repositories:
                return self.answer(409, {"url": f"{self.own}/{name}"})
            self.repositories[name] = {}
            return self.answer(200, {"url": f"{self.own}/{name}", "name": name})
        if words[1:] == ["validate-yaml"]:
            return self.answer(200, {"errors": [], "warnings": []})
        name, verb = "/".join(words[2:4]), words[4]
        if verb == "preupload":
            files = [{"path": one["path"], "uploadMode": "regular"} for one in json.loads(body)["files"]]
            return self.answer(200, {"files": [one | {"shouldIgnore": False} for one in files]})
        assert verb == "commit"
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.repositories[name][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        commit = {"commitUrl": f"{self.own}/{name}/commit/{COMMIT}", "commitOid": COMMIT}
        return self.answer(200, commit | {"hookOutput": "", "success": True})

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[tuple[str, dict[str, dict[str, bytes]]]]:
    repositories: dict[str, dict[str, bytes]] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHub", (Hub,), {"repositories": repositories}))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", repositories
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "cache"), raising=False)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return tmp_path / "cache"


def test_a_network_goes_to_a_hub_and_comes_back_to_the_same_bits(run: Run, about: Path, cache: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 56), np.uint8)
    with serving() as (endpoint, repositories):
        sent = unetkit.push_to_hub(run, "ada/membranes", about=about, token="secret", endpoint=endpoint)
        assert sent.endswith(f"ada/membranes/commit/{COMMIT}")
        assert set(repositories["ada/membranes"]) == {"README.md", "config.json", "model.safetensors"}
        assert 'unetkit.from_pretrained("ada/membranes")' in repositories["ada/membranes"]["README.md"].decode()
        unetkit.push_to_hub(run.path, "ada/membranes", token="secret", endpoint=endpoint)  # a second time, too
        fetched = unetkit.from_pretrained("ada/membranes", endpoint=endpoint)
        np.testing.assert_array_equal(
            unetkit.predict(fetched, image, probabilities=True), unetkit.predict(run, image, probabilities=True)
        )
    assert list(cache.rglob("model.safetensors"))
    again = unetkit.from_pretrained("ada/membranes", endpoint=endpoint)  # without the hub: what was fetched is there
    assert again.card == fetched.card


def test_what_a_hub_has_not_and_silence_are_said_in_one_line(
    run: Run, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # its tries are seconds apart
    with serving() as (endpoint, repositories):
        repositories["ada/other"] = {"config.json": b"{}"}
        with pytest.raises(RemoteError, match="no such repository"):
            unetkit.from_pretrained("ada/nothing", endpoint=endpoint)
        with pytest.raises(RemoteError, match=r"holds no config\.json and model\.safetensors"):
            unetkit.from_pretrained("ada/other", endpoint=endpoint)
        with pytest.raises(UsageError, match="expected OWNER/NAME"):
            unetkit.from_pretrained("a/b/c", endpoint=endpoint)
        with pytest.raises(RemoteError, match="token"):
            unetkit.push_to_hub(run, "ada/membranes", token="wrong", endpoint=endpoint)
    with pytest.raises(RemoteError, match="cannot be reached, and it is not in the cache"):
        unetkit.from_pretrained("ada/membranes", endpoint=endpoint)
    with pytest.raises(RemoteError, match="check the connection"):
        unetkit.push_to_hub(run, "ada/membranes", token="secret", endpoint=endpoint)


def test_the_folder_is_a_model_and_its_card_is_the_hubs(run: Run, about: Path, tmp_path: Path) -> None:
    folder = unetkit.pack(run, to="hub", out=tmp_path / "membranes", about=about)
    assert unetkit.load(folder).card == unetkit.load(run).card
    matter = metadata_load(folder / "README.md")
    assert matter is not None
    assert matter["license"] == "cc-by-4.0"
    assert matter["library_name"] == "unetkit"
    assert "electron-microscopy" in matter["tags"]
    assert all(matter.values())
    assert ModelCardData(**matter).to_dict()["library_name"] == "unetkit"
    title, results = model_index_to_eval_results(matter["model-index"])
    assert title == "Membranes | of *a* sample"
    scores = (run.read_json("evaluation.json") or {})["scores"]
    assert {one.metric_type: one.metric_value for one in results}.items() <= {
        name: round(value, 6) for name, value in scores.items()
    }.items()
    text = (folder / "README.md").read_text()
    assert r"# Membranes \| of \*a\* sample" in text
    assert "https://example.org/membranes" in text
    assert "None" not in text
    with pytest.raises(UsageError, match="not an empty folder"):
        unetkit.pack(run, to="hub", out=folder)


def test_what_nobody_said_is_not_in_the_card(run: Run, tmp_path: Path) -> None:
    folder = unetkit.pack(run, to="hub", out=tmp_path / "bare")
    matter, text = metadata_load(folder / "README.md"), (folder / "README.md").read_text()
    assert matter is not None
    assert "license" not in matter
    assert "By " not in text
    assert "licence of the data" not in text


def test_a_config_that_contradicts_the_weights_is_refused(run: Run, tmp_path: Path) -> None:
    folder = unetkit.pack(run, to="hub", out=tmp_path / "model")
    other = shutil.copytree(folder, tmp_path / "other")
    content = json.loads((folder / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(content | {"classes": ["membrane", "cell"]}))
    with pytest.raises(ModelFileError, match="says something else of classes"):
        unetkit.load(other)
    for text in ("{}", "[1]", "nonsense"):
        (other / "config.json").write_text(text)
        with pytest.raises(ModelFileError, match=r"config\.json"):
            unetkit.load(other)
