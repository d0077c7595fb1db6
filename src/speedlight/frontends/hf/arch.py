"""What an architecture is made of: frozen records that a family fills in and ``build`` composes.

Equal layers compare equal, which is what folds them. A record says *what* is there; the op sequences are in ``parts``.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct  # what a frozen dataclass does, at a fortieth of its cost at import


class Index(Struct, frozen=True):
    """A sparse-attention indexer: scores every cached token (or block) and keeps the best.

    DeepSeek Sparse Attention, "DeepSeek-V3.2-Exp" (2025) §1 eq. 1–2; MiniMax-M3 scores blocks of tokens.

    Attributes:
        heads, dim: index heads and their width; one key of ``dim`` is cached per token.
        topk: tokens a query attends to.
        block: tokens one score stands for.
        latent: queries come from the latent query rather than from the hidden state.
        head_weights: a projection weighs the heads' scores.
        query_norm: queries are normalised (one weight of ``dim``).
        key_norm: ``layer_norm`` (with bias) or ``rms_norm``.
        shared: this layer reuses the selection of an earlier one: no weights, no scores.
    """

    heads: int
    dim: int
    topk: int
    block: int = 1
    latent: bool = True
    head_weights: bool = True
    query_norm: bool = False
    key_norm: str = "layer_norm"
    shared: bool = False


class Attention(Struct, frozen=True):
    """Multi-head, grouped-query or multi-query attention.

    Attributes:
        v_dim: width of a value where it differs from ``head_dim``.
        window: sliding window in tokens, None for full attention.
        chunk: attention within consecutive chunks of so many tokens (Llama 4), None for none.
        qk_norm: ``none``, ``head`` (a norm over head_dim, one weight for all heads), ``heads`` (over head_dim, a weight
            for each head), ``full`` (over all heads) or ``plain`` (over head_dim, no weight).
        rope: share of head_dim that is rotated; 0 for none.
        gate: output gate: ``none``, ``query`` (the query projection makes it, Qwen3-Next) or ``head`` (one scalar a
            head, Step-3.5).
        sinks: one learned logit a head (gpt-oss).
        k_eq_v: keys serve as values: one projection, one cached tensor.
        shared_kv: keys and values are an earlier layer's: no projection, nothing cached, the same bytes read (Gemma 4).
        index: sparse attention's indexer.
        relative_bias: rows of a learned relative-position table of this layer.
        v_bias: bias of the values' projection where it differs from the keys' (Whisper), None where it does not.
    """

    heads: int
    kv_heads: int
    head_dim: int
    v_dim: int | None = None
    window: int | None = None
    chunk: int | None = None
    q_bias: bool = False
    kv_bias: bool = False
    out_bias: bool = False
    qk_norm: str = "none"
    norm_fn: str = "rms_norm"
    qk_norm_bias: bool = False
    v_norm: bool = False
    rope: float = 1.0
    gate: str = "none"
    sinks: bool = False
    causal: bool = True
    k_eq_v: bool = False
    shared_kv: bool = False
    index: Index | None = None
    relative_bias: int = 0
    v_bias: bool | None = None


class CrossAttention(Struct, frozen=True):
    """A decoder's attention to an encoder's states (arXiv 1706.03762 §3.2.3).

    Keys and values are projected once a sequence, in the step that brings it in, and cached; every later step reads them.

    Attributes:
        source_width: width of the encoder's states.
        q_bias, k_bias, v_bias, out_bias: of the four projections.
    """

    heads: int
    head_dim: int
    source_width: int
    q_bias: bool = False
    k_bias: bool = False
    v_bias: bool = False
    out_bias: bool = False


class Disentangled(Struct, frozen=True):
    """DeBERTa's attention (arXiv 2006.03654 §3.1): content to content, content to position, position to content.

    Attributes:
        span: relative positions on a side; the table has twice as many rows.
        clipped: only as many positions as the sequence is long take part (DeBERTa 1).
        c2p, p2c: which of the two further products are there.
        shared: positions are projected with the content's own weights (DeBERTa 3).
        fused: one projection without bias makes queries, keys and values, two biases are added (DeBERTa 1).
    """

    heads: int
    head_dim: int
    span: int
    clipped: bool = False
    c2p: bool = True
    p2c: bool = True
    shared: bool = False
    fused: bool = False


class Mla(Struct, frozen=True):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434 §2.1): what is cached is ``kv_rank + rope_dim``.

    Attributes:
        q_rank: width of the latent query, None for a direct projection.
        rope: the ``rope_dim`` part is really rotated (Kimi Linear shares it without rotation).
        gate: an output gate of full width, projected from the hidden state (Kimi K3).
    """

    heads: int
    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    v_dim: int
    bias: bool = False
    norm_fn: str = "rms_norm"
    window: int | None = None
    rope: bool = True
    gate: bool = False
    index: Index | None = None


