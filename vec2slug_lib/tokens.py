"""The special tokens, in the study's order; every later one is a subword."""

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>", "-")
PAD, BOS, EOS, UNK, HYPHEN = range(len(SPECIALS))
