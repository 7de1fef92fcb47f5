"""Networks in torch: the prefix decoder, the MLP of phase one, their tokenizer and weights.

Each model is one plain file; beside them what reads its inside, and what makes it fast on a CPU.

In: unit vectors ``[N, D]`` and token ids ``[N, T]``. Out: logits, and files of weights that load
without pickle. It knows `common` and `embedding`, not where data come from.
"""

from .decoder import CachedDecoder, Decoder, DecoderConfig
from .tokenizer import load_tokenizer, train_bpe
from .weights import load_decoder, save_decoder

__all__ = [
    "CachedDecoder",
    "Decoder",
    "DecoderConfig",
    "load_decoder",
    "load_tokenizer",
    "save_decoder",
    "train_bpe",
]
