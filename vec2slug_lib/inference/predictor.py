"""Slugs from vectors with a released model: numpy and onnxruntime, no torch."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime

from ..common.errors import Vec2SlugError
from ..common.files import check_file, known_hash, read_json
from ..common.vectors import Array, Floats, as_array, check_shape, check_vectors, vector_key
from ..common.vocabulary import Vocabulary
from ..common.workspace import model_folder
from .beam_search import Candidate, search
from .familiarity import Inspector, TrainingVectors
from .mbr import Evidence, MBRConfig, mbr_search
from .rows import BadRow, Rows, checked_rows, pieces, results, submit
from .settings import DecodingConfig, SlugSettings
from .steppers import GRAPHS, PLAIN, AheadStepper, CachedStepper, OnnxStepper, open_session
from .unique import Assignment, row_key

if TYPE_CHECKING:
    from .index import Index

Progress = Callable[[int], object]
Precision = Literal["float32", "int8"]
DEFAULT_MODEL = model_folder("vec2slug-minilm-small")
WEIGHTS = ("model.safetensors", "model.pt")  # ours, and the study's
# What a decoder's shape must say, and the settings of its search with the keys that the study gave
# them: both as they stand in ``model.json``.
SHAPE = ("input_dim", "embed_dim", "num_heads", "num_layers", "max_slug_tokens", "vocab_size")
DECODING_KEYS = {
    "beam_width": "beam_width",
    "length_reward": "length_reward",
    "reward_cap": "reward_cap",
    "min_tokens": "min_decode_tokens",
    "min_words": "min_slug_words",
}
ROWS = 256  # hypotheses searched side by side, at most
LOGITS = 8 << 20  # bytes of their logits, at most


class TextEmbedder(Protocol):
    """What a predictor asks of the embedder of its vectors."""

    @property
    def key(self) -> str:
        """Return its name in manifests."""

    @property
    def dimensions(self) -> int:
        """Return the width of a vector."""

    def embed(self, texts: Sequence[str]) -> Floats:
        """Embed N texts: unit vectors ``[N, dimensions]``."""


@dataclass(frozen=True)
class ReleaseConfig:
    """What the weights do not hold: ``model.json``, and the embedder of the manifest."""

    shape: dict[str, Any]  # sizes of the decoder
    token_strings: list[str]
    decoding: DecodingConfig
    mbr: MBRConfig | None  # of a decoder with a bag-of-words head
    embedder: str = ""  # key of the embedder whose vectors it reads; empty if it is not known

    @property
    def input_dim(self) -> int:
        """Return the width of the vectors."""
        return int(self.shape["input_dim"])

    @classmethod
    def load(cls, path: Path) -> ReleaseConfig:
        """Read ``model.json`` in the study's layout.

        Raises:
            Vec2SlugError: missing, not JSON, or without the expected keys.
        """
        content = read_json(path)
        try:
            vocab, beams = content["vocab"], content["beam_search"]
            shape = content["model"] | {name: int(content["model"][name]) for name in SHAPE}
            mbr = MBRConfig.from_json(content["risk"]) if "risk" in content else None
            decoding = DecodingConfig(
                **{field: beams[key] for field, key in DECODING_KEYS.items()},
                max_tokens=shape["max_slug_tokens"],
                stopwords=frozenset(content["stopwords"]),
                sound_words=mbr is None,  # MBR decoding asks for them itself
            )
            strings = [vocab[str(index)] for index in range(shape["vocab_size"])]
            return cls(shape, strings, decoding, mbr, _embedder_of(path.parent))
        except (KeyError, TypeError, ValueError) as error:
            raise Vec2SlugError(
                f"expected a model description in {path}; missing {error}"
            ) from error


def _embedder_of(folder: Path) -> str:
    """Read from a release's manifest whose vectors it takes; empty where nothing is said."""
    path = folder / "manifest.train.json"
    manifest = read_json(path) if path.is_file() else {}
    # Of the first releases none says so: there was one embedder then.
    return str(manifest.get("embedder", "minilm")) if "experiment" in manifest else ""


