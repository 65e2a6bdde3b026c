#!/usr/bin/env python3
"""Makes linear.pt: the operations of libtorch that its C++ interface does not name, as TorchScript (torch 2.11).

    python crates/ner-model/src/device/onednn/script.py
"""

import io
import zipfile
from pathlib import Path

import torch


class Packed(torch.nn.Module):
    @torch.jit.export
    def pack(self, weight: torch.Tensor) -> torch.Tensor:
        """`weight` [out, in] in the blocks that oneDNN multiplies with; the rows say what sizes to expect."""
        return torch.ops.mkldnn._reorder_linear_weight(weight, 512)

    @torch.jit.export
    def linear(self, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")


made = io.BytesIO()
torch.jit.save(torch.jit.script(Packed()), made)
with zipfile.ZipFile(made) as archive, zipfile.ZipFile(Path(__file__).with_name("linear.pt"), "w") as kept:
    for entry in archive.infolist():
        if not entry.filename.endswith(".debug_pkl"):  # where this file lay
            kept.writestr(entry.filename, archive.read(entry))
