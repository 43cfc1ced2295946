package weights

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"isearle/weights/safetensors"
)

// object is a JSON object that is written with its keys in order.
type object map[string]any

var torchNames = map[safetensors.DType]string{
	safetensors.F64: "float64", safetensors.F32: "float32", safetensors.F16: "float16", safetensors.BF16: "bfloat16",
}

// toHF returns config.json.
func (c Config) toHF(dtype safetensors.DType) (object, error) {
	v, t := c.Vision, c.Text
	bos, eot, pad := t.BOS, t.EOT, t.EOT
	if t.Pooling == ArgmaxID {
		// The ids of the first configurations are what makes transformers pool at the largest id.
		eot, pad = legacyEOT, 1
		if bos == t.Vocab-2 {
			bos = 0
		}
	} else if eot == legacyEOT {
		return nil, fmt.Errorf("a text that ends with id %d cannot be described: transformers takes it for an old configuration", eot)
	}
	tower := func(kind string, width, mlp, layers, heads int) object {
		return object{
			"model_type": kind, "hidden_size": width, "intermediate_size": mlp, "num_hidden_layers": layers, "num_attention_heads": heads,
			"hidden_act": c.Activation.String(), "layer_norm_eps": c.LayerNormEps, "attention_dropout": 0.0, "projection_dim": c.EmbedDim,
		}
	}
	text := tower("clip_text_model", t.Width, t.MLP, t.Layers, t.Heads)
	text["vocab_size"], text["max_position_embeddings"] = t.Vocab, t.Context
	text["bos_token_id"], text["eos_token_id"], text["pad_token_id"] = bos, eot, pad
	vision := tower("clip_vision_model", v.Width, v.MLP, v.Layers, v.Heads)
	vision["image_size"], vision["patch_size"], vision["num_channels"] = v.ImageSize, v.PatchSize, 3
	return object{
		"architectures": []string{"CLIPModel"}, "model_type": "clip", "projection_dim": c.EmbedDim, "torch_dtype": torchNames[dtype],
		"logit_scale_init_value": 2.6592, "text_config": text, "vision_config": vision,
	}, nil
}

// toHFPreprocess returns preprocessor_config.json.
func (c Config) toHFPreprocess() object {
	p, side := c.Preprocess, c.Vision.ImageSize
	square := object{"height": side, "width": side}
	size := object{"shortest_edge": p.Resize}
	if p.Squash {
		size = square
	}
	return object{
		"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": true, "do_resize": true, "do_center_crop": !p.Squash,
		"do_rescale": true, "do_normalize": true, "size": size, "crop_size": square, "rescale_factor": 1.0 / 255,
		"resample": slices.Index(resampling, p.Interpolation), "image_mean": p.Mean, "image_std": p.Std,
	}
}

// toOpenCLIP returns open_clip_config.json.
func (c Config) toOpenCLIP(customText bool) (object, error) {
	v, t, p := c.Vision, c.Text, c.Preprocess
	if p.Resize != v.ImageSize {
		return nil, fmt.Errorf("images resized to %d and cropped to %d cannot be described for open_clip", p.Resize, v.ImageSize)
	}
	vision := object{"image_size": v.ImageSize, "layers": v.Layers, "width": v.Width, "head_width": v.Width / v.Heads, "patch_size": v.PatchSize}
	text := object{"context_length": t.Context, "vocab_size": t.Vocab, "width": t.Width, "heads": t.Heads, "layers": t.Layers}
	for _, tower := range []struct {
		object
		width, mlp int
	}{{vision, v.Width, v.MLP}, {text, t.Width, t.MLP}} {
		ratio, err := mlpRatio(tower.width, tower.mlp)
		if err != nil {
			return nil, err
		}
		if ratio != 4 {
			tower.object["mlp_ratio"] = ratio
		}
		if c.LayerNormEps != defaultEps {
			tower.object["norm_kwargs"] = object{"eps": c.LayerNormEps}
		}
	}
	if !t.poolsAtLastID() {
		text["pool_type"], text["eos_id"] = "eos", t.EOT
	}
	if t.BOS != t.Vocab-2 {
		text["bos_id"] = t.BOS
	}
	model := object{"embed_dim": c.EmbedDim, "vision_cfg": vision, "text_cfg": text}
	if c.Activation == QuickGELU {
		model["quick_gelu"] = true
	}
	if customText {
		model["custom_text"] = true
	}
	mode := "shortest"
	if p.Squash {
		mode = "squash"
	}
	return object{"model_cfg": model, "preprocess_cfg": object{
		"size": v.ImageSize, "mode": "RGB", "mean": p.Mean, "std": p.Std, "interpolation": p.Interpolation, "resize_mode": mode,
	}}, nil
}

// mlpRatio returns a ratio from which open_clip, which cuts off the product, gets mlp again.
func mlpRatio(width, mlp int) (float64, error) {
	ratio := float64(mlp) / float64(width)
	for range 4 {
		if int(float64(width)*ratio) == mlp {
			return ratio, nil
		}
		ratio = math.Nextafter(ratio, math.Inf(1))
	}
	return 0, errors.New("the ratio of mlp to width cannot be described for open_clip")
}