def lacks_graph(folder: Path, precision: Precision) -> bool:
    """Tell whether a folder has weights, but not yet the graph that is made of them."""
    graph = folder / GRAPHS.get(precision, PLAIN)
    weights = any((folder / name).is_file() for name in WEIGHTS)
    return weights and (not graph.is_file() or is_stale(folder))


def is_stale(folder: Path) -> bool:
    """Tell whether the graphs were made of other weights than the folder's, by its manifests."""
    trained, made = (folder / f"manifest.{part}.json" for part in ("train", "onnx"))
    if not (trained.is_file() and made.is_file()):
        return False
    wanted, found = read_json(trained).get("sha256"), read_json(made).get("made_of")
    if not (isinstance(wanted, dict) and isinstance(found, dict)):  # of the study's manifests
        return False
    return any(wanted.get(name, sha256) != sha256 for name, sha256 in found.items())


def graph_path(folder: Path, precision: Precision) -> Path:
    """Find the graph to decode with: ours with a cache, or else the study's without one.

    Raises:
        Vec2SlugError: an unknown precision, or no such graph, or one of other weights.
    """
    if precision not in GRAPHS:
        raise Vec2SlugError(f"expected precision to be one of {list(GRAPHS)}, got {precision!r}")
    path, plain = folder / GRAPHS[precision], folder / PLAIN
    if is_stale(folder):
        raise Vec2SlugError(
            f"expected graphs of the weights in {folder}, got those of others: make them anew with "
            f"vec2slug export {folder}"
        )
    if path.is_file():
        return path
    if precision == "float32" and plain.is_file():
        return plain
    how = f"; make it once with: vec2slug export {folder}" * lacks_graph(folder, precision)
    raise Vec2SlugError(f"expected {path.name} in {folder}, found none{how}")


