"""What all attention kernels share: loading a tile, and the scores of a tile of queries against a tile of keys."""

import triton
import triton.language as tl

from semanir.attention.selection.kernels import unpack

LOG2E = tl.constexpr(1.4426950408889634)
"""Scores are kept in units of ln 2, because a GPU's exponential is base 2."""


@triton.jit
def load_rows(pointer, rows, stride, N: tl.constexpr, D: tl.constexpr, TILE: tl.constexpr, DP: tl.constexpr):
    """Load TILE rows of D, padded with zeros to DP columns and past row N."""
    dims = tl.arange(0, DP)
    place = pointer + rows[:, None] * stride + dims[None, :]
    if N % TILE == 0 and D == DP:
        return tl.load(place)
    if N % TILE == 0:
        return tl.load(place, mask=(dims < D)[None, :], other=0.0)
    if D == DP:
        return tl.load(place, mask=(rows < N)[:, None], other=0.0)
    return tl.load(place, mask=(rows < N)[:, None] & (dims < D)[None, :], other=0.0)


@triton.jit
def store_rows(pointer, rows, stride, x, N: tl.constexpr, D: tl.constexpr, TILE: tl.constexpr, DP: tl.constexpr):
    """Store the first D columns of TILE rows, in the pointer's dtype."""
    dims = tl.arange(0, DP)
    place = pointer + rows[:, None] * stride + dims[None, :]
    x = x.to(pointer.dtype.element_ty)
    if N % TILE == 0 and D == DP:
        tl.store(place, x)
    else:
        tl.store(place, x, mask=(rows < N)[:, None] & (dims < D)[None, :])


@triton.jit
def load_per_row(pointer, rows, other, N: tl.constexpr, TILE: tl.constexpr):
    """Load one float a row; `other` past row N."""
    if N % TILE == 0:
        return tl.load(pointer + rows)
    return tl.load(pointer + rows, mask=rows < N, other=other)


@triton.jit
def store_per_row(pointer, rows, x, N: tl.constexpr, TILE: tl.constexpr):
    """Store one float a row."""
    if N % TILE == 0:
        tl.store(pointer + rows, x)
    else:
        tl.store(pointer + rows, x, mask=rows < N)


@triton.jit
def product(a, b, PRECISION: tl.constexpr, UPCAST: tl.constexpr):
    """Multiply tiles into float32. Triton's interpreter holds bf16 as integers, so there it is widened first."""
    if UPCAST:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def place_in_window(tokens, N: tl.constexpr, WINDOW: tl.constexpr):
    """Number a token so that the difference of two numbers tells the offset between their places."""
    inside = tl.minimum(tokens, N - 1)
    return inside // WINDOW * (2 * WINDOW - 1) + inside % WINDOW


@triton.jit
def bias_of_tile(
    table_of_head,
    first_query,
    first_key,
    N: tl.constexpr,
    WINDOW: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    SPAN: tl.constexpr,
    TRANSPOSED: tl.constexpr,
):
    """Look up the position bias of every pair: `[QUERIES, KEYS]`, or with TRANSPOSED `[KEYS, QUERIES]`.

    The table holds query minus key, from -(w - 1) in both axes. A tile needs but SPAN entries of it, from the
    difference of its first query and its last key on; they go through shared memory once for all its pairs.
    """
    SIDE: tl.constexpr = 2 * WINDOW - 1
    highest = first_query // WINDOW - (tl.minimum(first_key + KEYS, N) - 1) // WINDOW
    first_offset = (highest + WINDOW - 1) * SIDE
    nearby = first_offset + tl.arange(0, SPAN)
    piece = tl.load(table_of_head + nearby, mask=nearby < SIDE * SIDE, other=0.0)
    query = place_in_window(first_query + tl.arange(0, QUERIES), N, WINDOW)
    key = place_in_window(first_key + tl.arange(0, KEYS), N, WINDOW)
    middle = (WINDOW - 1) * SIDE + WINDOW - 1 - first_offset
    if TRANSPOSED:
        offset = query[None, :] - key[:, None] + middle
    else:
        offset = query[:, None] - key[None, :] + middle
    looked_up = tl.gather(piece, tl.reshape(offset, (QUERIES * KEYS,)), 0)
    return tl.reshape(looked_up, (KEYS, QUERIES) if TRANSPOSED else (QUERIES, KEYS))


@triton.jit
def bias_of_pairs(table_of_head, queries, keys, N: tl.constexpr, WINDOW: tl.constexpr):
    """Look up the position bias of scattered keys, `[queries, keys]`: one load a pair, mostly from the first cache."""
    MIDDLE: tl.constexpr = 2 * WINDOW * (WINDOW - 1)
    query = tl.minimum(queries, N - 1)
    query += query // WINDOW * (WINDOW - 1) + MIDDLE
    key = keys + keys // WINDOW * (WINDOW - 1)
    return tl.load(table_of_head + (query[:, None] - key[None, :]))


@triton.jit
def kept_of_tile(
    words_of_window,
    rows,
    columns,
    first_column,
    N: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    HAS_BITS: tl.constexpr,
):
    """Tell which pairs the dictionary keeps, `[ROWS, COLUMNS]`; without one, those inside the window."""
    if HAS_BITS:
        BLOCKS: tl.constexpr = (COLUMNS + 127) // 128
        WORDS: tl.constexpr = (N + 127) // 128 * 4
        word = first_column // 128 * 4 + tl.arange(0, 4 * BLOCKS)
        place = words_of_window + rows[:, None] * WORDS + word[None, :]
        if N % ROWS == 0:
            words = tl.load(place)
        else:
            words = tl.load(place, mask=(rows < N)[:, None], other=0)
        return unpack(words, first_column % 128 // 4, ROWS, COLUMNS)
    return tl.broadcast_to((columns < N)[None, :], (ROWS, COLUMNS))
