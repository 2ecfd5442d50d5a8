"""The nets that `make.py` exports: 4 to 32 channels each, written as people write them, so that each exporter leaves its usual traces."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ViewHead(nn.Module):
    """The oldest habit: `view(x.size(0), -1)` before the classifier; dropout; conv-bn pairs."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, stride=2), nn.BatchNorm2d(12), nn.ReLU(inplace=True), nn.Dropout2d(0.2),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Linear(12 * 3 * 3, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, 10))

    def forward(self, x):
        x = self.features(x)
        return F.softmax(self.classifier(x.view(x.size(0), -1)), dim=1)


class UNet(nn.Module):
    """Two levels down and up by transposed convolutions; what comes up is cropped to what went down. Ronneberger et al. 2015."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = self.block(3, 6), self.block(6, 10), self.block(10, 12)
        self.up2, self.up1 = nn.ConvTranspose2d(12, 10, 3, 2, padding=1, output_padding=1), nn.ConvTranspose2d(10, 6, 2, 2)
        self.left2, self.left1 = self.block(20, 10), self.block(12, 6)
        self.out = nn.Conv2d(6, 2, 1)

    def block(self, inward, outward):
        return nn.Sequential(nn.Conv2d(inward, outward, 3, padding=1), nn.BatchNorm2d(outward), nn.ReLU())

    def forward(self, x):
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2, ceil_mode=True))
        three = self.three(F.max_pool2d(two, 2, ceil_mode=True))
        y = self.up2(three)[:, :, : two.shape[2], : two.shape[3]]
        y = self.up1(self.left2(torch.cat([two, y], 1)))[:, :, : one.shape[2], : one.shape[3]]
        return torch.sigmoid(self.out(self.left1(torch.cat([one, y], 1))))


class Resizing(nn.Module):
    """Nearest and bilinear, corners aligned and not, by factor and by the size of another value (a feature pyramid does that)."""

    def __init__(self):
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.heads = nn.ModuleList(nn.Conv2d(6, 2, 1) for _ in range(4))

    def forward(self, x):
        x = F.leaky_relu(self.stem(x), 0.1)
        low = self.down(x)
        a = F.interpolate(low, size=x.shape[-2:], mode="nearest")
        b = F.interpolate(low, scale_factor=2, mode="bilinear", align_corners=True)
        c = F.interpolate(low, size=(x.shape[2], x.shape[3]), mode="bilinear", align_corners=False)
        d = F.interpolate(low, scale_factor=2.0, mode="nearest")
        parts = [head(y)[..., : x.shape[2], : x.shape[3]] for head, y in zip(self.heads, (a, b, c, d), strict=True)]
        return parts[0] + parts[1] * parts[2] - parts[3]


class OldResizing(nn.Module):
    """Upsampling as Upsample knows it: factors on both axes, before Resize was there."""

    def __init__(self):
        super().__init__()
        self.stem, self.out = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x):
        low = F.relu(self.stem(x))
        return F.interpolate(self.out(F.interpolate(low, scale_factor=2, mode="nearest")), scale_factor=(1.5, 1.25), mode="nearest")


class Norms(nn.Module):
    """Group, instance and layer norms; a block as in ConvNeXt with its channels last. Wu & He 2018; Liu et al. 2022."""

    def __init__(self):
        super().__init__()
        self.stem, self.group = nn.Conv2d(3, 8, 4, stride=4), nn.GroupNorm(4, 8)
        self.instance, self.plain = nn.InstanceNorm2d(8, affine=True), nn.InstanceNorm2d(8)
        self.depthwise, self.layer = nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.LayerNorm(8, eps=1e-6)
        self.wide, self.narrow, self.scale = nn.Linear(8, 32), nn.Linear(32, 8), nn.Parameter(torch.rand(8) * 0.3 + 0.1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = F.silu(self.group(self.stem(x)))
        x = F.relu(self.instance(x)) + self.plain(x)
        y = self.layer(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.wide(y))) * self.scale
        return self.head((x + y.permute(0, 3, 1, 2)).mean([-2, -1]))


class SqueezeExcite(nn.Module):
    """Squeeze by a 1x1 pool, excite through a hard sigmoid. Hu et al. 2018; Howard et al. 2019."""

    def __init__(self, channels, inner):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))


class Mobile(nn.Module):
    """MobileNetV3's parts: hard swish, depthwise, squeeze-excite; an inverted residual with relu6. Howard et al. 2019."""

    def __init__(self):
        super().__init__()

        def conv(inward, outward, kernel, act, **more):
            return [nn.Conv2d(inward, outward, kernel, padding=kernel // 2, bias=False, **more), nn.BatchNorm2d(outward), act]

        self.stem = nn.Sequential(*conv(3, 8, 3, nn.Hardswish(), stride=2))
        self.squeezed = nn.Sequential(
            *conv(8, 16, 1, nn.Hardswish()),
            *conv(16, 16, 5, nn.Hardswish(), groups=16),
            SqueezeExcite(16, 4),
            *conv(16, 8, 1, nn.Identity()),
        )
        self.inverted = nn.Sequential(
            *conv(8, 24, 1, nn.ReLU6()), *conv(24, 24, 3, nn.ReLU6(), groups=24, stride=2), *conv(24, 12, 1, nn.Identity())
        )
        self.head = nn.Sequential(nn.Linear(12, 20), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(20, 7))

    def forward(self, x):
        x = self.stem(x)
        x = self.inverted(x + self.squeezed(x))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class Shuffles(nn.Module):
    """Chunk, split, stack, channel shuffle, pixel shuffle and its inverse. Ma et al. 2018; Shi et al. 2016."""

    def __init__(self):
        super().__init__()
        self.stem, self.side, self.grouped = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(8, 8, 1, groups=2)
        self.up, self.out = nn.Conv2d(32, 12, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = F.relu(self.stem(x))
        left, right = x.chunk(2, dim=1)
        x = torch.cat([left, self.side(right)], 1)
        batch, channels, height, width = x.size()
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(batch, -1, height, width)
        a, b, c = torch.split(self.grouped(x), [3, 4, 1], dim=1)
        x = F.pixel_unshuffle(torch.cat([c, a, b], 1), 2)
        return self.out(F.pixel_shuffle(self.up(x), 2)) + torch.stack([c, c * 2, c], 2).squeeze(1).repeat(1, 1, 1, 1)


class Pads(nn.Module):
    """Constant, reflect, replicate, and a negative pad, which crops; `padding=same` of an even kernel; a circular convolution."""

    def __init__(self):
        super().__init__()
        self.stem, self.even = nn.Conv2d(3, 6, 3, padding="valid"), nn.Conv2d(6, 6, 4, padding="same")
        self.mirror = nn.Conv2d(6, 6, 3, padding=2, padding_mode="reflect")
        self.ring, self.out = nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular"), nn.Conv2d(6, 4, 3)

    def forward(self, x):
        x = self.stem(F.pad(x, (1, 2, 0, 1), value=0.5))
        x = self.mirror(F.relu(self.even(F.pad(x, (2, 1, 1, 0), mode="replicate"))))
        x = self.ring(F.pad(x, (-1, 1, -2, 0)))
        return self.out(F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 2))


class Activations(nn.Module):
    """One convolution before each activation, all summed up; those that ONNX had to learn later come apart into pieces."""

    def __init__(self):
        super().__init__()
        self.acts = nn.ModuleList([
            nn.SiLU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.Mish(), nn.PReLU(4), nn.PReLU(), nn.ELU(0.7), nn.SELU(), nn.CELU(1.5),
            nn.LeakyReLU(0.2), nn.Softplus(), nn.Hardtanh(-0.5, 2.0), nn.LogSigmoid(), nn.Tanh(), nn.Softsign(), nn.Hardswish(),
            nn.Hardsigmoid(), nn.ReLU6(), nn.Softmax2d(), nn.LogSoftmax(1), nn.Hardshrink(0.3), nn.Softshrink(0.3),
        ])  # fmt: skip
        self.convs, self.gate = nn.ModuleList(nn.Conv2d(3, 4, 3, padding=1) for _ in self.acts), nn.Conv2d(4, 8, 1)

    def forward(self, x):
        total = sum(act(conv(x) * 2) for act, conv in zip(self.acts, self.convs, strict=True))
        return F.glu(self.gate(total), dim=1)


class Masks(nn.Module):
    """Masks by comparison and `where`, means and deviations over axes, norms, an argmax and a top-k at the end."""

    def __init__(self):
        super().__init__()
        self.conv, self.score, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 1, 1), nn.Linear(24, 6)

    def forward(self, x):
        x = self.conv(x)
        mask = (self.score(x) > 0.1) | (x.amax(1, keepdim=True) < 0.2)
        x = torch.where(mask, x, x * 0.25 - 0.5).masked_fill(x.abs() < 0.05, 0.0)
        x = (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True, unbiased=False) + 1e-3)
        x = x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-2)
        y = torch.cat([x.amax((2, 3)), F.normalize(x.sum((2, 3)), dim=1), torch.logsumexp(x.clamp(min=-2.0, max=2.0).flatten(2), -1)], 1)
        logits = self.head(y)
        return logits, y.argmax(1), torch.topk(logits, 3, dim=1)[0]


