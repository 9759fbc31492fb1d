"""The networks, one package each: `__init__` counts without torch, `network` computes."""
