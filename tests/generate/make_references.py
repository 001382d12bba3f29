#!/usr/bin/env python3
"""Writes tests/data/generate/sampling.json: tokens that transformers' own logits processors lead to.

Logits come from a formula that tests/generate/sampler_test.cc repeats, so that they need not be
stored. A token is drawn by inverting the distribution function over the kept tokens in descending
order, with the same counter-based random numbers as src/base/philox.h. Draws that fall within 1e-4
of a border between two tokens are left out: float32 sums and double sums may differ there.

Run: python make_references.py   (needs torch and transformers)
"""

import json
import pathlib

import numpy as np
import torch
from transformers.generation import logits_process as hf

VOCAB = 1000
DRAWS = 60
MASK32 = 0xFFFFFFFF


def philox_uniform(seed, stream, position):
    counter = [position & MASK32, position >> 32, stream & MASK32, stream >> 32]
    key = [seed & MASK32, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            (b >> 32) ^ counter[1] ^ key[0],
            b & MASK32,
            (a >> 32) ^ counter[3] ^ key[1],
            a & MASK32,
        ]
        key = [(key[0] + 0x9E3779B9) & MASK32, (key[1] + 0xBB67AE85) & MASK32]
    return ((counter[1] << 32 | counter[0]) >> 11) * 2.0**-53


def logits_of(case, step):
    """Uniform in [-6, 6); rounded to multiples of `step` (0: as they are), so that there are ties."""
    i = np.arange(VOCAB, dtype=np.uint64)
    hashed = (i * np.uint64(2654435761) + np.uint64(case) * np.uint64(40503 * 65537)) & np.uint64(
        MASK32
    )
    hashed = (hashed ^ (hashed >> np.uint64(15))) * np.uint64(2246822519) & np.uint64(MASK32)
    value = (hashed >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)
    value = value * np.float32(12.0) - np.float32(6.0)
    if step:
        value = np.floor(value / np.float32(step)) * np.float32(step)
    return value.astype(np.float32)


CASES = [
    dict(),
    dict(temperature=0.7),
    dict(temperature=2.5),
    dict(top_k=1),
    dict(top_k=7),
    dict(top_k=5000),
    dict(top_k=3, step=2.0),
    dict(top_k=40, step=0.5),
    dict(top_p=0.0),
    dict(top_p=0.3),
    dict(top_p=0.8),
    dict(top_p=0.999),
    dict(min_p=0.05),
    dict(min_p=1.0),
    dict(min_p=0.5, step=2.0),
    dict(repetition_penalty=1.3),
    dict(repetition_penalty=0.6),
    dict(temperature=0.7, top_p=0.8, repetition_penalty=1.02),
    dict(temperature=0.7, top_k=40, top_p=0.8, repetition_penalty=1.02),
    dict(temperature=1.4, top_k=200, top_p=0.9, min_p=0.02, repetition_penalty=1.2),
    dict(temperature=0.1, top_k=50, min_p=0.3),
    dict(greedy=True),
    dict(greedy=True, repetition_penalty=1.5),
]


def processors(case):
    chain = []
    if "repetition_penalty" in case:
        chain.append(hf.RepetitionPenaltyLogitsProcessor(case["repetition_penalty"]))
    if "temperature" in case:
        chain.append(hf.TemperatureLogitsWarper(case["temperature"]))
    if "top_k" in case:
        chain.append(hf.TopKLogitsWarper(case["top_k"]))
    if "top_p" in case:
        chain.append(hf.TopPLogitsWarper(case["top_p"]))
    if "min_p" in case:
        chain.append(hf.MinPLogitsWarper(case["min_p"]))
    return chain


def make_case(number, case):
    logits = logits_of(number, case.get("step", 0.0))
    best = np.argsort(-logits, kind="stable")
    # The best ones and a few others occurred before, some of them twice.
    ids = [int(i) for i in [*best[:6], best[0], best[2], *best[100:104], 17, 999]]
    scores = torch.from_numpy(logits.copy())[None]
    raw = torch.log_softmax(scores.double(), dim=-1)[0]
    for processor in processors(case):
        scores = processor(torch.tensor([ids]), scores)
    scores = scores[0].double()
    kept = torch.nonzero(torch.isfinite(scores))[:, 0].tolist()
    kept.sort(key=lambda i: (-scores[i].item(), i))
    probabilities = torch.softmax(scores, dim=-1)
    sums = np.cumsum([probabilities[i].item() for i in kept])
    sums /= sums[-1]

    draws = []
    index = 0
    while len(draws) < (1 if case.get("greedy") else DRAWS):
        u = philox_uniform(number + (1 << 40), index, len(ids))
        at = 0 if case.get("greedy") else int(np.searchsorted(sums, u, side="right"))
        if case.get("greedy") or np.abs(sums[:-1] - u).min(initial=1.0) > 1e-4:
            token = kept[at]
            draws.append([index, token, round(raw[token].item(), 6)])
        index += 1
    return dict(options=case, ids=ids, kept=len(kept), draws=draws)


def main():
    references = dict(
        vocab=VOCAB,
        made_by="tests/generate/make_references.py",
        torch=torch.__version__,
        cases=[make_case(number, case) for number, case in enumerate(CASES)],
    )
    path = pathlib.Path(__file__).resolve().parent.parent / "data" / "generate" / "sampling.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(case) for case in references.pop("cases")]
    head = json.dumps(references)[:-1]
    path.write_text(head + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
