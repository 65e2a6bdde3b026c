"""Writes the tiny models of this folder and golden.json, which tests/encoders.rs compares with.

Made with torch 2.11.0 (CPU), transformers 5.23.0, tokenizers 0.23.3, Python 3.11: python make_golden.py

Needs sentencepiece 0.2 as well, for the tables of its normaliser.

One model of each kind with a head for tokens, and one in the layout of each biomedical BERT that is published without
safetensors and without tokenizer.json: dmis-lab/biobert-v1.1, emilyalsentzer/Bio_ClinicalBERT and microsoft's
PubMedBERT. All are random, with weights so large that each part of the network shows in the fourth decimal.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2
from tokenizers import (ByteLevelBPETokenizer, SentencePieceUnigramTokenizer, Tokenizer, decoders, normalizers,
                        pre_tokenizers, processors)
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (AutoModelForTokenClassification, BertConfig, BertForPreTraining, BertModel, BertTokenizerFast,
                          DebertaV2Config, DebertaV2ForTokenClassification, DebertaV2Model, DebertaV2Tokenizer,
                          DistilBertConfig, DistilBertForTokenClassification, ElectraConfig,
                          ElectraForTokenClassification, ModernBertConfig, ModernBertForMaskedLM,
                          ModernBertForTokenClassification, ModernBertModel, MPNetConfig, MPNetForTokenClassification,
                          MPNetModel, MPNetTokenizer, PreTrainedTokenizerFast, RobertaConfig,
                          RobertaForTokenClassification, RobertaTokenizerFast, XLMRobertaConfig,
                          XLMRobertaForTokenClassification, XLMRobertaTokenizer)

HERE = Path(__file__).resolve().parent
LABELS = ["O", "B-Chemical", "I-Chemical", "B-Disease", "I-Disease"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNCASED = ["a", "##a", "b", "##b", "nal", "##ox", "##one", "naive", "caused", "no", "fever", ".", ",", "-", "5", "ht",
           "##t", "h", "[", "]", "ca", "2", "##2", "+", "i", "##n", "the", "rat", "##s"]
# What makes it cased is a capital letter outside the special tokens.
CASED = UNCASED + ["Nal", "Ca", "HT", "H", "##T", "naïve", "NO"]
TEXTS = [
    "Naloxone caused no fever, in the rats.",
    "[Ca]2+ and 5-HT",
    "a naïve rat -- nai\u0308ve NO",
]
# Of byte-level BPE: spaces that are no prefix, characters of several bytes, marks, another case of a special token.
UNICODE = [
    "",
    "  leading and  double   spaces ",
    "\n\nNaloxone\r\n5-HT\t2+\n",
    "é e\u0301 ñandú β-agonists 中文 한국 😀👩\u200d🔬 \u00a0x\u2009y",
    "Ġ is a letter; don't 'they'll",
    "a<mask>b <mask> </s> <pad>",
    "😀",
    "\u3000\u2028 x",
]
CORPUS = ["Naloxone reverses the antihypertensive effect of clonidine in the rats", "fever and the naïve rats in 2 5-HT",
          "β-agonists caused no fever"] * 3


def randomise(model, seed):
    """Larger weights than a fresh model's, whose activations would all look linear."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.named_parameters():
        noise = torch.randn(tensor.shape, generator=generator)
        if "LayerNorm.weight" in name or "layer_norm.weight" in name:
            tensor.data = 1 + 0.2 * noise
        elif tensor.dim() == 1:
            tensor.data = 0.2 * noise
        else:
            tensor.data = noise * (1.0 if "embeddings." in name else 1.5 / tensor.shape[1] ** 0.5)
    return model.eval()


def outputs(model, rows, pad):
    """For each token that is no padding: of the padded batch, as transformers computes it."""
    width = max(map(len, rows))
    input_ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    attention_mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    with torch.no_grad():
        output = model(input_ids=input_ids, attention_mask=attention_mask)[0]
    return [[[round(value, 5) for value in token] for token in output[at, : len(row)].tolist()]
            for at, row in enumerate(rows)]


