"""Slugs from vectors with a released model: numpy and onnxruntime, no torch."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime

from ..common.errors import Vec2SlugError
from ..common.files import check_file, known_hash
from ..common.vectors import Array, Floats, as_array, check_shape, check_vectors, vector_key
from ..common.vocabulary import Vocabulary
from .beam_search import Candidate, search
from .familiarity import Inspector, TrainingVectors
from .mbr import Evidence, mbr_search
from .release_folder import DEFAULT_MODEL, Precision, ReleaseConfig, graph_path
from .rows import BadRow, Page, Row, Rows, checked_rows, pieces, results, submit, texts_of
from .settings import SlugSettings
from .steppers import AheadStepper, CachedStepper, OnnxStepper, open_session
from .text_model import TextModel, load_text_model
from .text_search import text_search
from .text_words import has_words
from .unique import Assignment, row_key

if TYPE_CHECKING:
    from .index import Index

Progress = Callable[[int], object]
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


class SlugPredictor:
    """A model that makes slugs of embeddings; what one row gets does not depend on the others.

    Attributes:
        config: the model's description.
        index: pages with known slugs, if they are evidence too.
        embedder: of texts; candidates are re-ranked with it if the model has a bag-of-words head.
        cached: whether its graph keeps what it has computed; the study's does not.
        workers: pieces of rows that are worked on at a time.
        settings: what is asked of the slugs.
        text_model: of words in texts, if the release has one; None to go by vectors alone.
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
        text_model: TextModel | None = None,
    ) -> None:
        self.settings, self.text_model = settings or SlugSettings(), text_model
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
        text_model = load_text_model(folder)
        if text_model and len(text_model.frequencies) != len(config.token_strings):
            raise Vec2SlugError(f"expected a model of words in texts of this model, in {folder}")
        return cls(session, config, index, embedder, workers, training, settings, text_model)

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
        """Embed texts, and predict the best slug of each, by its vector and by its words.

        Without a `text_model` the words count for nothing beyond the vector.

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
        vectors = self.embedder.embed(texts)
        pages = [Page(*page) for page in zip(vectors, texts, strict=True)]
        rows = list(self.stream(pages, self.choices, progress))
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
            vectors: an array, memory-mapped or not, or an iterable of rows ``[input_dim]``, or of
                pages where texts are at hand.
            k: candidates of a row.
            progress: called with the number of rows just done.
            first: number of the first row, for messages.
            skip_bad: whether a bad row has no candidates, instead of being an error.

        Raises:
            Vec2SlugError: as :meth:`predict`, when the row is reached: those before are yielded.
        """
        if k < 1:
            raise Vec2SlugError(f"expected k of 1 or more, got {k}")
        count = len(vectors) if isinstance(vectors, np.ndarray | list) else None
        vectors = self.inspector.inspect(vectors)
        width = max((self.config.mbr or self.decoding).beam_width, k)
        rows = min(ROWS, LOGITS // (4 * len(self.vocabulary.strings)))
        size, workers = max(rows // width, 1), self.workers
        if count is not None:
            size = max(min(size, -(-count // workers)), 1)  # few rows are shared out too
        if isinstance(vectors, np.ndarray) and count == 1:  # not worth a thread
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
        self, rows: Sequence[Row] | Array, k: int, width: int, first: int
    ) -> list[list[Candidate]]:
        """Search and choose candidates of a few rows; the first has the number ``first``."""
        vectors, texts = texts_of(rows)
        unit, bad = checked_rows(vectors, self.config.input_dim)
        good = [row for row in range(len(rows)) if row not in bad]
        searched = iter(self._parted(unit[good], [texts[row] for row in good], k, width))
        expected = f"expected finite non-zero vectors of shape [N, {self.config.input_dim}]"
        return [
            BadRow(bad[row], f"{expected}; row {first + row} {bad[row]}")
            if row in bad
            else next(searched)
            for row in range(len(rows))
        ]

    def _parted(self, unit: Floats, texts: list[str], k: int, width: int) -> list[list[Candidate]]:
        """Search rows that have texts and those that have none, each by what there is."""
        known = [self.text_model is not None and has_words(text) for text in texts]
        found: list[list[Candidate]] = [[] for _ in texts]
        for kind in {*known}:
            rows = [row for row, each in enumerate(known) if each == kind]
            given = [texts[row] for row in rows] if kind else None
            for row, candidates in zip(
                rows, self._candidates(unit[rows], given, k, width), strict=True
            ):
                found[row] = candidates
        return found

    def _candidates(
        self, unit: Floats, texts: list[str] | None, k: int, width: int
    ) -> list[list[Candidate]]:
        """Search and choose candidates of unit rows, and of their texts if they are given."""
        vocabulary, config, mbr = self.vocabulary, self.decoding, self.config.mbr
        stepper = self.stepper(width, len(unit))
        if mbr is None:
            config = replace(config, beam_width=width)
            return search(stepper, unit, vocabulary, config, k, len(unit)).candidates
        evidence = Evidence(
            stepper.word_logits,
            self.index.word_probabilities if self.index else None,
            self.embedder.embed if self.embedder else None,
        )
        mbr = replace(mbr, beam_width=width)
        if texts is not None and self.text_model:
            asked = (vocabulary, config, mbr, evidence, self.text_model)
            beams = text_search(stepper, unit, texts, *asked)
        else:
            beams = mbr_search(stepper, unit, vocabulary, config, mbr, evidence)
        return [candidates[:k] for candidates in beams.candidates]

    def stepper(self, width: int, rows: int) -> CachedStepper | OnnxStepper:
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
