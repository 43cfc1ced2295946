"""CLIP, exactly, at the size of this world; parameters under the names of Hugging Face's CLIPModel."""

import torch
from torch import nn

CONFIG = {
    "embed": 128, "vocab": 3000, "context": 32,
    "image": 64, "patch": 8, "vision_width": 192, "vision_layers": 6, "vision_heads": 3,
    "text_width": 160, "text_layers": 4, "text_heads": 5,
}
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, mask):
        b, t, w = x.shape
        weight = torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])
        bias = torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias])
        q, k, v = nn.functional.linear(x, weight, bias).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q * (w // self.heads) ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            scores = scores + mask[:t, :t]
        return self.out_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, w))


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        """fc2(quick_gelu(fc1(x))): x sigmoid(1.702 x) is silu(1.702 x)/1.702, one pass with the factors in the weights."""
        a = 1.702
        hidden = nn.functional.linear(x, a * self.fc1.weight, a * self.fc1.bias)
        return nn.functional.linear(nn.functional.silu(hidden), self.fc2.weight / a, self.fc2.bias)


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.self_attn, self.mlp = Attention(width, heads), MLP(width)
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x, mask=None):
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self, width, heads, layers):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        for layer in self.layers:  # OpenAI's initialisation
            std = width**-0.5 * (2 * layers) ** -0.5
            for m in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
                nn.init.normal_(m.weight, std=width**-0.5)
                nn.init.zeros_(m.bias)
            nn.init.normal_(layer.self_attn.out_proj.weight, std=std)
            nn.init.normal_(layer.mlp.fc1.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(layer.mlp.fc2.weight, std=std)
            for m in (layer.self_attn.out_proj, layer.mlp.fc1, layer.mlp.fc2):
                nn.init.zeros_(m.bias)

    def forward(self, x, mask=None):
        for layer in self.layers:
            x = layer(x, mask)
        return x


class VisionEmbeddings(nn.Module):
    def __init__(self, c):
        super().__init__()
        w = c["vision_width"]
        self.class_embedding = nn.Parameter(torch.randn(w) * w**-0.5)
        self.patch_embedding = nn.Conv2d(3, w, c["patch"], c["patch"], bias=False)
        self.position_embedding = nn.Embedding((c["image"] // c["patch"]) ** 2 + 1, w)
        nn.init.normal_(self.position_embedding.weight, std=w**-0.5)


class Vision(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.patch = c["patch"]
        self.embeddings = VisionEmbeddings(c)
        self.pre_layrnorm = nn.LayerNorm(c["vision_width"])
        self.encoder = Encoder(c["vision_width"], c["vision_heads"], c["vision_layers"])
        self.post_layernorm = nn.LayerNorm(c["vision_width"])

    def forward(self, pixels, keep=None):
        """pixels f32 [B,3,H,W]; keep: how many patches a training step looks at (None: all)."""
        b, p = pixels.shape[0], self.patch
        n = pixels.shape[2] // p
        patches = pixels.view(b, 3, n, p, n, p).permute(0, 2, 4, 1, 3, 5).reshape(b, n * n, 3 * p * p)
        e = self.embeddings
        position = e.position_embedding.weight[1:].expand(b, -1, -1)
        if keep:
            # Patches that show something are preferred to plain background.
            score = torch.rand(b, n * n) + 0.5 * (patches.std(-1) > 0.05)
            index = score.topk(keep, dim=1).indices[..., None]
            patches = patches.gather(1, index.expand(-1, -1, patches.shape[2]))
            position = position.gather(1, index.expand(-1, -1, position.shape[2]))
        x = patches @ e.patch_embedding.weight.flatten(1).T + position
        cls = (e.class_embedding + e.position_embedding.weight[0]).expand(b, 1, -1)
        x = self.encoder(self.pre_layrnorm(torch.cat([cls, x], 1)))
        return self.post_layernorm(x[:, 0])


class TextEmbeddings(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.token_embedding = nn.Embedding(c["vocab"], c["text_width"])
        self.position_embedding = nn.Embedding(c["context"], c["text_width"])
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.01)


class Text(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = TextEmbeddings(c)
        self.encoder = Encoder(c["text_width"], c["text_heads"], c["text_layers"])
        self.final_layer_norm = nn.LayerNorm(c["text_width"])
        self.register_buffer("mask", torch.full((c["context"], c["context"]), float("-inf")).triu(1), persistent=False)

    def forward(self, ids, end, words=None, at=None):
        """ids [B,T]; end [B] the end-of-text positions; words [B,w] replace the embedding at position at [B]."""
        x = self.embeddings.token_embedding(ids)
        if words is not None:
            x = x.clone()
            x[torch.arange(len(x)), at] = words
        x = x + self.embeddings.position_embedding.weight[: ids.shape[1]]
        x = self.encoder(x, self.mask)
        return self.final_layer_norm(x[torch.arange(len(x)), end])


class CLIP(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        self.vision_model, self.text_model = Vision(c), Text(c)
        self.visual_projection = nn.Linear(c["vision_width"], c["embed"], bias=False)
        self.text_projection = nn.Linear(c["text_width"], c["embed"], bias=False)
        nn.init.normal_(self.visual_projection.weight, std=c["vision_width"] ** -0.5)
        nn.init.normal_(self.text_projection.weight, std=c["text_width"] ** -0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))

    def image(self, pixels, keep=None):
        return self.visual_projection(self.vision_model(pixels, keep))

    def text(self, token_lists, words=None, at=None, chunks=1):
        """Features of token lists; sorted into chunks of like length, so that little is padded."""
        order = sorted(range(len(token_lists)), key=lambda i: len(token_lists[i]))
        step = -(-len(order) // chunks)
        parts = []
        for k in range(0, len(order), step):
            rows = order[k : k + step]
            t = len(token_lists[rows[-1]])
            ids = torch.tensor([token_lists[i] + [0] * (t - len(token_lists[i])) for i in rows])
            end = torch.tensor([len(token_lists[i]) - 1 for i in rows])
            parts.append(self.text_model(ids, end, None if words is None else words[rows], None if at is None else at[rows]))
        inverse = torch.empty(len(order), dtype=torch.long)
        inverse[torch.tensor(order)] = torch.arange(len(order))
        return self.text_projection(torch.cat(parts)[inverse])


def pixels(images):
    """uint8 [B,64,64,3] array -> normalised f32 [B,3,64,64]."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