def labelled(config, **sizes):
    labels = dict(id2label=dict(enumerate(LABELS)), label2id={name: at for at, name in enumerate(LABELS)})
    return config(**labels, **sizes)


SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)


def folder(name):
    path = HERE / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def vocabulary(path, pieces):
    (path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")


def encoded(tokenizer, texts):
    """Ids with the special tokens; offsets in characters without them."""
    both = [(tokenizer(text).input_ids,
             tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping) for text in texts]
    return {"texts": texts, "ids": [ids for ids, _ in both], "offsets": [offsets for _, offsets in both]}


golden = {}


def kinds():
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(CORPUS, vocab_size=300, min_frequency=2,
                            special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
    path = folder("roberta")
    bpe.save_model(str(path))
    size = len(json.loads((path / "vocab.json").read_text(encoding="utf-8")))
    sizes = dict(vocab_size=size, pad_token_id=1, max_position_embeddings=100, type_vocab_size=1, layer_norm_eps=1e-5)
    model = randomise(RobertaForTokenClassification(labelled(RobertaConfig, **SIZES, **sizes)), 1)
    model.save_pretrained(path)
    files = (str(path / "vocab.json"), str(path / "merges.txt"))
    cases = {}
    for prefix in [False, True]:
        for trim in [True, False]:
            tokenizer = RobertaTokenizerFast(*files, add_prefix_space=prefix, trim_offsets=trim)
            if not prefix and trim:
                cases["bare"] = encoded(tokenizer, TEXTS + UNICODE)
            name = f"prefix-{str(prefix).lower()}-trim-{str(trim).lower()}"
            other = HERE / "tokenizers" / name
            shutil.rmtree(other, ignore_errors=True)
            tokenizer.save_pretrained(other)
            for file in other.iterdir():
                if file.name not in ("tokenizer.json", "tokenizer_config.json"):
                    file.unlink()
            cases[name] = encoded(tokenizer, TEXTS + UNICODE)
    golden["bpe"] = cases
    # Not the empty text, which has no windows, nor that with `<pad>`, which transformers takes for padding.
    texts = [text for text in TEXTS + UNICODE if text and "<pad>" not in text]
    rows = [ids for text, ids in zip(TEXTS + UNICODE, cases["bare"]["ids"]) if text in texts]
    golden["roberta"] = {"texts": texts, "ids": rows, "logits": outputs(model, rows, 1)}

    for name, config, kind, sizes in [
        ("electra", ElectraConfig, ElectraForTokenClassification, dict(**SIZES, embedding_size=8)),
        ("distilbert", DistilBertConfig, DistilBertForTokenClassification,
         dict(dim=16, n_layers=2, n_heads=2, hidden_dim=24)),
    ]:
        path = folder(name)
        vocabulary(path, SPECIAL + UNCASED)
        (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}) + "\n")
        made = labelled(config, vocab_size=len(SPECIAL + UNCASED), max_position_embeddings=40, **sizes)
        model = randomise(kind(made), 2)
        model.save_pretrained(path)
        rows = encoded(BertTokenizerFast(str(path / "vocab.txt"), do_lower_case=True), TEXTS)["ids"]
        golden[name] = {"texts": TEXTS, "ids": rows, "logits": outputs(model, rows, 0)}


