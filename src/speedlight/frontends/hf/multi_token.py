"""Multi-token prediction: the modules behind the last layer that draft the tokens after the next one.

DeepSeek-V3 (arXiv 2412.19437 §2.2 eq. 21–23), and in the same form GLM-5, MiMo, Qwen3-Next and Qwen3.5: a module takes the
main model's last hidden state and the embedding of the token that followed, each normed, projects the pair of them to one
hidden state, runs one decoder layer, and ends in a norm and the main model's own head. Embedding table and head are shared.

A step that drafts runs its passes after the main model's, each over the step's tokens (all of a prompt, whose keys and
values the modules need too). Passes beyond the modules of a checkpoint run the same ones again, as engines do.
"""

from __future__ import annotations

import dataclasses

from ..._foundation.errors import BadInput
from ...graph.builder import LOGITS, TOKENS, BlockBuilder
from ...graph.ir import Block, Operand, Tensor
from .arch import Arch
from .build import build_layer
from .ends import HEAD, shared_weight
from .parts import Context, plain_linear

HIDDEN = "last_hidden"  # the main model's, which its head and the first module read


def share_head(arch: Arch, ctx: Context, shared: dict[str, Tensor]) -> None:
    """Declare what modules share with the main model: its last hidden state and its head."""
    shared[HIDDEN] = Tensor(HIDDEN, TOKENS * arch.hidden, ctx.formats.dtype)
    if not arch.tied:
        vocab, _ = ctx.dim("vocab", arch.vocab, "vocab")
        shared_weight(shared, HEAD, vocab * arch.hidden, ctx.formats.head)


def draft_block(arch: Arch, ctx: Context, passes: int) -> Block:
    """``passes`` draft passes of a step.

    Raises:
        BadInput: where the model has no modules, or passes do not divide evenly among them.
    """
    mtp = arch.mtp
    if mtp is None or arch.head != "lm" or arch.embed_width not in (None, arch.hidden):
        raise BadInput(f"{arch.name} has no multi-token prediction modules", expected="--mtp 0")
    if isinstance(passes, bool) or not isinstance(passes, int) or not 1 <= passes <= 64:
        raise BadInput(f"mtp is {passes!r}", expected="a whole number of draft passes, at most 64")
    modules = min(passes, mtp.modules)
    if passes % modules:
        raise BadInput(f"{passes} draft passes on {modules} modules", expected=f"a multiple of {modules}")
    ctx = ctx.within(ctx.formats.by_layer(len(arch.layers) + 1)[-1])
    hidden, layer = arch.hidden, mtp.layer
    b = BlockBuilder("mtp", "model.mtp.*", ctx.formats.dtype, modules)
    vocab, vocab_name = ctx.dim("vocab", arch.vocab, "vocab")
    token = b.embedding(
        "embed_tokens", "embed_tokens.weight", TOKENS, hidden, share=vocab / arch.vocab,
        exchanges=[("reduce", (vocab_name,))],
    )  # fmt: skip
    embedded, known = (
        b.norm("enorm", arch.norm, token, TOKENS, hidden),
        b.norm("hnorm", arch.norm, HIDDEN, TOKENS, hidden),
    )
    pair = b.elementwise("concat", "copy", [embedded, known], TOKENS * 2 * hidden, kind="copy")
    x = plain_linear(ctx, b, "eh_proj", pair, hidden, 2 * hidden)
    if layer.streams > 1:
        x = b.elementwise("to_streams", "copy", [x], TOKENS * hidden * layer.streams, kind="copy")
    x = build_layer(ctx, b, layer, x)
    if layer.streams > 1:
        from .parts.streams import collapse_last

        x = collapse_last(ctx, b, "hc_head", x, layer.streams)
    x = b.norm("shared_head.norm", arch.norm, x, TOKENS, hidden)
    kept = ctx.formats.dtype
    logits = b.linear(
        "shared_head.head", x, vocab, hidden, rows=LOGITS, weight="embed_tokens.weight" if arch.tied else HEAD,
        weight_format=kept if arch.tied else ctx.formats.head, activation_format=kept, exchanges=[("gather", (vocab_name,))],
    )  # fmt: skip
    whole = LOGITS * arch.vocab
    b.elementwise(
        "sample", "sample", [Operand(logits, whole)], LOGITS, kind="softmax", work_elements=whole, dtype="int32"
    )
    block = b.build([logits])
    again = passes // modules
    return dataclasses.replace(block, ops=tuple(dataclasses.replace(op, count=op.count * again) for op in block.ops))
