"""Attention operators side by side in one process: who takes part, whether they are right, what they take."""