def layouts():
    words = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
             "max_position_embeddings", "type_vocab_size"]

    def small_config(path, config, **more):
        (path / "config.json").write_text(json.dumps({word: getattr(config, word) for word in words} | more) + "\n")

    # A zip, an encoder alone, names without a prefix; a cased vocabulary and a file that says so.
    path = folder("biobert")
    config = BertConfig(**SIZES, vocab_size=len(SPECIAL + CASED), max_position_embeddings=40)
    vocabulary(path, SPECIAL + CASED)
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}) + "\n")
    small_config(path, config, model_type="bert", architectures=["BertModel"])
    torch.save(randomise(BertModel(config), 3).state_dict(), path / "pytorch_model.bin")

    # No zip, TensorFlow's names of LayerNorm, the heads of pretraining, a buffer; nothing says that case matters.
    path = folder("clinicalbert")
    vocabulary(path, SPECIAL + CASED)
    small_config(path, config)
    tensors = randomise(BertForPreTraining(config), 4).state_dict()
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
           for name, tensor in tensors.items()}
    old["bert.embeddings.position_ids"] = torch.arange(40)[None]
    torch.save(old, path / "pytorch_model.bin", _use_new_zipfile_serialization=False)

    # A zip with the heads of pretraining; an uncased vocabulary.
    path = folder("pubmedbert")
    config = BertConfig(**SIZES, vocab_size=len(SPECIAL + UNCASED), max_position_embeddings=40)
    vocabulary(path, SPECIAL + UNCASED)
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}) + "\n")
    small_config(path, config, model_type="bert", architectures=["BertForMaskedLM"], layer_norm_eps=1e-12)
    torch.save(randomise(BertForPreTraining(config), 5).state_dict(), path / "pytorch_model.bin")

    for name, lower_case in [("biobert", False), ("clinicalbert", False), ("pubmedbert", True)]:
        # Read back, so that transformers says what each layout means.
        model, report = BertModel.from_pretrained(HERE / name, output_loading_info=True)
        assert not report["missing_keys"] - {"pooler.dense.weight", "pooler.dense.bias"}, report
        rows = encoded(BertTokenizerFast(str(HERE / name / "vocab.txt"), do_lower_case=lower_case), TEXTS)["ids"]
        golden[name] = {"texts": TEXTS, "ids": rows, "hidden": outputs(model.eval(), rows, 0)}


# Longer than the reach of local attention and the exact buckets of distances.
LONG = "the rats, no fever -- nal 5-HT " * 9


def save_tokenizer(tokenizer, path):
    tokenizer.save_pretrained(path)
    for file in path.iterdir():
        if file.suffix == ".json" and file.name not in ("tokenizer.json", "tokenizer_config.json", "config.json"):
            file.unlink()


def add(name, model, tokenizer, texts, pad):
    """Saves a model with its tokenizer; its ids, offsets, and logits or hidden states."""
    path = folder(name)
    model.eval().save_pretrained(path)
    save_tokenizer(tokenizer, path)
    case = encoded(tokenizer, texts)
    what = "logits" if hasattr(model, "classifier") else "hidden"
    golden[name] = case | {what: outputs(model, case["ids"], pad)}


def charsmap():
    """The table of sentencepiece's usual normalisation, NFKC and more."""
    with tempfile.TemporaryDirectory() as place:
        corpus = Path(place) / "corpus.txt"
        corpus.write_text("\n".join(CORPUS + TEXTS + UNICODE), encoding="utf-8")
        SentencePieceTrainer.train(input=str(corpus), model_prefix=f"{place}/m", vocab_size=75, hard_vocab_limit=False,
                                   normalization_rule_name="nmt_nfkc", minloglevel=2)
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString((Path(place) / "m.model").read_bytes())
        return model.normalizer_spec.precompiled_charsmap


def unigram(specials):
    """The pieces of a small Unigram vocabulary, the special ones first."""
    tokenizer = SentencePieceUnigramTokenizer()
    tokenizer.train_from_iterator(CORPUS + TEXTS, vocab_size=90, show_progress=False)
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
    return [(piece, 0.0) for piece in specials] + [tuple(row) for row in pieces if row[0] not in specials]


