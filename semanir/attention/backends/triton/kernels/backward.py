"""Backward: weights are computed again from the stored log-sum-exp; no atomics, so the same bits from run to run.

With scores s, weights `a softmax(s) + b relu(s)^2` (b = 0 without SPARSE) and dP = dO V^T, the score's gradient is
`dS = a P (dP - delta) + 2 b relu(s) dP`, where `delta = sum_j P dP` of a row. Then `dQ = scale dS K`,
`dK = scale dS^T Q`, `dV = weights^T dO`, and dS summed over windows and equal offsets is the bias table's gradient.
"""

import triton
import triton.language as tl

from semanir.attention.backends.triton.kernels.scores import (
    LOG2E,
    bias_of_tile,
    kept_of_tile,
    load_per_row,
    load_rows,
    product,
    store_per_row,
    store_rows,
)


@triton.jit
def scores_and_weights(
    products,
    scale,
    lse,
    words_of_window,
    table_of_head,
    first_query,
    first_key,
    N: tl.constexpr,
    WINDOW: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    SPAN: tl.constexpr,
    HAS_BITS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    TRANSPOSED: tl.constexpr,
):
    """Return the positive part of the scores (natural units) and the softmax weights; both are 0 where dropped."""
    s = products * (scale * LOG2E)
    if HAS_BIAS:
        s += bias_of_tile(table_of_head, first_query, first_key, N, WINDOW, QUERIES, KEYS, SPAN, TRANSPOSED)
    queries = first_query + tl.arange(0, QUERIES)
    keys = first_key + tl.arange(0, KEYS)
    if TRANSPOSED:
        kept = kept_of_tile(words_of_window, keys, queries, first_query, N, KEYS, QUERIES, HAS_BITS)
        exponent = s - lse[None, :]
    else:
        kept = kept_of_tile(words_of_window, queries, keys, first_key, N, QUERIES, KEYS, HAS_BITS)
        exponent = s - lse[:, None]
    if HAS_BITS or N % (QUERIES if TRANSPOSED else KEYS) != 0:
        exponent = tl.where(kept, exponent, float("-inf"))
        s = tl.where(kept, s, 0.0)
    return tl.maximum(s, 0.0) * (1.0 / LOG2E), tl.math.exp2(exponent)


@triton.jit
def gradient_of_scores(positive, p, dp, delta, a, b, SPARSE: tl.constexpr):
    """Return dS of a tile."""
    ds = p * (dp - delta)
    if SPARSE:
        ds = ds * a + positive * dp * (2.0 * b)
    return ds


@triton.jit
def load_factors(FACTORS, SPARSE: tl.constexpr):
    """Load the two factors of the sparse weighting; the plain softmax has 1 and 0."""
    a = 1.0
    b = 0.0
    if SPARSE:
        a = tl.load(FACTORS)
        b = tl.load(FACTORS + 1)
    return a, b


