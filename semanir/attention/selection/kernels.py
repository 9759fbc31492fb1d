"""Triton kernels of the dictionary: the k-th best score of a row, and the bits of all that reach it."""

import triton
import triton.language as tl


@triton.jit
def unpack(words, first_bit, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Spread words `[ROWS, 4 * blocks]` to booleans `[ROWS, COLUMNS]`; see `semanir.attention.packing` for the order.

    A tile narrower than a block of 128 starts at bit `first_bit` of each word: its first column over 4.
    """
    BLOCKS: tl.constexpr = (COLUMNS + 127) // 128
    EIGHTS: tl.constexpr = (COLUMNS if COLUMNS < 128 else 128) // 8
    bit = first_bit + 2 * tl.arange(0, EIGHTS)[:, None, None] + tl.arange(0, 2)[None, None, :]
    bit = tl.reshape(tl.broadcast_to(bit, (EIGHTS, 4, 2)), (1, 1, EIGHTS, 4, 2))
    ones = (tl.reshape(words, (ROWS, BLOCKS, 1, 4, 1)) >> bit) & 1
    return tl.reshape(ones, (ROWS, COLUMNS)) != 0


@triton.jit
def pack(kept, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Gather booleans `[ROWS, COLUMNS]` into words `[ROWS, COLUMNS // 32]`; COLUMNS is a multiple of 128."""
    bit = 2 * tl.arange(0, 16)[:, None, None] + tl.arange(0, 2)[None, None, :]
    bit = tl.reshape(tl.broadcast_to(bit, (16, 4, 2)), (1, 1, 16, 4, 2))
    ones = tl.reshape(kept.to(tl.int32), (ROWS, COLUMNS // 128, 16, 4, 2)) << bit
    return tl.reshape(tl.sum(tl.sum(ones, 4), 2), (ROWS, COLUMNS // 32))  # disjoint bits: the sum is the union


@triton.jit
def select(
    SCORES,
    REGIONS,
    BITS,
    COUNTS,
    top_k,
    region_windows,
    all_rows,
    N: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    HAS_REGIONS: tl.constexpr,
    EXCLUDE_SELF: tl.constexpr,
):
    """Keep `min(top_k, admissible)` keys of ROWS rows, by bisection on the bits of their scores.

    SCORES `[W * N, N]` fp32, REGIONS `[region_windows, N]` integers, BITS `[W * N, words]`, COUNTS `[W * N]` int32.
    """
    LOWEST: tl.constexpr = -2147483648
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    row_ok = row < all_rows
    i = (row % N).to(tl.int32)
    j = tl.arange(0, COLUMNS)
    ok = row_ok[:, None] & (j < N)[None, :]
    score = tl.load(SCORES + row[:, None] * N + j[None, :], mask=ok, other=0.0) + 0.0  # -0 becomes +0
    score = tl.where(score == score, score, float("-inf"))  # NaN is like nothing
    # Flipping the lower bits of negative floats makes their order that of signed integers.
    key = score.to(tl.int32, bitcast=True)
    key = tl.where(key >= 0, key, key ^ 0x7FFFFFFF)

    admissible = tl.broadcast_to((j < N)[None, :], (ROWS, COLUMNS))
    if HAS_REGIONS:
        window = ((row // N) % region_windows) * N
        own = tl.load(REGIONS + window + i, mask=row_ok, other=0)
        other = tl.load(REGIONS + window[:, None] + j[None, :], mask=ok, other=0)
        admissible = admissible & (own[:, None] == other)
    if EXCLUDE_SELF:
        alone = tl.sum(admissible.to(tl.int32), 1) == 1
        admissible = admissible & ((j[None, :] != i[:, None]) | alone[:, None])
    wanted = tl.minimum(tl.sum(admissible.to(tl.int32), 1), top_k)
    lowest = tl.min(tl.where(admissible, key, 2147483647), 1)
    key = tl.where(admissible, key, LOWEST)

    # At least `wanted` keys reach `low`, fewer reach `high`; they meet at the wanted-th best.
    low = lowest
    high = tl.max(key, 1) + 1
    unsure = tl.max((low + 1 < high).to(tl.int32), 0)
    while unsure > 0:
        middle = (low & high) + ((low ^ high) >> 1)  # their mean: the sum could overflow
        reached = tl.sum((key >= middle[:, None]).to(tl.int32), 1)
        low = tl.where(reached >= wanted, middle, low)
        high = tl.where(reached >= wanted, high, middle)
        high = tl.where(reached == wanted, low + 1, high)
        unsure = tl.max((low + 1 < high).to(tl.int32), 0)

    above = key > low[:, None]
    equal = key == low[:, None]
    places = wanted - tl.sum(above.to(tl.int32), 1)
    kept = above | equal
    if tl.max(tl.sum(equal.to(tl.int32), 1) - places, 0) > 0:  # more ties than places: the lowest indices win
        kept = above | (equal & (tl.cumsum(equal.to(tl.int32), 1) <= places[:, None]))

    WORDS: tl.constexpr = (N + 127) // 128 * 4
    word = tl.arange(0, COLUMNS // 32)
    word_ok = row_ok[:, None] & (word < WORDS)[None, :]
    tl.store(BITS + row[:, None] * WORDS + word[None, :], pack(kept, ROWS, COLUMNS), mask=word_ok)
    tl.store(COUNTS + row, wanted, mask=row_ok)


@triton.jit
def transpose(BITS, COLUMN_BITS, N: tl.constexpr):
    """Turn a block of 128 queries by 128 keys: bits packed along keys become bits packed along queries."""
    BLOCKS: tl.constexpr = (N + 127) // 128
    program = tl.program_id(0)
    key_block = program % BLOCKS
    query_block = (program // BLOCKS) % BLOCKS
    window = (program // (BLOCKS * BLOCKS)).to(tl.int64) * N
    inside = tl.arange(0, 128)
    word = tl.arange(0, 4)[None, :]
    query = query_block * 128 + inside
    key = key_block * 128 + inside
    words = tl.load(
        BITS + (window + query)[:, None] * (4 * BLOCKS) + key_block * 4 + word, mask=(query < N)[:, None], other=0
    )
    kept = unpack(words, 0, 128, 128)
    tl.store(
        COLUMN_BITS + (window + key)[:, None] * (4 * BLOCKS) + query_block * 4 + word,
        pack(tl.trans(kept.to(tl.int32)) != 0, 128, 128),
        mask=(key < N)[:, None],
    )
