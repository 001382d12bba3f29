"""Writes saved sessions as seeds of session_fuzz, which saved_session_test reads as well.

python make_session_seeds.py <tests/data>; needs the Python package. The bytes follow from the
checkpoint tests/data/models/moss alone, on whatever processor.
"""

import pathlib
import sys

import mossrt


def main(data):
    seeds = data / "corpus" / "session_fuzz"
    seeds.mkdir(parents=True, exist_ok=True)
    model = mossrt.Model.from_pretrained(data / "models" / "moss", threads=1)
    with model.session(context=40, kv_dtype="float32") as session:
        session.eval([14, 351])
        session.save(seeds / "float32_logits")
    # The last token that was generated is there, but not evaluated.
    with model.session(context=40, kv_dtype="bfloat16") as session:
        session.generate([14, 15], 1, False)
        session.save(seeds / "bfloat16_waiting")
    with model.session(context=40, kv_dtype="int8") as session:
        session.eval([14, 351, 0], logits="none")
        session.save(seeds / "int8")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
