"""One join in rational arithmetic, written from the definition and sharing nothing with the code.

The product with exp(v) is summed term by term, S_k (x) v^(n-k) / (n-k)!, and the derivatives are
those of that sum; no Horner scheme, no chain.
"""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

Numbers = list[Fraction]
Word = tuple[int, ...]


def sig_join(
    sig: Numbers, step: Numbers, dimension: int, degree: int, prepend: bool = False
) -> Numbers:
    """sig (x) exp(step), or exp(step) (x) sig."""
    entries = dict(zip(_words(dimension, degree), sig, strict=True)) | {(): Fraction(1)}
    out = []
    for word in _words(dimension, degree):
        out.append(sum(entries[kept] * _power(step, rest) for kept, rest in _cuts(word, prepend)))
    return out


def sig_join_backprop(
    ct: Numbers, sig: Numbers, step: Numbers, dimension: int, degree: int, prepend: bool = False
) -> tuple[Numbers, Numbers]:
    """Derivatives of sum(ct * sig_join(...)) with respect to sig and step."""
    words = list(_words(dimension, degree))
    entries = dict(zip(words, sig, strict=True)) | {(): Fraction(1)}
    d_sig = dict.fromkeys([(), *words], Fraction(0))
    d_step = [Fraction(0)] * dimension
    for word, weight in zip(words, ct, strict=True):
        for kept, rest in _cuts(word, prepend):
            d_sig[kept] += weight * _power(step, rest)
            for i, letter in enumerate(rest):
                others = math.prod(step[x] for j, x in enumerate(rest) if j != i)
                term = Fraction(others) / math.factorial(len(rest))
                d_step[letter] += weight * entries[kept] * term
    return [d_sig[word] for word in words], d_step


def _words(dimension: int, degree: int) -> Iterator[Word]:
    """In the order of the entries of a signature."""
    for level in range(1, degree + 1):
        yield from itertools.product(range(dimension), repeat=level)


def _cuts(word: Word, prepend: bool) -> Iterator[tuple[Word, Word]]:
    """All ways to leave one end of a word to the signature and the other to the segment."""
    for cut in range(len(word) + 1):
        yield (word[cut:], word[:cut]) if prepend else (word[:cut], word[cut:])


def _power(step: Numbers, letters: Word) -> Fraction:
    return Fraction(math.prod(step[x] for x in letters)) / math.factorial(len(letters))
