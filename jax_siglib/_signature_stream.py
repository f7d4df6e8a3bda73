"""A path that arrives bit by bit, and its signature so far."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_siglib import _arrays, _checks
from jax_siglib import _tensor_algebra as ta
from jax_siglib._checks import Shape
from jax_siglib._sig_continued import sig_continued
from jax_siglib._sig_join import sig_join

__all__ = ["SignatureStream"]


def _static() -> Any:
    return dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class SignatureStream:
    """The running signature of a path that arrives step by step, or piece by piece.

    A pytree that never changes: ``push`` and its like return a new one. So it can be the carry of
    ``lax.scan``, be donated to ``jit`` (whose kernel then writes over it), mapped by ``vmap`` and
    differentiated in reverse mode. (Forward mode has to fold ``forward_mode.sig_join`` over the
    steps: ``push`` is the ordinary ``sig_join``.) What it holds does not grow: steps that have gone
    by are not kept. So it answers for all of the path, and for what came since a mark; for windows
    of a path that is there as a whole see ``sig_windows``.

    The signature decides what is pushed: arrays of its framework and dtype, with numpy arrays
    beside JAX arrays as elsewhere. ``begin`` makes a JAX array; a stream made from a numpy array or
    a torch CPU tensor goes on in that. Two streams are equal if they are the same object.

    Attributes:
        signature: The signature of all that was pushed, shape (..., L), with or without the scalar
            term.
        since_mark: That of what was pushed since ``mark`` was called, of the same shape; None
            before.
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
            The stream, of JAX arrays. To continue a path with a known signature, make one from
            that: ``SignatureStream(signature, None, dimension, degree)``.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If a number is out of range.
        """
        dimension = _checks.integer("dimension", dimension, at_least=1)
        degree = _checks.integer("degree", degree, at_least=0)
        batch = _checks.sizes("batch", batch, symbolic=True)
        dtype = float if dtype is None else _arrays.dtype_name("dtype", dtype)
        scalar_term = _checks.flag("scalar_term", scalar_term)
        length = ta.layout_lengths(dimension, degree)[scalar_term]
        unit = _unit_like(jnp.zeros((*batch, length), dtype), scalar_term)
        return cls(unit, None, dimension, degree)

    def push(self, displacement: Any, *, n_jobs: int = 1) -> "SignatureStream":
        """The path goes on by one straight segment: ``sig_join``.

        Args:
            displacement: The segment, shape (..., d); leading shape, dtype and framework of
                ``signature``.
            n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

        Returns:
            The stream of the longer path.

        Raises:
            TypeError: If an argument has the wrong type, or another dtype or framework than
                ``signature``.
            ValueError: If shapes do not fit each other, ``n_jobs`` is out of range, or a torch
                tensor would need this call recorded by autograd.
        """
        self._check_pushed("displacement", displacement, ["d"])

        def extended(sig: Any) -> Any:
            return sig_join(sig, displacement, self.dimension, self.degree, n_jobs=n_jobs)

        return self._mapped(extended)

    def push_path(self, path: Any, *, n_jobs: int = 1) -> "SignatureStream":
        """The path goes on by a piece of several points.

        The first of them is where the path stands: pieces of a path that follow each other share a
        point. Quicker than pushing its T - 1 segments.

        Args:
            path: The points of the piece, shape (..., T, d) with T at least 1; leading shape, dtype
                and framework of ``signature``.
            n_jobs: Threads: 1 is serial, -1 all there are, below -1 all but ``-1 - n_jobs``.

        Returns:
            The stream of the longer path.

        Raises:
            TypeError: As ``push``.
            ValueError: As ``push``, or if the piece has no point.
        """
        self._check_pushed("path", path, ["T", "d"])

        def extended(sig: Any) -> Any:
            scalar_term = ta.has_scalar_term(sig.shape[-1], self.dimension, self.degree)
            return sig_continued(path, sig, self.degree, scalar_term=scalar_term, n_jobs=n_jobs)

        return self._mapped(extended)

    def mark(self) -> "SignatureStream":
        """From here on ``since_mark`` is the signature of what is pushed after this.

        Each push costs twice as much from then on. The first mark makes another pytree of the
        stream: inside of a ``scan`` it has to stand marked before.

        Returns:
            The stream, with the signature of a path that has not moved for ``since_mark``; shape,
            dtype and framework of ``signature``.

        Raises:
            TypeError: If ``signature`` is not an array of a dtype and framework served here.
            ValueError: If its shape does not fit ``dimension`` and ``degree``, or a torch tensor
                would need this call recorded by autograd.
        """
        _, (sig,) = _arrays.take(signature=self.signature)
        self._check_signature(tuple(sig.shape))
        scalar_term = ta.has_scalar_term(sig.shape[-1], self.dimension, self.degree)
        return dataclasses.replace(self, since_mark=_unit_like(sig, scalar_term))

    def _check_pushed(self, name: str, pushed: Any, axes: list[str]) -> None:
        """Refuse, by the names known here, what the path can not go on by."""
        _, arrays = _arrays.take(**{"signature": self.signature, name: pushed})
        sig, shape = _arrays.shapes_of(arrays)
        self._check_signature(sig)
        _checks.rank(name, shape, axes)
        _checks.last_axis(name, shape, self.dimension)
        _checks.batch_shape(name, shape[: -len(axes)], sig[:-1], "signature")

    def _check_signature(self, shape: Shape) -> None:
        _checks.rank("signature", shape, ["L"])
        ta.check_length("signature", shape[-1], self.dimension, self.degree)

    def _mapped(self, extended: Any) -> "SignatureStream":
        since = None if self.since_mark is None else extended(self.since_mark)
        return dataclasses.replace(self, signature=extended(self.signature), since_mark=since)


def _unit_like(sig: Any, scalar_term: bool) -> Any:
    """The signature of a path that has not moved, as an array like this one."""

    def unit(xp: Any, like: Any) -> Any:
        level_0, others = like[..., : int(scalar_term)], like[..., int(scalar_term) :]
        return xp.concatenate([xp.ones_like(level_0), xp.zeros_like(others)], -1)

    if isinstance(sig, jax.Array):
        return unit(jnp, sig)
    return _arrays.in_kind_of(sig, unit(np, _arrays.memory(sig)))
