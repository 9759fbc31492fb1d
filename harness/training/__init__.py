"""Fits a network for a task from one declarative spec, step by reproducible step, and ships it with a card."""