class Pools(nn.Module):
    """Pooling in every form: ceil, count of pads, dilation, L2, adaptive to 1, to a divisor, over one axis; batch norm before the conv.

    One convolution is used twice, and a batch norm with no conv to fold into stands first.
    """

    def __init__(self):
        super().__init__()
        self.first, self.shared, self.norm = nn.BatchNorm2d(3), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.stem, self.head = nn.Conv2d(3, 6, 3, bias=False), nn.Linear(6 * 4 + 6 + 12, 6)

    def forward(self, x):
        x = F.relu(self.stem(self.first(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)
        x = self.shared(F.relu(self.norm(self.shared(x))))  # the same weights twice
        x = F.max_pool2d(x, 3, stride=1, padding=1, dilation=2) - F.avg_pool2d(x, 3, 1, count_include_pad=False)
        x = F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False) + F.avg_pool2d(x, (3, 1), 1, padding=(1, 0))
        parts = F.adaptive_avg_pool2d(x, 2), F.adaptive_max_pool2d(F.pad(x, (0, 0, 0, 0)), 1), F.adaptive_avg_pool2d(x, (1, 2))
        return self.head(torch.cat([part.flatten(1) for part in parts], 1))


class Anchors(nn.Module):
    """A detector's head without anchors, over a neck with a skip: boxes from sixteen bins a side, on a grid that is counted where
    rows and columns are free. YOLOv8's form of Li et al. 2020.
    """

    def __init__(self):
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1)
        self.head, self.bins = nn.Conv2d(20, 64 + 5, 1), nn.Conv2d(16, 1, 1, bias=False)

    def forward(self, x):
        skip = F.silu(self.stem(x))
        x = self.head(torch.cat([skip, F.interpolate(F.silu(self.down(skip)), size=skip.shape[2:], mode="nearest")], 1))
        batch, _, rows, cols = x.shape
        box, score = x.view(batch, 69, rows * cols).split((64, 5), 1)
        box = self.bins(box.view(batch, 4, 16, rows * cols).transpose(2, 1).softmax(1)).view(batch, 4, rows * cols)
        y, x = torch.meshgrid(torch.arange(rows, device=x.device), torch.arange(cols, device=x.device), indexing="ij")
        centre = torch.stack((x, y), -1).view(1, -1, 2).transpose(1, 2) + 0.5
        before, after = box.chunk(2, 1)
        return torch.cat([(centre - before) * 2, (centre + after) * 2, score.sigmoid()], 1)


class Transformer(nn.Module):
    """Patches, a class token, one block of attention with a fused projection, as in ViT. Dosovitskiy et al. 2021."""

    def __init__(self):
        super().__init__()
        self.patches, self.token, self.place = (
            nn.Conv2d(3, 16, 4, 4),
            nn.Parameter(torch.randn(1, 1, 16)),
            nn.Parameter(torch.randn(1, 17, 16)),
        )
        self.norm1, self.norm2, self.qkv, self.out = nn.LayerNorm(16), nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)
        self.mlp, self.head = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)), nn.Linear(16, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(batch, length, 3, 4, width // 4).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width))
        return self.head((x + self.mlp(self.norm2(x)))[:, 0])


class Choice(nn.Module):
    """A branch on a value: an `If` node, which a compiler of static graphs has to refuse by name."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return torch.cond(x.mean() > 0, lambda y: self.conv(y), lambda y: -self.conv(y), (x,))
