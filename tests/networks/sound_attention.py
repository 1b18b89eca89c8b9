"""Sound networks of tokens: attention of several kinds, a mixer, and LSTMs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.networks.network import BATCH, Do, Network, head, net, stem


def _tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def attention() -> nn.Module:
    """Patches, multi-head attention over them in each image, and a shortcut."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        tokens = _tokens(self.patches(x)) + self.places
        normed = self.norm(tokens)
        mixed = self.mix(normed, normed, normed, need_weights=False)[0]
        return self.last((tokens + mixed).mean(1))

    parts = {"patches": nn.Conv2d(3, 24, 8, stride=8), "norm": nn.LayerNorm(24)}
    places = nn.Parameter(0.02 * torch.randn(1, 16, 24))
    mix = nn.MultiheadAttention(24, 3, batch_first=True)
    return Do(forward, **parts, places=places, mix=mix, last=head(24))


def attention_by_hand() -> nn.Module:
    """Attention by einsum and softmax, with a class token and a bias for each distance."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        tokens = _tokens(self.patches(x))
        tokens = torch.cat([self.first.expand(x.shape[0], -1, -1), tokens], dim=1)
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        near = torch.einsum("bid,bjd->bij", q, k) / 24**0.5 + self.bias[self.index]
        return self.last(torch.einsum("bij,bjd->bid", near.softmax(-1), v)[:, 0] + tokens[:, 0])

    index = (torch.arange(17)[:, None] - torch.arange(17)[None]).abs()
    parts = {"patches": nn.Conv2d(3, 24, 8, stride=8), "qkv": nn.Linear(24, 72)}
    free = {"first": nn.Parameter(torch.randn(1, 1, 24)), "bias": nn.Parameter(torch.randn(17))}
    return Do(forward, **parts, **free, index=index, last=head(24))


def attention_in_windows() -> nn.Module:
    """Attention inside each quarter of the image: a window stands before the heads."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        tokens = _tokens(self.patches(x)).unflatten(1, (4, 4))
        q, k, v = self.qkv(tokens).unflatten(-1, (3, 2, 12)).permute(3, 0, 1, 4, 2, 5).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.last(mixed.transpose(2, 3).flatten(3).mean((1, 2)))

    parts = {"patches": nn.Conv2d(3, 24, 8, stride=8), "qkv": nn.Linear(24, 72)}
    return Do(forward, **parts, last=head(24))


def fused_attention() -> nn.Module:
    """F.scaled_dot_product_attention with a mask."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        tokens = _tokens(self.patches(x))
        q, k, v = (self.qkv(tokens).view(x.shape[0], 16, 3, 2, 12).permute(2, 0, 3, 1, 4)).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        return self.last(mixed.transpose(1, 2).reshape(x.shape[0], 16, 24).mean(1))

    mask = torch.ones(16, 16, dtype=torch.bool).tril()
    parts = {"patches": nn.Conv2d(3, 24, 8, stride=8), "qkv": nn.Linear(24, 72)}
    return Do(forward, **parts, mask=mask, last=head(24))


def linear_attention() -> nn.Module:
    """Attention without softmax: positive features, divided by their sum."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).flatten(2).chunk(3, dim=1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        mixed = q.transpose(1, 2) @ (k @ v.transpose(1, 2))
        mixed = mixed / (q.transpose(1, 2) @ k.sum(2, keepdim=True))
        return mixed.transpose(1, 2).unflatten(2, x.shape[2:])

    return net(stem(), nn.ReLU(), Do(forward, qkv=nn.Conv2d(16, 48, 1)))


def mixer() -> nn.Module:
    """An MLP over places, then one over channels."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        tokens = _tokens(self.patches(x))
        tokens = tokens + self.places(self.one(tokens).transpose(1, 2)).transpose(1, 2)
        return self.last((tokens + self.channels(self.other(tokens))).mean(1))

    places = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
    channels = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24))
    norms = {"one": nn.LayerNorm(24), "other": nn.LayerNorm(24)}
    patches = nn.Conv2d(3, 24, 8, stride=8)
    return Do(forward, patches=patches, places=places, channels=channels, **norms, last=head(24))


def rolled_windows() -> nn.Module:
    """Attention inside windows that are shifted by half, as in Swin."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        x = torch.roll(x, (-2, -2), dims=(2, 3))
        cut = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        q, k, v = self.qkv(cut).chunk(3, dim=-1)
        cut = (q @ k.transpose(1, 2) * c**-0.5).softmax(-1) @ v
        cut = cut.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)
        return torch.roll(cut, (2, 2), dims=(2, 3))

    return net(stem(), nn.ReLU(), Do(forward, qkv=nn.Linear(16, 48)))


def lstm_over_tokens() -> nn.Module:
    """Two layers of LSTMs in both directions over patches; the last token is classified."""

    def forward(self: Do, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(_tokens(self.patches(x)))[0][:, -1])

    lstm = nn.LSTM(8, 8, num_layers=2, bidirectional=True, batch_first=True, dropout=0.5)
    return Do(forward, patches=nn.Conv2d(3, 8, 8, stride=8), lstm=lstm, head=head(16))


TABLE = {
    "attention": Network(make=attention, batch=BATCH),
    "attention_by_hand": Network(make=attention_by_hand, batch=BATCH),
    "attention_in_windows": Network(make=attention_in_windows),
    "fused_attention": Network(make=fused_attention),
    "linear_attention": Network(make=linear_attention, batch=BATCH),
    "lstm_over_tokens": Network(make=lstm_over_tokens),
    "mixer": Network(make=mixer),
    "rolled_windows": Network(make=rolled_windows),
}
