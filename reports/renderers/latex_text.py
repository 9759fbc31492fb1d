"""Strings as LaTeX shows them: every letter as itself, whatever the paper's encoding and fonts are."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from string import ascii_letters

_LONG_WORD = 20
"""Letters from which on a word may be broken, where lines are."""

_SYMBOLS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\ttfamily\char34}",
    "`": r"{}\textquoteleft{}",
    "[": "{[}",  # behind a line's end it would open an argument, and so would the star
    "*": "{*}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
"""Letters that LaTeX would read as its own, and those that it has a name for, in any of its encodings."""

_MATHS = {
    "−": "-",
    "±": r"\pm",
    "×": r"\times",
    "·": r"\cdot",
    "≤": r"\leq",
    "≥": r"\geq",
    "≠": r"\neq",
    "≈": r"\approx",
    "∞": r"\infty",
    "→": r"\rightarrow",
    "←": r"\leftarrow",
    "√": r"\surd",
    "°": r"^{\circ}",
    "²": "^2",
    "³": "^3",
    "µ": r"\mu",
    "α": r"\alpha",
    "β": r"\beta",
    "γ": r"\gamma",
    "δ": r"\delta",
    "ε": r"\varepsilon",
    "η": r"\eta",
    "θ": r"\theta",
    "κ": r"\kappa",
    "λ": r"\lambda",
    "μ": r"\mu",
    "π": r"\pi",
    "ρ": r"\rho",
    "σ": r"\sigma",
    "τ": r"\tau",
    "φ": r"\varphi",
    "χ": r"\chi",
    "ψ": r"\psi",
    "ω": r"\omega",
    "Δ": r"\Delta",
    "Λ": r"\Lambda",
    "Σ": r"\Sigma",
    "Φ": r"\Phi",
    "Ω": r"\Omega",
}
"""Signs that it has in formulas alone."""

_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
    "\u0331": "b",
}
"""Marks above and below letters, with the command that sets each."""


def escaped(text: str, *, wrapped: bool = False) -> str:
    """Return LaTeX that shows the text, on one line; where it is `wrapped`, long words may be broken.

    A letter that not every LaTeX can set is shown by its number, as `U+4E2D`.
    """
    words = unicodedata.normalize("NFC", text).split()
    return " ".join(_breakable(word) if wrapped and len(word) >= _LONG_WORD else _together(word) for word in words)


def _breakable(word: str) -> str:
    return r"\allowbreak{}".join(_together(piece) for piece in re.findall(r"[^\W_]{1,10}|.", word, re.S))


def _together(word: str) -> str:
    """Escape letter by letter; what TeX would draw as one, as two hyphens, is kept apart."""
    apart = (letter == before and letter in "-,'" for before, letter in pairwise(f" {word}"))
    return "".join("{}" * each + _letter(letter) for each, letter in zip(apart, word, strict=True))


def _letter(letter: str) -> str:
    if letter in _SYMBOLS:
        return _SYMBOLS[letter]
    if letter in _MATHS:
        return rf"\ensuremath{{{_MATHS[letter]}}}"
    if " " < letter <= "~":
        return letter
    whole = unicodedata.normalize("NFD", letter)
    base, accent = whole[0], whole[1:]
    if base in ascii_letters and accent in _ACCENTS:
        dotless = base.replace("i", r"\i").replace("j", r"\j")
        return rf"\{_ACCENTS[accent]}{{{dotless}}}"
    return rf"\texttt{{U+{ord(letter):04X}}}"
