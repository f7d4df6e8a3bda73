"""A path that arrives bit by bit, and its signature so far."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jax_siglib import _checks
from jax_siglib import _tensor_algebra as ta
from jax_siglib._sig_continued import sig_continued
from jax_siglib._sig_join import sig_join

__all__ = ["SignatureStream"]


def _static() -> Any:
    return dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SignatureStream:
    """The running signature of a path that arrives in JAX step by step, or piece by piece.

    A pytree that never changes: ``push`` and its like return a new one. So it can be the carry of
    ``lax.scan``, be donated to ``jit`` (whose kernel then writes over it), mapped by ``vmap`` and
    differentiated. What it holds does not grow: steps that have gone by are not kept. So it
    answers for all of the path, and for what came since a mark; for windows of a path that is
    there as a whole see ``sig_windows``.

    Attributes:
        signature: The signature of all that was pushed, shape (..., L), with or without the scalar
            term.
        since_mark: That of what was pushed since ``mark`` was called; None before.
        dimension: Dimension d of the underlying space.
        degree: Truncation degree N.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jax_siglib import SignatureStream
        >>> stream = SignatureStream.begin(2, 2)
        >>> steps = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> stream, levels = jax.lax.scan(lambda s, v: (s.push(v), s.signature[:2]), stream, steps)
        >>> print(stream.signature)
        [1.  1.  0.5 1.  0.  0.5]
    """

    signature: Any
    since_mark: Any
    dimension: int = _static()
    degree: int = _static()

    @classmethod
    def begin(
        cls,
        dimension: int,
        degree: int,
        *,
        batch: tuple[int, ...] = (),
        dtype: Any = None,
        scalar_term: bool = False,
    ) -> "SignatureStream":
        """A path that has not moved yet, or a batch of them.

        Args:
            dimension: Dimension d of the underlying space, at least 1.
            degree: Truncation degree N, at least 0.
            batch: Leading shape.
            dtype: float16, bfloat16, float32 or float64; None for JAX's default.
            scalar_term: Whether signatures begin with level 0, the constant 1.

        Returns:
            The stream. To continue a path with a known signature, make one from that:
            ``SignatureStream(signature, None, dimension, degree)``.
        """
        dimension = _checks.integer("dimension", dimension, at_least=1)
        degree = _checks.integer("degree", degree, at_least=0)
        scalar_term = _checks.flag("scalar_term", scalar_term)
        length = ta.layout_lengths(dimension, degree)[scalar_term]
        unit = jnp.zeros((*batch, length), float if dtype is None else dtype)
        unit = unit.at[..., 0].set(1) if scalar_term else unit
        return cls(unit, None, dimension, degree)

    def push(self, displacement: Any, *, n_jobs: int = 1) -> "SignatureStream":
        """The path goes on by one straight segment, shape (..., d): ``sig_join``."""

        def extended(sig: Any) -> Any:
            return sig_join(sig, displacement, self.dimension, self.degree, n_jobs=n_jobs)

        return self._mapped(extended)

    def push_path(self, path: Any, *, n_jobs: int = 1) -> "SignatureStream":
        """The path goes on by a piece of several points, shape (..., T, d).

        The first of them is where the path stands: pieces of a path that follow each other share a
        point. Quicker than pushing its T - 1 segments.
        """

        def extended(sig: Any) -> Any:
            scalar_term = ta.has_scalar_term(sig.shape[-1], self.dimension, self.degree)
            return sig_continued(path, sig, self.degree, scalar_term=scalar_term, n_jobs=n_jobs)

        _checks.rank("path", path.shape, ["T", "d"])
        _checks.last_axis("path", path.shape, self.dimension)
        return self._mapped(extended)

    def mark(self) -> "SignatureStream":
        """From here on ``since_mark`` is the signature of what is pushed after this.

        Each push costs twice as much from then on. The first mark makes another pytree of the
        stream: inside of a ``scan`` it has to stand marked before.
        """
        unit = jnp.zeros_like(self.signature)
        if ta.has_scalar_term(unit.shape[-1], self.dimension, self.degree):
            unit = unit.at[..., 0].set(1)
        return dataclasses.replace(self, since_mark=unit)

    def _mapped(self, extended: Any) -> "SignatureStream":
        since = None if self.since_mark is None else extended(self.since_mark)
        return dataclasses.replace(self, signature=extended(self.signature), since_mark=since)
