"""The k best keys of every row of scores: exact, ties to the lowest index, in torch and in Triton."""
