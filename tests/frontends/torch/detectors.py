"""Detection heads in plain PyTorch: box decoding, non-maximum suppression, regions cut out of features, object queries."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def overlaps(boxes: torch.Tensor) -> torch.Tensor:
    """Intersection over union of every pair of one image's boxes."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    inner = (high - low).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    return inner / (area[:, :, None] + area[:, None, :] - inner + 1e-6)


class Dense(nn.Module):
    """FCOS-like: scores and distances to the sides at every place, the best places, parallel suppression, regions, a second head."""

    def __init__(self, wide: int = 32, classes: int = 7, kept: int = 50) -> None:
        super().__init__()
        self.kept = kept
        self.body = nn.Sequential(nn.Conv2d(3, wide, 3, 4, 1), nn.ReLU(), nn.Conv2d(wide, wide, 3, 2, 1), nn.ReLU())
        self.score, self.box = nn.Conv2d(wide, classes, 3, padding=1), nn.Conv2d(wide, 4, 3, padding=1)
        self.refine = nn.Linear(wide * 49, classes)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = self.body(image)
        batch, _, h, w = x.shape
        score = self.score(x).sigmoid().flatten(2).amax(1)
        reach = self.box(x).exp().flatten(2).transpose(1, 2)
        y, z = torch.meshgrid(torch.arange(h, device=x.device), torch.arange(w, device=x.device), indexing="ij")
        middle = torch.stack([z, y], -1).reshape(1, -1, 2) * 8.0
        boxes = torch.cat([middle - reach[..., :2], middle + reach[..., 2:]], -1)
        best, places = score.topk(self.kept, dim=1)
        boxes = boxes.gather(1, places[..., None].expand(-1, -1, 4))
        stronger = torch.triu(overlaps(boxes), diagonal=1)  # boxes come by score
        kept = stronger.amax(1) < 0.5
        step = torch.linspace(0, 1, 7, device=x.device)
        across = boxes[..., 0, None] + (boxes[..., 2] - boxes[..., 0])[..., None] * step
        down = boxes[..., 1, None] + (boxes[..., 3] - boxes[..., 1])[..., None] * step
        grid = torch.stack(torch.broadcast_tensors(across[..., None, :], down[..., :, None]), -1)
        grid = grid.reshape(batch, self.kept * 7, 7, 2) / (4.0 * w) - 1
        regions = F.grid_sample(x, grid, align_corners=False)  # batch, wide, kept · 7, 7
        regions = regions.reshape(batch, -1, self.kept, 49).transpose(1, 2).flatten(2)
        return boxes, best * kept, self.refine(regions)


class Queries(nn.Module):
    """DETR-like: features, an encoder, object queries through a decoder, classes and boxes."""

    def __init__(self, d: int = 64, queries: int = 20) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, d, 16, 16)
        self.transformer = nn.Transformer(d, 4, 2, 2, 128, dropout=0.0, batch_first=True)
        self.query = nn.Parameter(torch.randn(queries, d))
        self.classes, self.boxes = nn.Linear(d, 8), nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 4))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.body(image).flatten(2).transpose(1, 2)
        found = self.transformer(x, self.query.unsqueeze(0).expand(x.shape[0], -1, -1))
        middle, size = self.boxes(found).sigmoid().chunk(2, -1)
        return self.classes(found).softmax(-1), torch.cat([middle - size / 2, middle + size / 2], -1)
