"""Forward: a tile of queries meets the keys of its window, all or those of its list, softmax and sum in one pass."""

import triton
import triton.language as tl

from semanir.attention.backends.triton.kernels.scores import (
    LOG2E,
    bias_of_pairs,
    bias_of_tile,
    kept_of_tile,
    load_rows,
    product,
    store_per_row,
    store_rows,
)
from semanir.attention.selection.kernels import tokens_of_tile


@triton.jit
def forward(
    Q,
    K,
    V,
    OUT,
    LSE,
    BITS,
    TABLE,
    SCALES,
    FACTORS,
    LISTS,
    COUNTS,
    scale,
    stride_qw,
    stride_qh,
    stride_qn,
    stride_kw,
    stride_kh,
    stride_kn,
    stride_vw,
    stride_vh,
    stride_vn,
    stride_ow,
    stride_oh,
    stride_on,
    heads,
    N: tl.constexpr,
    D: tl.constexpr,
    D_LOADED: tl.constexpr,
    DP: tl.constexpr,
    WINDOW: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    SPAN: tl.constexpr,
    HAS_BITS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_SCALES: tl.constexpr,
    SPARSE: tl.constexpr,
    LISTED: tl.constexpr,
    SIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """One program: QUERIES queries of one head and window. LSE is base 2; TABLE is `[H, R]` in units of ln 2.

    With LISTED the queries are a tile of a union list, LISTS `[W, T, L]` and COUNTS `[W, T]` name the keys it visits,
    and BITS tells places of the list; SIDE is the window's where tiles are patches of it, else 0.
    """
    TILES: tl.constexpr = (N + QUERIES - 1) // QUERIES
    # Heads are fastest, so that the programs which share one tile of bits run together.
    program = tl.program_id(0)
    h = (program % heads).to(tl.int64)  # windows and heads times strides pass 2^31
    tile = (program // heads) % TILES
    first_query = tile * QUERIES
    w = (program // (heads * TILES)).to(tl.int64)
    if LISTED:
        queries = tokens_of_tile(tile, SIDE, QUERIES)
        visited = tl.load(COUNTS + w * TILES + tile)
        keys_of_tile = LISTS + (w * TILES + tile) * ((N + 127) // 128 * 128)
    else:
        queries = first_query + tl.arange(0, QUERIES)
        visited = N
    if HAS_SCALES:
        scale = tl.load(SCALES + h)
    scale *= LOG2E

    q = load_rows(Q + w * stride_qw + h * stride_qh, queries, stride_qn, N, D_LOADED, QUERIES, DP)
    keys_of_head = K + w * stride_kw + h * stride_kh
    values_of_head = V + w * stride_vw + h * stride_vh
    words_of_window = BITS + w * (N * ((N + 127) // 128 * 4))
    table_of_head = TABLE + h * ((2 * WINDOW - 1) * (2 * WINDOW - 1))
    # Without a bias the scale waits until the exponential, where it costs nothing; maxima want it positive.
    unit = 1.0
    if not HAS_BIAS:
        q = tl.where(scale < 0, -q.to(tl.float32), q.to(tl.float32)).to(q.dtype)
        unit = tl.maximum(tl.abs(scale), 1.0e-30)

    # A tile without a kept key must not make inf - inf: the running maximum starts finite, dropped scores are -inf.
    m = tl.full([QUERIES], -1.0e30, tl.float32)
    l = tl.zeros([QUERIES], tl.float32)
    acc = tl.zeros([QUERIES, DP], tl.float32)
    acc_sparse = tl.zeros([QUERIES, DP], tl.float32)
    for first in range(0, visited, KEYS):
        keys = first + tl.arange(0, KEYS)
        if LISTED:
            keys = tl.load(keys_of_tile + keys).to(tl.int32)
        k = load_rows(keys_of_head, keys, stride_kn, N, D_LOADED, KEYS, DP)
        v = load_rows(values_of_head, keys, stride_vn, N, D_LOADED, KEYS, DP)
        s = product(q, tl.trans(k), PRECISION, UPCAST)
        if HAS_BIAS:
            if LISTED:
                bias = bias_of_pairs(table_of_head, queries, keys, N, WINDOW)
            else:
                bias = bias_of_tile(table_of_head, first_query, first, N, WINDOW, QUERIES, KEYS, SPAN, False)
            s = s * scale + bias
        if HAS_BITS or N % KEYS != 0:
            kept = kept_of_tile(words_of_window, queries, keys, first, N, QUERIES, KEYS, HAS_BITS)
            s = tl.where(kept, s, float("-inf"))
        m_new = tl.maximum(m, tl.max(s, 1) * unit)
        p = tl.math.exp2(s * unit - m_new[:, None])
        alpha = tl.math.exp2(m - m_new)
        l = l * alpha + tl.sum(p, 1)
        acc = acc * alpha[:, None] + product(p.to(v.dtype), v, PRECISION, UPCAST)
        if SPARSE:
            positive = tl.maximum(s, 0.0) * unit
            acc_sparse += product((positive * positive).to(v.dtype), v, PRECISION, UPCAST)
        m = m_new

    if N % QUERIES != 0:
        l = tl.where(queries < N, l, 1.0)
    out = acc / l[:, None]
    if SPARSE:
        out = out * tl.load(FACTORS) + acc_sparse * (tl.load(FACTORS + 1) / (LOG2E * LOG2E))
    store_rows(OUT + w * stride_ow + h * stride_oh, queries, stride_on, out, N, D, QUERIES, DP)
    store_per_row(LSE + (w * heads + h) * N, queries, m + tl.math.log2(l), N, QUERIES)
