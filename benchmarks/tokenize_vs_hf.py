"""Megabytes per second of mossrt and Hugging Face tokenizers on one thread.

    python tokenize_vs_hf.py <directory with vocab.json and merges.txt> [text file ...]

By processor time of the thread, so that other programs count little; runs alternate, so that a busy
memory slows both alike. The figures are medians of the runs.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import mossrt

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "text"))
from sample_texts import CHINESE, CODE, ENGLISH, training_lines


def hugging_face(directory):
    tokenizer = Tokenizer(
        models.BPE.from_file(str(directory / "vocab.json"), str(directory / "merges.txt"))
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def texts(paths):
    if paths:
        return {path.name: path.read_text(encoding="utf-8") for path in paths}
    repeated = {
        "english": ENGLISH,
        "chinese": CHINESE,
        "code": CODE,
        "mixed": "\n".join(training_lines()),
    }
    return {
        name: (text + "\n") * (1 + 300_000 // len(text.encode())) for name, text in repeated.items()
    }


def seconds(function, chunks):
    start = time.thread_time()
    for chunk in chunks:
        function(chunk)
    return time.thread_time() - start


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("files", type=pathlib.Path, nargs="*")
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    ours = mossrt.Tokenizer.from_pretrained(str(arguments.directory))
    theirs = hugging_face(arguments.directory)
    print(f"{'text':12} {'mossrt MB/s':>12} {'tokenizers MB/s':>16} {'ratio':>7}  spread")
    for name, text in texts(arguments.files).items():
        chunks = [text[i : i + 4096] for i in range(0, len(text), 4096)]
        size = len(text.encode()) / 1e6
        rates = [[], []]
        for _ in range(arguments.runs):
            rates[0].append(
                size / seconds(lambda c: ours.encode(c, add_special_tokens=False), chunks)
            )
            rates[1].append(
                size / seconds(lambda c: theirs.encode(c, add_special_tokens=False), chunks)
            )
        a, b = (statistics.median(r) for r in rates)
        spread = ", ".join(f"{min(r):.1f}-{max(r):.1f}" for r in rates)
        print(f"{name:12} {a:12.1f} {b:16.1f} {a / b:7.1f}  {spread}")


if __name__ == "__main__":
    main()
