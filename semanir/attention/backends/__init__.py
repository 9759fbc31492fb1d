"""The contenders, one package each: `__init__` says what it needs and refuses, `attend` does it."""