class SlugPredictor:
    """A model that makes slugs of embeddings; what one row gets does not depend on the others.

    Attributes:
        config: the model's description.
        index: pages with known slugs, if they are evidence too.
        embedder: of texts; candidates are re-ranked with it if the model has a bag-of-words head.
        cached: whether its graph keeps what it has computed; the study's does not.
        workers: pieces of rows that are worked on at a time.
        settings: what is asked of the slugs.
        inspector: refuses codes, and warns once of what the model cannot know.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        config: ReleaseConfig,
        index: Index | None = None,
        embedder: TextEmbedder | None = None,
        workers: int = 1,
        training: TrainingVectors | None = None,
        settings: SlugSettings | None = None,
    ) -> None:
        self.settings = settings or SlugSettings()
        self.decoding = self.settings.applied(config.decoding)
        self.workers, self.inspector = workers, Inspector(training, config.embedder)
        self.session, self.config, self.index, self.embedder = session, config, index, embedder
        self.vocabulary = Vocabulary.of(config.token_strings)
        self.cached = any(node.name == "mask" for node in session.get_inputs())

    @classmethod
    def from_dir(
        cls,
        folder: Path | str = DEFAULT_MODEL,
        precision: Precision = "float32",
        index: Index | None = None,
        embedder: TextEmbedder | None = None,
        threads: int = 1,
        settings: SlugSettings | None = None,
        lean: bool = False,
    ) -> SlugPredictor:
        """Open a release folder, ours or one in the study's layout.

        Args:
            folder: the release.
            precision: ``int8`` is faster and costs hardly any quality.
            index: pages with known slugs, which are then evidence for the words of new ones.
            embedder: of the vectors, as of ``open_embedder("minilm")``: candidates are re-ranked
                by embedding similarity, and `predict_texts` takes texts.
            threads: that share the work of one piece of rows, so that a single row is sooner done.
                With 1 each core has a piece of its own, so that many rows are.
            settings: lengths, stopwords, and whether slugs have to be distinct.
            lean: open sooner and take less memory, for a process that makes a slug or two.

        Raises:
            Vec2SlugError: files are missing, broken or not those of the manifests, the message
                names the first; an index beside a model without a bag-of-words head; or an index
                or embedder of other vectors than the model's.
        """
        folder = Path(folder)
        check_file(folder / "model.json", known_hash(folder, "model.json"))
        config = ReleaseConfig.load(folder / "model.json")
        _check_fit(config, index, embedder)
        if threads < 1:
            raise Vec2SlugError(f"expected threads of 1 or more, got {threads}")
        session = open_session(graph_path(folder, precision), config.shape, threads, lean)
        workers = max((os.cpu_count() or 1) // threads, 1)
        training = TrainingVectors.load(folder)
        return cls(session, config, index, embedder, workers, training, settings)

    def rerank_with(self, embedder: TextEmbedder) -> None:
        """Re-rank candidates by their similarity to the page from now on, and take texts.

        Raises:
            Vec2SlugError: it is not the embedder of the model's vectors.
        """
        _check_fit(self.config, None, embedder)
        self.embedder = embedder

    def predict(self, vectors: npt.NDArray[Any], progress: Progress | None = None) -> list[str]:
        """Predict the best slug of each row; warn, once, if they look like another embedder's.

        With ``settings.unique`` or ``settings.taken`` a row may get one of its other candidates.

        Args:
            vectors: ``[N, input_dim]``, any norm but zero.
            progress: called with the number of rows just done.

        Raises:
            Vec2SlugError: wrong shape, no row, NaN, infinity, a zero row, or codes of an index.
        """
        rows = self.predict_topk(vectors, self.choices, progress)
        return self._chosen(rows, map(vector_key, as_array(vectors)))

    @property
    def choices(self) -> int:
        """Return how many candidates of a row its slug is chosen from."""
        return (self.config.mbr or self.decoding).beam_width if self.settings.distinct else 1

    def _chosen(self, rows: list[list[Candidate]], contents: Iterable[bytes]) -> list[str]:
        """Return the slug of each row, as the settings ask; rows are known by their contents."""
        if not self.settings.distinct:
            return [candidates[0].slug for candidates in rows]
        asked = self.settings.taken, self.settings.unique
        assignment = Assignment(zip(map(row_key, contents), rows, strict=True), *asked)
        slugs = ([candidate.slug for candidate in candidates] for candidates in rows)
        return [name for name in assignment.names(slugs) if name is not None]

    def predict_topk(
        self, vectors: npt.NDArray[Any], k: int = 5, progress: Progress | None = None
    ) -> list[list[Candidate]]:
        """Predict up to ``k`` different slugs of each row with their scores, best first.

        The beam is as wide as ``k`` where the model's own width is smaller. The score of a slug is
        the Token F1 to expect where the model has a bag-of-words head, else its score in the
        search.

        Args:
            vectors: ``[N, input_dim]``, any norm but zero.
            k: candidates of a row.
            progress: called with the number of rows just done.

        Raises:
            Vec2SlugError: as :meth:`predict`.
        """
        check_shape(vectors := as_array(vectors), self.config.input_dim)
        for begin in range(0, len(vectors), ROWS):  # before any work is done in vain
            check_vectors(vectors[begin : begin + ROWS], self.config.input_dim, begin)
        return list(self.stream(vectors, k, progress))

    def predict_texts(self, texts: Sequence[str], progress: Progress | None = None) -> list[str]:
        """Embed texts, and predict the best slug of each.

        Args:
            texts: N non-empty texts.
            progress: called with the number of texts just done.

        Raises:
            Vec2SlugError: the predictor has no embedder, no text is given, or one is empty.
        """
        if self.embedder is None:
            raise Vec2SlugError(
                "expected an embedder for texts: SlugPredictor.from_dir(embedder=…)"
            )
        self.inspector.read(texts)
        rows = self.predict_topk(self.embedder.embed(texts), self.choices, progress)
        return self._chosen(rows, (text.strip().encode() for text in texts))

    def stream(
        self,
        vectors: Rows,
        k: int = 1,
        progress: Progress | None = None,
        first: int = 0,
        skip_bad: bool = False,
    ) -> Iterator[list[Candidate]]:
        """Yield the candidates of each row, in order, as they come; rows may be without end.

        Args:
            vectors: an array, memory-mapped or not, or an iterable of rows ``[input_dim]``.
            k: candidates of a row.
            progress: called with the number of rows just done.
            first: number of the first row, for messages.
            skip_bad: whether a bad row has no candidates, instead of being an error.

        Raises:
            Vec2SlugError: as :meth:`predict`, when the row is reached: those before are yielded.
        """
        if k < 1:
            raise Vec2SlugError(f"expected k of 1 or more, got {k}")
        vectors = self.inspector.inspect(vectors)
        width = max((self.config.mbr or self.decoding).beam_width, k)
        rows = min(ROWS, LOGITS // (4 * len(self.vocabulary.strings)))
        size, workers = max(rows // width, 1), self.workers
        if isinstance(vectors, np.ndarray):
            size = max(min(size, -(-len(vectors) // workers)), 1)  # few rows are shared out too
            if len(vectors) == 1:  # not worth a thread
                yield from results(self._search(vectors, k, width, first), progress, skip_bad)
                return
        work = partial(self._search, k=k, width=width)
        waiting: deque[Future[list[list[Candidate]]]] = deque()
        with ThreadPoolExecutor(workers) as pool:  # onnxruntime and numpy let go of the lock
            try:
                for future in submit(pool, work, pieces(vectors, size), first):
                    waiting.append(future)
                    if len(waiting) > workers:
                        yield from results(waiting.popleft().result(), progress, skip_bad)
                while waiting:
                    yield from results(waiting.popleft().result(), progress, skip_bad)
            finally:
                pool.shutdown(cancel_futures=True)

    def _search(
        self, rows: Sequence[Array] | Array, k: int, width: int, first: int
    ) -> list[list[Candidate]]:
        """Search and choose candidates of a few rows; the first has the number ``first``."""
        unit, bad = checked_rows(rows, self.config.input_dim)
        good = [row for row in range(len(rows)) if row not in bad]
        searched = iter(self._candidates(unit[good], k, width) if good else [])
        expected = f"expected finite non-zero vectors of shape [N, {self.config.input_dim}]"
        return [
            BadRow(bad[row], f"{expected}; row {first + row} {bad[row]}")
            if row in bad
            else next(searched)
            for row in range(len(rows))
        ]

    def _candidates(self, unit: Floats, k: int, width: int) -> list[list[Candidate]]:
        """Search and choose candidates of unit rows."""
        vocabulary, config, mbr = self.vocabulary, self.decoding, self.config.mbr
        stepper = self._stepper(width, len(unit))
        if mbr is None:
            config = replace(config, beam_width=width)
            return search(stepper, unit, vocabulary, config, k, len(unit)).candidates
        evidence = Evidence(
            stepper.word_logits,
            self.index.word_probabilities if self.index else None,
            self.embedder.embed if self.embedder else None,
        )
        mbr = replace(mbr, beam_width=width)
        beams = mbr_search(stepper, unit, vocabulary, config, mbr, evidence)
        return [candidates[:k] for candidates in beams.candidates]

    def _stepper(self, width: int, rows: int) -> CachedStepper | OnnxStepper:
        """Make the stepper that is fastest for so many rows."""
        if not self.cached:
            return OnnxStepper(self.session)
        kind = AheadStepper if rows == 1 else CachedStepper
        return kind(self.session, self.config.shape, width)


def _check_fit(config: ReleaseConfig, index: Index | None, embedder: TextEmbedder | None) -> None:
    """Refuse an index or an embedder that does not fit the model."""
    if index and config.mbr is None:
        raise Vec2SlugError("expected a model with a bag-of-words head beside an index")
    keys = {index.embedder if index else "", embedder.key if embedder else ""} - {""}
    if config.embedder and keys - {config.embedder}:
        others = ", ".join(sorted(keys - {config.embedder}))
        raise Vec2SlugError(f"expected vectors of {config.embedder}, got {others}")
    if embedder and embedder.dimensions != config.input_dim:
        widths = f"{config.input_dim} numbers, got {embedder.dimensions}"
        raise Vec2SlugError(f"expected an embedder of {widths}")
