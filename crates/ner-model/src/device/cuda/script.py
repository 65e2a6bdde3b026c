#!/usr/bin/env python3
"""Makes operations.pt: the operations of libtorch for graphics cards that its Rust interface does not name, as
TorchScript (torch 2.11).

    python crates/ner-model/src/device/cuda/script.py
"""

import io
import zipfile
from pathlib import Path
from typing import List

import torch
from torch import Tensor


class Operations(torch.nn.Module):
    @torch.jit.export
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int, dropout: float, reach: int
    ) -> Tensor:
        """Attention within rows: states are [places, heads, head]; `starts` [rows + 1] i32 are the places where rows
        start and the last ends. `reach` is the longest distance, -1 for all. It has gradients."""
        return torch.ops.aten._flash_attention_forward(
            query, key, value, starts, starts, longest, longest, dropout, False, False,
            scale=None, window_size_left=reach, window_size_right=reach,
        )[0]  # fmt: skip

    @torch.jit.export
    def norms(self, tensors: List[Tensor]) -> Tensor:
        """The norm of each tensor, fp32."""
        return torch.stack(torch._foreach_norm(tensors, 2, dtype=torch.float32))

    @torch.jit.export
    def copy_(self, into: List[Tensor], of: List[Tensor]) -> Tensor:
        """Copies tensors, with other kinds if need be. Returns nothing of interest."""
        torch._foreach_copy_(into, of)
        return into[0]

    @torch.jit.export
    def lerp_(self, averages: List[Tensor], current: List[Tensor], share: float) -> Tensor:
        """Moves averages towards the current numbers. Returns nothing of interest."""
        torch._foreach_lerp_(averages, current, share)
        return averages[0]

    @torch.jit.export
    def adamw_(
        self, parameters: List[Tensor], gradients: List[Tensor], firsts: List[Tensor], seconds: List[Tensor],
        step: Tensor, divisor: Tensor, rate: float, decay: float, beta_1: float, beta_2: float, eps: float,
    ) -> Tensor:  # fmt: skip
        """One step of AdamW; gradients are first divided by `divisor`. All fp32. Returns nothing of interest."""
        torch._fused_adamw_(
            parameters, gradients, firsts, seconds, [], [step] * len(parameters), lr=rate, beta1=beta_1, beta2=beta_2,
            weight_decay=decay, eps=eps, amsgrad=False, maximize=False, grad_scale=divisor, found_inf=None,
        )  # fmt: skip
        return step


made = io.BytesIO()
torch.jit.save(torch.jit.script(Operations()), made)
with zipfile.ZipFile(made) as archive, zipfile.ZipFile(Path(__file__).with_name("operations.pt"), "w") as kept:
    for entry in archive.infolist():
        if not entry.filename.endswith(".debug_pkl"):  # where this file lay
            kept.writestr(entry.filename, archive.read(entry))
