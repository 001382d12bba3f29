"""The models that are measured, and how many weights they stream."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 20261123


@dataclass(frozen=True)
class Shape:
    """A decoder of stated sizes, and what its checkpoint is called in transformers."""

    config: str  # class of transformers
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    tied: bool = False

    @property
    def layer_weights(self) -> int:
        """Elements of all matrices in the layers."""
        kv = self.hidden // self.heads * self.kv_heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * kv
        matrices = 3 if self.config == "LlamaConfig" else 2
        return self.layers * (attention + matrices * self.hidden * self.inner)

    @property
    def head_weights(self) -> int:
        """Elements of the last matrix; the embedding is only looked up."""
        return self.hidden * self.vocab

    def settings(self) -> dict[str, object]:
        """Arguments of the transformers class."""
        if self.config == "CodeGenConfig":
            return dict(
                n_embd=self.hidden,
                n_inner=self.inner,
                n_layer=self.layers,
                n_head=self.heads,
                rotary_dim=64,
                vocab_size=self.vocab,
                n_positions=2048,
                n_ctx=2048,
            )
        settings: dict[str, object] = dict(
            hidden_size=self.hidden,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            vocab_size=self.vocab,
            max_position_embeddings=2048,
            tie_word_embeddings=self.tied,
        )
        if self.config == "PhiConfig":
            settings["partial_rotary_factor"] = 0.25
        return settings


SHAPES = {
    "llama-1.1b": Shape("LlamaConfig", 2048, 5632, 22, 32, 4, 32000),
    "llama-135m": Shape("LlamaConfig", 576, 1536, 30, 9, 3, 49152, tied=True),
    "moss-slice": Shape("CodeGenConfig", 6144, 24576, 4, 24, 24, 51200),
    # The same block for engines that know no CodeGen: adds biases to q, k, v and out.
    "phi-slice": Shape("PhiConfig", 6144, 24576, 4, 24, 24, 51200),
}
MEASURED = ("llama-1.1b", "llama-135m", "moss-slice")