@triton.jit
def row_sums(
    Q,
    K,
    V,
    GRAD_OUT,
    LSE,
    DELTA,
    SQUARES,
    BITS,
    TABLE,
    SCALES,
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
    stride_gw,
    stride_gh,
    stride_gn,
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
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """Sum `P dP` and `relu(s)^2 dP` over each row, for the sparse weighting: the first is not `out dO` there."""
    TILES: tl.constexpr = (N + QUERIES - 1) // QUERIES
    program = tl.program_id(0)
    h = (program % heads).to(tl.int64)
    first_query = (program // heads) % TILES * QUERIES
    queries = first_query + tl.arange(0, QUERIES)
    w = (program // (heads * TILES)).to(tl.int64)
    if HAS_SCALES:
        scale = tl.load(SCALES + h)
    q = load_rows(Q + w * stride_qw + h * stride_qh, queries, stride_qn, N, D_LOADED, QUERIES, DP)
    do = load_rows(GRAD_OUT + w * stride_gw + h * stride_gh, queries, stride_gn, N, D_LOADED, QUERIES, DP)
    lse = load_per_row(LSE + (w * heads + h) * N, queries, float("inf"), N, QUERIES)
    delta = tl.zeros([QUERIES], tl.float32)
    squares = tl.zeros([QUERIES], tl.float32)
    for first in range(0, N, KEYS):
        keys = first + tl.arange(0, KEYS)
        k = load_rows(K + w * stride_kw + h * stride_kh, keys, stride_kn, N, D_LOADED, KEYS, DP)
        v = load_rows(V + w * stride_vw + h * stride_vh, keys, stride_vn, N, D_LOADED, KEYS, DP)
        positive, p = scores_and_weights(
            product(q, tl.trans(k), PRECISION, UPCAST),
            scale,
            lse,
            BITS + w * (N * ((N + 127) // 128 * 4)),
            TABLE + h * ((2 * WINDOW - 1) * (2 * WINDOW - 1)),
            first_query,
            first,
            N,
            WINDOW,
            QUERIES,
            KEYS,
            SPAN,
            HAS_BITS,
            HAS_BIAS,
            False,
        )
        dp = product(do, tl.trans(v), PRECISION, UPCAST)
        delta += tl.sum(p * dp, 1)
        squares += tl.sum(positive * positive * dp, 1)
    store_per_row(DELTA + (w * heads + h) * N, queries, delta, N, QUERIES)
    store_per_row(SQUARES + (w * heads + h) * N, queries, squares, N, QUERIES)


@triton.jit
def gradient_of_queries(
    Q,
    K,
    V,
    OUT,
    GRAD_OUT,
    LSE,
    DELTA,
    GRAD_Q,
    GRAD_SCALES,
    BITS,
    TABLE,
    SCALES,
    FACTORS,
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
    stride_gw,
    stride_gh,
    stride_gn,
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
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """One program: dQ of QUERIES queries; DELTA is written here (read with SPARSE), GRAD_SCALES one sum a program.

    GRAD_Q is `[W, N, H, D]` without gaps, as all gradients are.
    """
    TILES: tl.constexpr = (N + QUERIES - 1) // QUERIES
    program = tl.program_id(0)
    h = (program % heads).to(tl.int64)
    first_query = (program // heads) % TILES * QUERIES
    queries = first_query + tl.arange(0, QUERIES)
    w = (program // (heads * TILES)).to(tl.int64)
    if HAS_SCALES:
        scale = tl.load(SCALES + h)
    a, b = load_factors(FACTORS, SPARSE)
    q = load_rows(Q + w * stride_qw + h * stride_qh, queries, stride_qn, N, D_LOADED, QUERIES, DP)
    do = load_rows(GRAD_OUT + w * stride_gw + h * stride_gh, queries, stride_gn, N, D_LOADED, QUERIES, DP)
    lse = load_per_row(LSE + (w * heads + h) * N, queries, float("inf"), N, QUERIES)
    if SPARSE:
        delta = load_per_row(DELTA + (w * heads + h) * N, queries, 0.0, N, QUERIES)
    else:
        out = load_rows(OUT + w * stride_ow + h * stride_oh, queries, stride_on, N, D, QUERIES, DP)
        delta = tl.sum(out.to(tl.float32) * do.to(tl.float32), 1)
        store_per_row(DELTA + (w * heads + h) * N, queries, delta, N, QUERIES)
    acc = tl.zeros([QUERIES, DP], tl.float32)
    for first in range(0, N, KEYS):
        keys = first + tl.arange(0, KEYS)
        k = load_rows(K + w * stride_kw + h * stride_kh, keys, stride_kn, N, D_LOADED, KEYS, DP)
        v = load_rows(V + w * stride_vw + h * stride_vh, keys, stride_vn, N, D_LOADED, KEYS, DP)
        positive, p = scores_and_weights(
            product(q, tl.trans(k), PRECISION, UPCAST),
            scale,
            lse,
            BITS + w * (N * ((N + 127) // 128 * 4)),
            TABLE + h * ((2 * WINDOW - 1) * (2 * WINDOW - 1)),
            first_query,
            first,
            N,
            WINDOW,
            QUERIES,
            KEYS,
            SPAN,
            HAS_BITS,
            HAS_BIAS,
            False,
        )
        dp = product(do, tl.trans(v), PRECISION, UPCAST)
        ds = gradient_of_scores(positive, p, dp, delta[:, None], a, b, SPARSE)
        acc += product(ds.to(k.dtype), k, PRECISION, UPCAST)
    store_rows(GRAD_Q + (w * N * heads + h) * D, queries, heads * D, acc * scale, N, D, QUERIES, DP)
    tl.store(GRAD_SCALES + program, tl.sum(q.to(tl.float32) * acc))


@triton.jit
def gradient_of_keys(
    Q,
    K,
    V,
    GRAD_OUT,
    LSE,
    DELTA,
    GRAD_K,
    GRAD_V,
    COLUMN_BITS,
    TABLE,
    SCALES,
    FACTORS,
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
    stride_gw,
    stride_gh,
    stride_gn,
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
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """One program: dK and dV of KEYS keys; tiles are transposed, keys by queries."""
    TILES: tl.constexpr = (N + KEYS - 1) // KEYS
    program = tl.program_id(0)
    h = (program % heads).to(tl.int64)
    first_key = (program // heads) % TILES * KEYS
    keys = first_key + tl.arange(0, KEYS)
    w = (program // (heads * TILES)).to(tl.int64)
    if HAS_SCALES:
        scale = tl.load(SCALES + h)
    a, b = load_factors(FACTORS, SPARSE)
    k = load_rows(K + w * stride_kw + h * stride_kh, keys, stride_kn, N, D_LOADED, KEYS, DP)
    v = load_rows(V + w * stride_vw + h * stride_vh, keys, stride_vn, N, D_LOADED, KEYS, DP)
    acc_k = tl.zeros([KEYS, DP], tl.float32)
    acc_v = tl.zeros([KEYS, DP], tl.float32)
    for first in range(0, N, QUERIES):
        queries = first + tl.arange(0, QUERIES)
        q = load_rows(Q + w * stride_qw + h * stride_qh, queries, stride_qn, N, D_LOADED, QUERIES, DP)
        do = load_rows(GRAD_OUT + w * stride_gw + h * stride_gh, queries, stride_gn, N, D_LOADED, QUERIES, DP)
        lse = load_per_row(LSE + (w * heads + h) * N, queries, float("inf"), N, QUERIES)
        delta = load_per_row(DELTA + (w * heads + h) * N, queries, 0.0, N, QUERIES)
        positive, p = scores_and_weights(
            product(k, tl.trans(q), PRECISION, UPCAST),
            scale,
            lse,
            COLUMN_BITS + w * (N * ((N + 127) // 128 * 4)),
            TABLE + h * ((2 * WINDOW - 1) * (2 * WINDOW - 1)),
            first,
            first_key,
            N,
            WINDOW,
            QUERIES,
            KEYS,
            SPAN,
            HAS_BITS,
            HAS_BIAS,
            True,
        )
        weights = p
        if SPARSE:
            weights = p * a + positive * positive * b
        acc_v += product(weights.to(do.dtype), do, PRECISION, UPCAST)
        dp = product(v, tl.trans(do), PRECISION, UPCAST)
        ds = gradient_of_scores(positive, p, dp, delta[None, :], a, b, SPARSE)
        acc_k += product(ds.to(q.dtype), q, PRECISION, UPCAST)
    store_rows(GRAD_K + (w * N * heads + h) * D, keys, heads * D, acc_k * scale, N, D, KEYS, DP)
    store_rows(GRAD_V + (w * N * heads + h) * D, keys, heads * D, acc_v, N, D, KEYS, DP)


@triton.jit
def gradient_of_scores_over_windows(
    Q,
    K,
    V,
    GRAD_OUT,
    LSE,
    DELTA,
    GRAD_SCORES,
    BITS,
    TABLE,
    SCALES,
    FACTORS,
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
    stride_gw,
    stride_gh,
    stride_gn,
    heads,
    windows,
    windows_per_part,
    N: tl.constexpr,
    D: tl.constexpr,
    D_LOADED: tl.constexpr,
    DP: tl.constexpr,
    WINDOW: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    SPAN: tl.constexpr,
    HAS_BITS: tl.constexpr,
    HAS_SCALES: tl.constexpr,
    SPARSE: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """One program: dS of one tile and head, summed over a part of the windows into GRAD_SCORES `[parts, H, N, N]`."""
    ROW_TILES: tl.constexpr = (N + QUERIES - 1) // QUERIES
    COLUMN_TILES: tl.constexpr = (N + KEYS - 1) // KEYS
    program = tl.program_id(0)
    h = (program % heads).to(tl.int64)
    tile = program // heads % (ROW_TILES * COLUMN_TILES)
    part = program // (heads * ROW_TILES * COLUMN_TILES)
    first_query = tile // COLUMN_TILES * QUERIES
    queries = first_query + tl.arange(0, QUERIES)
    first = tile % COLUMN_TILES * KEYS
    keys = first + tl.arange(0, KEYS)
    if HAS_SCALES:
        scale = tl.load(SCALES + h)
    a, b = load_factors(FACTORS, SPARSE)
    acc = tl.zeros([QUERIES, KEYS], tl.float32)
    first_window = (part * windows_per_part).to(tl.int64)
    for step in range(tl.minimum(windows_per_part, windows - part * windows_per_part)):
        w = first_window + step
        q = load_rows(Q + w * stride_qw + h * stride_qh, queries, stride_qn, N, D_LOADED, QUERIES, DP)
        do = load_rows(GRAD_OUT + w * stride_gw + h * stride_gh, queries, stride_gn, N, D_LOADED, QUERIES, DP)
        k = load_rows(K + w * stride_kw + h * stride_kh, keys, stride_kn, N, D_LOADED, KEYS, DP)
        v = load_rows(V + w * stride_vw + h * stride_vh, keys, stride_vn, N, D_LOADED, KEYS, DP)
        lse = load_per_row(LSE + (w * heads + h) * N, queries, float("inf"), N, QUERIES)
        delta = load_per_row(DELTA + (w * heads + h) * N, queries, 0.0, N, QUERIES)
        positive, p = scores_and_weights(
            product(q, tl.trans(k), PRECISION, UPCAST),
            scale,
            lse,
            BITS + w * (N * ((N + 127) // 128 * 4)),
            TABLE + h * ((2 * WINDOW - 1) * (2 * WINDOW - 1)),
            first_query,
            first,
            N,
            WINDOW,
            QUERIES,
            KEYS,
            SPAN,
            HAS_BITS,
            True,
            False,
        )
        dp = product(do, tl.trans(v), PRECISION, UPCAST)
        acc += gradient_of_scores(positive, p, dp, delta[:, None], a, b, SPARSE)
    place = GRAD_SCORES + ((part * heads + h).to(tl.int64) * N + queries[:, None]) * N + keys[None, :]
    tl.store(place, acc, mask=(queries < N)[:, None] & (keys < N)[None, :])


@triton.jit
def gradient_of_table(
    GRAD_SCORES,
    GRAD_TABLE,
    heads,
    N: tl.constexpr,
    WINDOW: tl.constexpr,
    OFFSETS: tl.constexpr,
    QUERIES: tl.constexpr,
):
    """One program: OFFSETS entries of one head's table; all pairs at each offset are summed, in one order.

    GRAD_SCORES is `[H, N, N]`, GRAD_TABLE `[R, H]`.
    """
    SIDE: tl.constexpr = 2 * WINDOW - 1
    h = tl.program_id(0) % heads
    offset = tl.program_id(0) // heads * OFFSETS + tl.arange(0, OFFSETS)
    dy = offset // SIDE - (WINDOW - 1)
    dx = offset % SIDE - (WINDOW - 1)
    scores = GRAD_SCORES + h.to(tl.int64) * (N * N)
    total = tl.zeros([OFFSETS], tl.float32)
    for first in range(0, N, QUERIES):
        query = first + tl.arange(0, QUERIES)
        y = (query // WINDOW)[:, None] - dy[None, :]
        x = (query % WINDOW)[:, None] - dx[None, :]
        pair_ok = (y >= 0) & (y < WINDOW) & (x >= 0) & (x < WINDOW) & (query < N)[:, None]
        total += tl.sum(tl.load(scores + query[:, None] * N + y * WINDOW + x, mask=pair_ok, other=0.0), 0)
    tl.store(GRAD_TABLE + offset * heads + h, total, mask=offset < SIDE * SIDE)
