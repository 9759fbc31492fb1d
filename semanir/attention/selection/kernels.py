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


@triton.jit
def tokens_of_tile(tile, SIDE: tl.constexpr, TILE: tl.constexpr):
    """Number the queries of a tile: a patch of 8 x 8 in windows of SIDE tokens a side, a run of tokens with SIDE 0."""
    inside = tl.arange(0, TILE)
    if SIDE == 0:
        return tile * TILE + inside
    return (tile // (SIDE // 8) * 8 + inside // 8) * SIDE + tile % (SIDE // 8) * 8 + inside % 8


@triton.jit
def unite(BITS, KEYS, COUNTS, N: tl.constexpr, SIDE: tl.constexpr, TILE: tl.constexpr):
    """List the keys that a tile's queries keep. BITS `[W, N, words]`, KEYS `[W, T, L]` int16, COUNTS `[W, T]`."""
    TILES: tl.constexpr = (N + TILE - 1) // TILE
    BLOCKS: tl.constexpr = (N + 127) // 128
    program = tl.program_id(0).to(tl.int64)
    rows = tokens_of_tile((program % TILES).to(tl.int32), SIDE, TILE)
    words_of_rows = BITS + (program // TILES * N + rows)[:, None] * (4 * BLOCKS) + tl.arange(0, 4)[None, :]
    keys = tl.arange(0, 128)
    count = 0
    for block in range(BLOCKS):
        words = tl.load(words_of_rows + 4 * block, mask=(rows < N)[:, None], other=0)
        visited = tl.max(unpack(words, 0, TILE, 128).to(tl.int32), 0)
        place = program * (128 * BLOCKS) + count + tl.cumsum(visited, 0) - 1
        tl.store(KEYS + place, (128 * block + keys).to(tl.int16), mask=visited != 0)
        count += tl.sum(visited, 0)
    for block in range(BLOCKS):
        rest = 128 * block + keys
        tl.store(KEYS + program * (128 * BLOCKS) + rest, tl.zeros([128], tl.int16), mask=rest >= count)
    tl.store(COUNTS + program, count)


@triton.jit
def list_bits(BITS, KEYS, COUNTS, LISTED, N: tl.constexpr, SIDE: tl.constexpr, TILE: tl.constexpr):
    """Pick 128 places of a list out of the bits of its queries. LISTED is like BITS, over places."""
    TILES: tl.constexpr = (N + TILE - 1) // TILE
    BLOCKS: tl.constexpr = (N + 127) // 128
    program = tl.program_id(0).to(tl.int64)
    block = (program % BLOCKS).to(tl.int32)
    tile = program // BLOCKS
    rows = tokens_of_tile((tile % TILES).to(tl.int32), SIDE, TILE)
    words_of_rows = (tile // TILES * N + rows)[:, None] * (4 * BLOCKS)
    place = 128 * block + tl.arange(0, 128)
    listed = (rows < N)[:, None] & (place < tl.load(COUNTS + tile))[None, :]
    key = tl.load(KEYS + tile * (128 * BLOCKS) + place).to(tl.int32)
    word = key // 128 * 4 + key % 8 // 2
    bit = key % 128 // 8 * 2 + key % 2
    words = tl.load(BITS + words_of_rows + word[None, :], mask=listed, other=0)
    kept = ((words >> bit[None, :]) & 1) != 0
    target = LISTED + words_of_rows + 4 * block + tl.arange(0, 4)[None, :]
    tl.store(target, pack(kept, TILE, 128), mask=(rows < N)[:, None])
