"""Writes the golden models and numbers of this folder, which tests/golden.rs compares with.

Made with torch 2.11.0 (CPU), transformers 5.23.0, safetensors 0.8.0, Python 3.11:

    python make_golden.py                  # the tiny models and golden.json
    python make_golden.py MINILM_FOLDER    # minilm.json; the folder is that of all-MiniLM-L6-v2's config.json

The tiny models are random, with weights so large that each part of the network shows in the fourth decimal.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForTokenClassification, BertModel

HERE = Path(__file__).resolve().parent
LABELS = ["O", "B-Chemical", "I-Chemical", "B-Disease", "I-Disease"]
# Three rows of different lengths, so that two of them are padded.
ROWS = [[2, 57, 8, 9, 33, 21, 5, 40, 41, 12, 30, 3], [2, 17, 3], [2, 44, 45, 46, 6, 59, 7, 3]]
SENTENCES = [
    "Naloxone reverses the antihypertensive effect of clonidine.",
    "Torsade de pointes ventricular tachycardia during low dose intermittent dobutamine treatment in a patient with "
    "dilated cardiomyopathy and congestive heart failure.",
    "[3H]-naloxone binding (8 nM) to brain membranes was not influenced by β-agonists in naïve rats.",
]


def config(**changes):
    sizes = dict(vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                 max_position_embeddings=40, type_vocab_size=2, pad_token_id=0)
    labels = dict(id2label=dict(enumerate(LABELS)), label2id={name: at for at, name in enumerate(LABELS)})
    return BertConfig(**{**sizes, **labels, **changes})


def randomise(model, seed):
    """Larger weights than a fresh BERT's, whose activations would all look linear."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.named_parameters():
        noise = torch.randn(tensor.shape, generator=generator)
        if "LayerNorm.weight" in name:
            tensor.data = 1 + 0.2 * noise
        elif tensor.dim() == 1:
            tensor.data = 0.2 * noise
        else:
            tensor.data = noise * (1.0 if "embeddings" in name else 1.5 / tensor.shape[1] ** 0.5)
    return model.eval()


def rows_of(model, rows):
    """The model's output for each token that is no padding: of the padded batch, as transformers computes it."""
    width = max(map(len, rows))
    input_ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    attention_mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    with torch.no_grad():
        output = model(input_ids=input_ids, attention_mask=attention_mask)[0]
    return [[[round(value, 6) for value in token] for token in output[at, : len(row)].tolist()]
            for at, row in enumerate(rows)]


def tiny():
    golden = {"rows": ROWS, "labels": LABELS, "logits": {}, "hidden": {}}

    model = randomise(BertForTokenClassification(config()), 1)
    model.save_pretrained(HERE / "gelu")
    golden["logits"]["gelu"] = rows_of(model, ROWS)
    for act in ["gelu_new", "relu"]:
        # The weights of `gelu` under another config.json.
        other = BertForTokenClassification(config(hidden_act=act))
        other.load_state_dict(model.state_dict())
        other.config.architectures = model.config.architectures
        other.config.save_pretrained(HERE / act)
        golden["logits"][act] = rows_of(other.eval(), ROWS)

    # An encoder alone, whose names have no prefix; another epsilon, and a pooler that we have no use for.
    model = randomise(BertModel(config(layer_norm_eps=0.1)), 2)
    model.save_pretrained(HERE / "bare")
    golden["hidden"]["bare"] = rows_of(model, ROWS)

    # Today's torch.save, in half precision.
    model = randomise(BertForTokenClassification(config()), 3).half().float()
    (HERE / "zip").mkdir(exist_ok=True)
    model.config.save_pretrained(HERE / "zip")
    torch.save({name: tensor.half() for name, tensor in model.state_dict().items()}, HERE / "zip/pytorch_model.bin")
    golden["hidden"]["zip"] = rows_of(model.bert, ROWS)

    # As checkpoints of 2018 and 2019 were saved: no zip, TensorFlow's names for LayerNorm, a buffer, another task's
    # head, and a config.json that says no more than it must.
    model = randomise(BertModel(config()), 4)
    old = {"bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
           for name, t in model.state_dict().items()}
    old["bert.embeddings.position_ids"] = torch.arange(40)[None]
    old["cls.predictions.bias"] = torch.zeros(60)
    (HERE / "legacy").mkdir(exist_ok=True)
    torch.save(old, HERE / "legacy/pytorch_model.bin", _use_new_zipfile_serialization=False)
    words = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
             "max_position_embeddings", "type_vocab_size"]
    sizes = {word: getattr(model.config, word) for word in words}
    (HERE / "legacy/config.json").write_text(json.dumps(sizes, indent=2) + "\n")
    golden["hidden"]["legacy"] = rows_of(model, ROWS)
    (HERE / "golden.json").write_text(json.dumps(golden) + "\n")


def minilm(folder):
    """Logits of a head whose weights are a formula, so that only this number file is kept: sin(1), sin(2), … row by
    row, over 10; the biases are cos(0), cos(1), …"""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = [tokenizer(text).input_ids for text in SENTENCES]
    hidden = model.config.hidden_size
    weight = torch.sin(torch.arange(1, len(LABELS) * hidden + 1, dtype=torch.float64)).float().view(-1, hidden) / 10
    bias = torch.cos(torch.arange(len(LABELS), dtype=torch.float64)).float()
    head = torch.nn.Linear(hidden, len(LABELS))
    head.weight.data, head.bias.data = weight, bias
    logits = rows_of(lambda **inputs: (head(model(**inputs)[0]),), rows)
    golden = {"sentences": SENTENCES, "rows": rows, "labels": LABELS, "logits": logits}
    (HERE / "minilm.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")


torch.set_num_threads(1)
tiny() if len(sys.argv) == 1 else minilm(sys.argv[1])
