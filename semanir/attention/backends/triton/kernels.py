"""The jit code alone: key-semantic attention, forward, one program a tile of queries of one window and head."""

import triton
import triton.language as tl


@triton.jit
def forward(
    Q,
    K,
    V,
    OUT,
    BITS,
    TABLE,
    SCALE,
    softmax_factor,
    relu_squared_factor,
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
    DP: tl.constexpr,
    WORDS: tl.constexpr,
    WINDOW: tl.constexpr,
    TILE: tl.constexpr,
    HAS_BITS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SPARSE: tl.constexpr,
    UPCAST: tl.constexpr,
):
    # Heads are fastest, so that the programs which share one tile of bits run together.
    TILES: tl.constexpr = (N + TILE - 1) // TILE
    program = tl.program_id(0)
    h = program % heads
    first = ((program // heads) % TILES) * TILE
    w = (program // (heads * TILES)).to(tl.int64)  # windows times strides pass 2^31

    rows = first + tl.arange(0, TILE)
    dims = tl.arange(0, DP)
    row_ok = rows < N
    dim_ok = dims < D
    LOG2E: tl.constexpr = 1.4426950408889634
    scale = tl.load(SCALE + h)

    q = tl.load(
        Q + w * stride_qw + h * stride_qh + rows[:, None] * stride_qn + dims[None, :],
        mask=row_ok[:, None] & dim_ok[None, :],
        other=0.0,
    )
    if UPCAST:
        q = q.to(tl.float32)

    # A tile without a kept key must not make inf - inf: the running maximum starts finite, dropped scores at -inf.
    m = tl.full([TILE], -1.0e30, tl.float32)
    l = tl.zeros([TILE], tl.float32)
    acc = tl.zeros([TILE, DP], tl.float32)
    acc_sparse = tl.zeros([TILE, DP], tl.float32)

    for start in range(0, N, TILE):
        columns = start + tl.arange(0, TILE)
        column_ok = columns < N
        tile_ok = column_ok[:, None] & dim_ok[None, :]
        k = tl.load(
            K + w * stride_kw + h * stride_kh + columns[:, None] * stride_kn + dims[None, :],
            mask=tile_ok,
            other=0.0,
        )
        v = tl.load(
            V + w * stride_vw + h * stride_vh + columns[:, None] * stride_vn + dims[None, :],
            mask=tile_ok,
            other=0.0,
        )
        if UPCAST:
            k = k.to(tl.float32)
            v = v.to(tl.float32)
        s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        if HAS_BIAS:
            dy = rows[:, None] // WINDOW - columns[None, :] // WINDOW + (WINDOW - 1)
            dx = rows[:, None] % WINDOW - columns[None, :] % WINDOW + (WINDOW - 1)
            offset = dy * (2 * WINDOW - 1) + dx
            pair_ok = row_ok[:, None] & column_ok[None, :]
            s += tl.load(TABLE + offset * heads + h, mask=pair_ok, other=0.0).to(tl.float32)
        keep = row_ok[:, None] & column_ok[None, :]
        if HAS_BITS:
            word = tl.load(BITS + (w * N + rows[:, None]) * WORDS + (columns // 32)[None, :], mask=keep, other=0)
            keep = keep & (((word >> (columns % 32)[None, :]) & 1) != 0)
        s = tl.where(keep, s, float("-inf"))

        m_new = tl.maximum(m, tl.max(s, 1) * LOG2E)
        p = tl.math.exp2(s * LOG2E - m_new[:, None])
        alpha = tl.math.exp2(m - m_new)
        l = l * alpha + tl.sum(p, 1)
        acc = acc * alpha[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
        if SPARSE:
            positive = tl.maximum(s, 0.0)
            acc_sparse += tl.dot((positive * positive).to(v.dtype), v, input_precision="ieee")
        m = m_new

    out = acc / tl.where(row_ok, l, 1.0)[:, None]
    if SPARSE:
        out = out * tl.load(softmax_factor) + acc_sparse * tl.load(relu_squared_factor)
    tl.store(
        OUT + w * stride_ow + h * stride_oh + rows[:, None] * stride_on + dims[None, :],
        out.to(OUT.dtype.element_ty),
        mask=row_ok[:, None] & dim_ok[None, :],
    )
