"""Writes the tiny masked-language models of this folder and golden.json, which tests/masked_lm.rs compares with.

Made with torch 2.11.0 (CPU), transformers 5.23.0, Python 3.11: python make_golden.py

Random models of each kind, with weights so large that each part of the network shows in the fourth decimal.
"""

import json
import shutil
from pathlib import Path

import torch
from transformers import (BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM, ElectraConfig,
                          ElectraForMaskedLM, RobertaConfig, RobertaForMaskedLM)

HERE = Path(__file__).resolve().parent
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
ROWS = [[2, 7, 4, 9, 10, 4, 3], [2, 4, 12, 3]]
# Of each row, the positions to predict and their pieces.
MASKED = [[[2, 8], [3, 9], [5, 20]], [[1, 17]]]


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.named_parameters():
        noise = torch.randn(tensor.shape, generator=generator)
        if "norm" in name.lower() and name.endswith("weight"):
            tensor.data = 1 + 0.2 * noise
        elif tensor.dim() == 1:
            tensor.data = 0.2 * noise
        else:
            tensor.data = noise * (1.0 if "embeddings." in name else 1.5 / tensor.shape[1] ** 0.5)
    return model.eval()


def loss_of(model, pad):
    width = max(map(len, ROWS))
    input_ids = torch.tensor([row + [pad] * (width - len(row)) for row in ROWS])
    attention_mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ROWS])
    labels = torch.full_like(input_ids, -100)
    for row, masked in enumerate(MASKED):
        for position, piece in masked:
            labels[row, position] = piece
    return model(input_ids=input_ids, attention_mask=attention_mask, labels=labels).loss


golden = {"rows": ROWS, "masked": MASKED, "loss": {}, "norms": {}}
for name, config, kind, sizes in [
    ("bert", BertConfig, BertForMaskedLM, SIZES),
    ("roberta", RobertaConfig, RobertaForMaskedLM, SIZES | dict(pad_token_id=1, type_vocab_size=1)),
    ("electra", ElectraConfig, ElectraForMaskedLM, SIZES | dict(embedding_size=8)),
    ("distilbert", DistilBertConfig, DistilBertForMaskedLM, dict(dim=16, n_layers=2, n_heads=2, hidden_dim=24)),
]:
    path = HERE / name
    shutil.rmtree(path, ignore_errors=True)
    model = randomise(kind(config(vocab_size=30, max_position_embeddings=20, **sizes)), 1)
    model.save_pretrained(path)
    (path / "generation_config.json").unlink(missing_ok=True)
    model = kind.from_pretrained(path).eval()
    loss = loss_of(model, 1 if name == "roberta" else 0)
    loss.backward()
    golden["loss"][name] = loss.item()
    # Embeddings get gradients as inputs and as outputs.
    golden["norms"][name] = model.get_input_embeddings().weight.grad.norm().item()
(HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
