package gpt

import (
	"slices"
	"strings"
	"testing"

	"isearle/runtime"
)

func TestParseConfig(t *testing.T) {
	// What EleutherAI's gpt-neo-2.7B and OpenAI's gpt2 publish, cut to the keys that matter.
	neo, err := ParseConfig([]byte(`{"model_type":"gpt_neo","activation_function":"gelu_new","attention_types":[[["global","local"],16]],
		"eos_token_id":50256,"hidden_size":2560,"intermediate_size":null,"layer_norm_epsilon":1e-05,"max_position_embeddings":2048,
		"num_heads":20,"num_layers":32,"vocab_size":50257,"window_size":256}`))
	if err != nil {
		t.Fatal(err)
	}
	if neo.MLP != 10240 || neo.Layers != 32 || neo.Windows[0] != 0 || neo.Windows[31] != 256 || neo.Scales[3] != 1 || !neo.Tied || neo.Act != runtime.GELUTanh {
		t.Errorf("gpt-neo: %+v", neo)
	}
	gpt2, err := ParseConfig([]byte(`{"model_type":"gpt2","n_ctx":1024,"n_embd":768,"n_head":12,"n_layer":12,"n_positions":1024,
		"vocab_size":50257,"eos_token_id":[50256,3]}`))
	if err != nil {
		t.Fatal(err)
	}
	if gpt2.MLP != 3072 || gpt2.Windows[1] != 0 || gpt2.Scales[11] != .125 || !slices.Equal(gpt2.EOS, []int32{50256, 3}) {
		t.Errorf("gpt2: %+v", gpt2)
	}
}

func TestParseConfigErrors(t *testing.T) {
	for in, word := range map[string]string{
		`{}`:                               "model_type",
		`[]`:                               "config",
		`{"model_`:                         "config",
		`{"model_type":"gpt2","n_head":0}`: "heads",
		`{"model_type":"gpt2","n_head":5}`: "5 heads",
		`{"model_type":"gpt2","n_layer":1000000000}`:                                                              "layers",
		`{"model_type":"gpt2","vocab_size":-1}`:                                                                   "vocabulary",
		`{"model_type":"gpt2","activation_function":"silu"}`:                                                      "silu",
		`{"model_type":"gpt2","layer_norm_epsilon":0}`:                                                            "epsilon",
		`{"model_type":"gpt2","add_cross_attention":true}`:                                                        "cross",
		`{"model_type":"gpt2","eos_token_id":60000}`:                                                              "60000",
		`{"model_type":"gpt_neo","num_layers":3}`:                                                                 "attention_types",
		`{"model_type":"gpt_neo","num_layers":2,"attention_types":[[["global"],99999999999]]}`:                    "attention_types",
		`{"model_type":"gpt_neo","num_layers":2,"attention_types":[[["global","far"],1]]}`:                        "far",
		`{"model_type":"gpt_neo","num_layers":1,"attention_types":[[["local"],1]],"window_size":0}`:               "window_size",
		`{"model_type":"gpt_neo","num_layers":1,"attention_types":[[["local"]]]}`:                                 "attention_types",
		`{"model_type":"gpt_neo","num_layers":1,"attention_types":[[["local"],1]],"attention_layers":["global"]}`: "differ",
	} {
		if _, err := ParseConfig([]byte(in)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: error %v does not say %q", in, err, word)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"model_type":"gpt_neo","attention_types":[[["global","local"],12]],"eos_token_id":[1]}`))
	f.Add([]byte(`{"model_type":"gpt2","n_inner":null,"eos_token_id":null,"tie_word_embeddings":false}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err == nil && (len(c.Windows) != c.Layers || len(c.Scales) != c.Layers || c.Width%c.Heads != 0 || c.Vocab < 1) {
			t.Errorf("%+v", c)
		}
	})
}
