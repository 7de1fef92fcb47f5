"""Slugs from vectors with a released model: numpy, onnxruntime and tokenizers, no torch.

predictor = SlugPredictor.from_dir("data/models/vec2slug-minilm-small")
predictor.predict(vectors)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from .decoding import Candidate, DecodingConfig, search
from .errors import Vec2SlugError
from .files import read_json
from .risk import RiskConfig, Witnesses, least_risk_search
from .tokens import BOS
from .vectors import Floats, check_vectors

if TYPE_CHECKING:  # pandas is not needed to read a slug
    from .retrieval import Index

Progress = Callable[[int], object]
DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "data/models/vec2slug-minilm-small"


@dataclass(frozen=True)
class Sidecar:
    """``model.json``: what the weights do not say."""

    input_dim: int
    token_strings: list[str]
    decoding: DecodingConfig
    risk: RiskConfig | None  # of a decoder with a word head

    @classmethod
    def load(cls, path: Path) -> Sidecar:
        """Read ``model.json`` in the study's layout.

        Raises:
            Vec2SlugError: missing, not JSON, or without the expected keys.
        """
        content = read_json(path)
        try:
            model, vocab, beams = content["model"], content["vocab"], content["beam_search"]
            decoding = DecodingConfig(
                beam_width=beams["beam_width"],
                length_reward=beams["length_reward"],
                reward_cap=beams["reward_cap"],
                min_tokens=beams["min_decode_tokens"],
                min_words=beams["min_slug_words"],
                max_tokens=model["max_slug_tokens"],
                stopwords=frozenset(content["stopwords"]),
            )
            strings = [vocab[str(index)] for index in range(model["vocab_size"])]
            risk = RiskConfig(**content["risk"]) if "risk" in content else None
            return cls(model["input_dim"], strings, decoding, risk)
        except (KeyError, TypeError) as error:
            raise Vec2SlugError(
                f"expected a model description in {path}; missing {error}"
            ) from error


class OnnxStepper:
    """Stepper over ``model.onnx``, which has no cache: each step runs the whole sequence."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session = session
        self.embeddings = np.zeros((0, 0), np.float32)
        self.tokens = np.zeros((0, 0), np.int64)

    def start(self, embeddings: Floats) -> Floats:
        """Begin a row an embedding ``[N, d]``; logits ``[N, V]`` after ``<bos>``."""
        self.embeddings = embeddings
        self.tokens = np.full((len(embeddings), 1), BOS, np.int64)
        return self._logits()

    def step(self, parents: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]) -> Floats:
        """Continue row ``parents[i]`` with ``tokens[i]``; logits ``[M, V]``."""
        self.embeddings = self.embeddings[parents]
        self.tokens = np.concatenate([self.tokens[parents], tokens[:, None]], axis=1)
        return self._logits()

    def word_logits(self, embeddings: Floats) -> Floats:
        """Logits ``[N, V]`` of the word head."""
        inputs = {"src_embedding": embeddings, "token_ids": np.full((len(embeddings), 1), BOS)}
        logits: Floats = self.session.run(["word_logits"], inputs)[0]
        return logits

    def _logits(self) -> Floats:
        inputs = {"src_embedding": self.embeddings, "token_ids": self.tokens}
        logits: Floats = self.session.run(["logits"], inputs)[0]
        return logits[:, -1]


def onnx_session(folder: Path) -> onnxruntime.InferenceSession:
    """Session over a release's graph, which is made from the weights if it is not there yet.

    Raises:
        Vec2SlugError: neither graph nor weights, or a graph that does not load.
    """
    path = folder / "model.onnx"
    if not path.is_file():
        if not (folder / "model.safetensors").is_file():
            raise Vec2SlugError(f"expected model.onnx or model.safetensors in {folder}, found none")
        from .export import export_onnx  # torch is needed once, to make the graph

        export_onnx(folder)
    try:
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that it does not export
        raise Vec2SlugError(f"expected a whole ONNX graph in {path}, but: {error}") from error


class SlugPredictor:
    """Slugs from embeddings; what one row gets does not depend on the others."""

    def __init__(
        self,
        stepper: OnnxStepper,
        sidecar: Sidecar,
        index: Index | None = None,
        read: Callable[[Sequence[str]], Floats] | None = None,
    ) -> None:
        self.stepper, self.sidecar = stepper, sidecar
        self.witnesses = Witnesses(stepper.word_logits, index.chances if index else None, read)

    @classmethod
    def from_dir(
        cls,
        folder: Path | str = DEFAULT_MODEL,
        index: Index | None = None,
        read: Callable[[Sequence[str]], Floats] | None = None,
    ) -> SlugPredictor:
        """Open a release folder, ours or one in the study's layout.

        Args:
            folder: the release.
            index: pages with known slugs, which then have a say in the words of new ones.
            read: unit vectors of texts, such as ``MiniLMEmbedder().embed``: slugs are then
                proofread, embedded and set beside their page.

        Raises:
            Vec2SlugError: files are missing or broken, the message names the first; or a witness
                beside a model that cannot weigh words.
        """
        folder = Path(folder)
        sidecar = Sidecar.load(folder / "model.json")
        if (index or read) and sidecar.risk is None:
            raise Vec2SlugError(
                f"expected a model with a word head beside an index or an embedder, got {folder}"
            )
        return cls(OnnxStepper(onnx_session(folder)), sidecar, index, read)

    def predict(self, vectors: npt.NDArray[Any], progress: Progress | None = None) -> list[str]:
        """Best slug of each row.

        Args:
            vectors: ``[N, input_dim]``, any norm but zero.
            progress: called with the number of rows just done.

        Raises:
            Vec2SlugError: wrong shape, no row, NaN, infinity or a zero row.
        """
        return [found[0].slug for found in self.predict_topk(vectors, 1, progress)]

    def predict_topk(
        self, vectors: npt.NDArray[Any], k: int = 5, progress: Progress | None = None
    ) -> list[list[Candidate]]:
        """Up to ``k`` different slugs of each row with their scores, best first.

        The beam is as wide as ``k`` where the model's own width is smaller. The score of a slug is
        the Token F1 to expect where the model has a word head, else its score in the search.

        Args, errors: as :meth:`predict`.
        """
        checked = check_vectors(vectors, self.sidecar.input_dim)
        risk, config, strings = (
            self.sidecar.risk, self.sidecar.decoding, self.sidecar.token_strings
        )  # fmt: skip
        if risk is None:
            config = replace(config, beam_width=max(config.beam_width, k))
            return search(self.stepper, checked, strings, config, k, progress=progress).candidates
        risk = replace(risk, beam_width=max(risk.beam_width, k))
        found = least_risk_search(
            self.stepper, checked, strings, config, risk, self.witnesses, progress
        )
        return [candidates[:k] for candidates in found.candidates]


def with_hash(slug: str, key: bytes, length: int = 5) -> str:
    """Slug made unique by a short stable hash, as in ``amelia-earhart-f86ab``.

    Args:
        slug: any slug.
        key: what identifies the item, such as the bytes of its text or vector.
        length: hexadecimal digits, four bits each.
    """
    return f"{slug}-{hashlib.sha256(key).hexdigest()[:length]}"
