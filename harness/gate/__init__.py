"""The regression gate: two source trees measured in one run, judged cell by cell, with its own error rates known."""
