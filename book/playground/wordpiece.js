// Text to tokens as BERT reads it, from the tokenizer.json of its own model. The npm package
// @huggingface/tokenizers (0.2.0) has other ids than Python's library for a capital sigma at the end
// of a word, and for Chinese characters beyond the basic plane.

const BLANK = /\s/u;
const CHINESE =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;
const CONTROL = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]/gu;
const PUNCTUATION = /([!-/:-@[-`{-~\p{P}])/gu;

/**
 * @typedef {object} TokenizerFile the parts of tokenizer.json that are read here
 * @property {{vocab: Record<string, number>, unk_token: string, continuing_subword_prefix: string, max_input_chars_per_word: number}} model
 * @property {{content: string, id: number}[]} added_tokens
 */

export class WordPiece {
  /**
   * @param {TokenizerFile} file
   * @param {number} limit most tokens, [CLS] and [SEP] included
   */
  constructor({ model, added_tokens: added }, limit) {
    this.vocab = new Map(Object.entries(model.vocab));
    this.prefix = model.continuing_subword_prefix;
    this.longest = model.max_input_chars_per_word;
    this.unknown = this.id(model.unk_token);
    this.limit = limit;
    const names = added.map(({ content }) => content.replace(/[[\]]/g, "\\$&"));
    this.special = new RegExp(`(${names.join("|")})`, "u");
  }

  /**
   * Token ids of a text, cut at the limit.
   * @param {string} text
   */
  encode(text) {
    const inner = text.split(this.special).flatMap((part, i) =>
      i % 2 ? [this.id(part)] : split(clean(part)).flatMap((word) => this.longestMatchTokens(word)),
    );
    return [this.id("[CLS]"), ...inner.slice(0, this.limit - 2), this.id("[SEP]")];
  }

  /** @param {string} token */
  id(token) {
    return /** @type {number} */ (this.vocab.get(token));
  }

  /**
   * Tokens of a word, the longest first.
   * @param {string} word
   */
  longestMatchTokens(word) {
    const letters = [...word];
    if (letters.length > this.longest) return [this.unknown];
    const tokens = [];
    for (let start = 0; start < letters.length; ) {
      const [id, end] = this.longestMatch(letters, start);
      if (id === undefined) return [this.unknown];
      tokens.push(id);
      start = end;
    }
    return tokens;
  }

  /**
   * @param {string[]} letters
   * @param {number} start
   * @returns {[number | undefined, number]}
   */
  longestMatch(letters, start) {
    for (let end = letters.length; end > start; end--) {
      const id = this.vocab.get((start ? this.prefix : "") + letters.slice(start, end).join(""));
      if (id !== undefined) return [id, end];
    }
    return [undefined, start];
  }
}

/**
 * Without control characters, accents and capitals; every Chinese character a word.
 * @param {string} text
 */
function clean(text) {
  return text
    .replace(/[\t\n\r]/g, " ")
    .replace(CONTROL, "")
    .replace(CHINESE, " $& ")
    .normalize("NFD")
    .replace(/\p{Mn}/gu, "")
    .replace(/./gsu, (letter) => letter.toLowerCase()); // each by itself: no final sigma
}

/**
 * Words, and each punctuation mark by itself.
 * @param {string} text
 */
function split(text) {
  return text
    .split(BLANK)
    .flatMap((word) => word.split(PUNCTUATION))
    .filter(Boolean);
}
