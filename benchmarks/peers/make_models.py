"""Writes a Hugging Face checkpoint of random weights for one of the shapes.

    python make_models.py SHAPE DIRECTORY

Weights are N(0, 0.02) in bfloat16 with a fixed seed, norms are 1, biases 0. A tokenizer whose words
are "t0", "t1", ... serves engines that do not load a checkpoint without one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shapes import SEED, SHAPES


def write_tokenizer(size: int, out: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"t{i}": i for i in range(size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="t0", bos_token="t1", eos_token="t2", pad_token="t2"
    ).save_pretrained(out)


def write_checkpoint(name: str, out: Path) -> None:
    import torch
    import transformers

    shape = SHAPES[name]
    config = getattr(transformers, shape.config)(
        **shape.settings(), bos_token_id=1, eos_token_id=2, pad_token_id=2
    )
    torch.manual_seed(SEED)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.to_empty(device="cpu")
    if shape.tied:
        model.tie_weights()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() == 1:
                parameter.fill_(1)
            else:
                parameter.copy_(torch.randn(parameter.shape).mul_(0.02))
    model.save_pretrained(out, max_shard_size="40GB")
    write_tokenizer(shape.vocab, out)


if __name__ == "__main__":
    write_checkpoint(sys.argv[1], Path(sys.argv[2]))