def further_kinds():
    # Of the texts, those without a verbatim `<pad>`, which transformers takes for padding, and not the empty one.
    texts = [text for text in TEXTS + UNICODE + [LONG] if text and "<pad>" not in text]

    # MPNet: a term for each distance; BERT's word pieces with other special tokens. A bare encoder, as it is published.
    pieces = ["<s>", "<pad>", "</s>", "<unk>"] + UNCASED + ["[UNK]", "<mask>"]
    tokenizer = MPNetTokenizer(vocab={piece: at for at, piece in enumerate(pieces)})
    sizes = dict(SIZES, vocab_size=len(pieces), max_position_embeddings=300)
    add("mpnet", randomise(MPNetForTokenClassification(labelled(MPNetConfig, **sizes)), 6), tokenizer, texts, 1)
    add("mpnet-bare", randomise(MPNetModel(MPNetConfig(**sizes)), 7), tokenizer, texts, 1)

    # XLM-RoBERTa: sentencepiece's normalisation and Unigram.
    tokenizer = XLMRobertaTokenizer(vocab=unigram(["<s>", "<pad>", "</s>", "<unk>"]) + [("<mask>", 0.0)],
                                    _spm_precompiled_charsmap=charsmap())
    sizes = dict(SIZES, vocab_size=len(tokenizer), max_position_embeddings=400, type_vocab_size=1, layer_norm_eps=1e-5)
    model = randomise(XLMRobertaForTokenClassification(labelled(XLMRobertaConfig, **sizes)), 8)
    add("xlm-roberta", model, tokenizer, texts, 1)

    # ModernBERT: rotary positions, local attention; with a head, and as pretraining leaves it.
    bpe = Tokenizer(BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    bpe.train_from_iterator(CORPUS, BpeTrainer(vocab_size=290, special_tokens=specials, show_progress=False,
                                               initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    bpe.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]",
                                                       special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
                                        pad_token="[PAD]", mask_token="[MASK]")
    ids = dict(pad_token_id=3, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
    sizes = dict(SIZES, **ids, num_hidden_layers=4, vocab_size=len(bpe.get_vocab()), max_position_embeddings=400,
                 local_attention=12)
    model = randomise(ModernBertForTokenClassification(labelled(ModernBertConfig, **sizes)), 9)
    add("modernbert", model, tokenizer, texts, 3)
    biases = dict(attention_bias=True, mlp_bias=True, norm_bias=True, classifier_bias=True,
                  classifier_activation="relu")
    model = randomise(ModernBertForTokenClassification(labelled(ModernBertConfig, **sizes, **biases)), 10)
    add("modernbert-biases", model, tokenizer, texts[:3], 3)
    # The keys of the published configurations, which transformers translates.
    path = folder("modernbert-pretrained")
    config = ModernBertConfig(**sizes)
    randomise(ModernBertForMaskedLM(config), 11).save_pretrained(path)
    old = json.loads((path / "config.json").read_text())
    for key in ["layer_types", "rope_parameters"]:
        old.pop(key)
    old |= dict(global_attn_every_n_layers=2, global_rope_theta=80000.0, local_rope_theta=5000.0)
    (path / "config.json").write_text(json.dumps(old, indent=2) + "\n")
    save_tokenizer(tokenizer, path)
    model = ModernBertModel.from_pretrained(path).eval()
    golden["modernbert-pretrained"] = (case := encoded(tokenizer, texts)) | {"hidden": outputs(model, case["ids"], 3)}

    # DeBERTa: the settings of version 3, with its tokenizer; and those of the largest of version 2.
    pieces = unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]"]) + [("[MASK]", 0.0)]
    tokenizer = DebertaV2Tokenizer(vocab=pieces, unk_id=3)
    sizes = dict(SIZES, vocab_size=len(tokenizer), max_position_embeddings=400, relative_attention=True,
                 position_biased_input=False, pos_att_type="p2c|c2p", max_relative_positions=-1)
    three = dict(sizes, position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True)
    model = randomise(DebertaV2ForTokenClassification(labelled(DebertaV2Config, **three)), 12)
    add("deberta-v3", model, tokenizer, texts, 0)
    two = dict(sizes, position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=False, conv_kernel_size=3,
               conv_act="tanh")
    add("deberta-v2", randomise(DebertaV2Model(DebertaV2Config(**two)), 13), tokenizer, texts, 0)
    plain = dict(sizes, position_biased_input=True, pos_att_type="c2p", max_relative_positions=30, type_vocab_size=2,
                 embedding_size=8)
    add("deberta-plain", randomise(DebertaV2Model(DebertaV2Config(**plain)), 14), tokenizer, texts, 0)


torch.set_num_threads(1)
kinds()
layouts()
further_kinds()
for kind in ["roberta", "electra", "distilbert", "mpnet", "xlm-roberta", "modernbert"]:
    assert AutoModelForTokenClassification.from_pretrained(HERE / kind).config.model_type == kind
(HERE / "golden.json").write_text(json.dumps(golden) + "\n")
