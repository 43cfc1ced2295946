// Package bpe is GPT-2's byte-level byte-pair tokeniser, which GPT-Neo shares. It runs in the pipeline of
// github.com/sugarme/tokenizer, with parts of its own where the library departs from the reference:
//
//   - the Model: the library orders merges of one rank by a time that is never set, not from left to right, and
//     rebuilds the whole word for each character;
//   - the PreTokenizer: the library's pattern lacks the alternative \s+(?!\S), so white space is cut elsewhere;
//   - the Decoder: the library makes zero bytes of characters outside the alphabet, as added tokens may have, and leaves
//     bytes in the text that are no UTF-8.
//
// The pipeline itself, its added vocabulary and its encodings are the library's. Ids are equal to those of Hugging Face's
// tokenizers; the test's 20,000 texts were tokenised by it.
package bpe
