"""A local server of OpenAI's protocol: embeddings, chat, files, batches; badly when told to."""

import base64
import email
import hashlib
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

KEY = "sk-secret-0123456789"


def vector(text, width):
    """The server's unit vector of a text: random, seeded by the text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    values = np.random.default_rng(seed).normal(size=width).astype(np.float32)
    return values / np.linalg.norm(values)


class OpenAIServer(ThreadingHTTPServer):
    """Context manager. ``faults`` are used up one a request, then all goes well."""

    daemon_threads = True

    def __init__(self, width=8, faults=()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.width, self.faults = width, list(faults)
        self.requests: list[list[str]] = []  # texts of each request that arrived
        self.bodies: list[dict] = []
        self.injected: Counter[str] = Counter()
        self.embedded: list[str] = []  # texts whose vectors were sent, not by batch
        self.on_request = lambda: None
        # What the server is like, each time: from a body to a status and an answer, None if good.
        self.rule = lambda body: None
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict] = {}  # in the order of their making
        self.looks = 1  # at a batch until it is over
        self.endings: list[str] = []  # of the next batches: "expire", "errors", "fail"
        self.hopeless: dict = {}  # texts of batches that get a status of 500, or this value

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def fault(self):
        """The next fault, or "none"; those that were injected are counted."""
        fault = self.faults.pop(0) if self.faults else "none"
        self.injected[fault] += 1
        return fault

    def paid(self):
        """How often each text was embedded, by batches and directly."""
        counts = Counter(self.embedded)
        for batch in self.batches.values():
            if "output_file_id" not in batch:
                continue
            lines = self.files[batch["output_file_id"]].splitlines()
            answers = {answer["custom_id"]: answer["response"] for answer in map(json.loads, lines)}
            for asked in map(json.loads, self.files[batch["input_file_id"]].splitlines()):
                reply = answers.get(asked["custom_id"])
                counts[asked["body"]["input"]] += bool(reply and reply["status_code"] == 200)
        return counts

    def handle_error(self, *_):
        """A client that was killed, or gave up waiting, is no error of the server."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.faulty():
            return
        path = self.path.partition("?")[0].removeprefix("/v1/").split("/")
        if path[0] == "files":
            self.answer(200, self.server.files[path[1]], {"Content-Type": "text/plain"})
        elif path == ["batches"]:
            page = {"object": "list", "data": list(self.server.batches.values()), "has_more": False}
            self.answer(200, json.dumps(page).encode())
        else:
            self.answer(200, json.dumps(self.look(self.server.batches[path[1]])).encode())

    def faulty(self):
        """Whether a fault has taken the place of the answer."""
        fault = self.server.fault()
        if fault == "slow":  # too slow for who waits; the work is done all the same
            time.sleep(1)
        if fault == "drop":
            self.connection.close()
        elif fault.isdigit():
            self.answer(int(fault), error("refused"))
        return fault not in ("none", "slow")

    def upload(self, content):
        """Keep the file of a form."""
        head = f"Content-Type: {self.headers['Content-Type']}\n\n".encode()
        parts = email.message_from_bytes(head + content).get_payload()
        (file,) = (part for part in parts if part.get_filename())
        name = f"file-{len(self.server.files)}"
        self.server.files[name] = file.get_payload(decode=True)
        return {
            "id": name, "object": "file", "bytes": len(self.server.files[name]), "created_at": 0,
            "filename": file.get_filename(), "purpose": "batch", "status": "processed",
        }  # fmt: skip

    def batch(self, body):
        """Make a batch; who looks at it often enough finds it over."""
        name = f"batch-{len(self.server.batches)}"
        ending = self.server.endings.pop(0) if self.server.endings else ""
        self.server.batches[name] = {
            "id": name, "object": "batch", "status": "in_progress", "created_at": 0, **body,
            "looks": self.server.looks, "ending": ending,
        }  # fmt: skip
        return self.server.batches[name]

    def look(self, batch):
        """The batch, a look nearer to its end."""
        batch["looks"] -= 1
        if batch["looks"] > 0 or batch["status"] != "in_progress":
            return batch
        if batch["ending"] == "fail":
            batch["status"] = "failed"
            batch["errors"] = {"object": "list", "data": [{"code": "x", "message": "bad input"}]}
            return batch
        asked = [
            json.loads(line)
            for line in self.server.files[batch["input_file_id"]].split(b"\n")
            if line
        ]
        lines = [self.line(each) for each in reversed(asked)]
        if batch["ending"] == "errors":
            body = {"error": {"message": "cannot embed this"}}
            lines[0]["response"] = {"status_code": 500, "body": body}
        if batch["ending"] == "expire":
            lines = lines[: len(lines) // 2]
        batch["status"] = "expired" if batch["ending"] == "expire" else "completed"
        batch["output_file_id"] = f"file-{len(self.server.files)}"
        text = "\n".join(map(json.dumps, lines))
        self.server.files[batch["output_file_id"]] = text.encode()
        return batch

    def line(self, asked):
        """The answer to one line of a batch."""
        width = asked["body"].get("dimensions", self.server.width)
        fault = self.server.hopeless.get(asked["body"]["input"])
        values = vector(asked["body"]["input"], width) * (1 if fault is None else fault)
        response = {
            "status_code": 200,
            "body": {"data": [{"index": 0, "embedding": values.tolist()}]},
        }
        if fault == 500:
            body = {"error": {"message": "cannot embed this"}}
            response = {"status_code": 500, "body": body}
        return {"id": "x", "custom_id": asked["custom_id"], "response": response, "error": None}

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/files":
            if not self.faulty():
                self.answer(200, json.dumps(self.upload(content)).encode())
            return
        body = json.loads(content)
        if self.path == "/v1/batches":
            lost = self.server.faults[:1] == ["lost"]  # made, but the answer never comes
            if lost:
                self.server.fault()
                self.batch(body)
                self.connection.close()
            elif not self.faulty():
                self.answer(200, json.dumps(self.batch(body)).encode())
            return
        self.server.bodies.append(body)
        self.server.requests.append(body.get("input") or body.get("messages"))
        self.server.on_request()
        answer = self.server.rule(body)
        fault = "none" if answer else self.server.fault()
        if answer == "drop":
            self.connection.close()
        elif answer:
            text = answer[1] if isinstance(answer[1], str) else json.dumps(answer[1])
            kind = "text/plain" if isinstance(answer[1], str) else "application/json"
            self.answer(answer[0], text.encode(), {"Content-Type": kind})
        elif self.path not in ("/v1/embeddings", "/v1/chat/completions"):
            self.answer(404, error(f"no such path: {self.path}"))
        elif fault == "drop":
            self.connection.close()
        elif fault == "html":
            self.answer(200, b"<html></html>", {"Content-Type": "text/html"})
        elif fault.isdigit():
            words = f"refused: {self.headers['Authorization']}"
            self.answer(int(fault), error(words), {"Retry-After": "7"} if fault == "429" else {})
        else:
            if fault == "slow":
                time.sleep(1)
            chat = self.path.endswith("completions")
            self.server.embedded += [] if chat else body["input"]
            good = self.chat(body, fault) if chat else self.good(body, fault)
            self.answer(200, json.dumps(good).encode())

    def chat(self, body, fault):
        """A slug of the page's first words; ``said:...`` says something else, ``null`` nothing."""
        text = body["messages"][0]["content"].split("\n\n", 1)[1]
        content = "-".join("".join(c for c in w.lower() if c.isalnum()) for w in text.split()[:4])
        if fault.startswith("said:"):
            content = fault.removeprefix("said:")
        message = {"role": "assistant", "content": None if fault == "null" else content}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        return {
            "id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [] if fault == "empty" else choices,
            "usage": None if fault == "unpaid" else usage,
        }  # fmt: skip

    def good(self, body, fault):
        width = body.get("dimensions", self.server.width) + (fault == "wide")
        texts = body["input"][1:] if fault == "short" else body["input"]
        data = [
            {"object": "embedding", "index": i, "embedding": vector(text, width)}
            for i, text in enumerate(texts)
        ]
        for item in data:
            if fault == "nan":
                item["embedding"][0] = np.nan
            if body.get("encoding_format") == "base64":
                item["embedding"] = base64.b64encode(item["embedding"].tobytes()).decode()
            else:
                item["embedding"] = item["embedding"].tolist()
        if fault == "shuffle":
            data.reverse()
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return {"object": "list", "data": data, "model": body["model"], "usage": usage}

    def answer(self, status, content, headers=None):
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing on stderr."""


def error(message):
    return json.dumps({"error": {"message": message, "type": "test", "code": None}}).encode()


def items(body, change=lambda number, vector: vector, **more):
    """The data of an answer, as a list of numbers each."""
    width = body.get("dimensions", 8)
    vectors = [vector(text, width).tolist() for text in body["input"]]
    return [{"index": n, "embedding": change(n, row), **more} for n, row in enumerate(vectors)]


def answer(data):
    return 200, {"object": "list", "data": data, "model": "local"}