class CompressedAttention(Struct, frozen=True):
    """DeepSeek-V4's attention: one shared key-value head, a sliding window, and a compressed far context.

    "DeepSeek-V4" (2026) §2.3: *CSA* compresses every ``rate`` tokens into one entry and attends to the ``topk`` entries
    an indexer picks; *HCA* compresses harder (``rate`` 128) and attends to all entries. The output projection is
    low-rank in ``out_groups`` groups.

    Attributes:
        rate: tokens per compressed entry; 0 for the window alone.
        overlap: CSA's entries mix two series, so compression projects to twice the width.
        index_heads, index_dim, topk: the indexer over compressed entries; 0 for none (all entries are read).
    """

    heads: int
    head_dim: int
    q_rank: int
    rope_dim: int
    window: int
    out_groups: int
    out_rank: int
    rate: int = 0
    overlap: bool = False
    index_heads: int = 0
    index_dim: int = 0
    topk: int = 0


class Mamba1(Struct, frozen=True):
    """Selective state space (Mamba, arXiv 2312.00752 §3.2–3.6).

    Attributes:
        inner: channels; state: N per channel; conv: taps; rank: width of the step-size projection.
        bc_norm: RMS norms on step size, B and C: ``none``, ``learned`` (Jamba) or ``plain`` (Falcon-Mamba).
        state_dtype: format the state is kept in; None for the activations'.
    """

    inner: int
    state: int
    conv: int
    rank: int
    bias: bool = False
    conv_bias: bool = True
    bc_norm: str = "none"
    state_dtype: str | None = None


class Mamba2(Struct, frozen=True):
    """State space duality (Mamba-2, arXiv 2405.21060 §5–7).

    Attributes:
        heads, head_dim: their product is the inner width; groups: of B and C; state: N; chunk: tokens per block of the
            block decomposition (§6).
        norm: a gated RMS norm before the output projection.
    """

    heads: int
    head_dim: int
    groups: int
    state: int
    conv: int
    chunk: int = 256
    bias: bool = False
    conv_bias: bool = True
    norm: bool = True
    state_dtype: str | None = None


