"""Embeddings by OpenAI's Batch API: half the price, within a day, and nothing is paid for twice.

Beside ``out`` a folder ``<out>.batches`` says how far the job is. A batch is planned there before
it is submitted, and carries the job's digest and its number to the server; so a job that was killed
in between finds its batch again instead of paying for another.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from ..common.errors import Vec2SlugError
from ..common.files import atomic, read_json, write_json
from ..common.jobs import digest, one_writer
from ..common.vectors import Floats
from .base import slices, text_fault
from .job import check_some, claim, count_bad, describe, write_bad, write_head
from .openai_answers import Row, Unreadable, read_rows
from .openai_client import ERRORS, clean, explain, said
from .openai_embedder import OpenAIEmbedder, cut

BATCH_ROWS, BATCH_BYTES = 50_000, 150_000_000  # OpenAI refuses more than 200 MB
OPEN = 8  # batches at the server at a time
TRIES = 5  # batches that a row may be in
PAUSES = (1, 4, 16, 64, 0)  # seconds after each failed attempt to create a batch
T = TypeVar("T")
OVER = ("completed", "failed", "expired", "cancelled")


class State(Enum):
    """How far a batch is; its files say so, and a killed job reads it off them."""

    PLANNED = auto()  # NUMBER.json names its rows; so it is again when the server has refused it
    SUBMITTED = auto()  # NUMBER.json names the server's batch too
    COLLECTED = auto()  # NUMBER.npz holds the vectors that came back


class BatchJob:
    """One job: documents to one ``.npy`` file, through as many batches as it takes.

    Args:
        ids: N document ids.
        texts: N texts.
        embedder: model, width and server.
        out: target, ending in ``.npy``.
        skip_bad: as `job.embed_documents`.

    Raises:
        Vec2SlugError: a bad text, or another job's files at ``out``.
    """

    def __init__(
        self,
        ids: Sequence[str],
        texts: Sequence[str],
        embedder: OpenAIEmbedder,
        out: Path,
        skip_bad: bool = False,
    ) -> None:
        self.ids, self.texts, self.embedder, self.out = ids, texts, embedder, out
        self.skip_bad = skip_bad
        job = describe(ids, texts, embedder, out, skip_bad)
        claim(job, out)
        self.label = digest([json.dumps(job, sort_keys=True)])  # of the job's batches at the server
        self.folder = out.with_name(f"{out.name}.batches")
        self.words: dict[int, str] = {}  # of the server, about rows without a vector
        self.bad: dict[int, str] = {}  # rows that are given up, and why

    def run(self, wait: float = 60.0) -> int:
        """Submit, wait and collect until all vectors are there.

        Args:
            wait: seconds between two looks at the server.

        Returns:
            How many rows were skipped.

        Raises:
            Vec2SlugError: the server refused a batch, or could not be reached, or left a row
                without a vector ``TRIES`` times and none is skipped; or another process writes
                ``out``. What has been collected stays.
        """
        with one_writer(self.out):
            if not self.out.exists():
                self._work(wait)
            shutil.rmtree(self.folder, ignore_errors=True)
            return count_bad(self.out, self.skip_bad)

    def _work(self, wait: float) -> None:
        if self.skip_bad:
            faults = ((row, text_fault(text)) for row, text in enumerate(self.texts))
            self.bad = {row: f"its text {fault}" for row, fault in faults if fault}
        self.folder.mkdir(exist_ok=True)
        with tqdm(total=len(self.texts), unit=" documents", desc="batches", disable=None) as bar:
            while (count := self._step()) < len(self.texts):
                bar.update(count - bar.n)
                time.sleep(wait)
            bar.update(count - bar.n)
        self._join()

    def _step(self) -> int:
        """Collect what is over and submit what is missing; return how many rows are done with."""
        for plan in self._plans(State.SUBMITTED):
            self._collect(plan)
        tries = np.zeros(len(self.texts), np.int64)
        waiting, done = np.zeros((2, len(self.texts)), np.bool_)
        for plan in self._plans(*State):
            rows = np.array(read_json(plan)["rows"])
            tries[rows] += 1
            if self._state(plan) is State.COLLECTED:
                with np.load(self._result(plan)) as result:
                    done[result["rows"]] = True
            else:
                waiting[rows] = True
        self._give_up(np.flatnonzero(~done & ~waiting & (tries >= TRIES)))
        done[list(self.bad)] = True
        self._submit(np.flatnonzero(~done & ~waiting))
        return int(done.sum())

    def _state(self, plan: Path) -> State:
        """Read off its files how far a batch is."""
        if self._result(plan).exists():
            return State.COLLECTED
        return State.SUBMITTED if "batch" in read_json(plan) else State.PLANNED

    def _plans(self, *states: State) -> list[Path]:
        """List the batches that are in one of some states, in the order of their numbers."""
        plans = sorted(self.folder.glob("[0-9]*.json"))  # none that a kill left half written
        return [plan for plan in plans if self._state(plan) in states]

    def _result(self, plan: Path) -> Path:
        """Return where the vectors of a batch are kept."""
        return plan.with_suffix(".npz")

    def _give_up(self, rows: np.ndarray) -> None:
        """Give up rows that were in ``TRIES`` batches, if bad ones may be skipped."""
        for row in rows.tolist():
            if row in self.bad:
                continue
            reason = f"got none in {TRIES} batches"
            if row in self.words:
                reason += f": {self.words[row]}"
            if not self.skip_bad:
                which = f"row {row} (id {self.ids[row]})"
                raise Vec2SlugError(f"expected a vector of {which}, {reason}; --skip-bad goes on")
            self.bad[row] = reason

    def _submit(self, missing: np.ndarray) -> None:
        """Plan batches of the rows that are in none, and submit plans, ``OPEN`` at a time."""
        for number, rows in enumerate(self._pieces(missing), start=len(self._plans(*State))):
            write_json(self.folder / f"{number:06d}.json", {"rows": rows})
        pending = self._plans(State.PLANNED, State.SUBMITTED)[:OPEN]
        planned = [plan for plan in pending if self._state(plan) is State.PLANNED]
        known = self._at_server() if planned else {}
        for plan in planned:
            content = read_json(plan)
            batch = known.get(plan.stem) or self._send(plan.stem, content["rows"])
            write_json(plan, {**content, "batch": batch})

    def _pieces(self, missing: np.ndarray) -> Iterator[list[int]]:
        """Cut rows into batches that the server takes."""
        sizes = (len(self._line(row).encode()) for row in missing.tolist())
        for piece in slices(sizes, BATCH_ROWS, BATCH_BYTES):
            yield missing[piece].tolist()

    def _line(self, row: int) -> str:
        """Write the request for one row, as a line of a batch's file."""
        body: dict[str, object] = {"model": self.embedder.model, "input": cut(self.texts[row])}
        if self.embedder.asked:
            body["dimensions"] = self.embedder.asked
        request = {"custom_id": str(row), "method": "POST", "url": "/v1/embeddings", "body": body}
        return json.dumps(request) + "\n"

    def _at_server(self) -> dict[str, str]:
        """List the batches of this job at the server, by number: also those we never heard of."""

        def listed() -> dict[str, str]:
            batches = [b for b in self.embedder.client.batches.list() if b.metadata]
            batches = [b for b in batches if b.status != "failed"]
            mine = [b for b in batches if (b.metadata or {}).get("job") == self.label]
            return {(b.metadata or {})["number"]: b.id for b in mine}

        return self._ask(listed)

    def _send(self, number: str, rows: Sequence[int]) -> str:
        """Upload the requests and create the batch.

        The client must not create it again by itself: a lost answer may be that of a batch that is
        there. So the server is asked for it before each further try.
        """
        lines = "".join(self._line(row) for row in rows).encode()
        files = self.embedder.client.files
        sent = (f"{number}.jsonl", lines)
        file = self._ask(lambda: files.create(file=sent, purpose="batch").id)
        label = {"job": self.label, "number": number}
        once = self.embedder.client.with_options(max_retries=0).batches
        for pause in PAUSES:
            try:
                batch = self._ask(
                    lambda: once.create(
                        input_file_id=file,
                        endpoint="/v1/embeddings",
                        completion_window="24h",
                        metadata=label,
                    )
                )
                return batch.id
            except Vec2SlugError as error:
                refused = error
            if known := self._at_server().get(number):
                return known
            time.sleep(pause)
        raise refused

    def _collect(self, plan: Path) -> None:
        """Keep the vectors of a batch that is over; rows without one are missing again."""
        client, content = self.embedder.client, read_json(plan)
        batch = self._ask(lambda: client.batches.retrieve(content["batch"]))
        if batch.status not in OVER:
            return
        if batch.status == "failed":  # nothing was computed; the next start tries again
            write_json(plan, {"rows": content["rows"]})
            words = clean(str(batch.errors), client)
            raise Vec2SlugError(f"expected batch {batch.id} to be accepted, but: {words}")
        asked, vectors = set(content["rows"]), dict[int, Floats]()
        for output in filter(None, (batch.output_file_id, batch.error_file_id)):
            vectors.update(self._vectors(self._download(output), asked))
        rows = sorted(vectors)
        values = np.array([vectors[row] for row in rows], np.float32)
        with atomic(self._result(plan)) as temporary:
            np.savez(temporary, rows=np.array(rows, np.int64), vectors=values)
        self.embedder.truncated += sum(
            cut(text) != text for text in map(self.texts.__getitem__, rows)
        )

    def _download(self, file: str) -> str:
        return self._ask(lambda: self.embedder.client.files.content(file).text)

    def _vectors(self, text: str, asked: set[int]) -> Iterator[tuple[int, Floats]]:
        """Yield rows and vectors of a batch's output, whose lines come in any order.

        What the server says of rows without one is kept.
        """
        for line in filter(str.strip, text.split("\n")):
            row, status, body = self._reply(line)
            if row not in asked:
                continue
            if status != 200:
                self.words[row] = clean(said(body), self.embedder.client)
                continue
            try:
                (came,) = read_rows(body, 1, self.embedder.dimensions)
            except Unreadable as error:
                came = Row(None, clean(str(error), self.embedder.client))
            if came.vector is None:
                self.words[row] = came.reason
            else:
                yield row, came.vector

    def _reply(self, line: str) -> tuple[int, int, object]:
        """Read the row, the status and the answer off a line of a batch's output."""
        try:
            answer = json.loads(line)
            reply = answer["response"] or {}
            body = reply.get("body") or answer.get("error")
            return int(answer["custom_id"]), int(reply.get("status_code", 0)), body
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            shown = clean(line, self.embedder.client)[:80]
            raise Vec2SlugError(f"expected an answer in a batch's line, got {shown}") from error

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask the server something, and explain in plain words if it fails."""
        try:
            return question()
        except ERRORS as error:
            wanted = f"batches of {self.embedder.model}"
            raise Vec2SlugError(explain(error, wanted, self.embedder.client)) from None

    def _join(self) -> None:
        """Join all collected vectors in one file, row by row; NaN where there is none.

        By plain writes: a memory map of a file that finds no room ends the process.
        """
        check_some(self.ids, self.bad)
        rows, width = len(self.texts), self.embedder.dimensions
        with atomic(self.out) as temporary, temporary.open("wb") as whole:
            write_head(whole, rows, width)
            start = whole.tell()
            empty = np.full(width, np.nan, "<f4").tobytes()
            for _ in range(rows):
                whole.write(empty)
            for plan in self._plans(State.COLLECTED):
                with np.load(self._result(plan)) as result:
                    for row, vector in zip(result["rows"], result["vectors"], strict=True):
                        whole.seek(start + int(row) * len(empty))
                        whole.write(vector.astype("<f4").tobytes())
            whole.flush()
            write_bad(self.ids, self.bad, self.out)
