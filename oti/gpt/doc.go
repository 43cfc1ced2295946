// Package gpt runs GPT-2 and GPT-Neo causal language models over package runtime and lets them write the phrases that
// regularise textual inversion: continuations of "a photo of {concept} that" (SEARLE, arXiv 2303.15247, section 3.1).
//
// Models are read from Hugging Face directories: config.json, model.safetensors (or its shards), and the tokeniser's files.
// Decoding keeps the keys and values of every layer, and many sequences of different lengths share a step. What a sequence
// becomes depends on the model, its prompt and its own random numbers: never on its neighbours in the batch.
package gpt