class DeltaNet(Struct, frozen=True):
    """Gated delta rule (arXiv 2412.06464 §3) and its channel-wise gated form, Kimi delta attention (arXiv 2510.26692 §3).

    Attributes:
        key_heads, value_heads, key_dim, value_dim: value heads share key heads in groups.
        channel_gate: decay per key channel (Kimi) rather than per head; then separate low-rank decay projections of
            width ``gate_rank``.
        out_gate_rank: width of the output gate's low-rank projection; 0 for a full one.
        chunk: tokens per block of the chunk-wise form.
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    conv: int
    channel_gate: bool = False
    gate_rank: int = 0
    out_gate_rank: int = 0
    chunk: int = 64
    state_dtype: str | None = "fp32"


class Rwkv(Struct, frozen=True):
    """RWKV's time mixing (arXiv 2305.13048 §3.1; versions 5 and 6: arXiv 2404.05892 §3–4).

    Attributes:
        version: 4 (a state of vectors), 5 (a matrix a head, output gate) or 6 (decay and mixing depend on the input).
        inner: width of keys, values and receptance; head_dim: of a head (versions 5, 6).
        mix_rank, decay_rank: widths of version 6's low-rank projections.
    """

    version: int
    inner: int
    head_dim: int = 64
    mix_rank: int = 32
    decay_rank: int = 64


class ChannelMix(Struct, frozen=True):
    """RWKV's feed-forward (arXiv 2305.13048 eq. 16–18): squared ReLU, gated by a receptance of the model's width."""

    width: int


class Retention(Struct, frozen=True):
    """RetNet's multi-scale retention (arXiv 2307.08621 §2): a matrix state a head, a fixed decay, an output gate.

    Attributes:
        value_width: of values and gate, over all heads.
        chunk: tokens per block of the chunk-wise form.
    """

    heads: int
    value_width: int
    chunk: int = 512


class Mlp(Struct, frozen=True):
    """Two-layer (``act(x·U)·D``) or gated (``(act(x·G) ⊙ x·U)·D``) feed-forward.

    Attributes:
        conv: taps on a side of a depthwise convolution over the inner features (SANA's mix-FFN), 0 for none.
    """

    width: int
    act: str = "silu"
    gated: bool = True
    bias: bool = False
    conv: int = 0


class Moe(Struct, frozen=True):
    """Routed experts, with optional shared ones.

    Attributes:
        bias: of the experts' projections; ``router_bias`` of the router's.
        balance_bias: a balancing offset an expert, adjusted outside training's gradients (a constant, no parameter).
        latent: experts work in this narrower space, entered and left by two shared projections (Nemotron 3).
        latent_norm: a norm on what leaves it.
        shared_gate: a scalar gate on the shared expert (Qwen).
        router_scale: learned scales of the router's input and of each expert (Gemma 4).
    """

    experts: int
    picks: int
    width: int
    act: str = "silu"
    gated: bool = True
    bias: bool = False
    router_bias: bool = False
    balance_bias: bool = False
    shared_width: int = 0
    shared_gate: bool = False
    latent: int | None = None
    latent_norm: bool = False
    router_scale: bool = False
    distribution: str = "balanced"


class DenseAndMoe(Struct, frozen=True):
    """A dense feed-forward and routed experts side by side, each with norms of its own (Gemma 4)."""

    mlp: Mlp
    moe: Moe


class Layer(Struct, frozen=True):
    """One layer: a mixer and a feed-forward, either of which may be absent.

    Attributes:
        norm: ``rms_norm`` or ``layer_norm``; ``norm_weight`` False for one without learned scale (OLMo).
        placement: ``pre``, ``post`` (after each residual sum), ``branch`` (after each part, before the sum: OLMo 2),
            ``sandwich`` (before and after each part), ``parallel`` (mixer and feed-forward read the same normed input)
            or ``parallel2`` (a norm for each).
        streams: residual streams mixed by hyper-connections (DeepSeek-V4); 1 for the usual residual.
        first_norm: the mixer's own norm is there (ModernBERT's first layer has none).
        side_input: width of a per-layer embedding gated into the residual (Gemma 3n, Gemma 4).
        cross: attention to an encoder's states, between the two, with a norm of its own.
    """

    mixer: Any = None
    ffn: Any = None
    norm: str = "rms_norm"
    norm_bias: bool = False
    norm_weight: bool = True
    placement: str = "pre"
    streams: int = 1
    first_norm: bool = True
    side_input: int = 0
    cross: CrossAttention | None = None


class Patches(Struct, frozen=True):
    """An image's way in: a convolution of stride = kernel, class tokens, learned positions.

    Attributes:
        image, patch, channels: pixels on a side (0: pictures of any size, every position is a patch), of a patch, colours.
        extra_tokens: class and distillation tokens.
        bias: of the convolution.
        positions: learned rows; 0 for none.
        frames: images a patch spans (video towers).
    """

    image: int
    patch: int
    channels: int = 3
    extra_tokens: int = 1
    bias: bool = True
    positions: int = 0
    frames: int = 1

    @property
    def patches(self) -> int:
        return (self.image // self.patch) ** 2

    @property
    def tokens(self) -> int:
        return self.patches + self.extra_tokens


class Convolution(Struct, frozen=True):
    """One layer of a stack of one-dimensional convolutions over time: a learned map, a norm, an activation.

    Attributes:
        norm: ``none``, ``group`` (one group a channel) or ``layer``.
    """

    channels: int
    kernel: int
    stride: int = 1
    bias: bool = True
    norm: str = "none"


class Sound(Struct, frozen=True):
    """Audio's way in: convolutions that shorten it to the encoder's positions.

    Attributes:
        channels: of the input: mel bands of a spectrogram, 1 for raw samples.
        layers: the convolutions, in order; padding keeps ``length = ⌈length / stride⌉`` where ``padded``.
        padded: convolutions are padded (Whisper); else each loses ``kernel − stride`` inputs (wav2vec 2.0).
        act: after each convolution.
        positions: learned or stored position rows, 0 for none.
        projected: a norm over the last channels and a projection to the encoder's width follow (wav2vec 2.0).
        position_kernel, position_groups: a grouped convolution that adds positions (wav2vec 2.0), 0 for none.
    """

    channels: int
    layers: tuple[Convolution, ...]
    padded: bool = True
    act: str = "gelu"
    positions: int = 0
    projected: bool = False
    position_kernel: int = 0
    position_groups: int = 1


class Diffusion(Struct, frozen=True):
    """A diffusion transformer on latent patches (DiT, arXiv 2212.09748; MMDiT, arXiv 2403.03206).

    Attributes:
        heads, head_dim: of attention; their product is the model's width.
        joint, single, plain: numbers of two-stream blocks, one-stream blocks and blocks of one kind only.
        dual: joint blocks that attend to the image once more on its own (SD 3.5 medium).
        cross: plain blocks cross-attend to the text; else text tokens are part of the sequence.
        linear_attention: plain blocks attend linearly (SANA).
        text_tokens, text_width: length and width of the text condition.
        mlp: feed-forward of a block.
        modulation: how blocks get their scales and shifts: ``full`` (hidden → 6·hidden in each), ``low`` (from an embedding
            of 512) or ``shared`` (one for all blocks, a table in each: PixArt).
        channels: of the latent, per patch in and out.
        patch: latent positions a patch spans.
        params: the published number of parameters, 0 where none is; what the blocks leave over is kept as one weight.
        facts: what turns a picture into tokens, and the pipeline around a step (``vae_downsample``, ``guidance``, …).
    """

    heads: int
    head_dim: int
    joint: int
    single: int
    plain: int
    dual: int
    cross: bool
    linear_attention: bool
    text_tokens: int
    text_width: int
    mlp: Mlp
    modulation: str
    channels: int
    patch: int
    params: int = 0
    facts: tuple[tuple[str, Any], ...] = ()


class Sight(Struct, frozen=True):
    """What a language model sees with: an image tower and a projector whose output takes the place of prompt tokens.

    Attributes:
        tower: its ``patches`` say how a picture becomes positions; ``image`` 0 where pictures keep their size.
        merged: positions that make one token of the prompt.
        dropped: positions of a picture that the projector does not get (class tokens).
        projector: ``mlp`` (two layers, LLaVA) or ``merger`` (a norm, then two layers over merged positions, Qwen-VL).
        side: pixels of a picture where none is asked for.
        images: pictures in a prompt where none is asked for.
    """

    tower: Any
    merged: int = 1
    dropped: int = 0
    projector: str = "mlp"
    side: int = 336
    images: int = 0


class Mtp(Struct, frozen=True):
    """Multi-token prediction: so many modules in the checkpoint, each with one such layer."""

    modules: int
    layer: Layer


class Arch(Struct, frozen=True):
    """A whole model.

    Attributes:
        vocab: rows of the token table; 0 where the input is no text.
        positions: rows of a learned position table, 0 for none.
        segments: rows of a token-type table (BERT).
        embed_norm: a norm right after the embedding.
        embed_width: width of the token table where it differs from ``hidden`` (then projected in and out).
        embed_projected_last: positions, segments and the norm come before that projection (ELECTRA), which has a bias.
        final_norm, norm_weight: a norm before the head; with a learned scale.
        pooled_norm: that norm runs on one token a sequence only.
        tied: the head uses the embedding table.
        head: ``lm``, ``mlm`` (dense + act + norm before the decoder), ``pooler`` (dense + tanh on one token a sequence),
            ``classes`` (a classifier on one token a sequence), ``score`` (ELECTRA's discriminator), ``projection``,
            ``map`` (attention of one learned query over the tokens: SigLIP) or ``none``.
        head_bias: of the decoder, classifier or projection; head_act: of ``mlm``;
            head_dense_bias: of its dense layer.
        outputs: width of a classifier or projection.
        side_vocab: rows of the per-layer embedding table (Gemma 4), 0 for none.
        relative: rows of a table of relative positions that all layers read, 0 for none; ``relative_norm`` norms it first.
        patches: set for image models; ``sound`` for audio models.
        sight: set for models that read pictures among the tokens of a prompt.
        encoder: what reads the source of an encoder–decoder: its states are what this model's layers cross-attend to.
        source_default, prompt: of an encoder–decoder: source positions where nothing is asked, and the tokens its decoder
            starts with.
        samples_per_second: of raw audio, 0 where the input is none.
        source_per_second: encoder positions of a second of audio, 0 where the source is no audio.
        tower: a second, textual tower (CLIP); it sees ``tokens_per_sequence`` tokens for each image.
        diffusion: set for diffusion transformers; ``layers`` is empty then.
        own: builds the blocks of a model that is no list of layers: (context, shared tensors) → :class:`.denoise.pieces.Built`.
        layer_prefix: module path of the layer list.
        tokens_per_sequence: fixed length of a sequence (image models), None where free.
        assumptions: what the family assumed because the configuration did not say.
        mtp: multi-token prediction modules behind the last layer, None where there are none.
        extra: named weight counts that belong to no layer (kept, never read in a text step: vision towers, …).
    """

    name: str
    family: str
    vocab: int
    hidden: int
    layers: tuple[Layer, ...]
    tied: bool = False
    positions: int = 0
    segments: int = 0
    embed_norm: bool = False
    embed_width: int | None = None
    embed_projected_last: bool = False
    final_norm: bool = True
    pooled_norm: bool = False
    norm: str = "rms_norm"
    norm_bias: bool = False
    norm_weight: bool = True
    head: str = "lm"
    head_bias: bool = False
    head_act: str = "gelu"
    head_dense_bias: bool = True
    outputs: int = 0
    causal: bool = True
    side_vocab: int = 0
    patches: Patches | None = None
    relative: int = 0
    relative_norm: bool = False
    sound: Sound | None = None
    sight: Sight | None = None
    encoder: Arch | None = None
    source_default: int = 512
    prompt: int = 1
    samples_per_second: int = 0
    source_per_second: float = 0.0
    tower: Arch | None = None
    diffusion: Diffusion | None = None
    own: Any = None
    layer_prefix: str = "model.layers.*"
    max_context: int | None = None
    tokens_per_sequence: int | None = None
    assumptions: tuple[tuple[str, Any], ...] = ()
    extra: tuple[tuple[str, int], ...] = ()
    mtp: Mtp | None = None
