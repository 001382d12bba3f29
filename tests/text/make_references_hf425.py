"""Makes tests/data/text/hf425.json: what transformers 4.25.1 itself makes of texts with added tokens.

Environment and order as in make_references.py, whose vocabulary is read:
    python make_references_hf425.py <output directory>
"""

import pathlib
import sys

import transformers
from sample_texts import comparison_texts
from transformers import CodeGenTokenizer

from make_references import RUNS, write

assert transformers.__version__ == "4.25.1", transformers.__version__


def main(output):
    special = CodeGenTokenizer.from_pretrained(str(output / "moss_like"))
    plain = CodeGenTokenizer.from_pretrained(str(output / "moss_like"))
    # The original knows no text without control tokens: leave it nothing but the runs to look for.
    plain.unique_no_split_tokens = sorted(RUNS)
    plain._create_trie(plain.unique_no_split_tokens)
    encode = lambda t, text: t.encode(text, add_special_tokens=False)
    write(
        output / "hf425.json",
        {
            "plain": [encode(plain, text) for text in comparison_texts()],
            "special": [encode(special, text) for text in comparison_texts()],
        },
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
